"""A shortcut past the search for announcements, for responses that end in a plain number."""

import re

from verifiers.extract import ALTERNATIVE, LINE_LABEL, MAX_BETWEEN

_MAX_ENDING = 100
_NUMERAL = r"(-?(?:[0-9]{1,15}|[0-9]{1,3}(?:,[0-9]{3}){1,4})(?:\.[0-9]{1,20})?)"
_PLAIN_ENDING = re.compile(rf" ?{_NUMERAL}\.?\s*\Z")
_BOXED_ENDING = re.compile(rf"{_NUMERAL}(\\?%)?\}}([^\n#{{}}]{{0,80}})\s*\Z")
# Both are searched in lower case: without regard to case, a search cannot skip ahead to where a match may begin.
_DENIED = re.compile(r"not|n['’]t")
_TAKES_BACK = re.compile(
    r"[?|/]|nswer|\\f?box|n['’]t|\b(?:or|alternatively|otherwise|maybe|perhaps|possibly|wrong|incorrect|false|not)"
)
_BOX = re.compile(r"\\f?boxed|\\fbox")
_SHORT_LABEL = re.compile(r"\n[ \t>#*_]*+a(?:ns)?[ \t*_]*+[:=]", re.IGNORECASE)


def plain_ending(text: str) -> tuple[str, str] | None:
    """Return (numeral, rule) where a text ends in an announced plain number, or a percentage in a box.

    That is what `candidates` finds first. A shortcut for the most frequent responses: None says nothing. Announcements
    shortly before, with which this one could be offered as an alternative, are left to `candidates`.
    """
    tail = len(text) - _MAX_ENDING
    if (start := text.rfind("####", tail)) >= 0:
        rule, end = "####", _PLAIN_ENDING.match(text, start + 4)
    elif (start := text.rfind("\nA:", tail)) >= 0:
        rule, end = "labelled line", _PLAIN_ENDING.match(text, start + 3)
    elif (start := text.rfind("\\boxed{", tail)) >= 0:
        rule, end = "boxed", _BOXED_ENDING.match(text, start + 7)
    else:
        return None
    if end is None:
        return None
    before = text[start - MAX_BETWEEN : start] if start > MAX_BETWEEN else text[:start]
    if "####" in before:
        return None
    announced = "nswer" in before or "NSWER" in before or ("box" in before and _BOX.search(before) is not None)
    if announced and (rule == "boxed" or ALTERNATIVE.search(before)):
        return None
    if _SHORT_LABEL.search(before) or (start <= MAX_BETWEEN and LINE_LABEL.match(text)):
        return None
    if rule == "boxed" and (_DENIED.search(before[-40:].lower()) or _TAKES_BACK.search(end[3].lower())):
        return None
    return (end[1] + "%", rule) if rule == "boxed" and end[2] else (end[1], rule)
