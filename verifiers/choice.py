"""Multiple choice: exactly one option must be selected, by its letter or by its text.

The gold is a letter, or `{"answer": "B", "options": {"A": "...", "B": "..."}}`. With options, a selected
letter must be one of them, and an option's whole text selects it (also as the gold's answer). A letter together
with the text of another option selects two, which is no answer. A letter that is denied, or in a question,
selects nothing.
"""

import re
from typing import Any, NamedTuple

from verifiers.contract import BadGold, Outcome, Status, Verifier
from verifiers.extract import TAIL, Candidate, candidates, strip_reasoning
from verifiers.hedges import DENIAL, cut_off, taken_back
from verifiers.normal_form import normal_form

_FORM = 'a choice ground_truth is JSON text such as "B" or {"answer": "B", "options": {"A": "...", "B": "..."}}'

MAX_ANSWER = 1_000
"""Characters of an answer, over which it selects nothing."""

_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|boxed|operatorname)\s*\{([^{}]*)\}")
_NOISE = re.compile(r"[*_`$]|\\[()\[\],; ]")
_LEAD = re.compile(
    r"^(?:(?:the )?(?:correct )?(?:options?|choices?|letters?|answers?)\b[\s:]*(?:is |are )?)+", re.IGNORECASE
)
# A letter counts when it stands alone, in brackets, before punctuation, or before a reason: "A dog" selects nothing.
_LETTER = re.compile(
    r"\(\s*(?P<round>[A-Za-z])\s*\)|\[\s*(?P<square>[A-Za-z])\s*\]"
    r"|(?<![A-Za-z0-9'’])(?P<bare>[A-HJ-Z])"
    r"(?=\s*$|\s*[.):,;/&]|\s+(?:because|since|as|which|is|or|and|oder|ou|not|but|unless|-|–|—|\()|\s*[-–—]\s|\n)"
)
_LETTERS_ALONE = re.compile(r"\W*[A-Za-z](?:\W+[A-Za-z])+\W*")
# Two letters are offered together when nothing but blanks, punctuation and such words is between them, ...
_JOINED = re.compile(
    r"[\s,;/&.):|(]*(?:(?:and/or|or|and|oder|ou|but|also|even|maybe|perhaps|possibly|probably|alternatively|either|unless"
    r"|otherwise|guess|unsure|it|is|the|could|may|might|be|option|choice|answer)\b[\s,;/&.:)]*)*",
    re.IGNORECASE,
)
# ... or when the second is marked as an option, and nothing between them sets it against the first, ...
_MARK = re.compile(r"\(\s*([A-Za-z])\s*\)|(?<![A-Za-z0-9'’(])([A-Z])\s*[.):](?=\s|$)")
_CONTRAST = re.compile(
    r"\b(?:because|since|as|so|given|therefore|which|that|where|rather|instead|unlike|than|over|against|both|all|not)\b",
    re.IGNORECASE,
)
# ... or when the second one is said to be possible too: "B, but C is also possible".
_ALSO = re.compile(
    r"\s*\W?\s*(?:is|are|may|might|could|would)\b[^.]*\b(?:also|equally|too|as well|possible|right|correct)\b"
)
_DENIED_AFTER = re.compile(
    r"[\s.):]*(?:is|are|was|seems|looks|(?:must|can|could) be)?\s*"
    r"(?:(?:not|n['’]t)(?=\s*$|\s+(?:it|correct|right|true|possible|the|an?)\b)|wrong\b|incorrect\b|false\b|impossible\b)",
    re.IGNORECASE,
)
_TAIL_LETTER = re.compile(
    r"\((?P<round>[A-Z])\)|\b(?i:option|choice)\s+(?:is\s+)?\(?(?P<named>[A-Z])\)?(?![A-Za-z])"
    r"|(?:^|\n)\s*(?P<line>[A-Z])[.)]?\s*$"
)
_NONE = re.compile(r"\b(?:none|neither|cannot|can't|no option)\b", re.IGNORECASE)


class Gold(NamedTuple):
    """The right letter, and the normalised text of each option (empty when the gold brings none)."""

    answer: str
    options: dict[str, str]


def parse_gold(value: Any) -> Gold:
    """Read a gold; raises `BadGold` unless it names one letter, and one of its options if it has any."""
    options: dict[str, str] = {}
    if isinstance(value, dict):
        unknown = sorted(set(value) - {"answer", "options"})
        given = value.get("options", {})
        if unknown or not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
            raise BadGold(_FORM)
        options = {_letter_of(letter): normalise(text) for letter, text in given.items()}
        if len(options) != len(given):
            message = f"two options have one letter: {sorted(given)}"
            raise BadGold(message)
        value = value.get("answer")
        if isinstance(value, str) and len(normalise(value)) > 1:
            named = [letter for letter, text in options.items() if text == normalise(value)]
            value = named[0] if len(named) == 1 else value
    answer = _letter_of(value)
    if options and answer not in options:
        message = f"the answer {answer!r} is not among the options {sorted(options)}"
        raise BadGold(message)
    return Gold(answer, options)


def _letter_of(value: Any) -> str:
    match = re.fullmatch(r"\s*\(?\s*([A-Za-z])\s*\)?[.:]?\s*", value) if isinstance(value, str) else None
    if match is None:
        message = f"{value!r} is not one letter; {_FORM}"
        raise BadGold(message)
    return match[1].upper()


def normalise(text: str) -> str:
    """Return an option's text for comparison: NFC, case folded, blanks collapsed, outer punctuation gone."""
    text = normal_form("NFC", _plain(text)).casefold()
    return " ".join(text.split()).strip(" .,;:!?\"'“”‘’()")


def _plain(text: str) -> str:
    while (unwrapped := _TEXT_COMMAND.sub(r" \1 ", text)) != text:
        text = unwrapped
    return _NOISE.sub(" ", text).strip()


def check(response: str, gold: Gold, _prompt: str) -> Outcome:
    """Find the one selected option and compare it."""
    text = strip_reasoning(response)
    for candidate in candidates(text):
        selected = selections(candidate, gold.options)
        if selected:
            if taken_back(candidate) or cut_off(candidate):
                return Outcome(
                    Status.unparsed, ", ".join(selected), f"{candidate.source}: questioned, or one of several"
                )
            return _outcome(selected, gold, candidate.source)
        if _NONE.search(candidate.text):
            return Outcome(Status.unparsed, None, f"{candidate.source}: it selects none")
    selected = _whole_or_tail(text, gold.options)
    return _outcome(selected, gold, "tail") if selected else Outcome(Status.unparsed, None, "no option selected")


def _outcome(selected: list[str], gold: Gold, source: str) -> Outcome:
    if len(selected) > 1:
        return Outcome(Status.unparsed, ", ".join(selected), f"{source}: several options selected")
    status = Status.correct if selected[0] == gold.answer else Status.incorrect
    return Outcome(status, selected[0], source)


def selections(candidate: Candidate, options: dict[str, str]) -> list[str]:
    """Return the letters that a candidate selects, in order: none, one, or several offered together."""
    if len(candidate.text) > MAX_ANSWER:
        return []
    text = _LEAD.sub("", _plain(candidate.text)).strip()
    whole = normalise(text)
    if re.fullmatch("[a-z]", whole) and (not options or whole.upper() in options):
        return [whole.upper()]
    if by_text := [letter for letter, option in options.items() if option and option == whole]:
        return by_text
    if _LETTERS_ALONE.fullmatch(text):
        return list(dict.fromkeys(letter.upper() for letter in re.findall(r"[A-Za-z]", text)))
    match = _LETTER.match(text)
    if match is None:
        match = _LETTER.search(text)
        if match is None or DENIAL.search(text[: match.start()]) or len(text[: match.start()].split()) > 6:
            return []
    if _DENIED_AFTER.match(text, match.end()):
        return []
    found, end = _offered(text, match)
    rest = normalise(text[end:].lstrip(" .):,;-–—"))
    found += [letter for letter, option in options.items() if option and option == rest]
    if options:
        found = [letter for letter in found if letter in options]
    return list(dict.fromkeys(found))


def _offered(text: str, match: re.Match[str]) -> tuple[list[str], int]:
    """Return the letter of a match with those offered together with it, and where the last of them ends."""
    found, end = [_found(match)], match.end()
    for following in _LETTER.finditer(text, end):
        between = text[end : following.start()]
        marked = following["bare"] is None or text[following.end() :].lstrip()[:1] in (")", ":")
        apart = _CONTRAST.search(between) or _DENIED_AFTER.match(text, following.end())
        also = _ALSO.match(text, following.end())
        if not (_JOINED.fullmatch(between) or also or (marked and not apart)):
            break
        found.append(_found(following))
        end = following.end()
    return found, end


def _found(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None).upper()


def _whole_or_tail(text: str, options: dict[str, str]) -> list[str]:
    """Return what a response selects that announces nothing: by being only an option, or in its last sentence."""
    if len(text) <= TAIL:
        alone = _LEAD.sub("", _plain(text))
        letter = _LETTER.match(alone) or re.fullmatch(r"\(?[A-Za-z]\)?[.):]?", alone) or _LETTERS_ALONE.fullmatch(alone)
        if letter or normalise(text) in options.values():
            if normalise(text) in options.values():
                return selections(Candidate(text, "tail"), options)
            if "?" in text:
                return []
            marks = _MARK.findall(alone[: cut.start()] if (cut := _CONTRAST.search(alone)) else alone)
            if len(letters := list(dict.fromkeys((left or right).upper() for left, right in marks))) > 1:
                return letters  # the options themselves, repeated
            return selections(Candidate(text, "tail"), options)
    tail = _plain(re.split(r"(?<=[.!?])\s+(?=\S)", text.rstrip()[-TAIL:])[-1])
    if DENIAL.search(tail) or tail.endswith("?"):
        return []
    found = [match for match in _TAIL_LETTER.finditer(tail) if not options or _found(match) in options]
    return list(dict.fromkeys(map(_found, found)))


VERIFIER = Verifier(name="choice", version="3", parse_gold=parse_gold, check=check)
