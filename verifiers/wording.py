"""Words around an answer that make something else of it: denials, doubts, bounds, operations and other answers.

Text is open-ended, so these are lists, of English and of the commonest words of some other languages. What is not in
them ("5 apples") describes the answer. Every place that reads words asks here: units after a number, phrases around
one, what follows a box.
"""

import re

_DENIED = (
    r"not|isnt|never|neither|nor|cannot|wrong|incorrect|false|impossible|unknown|none|nope|hardly|scarcely|unlikely"
    r"|disproved|retracted|rejected|nicht|kein\w*|falsch|niet|faux|fausse|ne pas|incorrect[oa]|fals[oa]|errad[oa]"
    r"|sbagliat[oa]"
)
_UNSURE = (
    r"maybe|perhaps|possibly|probably|presumably|supposedly|allegedly|guess\w*|unsure|uncertain|alternatively"
    r"|otherwise|unless|whatever|something|ish|(?:could|might|may)(?: also)? be|oops|typo|vielleicht|peut-être"
    r"|quizás?|tal vez|talvez|forse"
)
# "two-digit numbers" are counted by the number before them.
_NUMBER_WORDS = (
    r"(?:zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    r"|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion)(?!-)"
)
_PARTS = (
    r"halves|(?:third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|twelfth|twentieth|hundredth|thousandth|millionth"
    r"|billionth)s"
)
_OTHER = r"or|oder|ou|или|或者?|または|또는|vs\.?|versus|nor"
_OPERATIONS = (
    r"squared|cubed|doubled|halved|negated|twice|thrice|double|triple|half of|minus|plus|times(?=\s+\S)|factorial"
    r"|modulo|remainder|divided by|multiplied by|(?:square |cube )?root of|reciprocal of|inverse of|negative|recurring"
    r"|repeating"
)

DENIAL = re.compile(rf"\b(?:{_DENIED})\b|n['’]t\b", re.IGNORECASE)
"""Words that say what an answer is not, or that it is wrong."""

DOUBT = re.compile(rf"\b(?:{_UNSURE})\b|\?", re.IGNORECASE)
"""Words that do not stand by an answer."""

OPERATIONS = re.compile(rf"\b(?:{_OPERATIONS})\b", re.IGNORECASE)
"""Words that make another number of the one beside them."""

_WRONG_UNIT = (
    rf"{_DENIED}|{_UNSURE}|{_NUMBER_WORDS}|{_PARTS}|{_OTHER}|{_OPERATIONS}|no|and|und|et|pas|non|plusminus|choose|else"
    r"|then|until|till|thru|through|(?:more|less|fewer|greater) than|inverse|basis|point (?=\w)|below zero|too many"
    r"|rather|instead|actually|becomes|replaced|changed|crossed"
)

WRONG_UNIT = re.compile(rf"\b(?:{_WRONG_UNIT})\b", re.IGNORECASE)
"""Words after a number which are no unit: they make it another number, one of several, or no answer."""

NO_UNIT = re.compile(
    rf"\b(?:{_WRONG_UNIT}|to|over|of|mod|pi|sqrt|sin|cos|tan|log|ln|exp|power|root|infinity|infty|between|if|for|when|by"
    r"|is|are|was|but|than|less)\b",
    re.IGNORECASE,
)
"""The same, and words which make a number an expression or a sentence."""

BEFORE = re.compile(
    r"(?:(?:\b(?:not|never|cannot|except|unlike|hardly|barely|almost|nearly|near|close to|under|over|above|below|beyond"
    r"|up to|within|exceed(?:s|ing)?|(?:more|less|fewer|greater|larger|smaller|bigger|higher|lower|other|rather) than"
    r"|at (?:least|most)|no (?:more|less|fewer)|instead of|as opposed to|different from|far from|(?:anything|all) but"
    r"|nicht|kein\w*|minus|negative|plus|times|twice|thrice|double|triple|half(?: of)?"
    r"|(?:square |cube |cubic |[a-z]*th )?roots? of|sqrt|log(?:arithm)?(?: of)?|ln"
    r"|(?:square|cube|reciprocal|inverse|power|multiple|factor|divisor|percent) of"
    r"|divisible by|divided by|multiplied by|mod|modulo|steps?|lines?|equations?|eqs?\.?|problems?|questions?|pages?"
    r"|versions?|sections?|chapters?|figures?|parts?|exercises?|see)(?![a-z])|n['’]t\b)"
    r"(?:\s+(?:be|equal(?: to)?|exactly|simply|just|necessarily|the|a|an|of))*"
    r"|(?<=[\w)\]}$])\s*(?:[<>]=?|[≤≥≠]|!=|\\(?:neq?|[lg]eq?|[lg]t)(?![a-z]))|[√∛±])\s*[*_$€£(\[\\]*\s*\Z",
    re.IGNORECASE,
)
"""What, right before a number, makes another number, a bound, a denial or a reference of it."""

AFTER = re.compile(
    rf"[\s*_$)\\]*(?:(?:{_PARTS}|squared|cubed|plus|minus|factorial|mod|modulo|choose|divided by|multiplied by"
    r"|raised to|to the|(?:more|less|fewer|greater) than|times (?:as|the|more|that|of)|and a (?:half|third|quarter)"
    rf"|(?:or|and) (?:more|less|fewer|up|above|over)|point (?:[0-9]|one\b|{_NUMBER_WORDS})|dozen {_NUMBER_WORDS})\b"
    r"|\+(?!\s*[0-9A-Za-z\\(])|\.\.+\s*[0-9]|(?:over|times)\s+[$0-9]"
    r"|(?:th|st|nd|rd)\s+(?:power|root)\b|[,.]?\s*(?:(?:which|that|this|it)\s+)?(?:is|was|would be|seems|looks)\s+"
    r"(?:\w+\s+)?(?:too|not|never|wrong|incorrect|false|impossible)\b|(?:not|wrong|nicht)\b)",
    re.IGNORECASE,
)
"""What, right after a number, makes another number or no answer of it."""

ANOTHER = re.compile(
    rf"(?:(?:{_OTHER}|and)\b|[,;/&|、，])\s*(?:(?:{_UNSURE}|even)\s+)?(?:{_NUMBER_WORDS}|one(?! of))\b"
    rf"|(?:(?:{_OTHER}|to|thru|through|plus|minus)\b|[或、，|/~±])\s*(?:(?:{_UNSURE}|even)\s+)?[$€£]?[-+]?[0-9]",
    re.IGNORECASE,
)
"""A second number, beside the first: "or six", "through 6", "| 6"."""

_CONTRAST = re.compile(
    r"[,;]?\s*(?:and |but )?\b(?:not|rather than|instead of|as opposed to)\s+\$?[-+]?[0-9][0-9,.]*\$?", re.IGNORECASE
)
_SENTENCE = re.compile(r"[^\n]*?(?=[.!]\s|\n|$)", re.ASCII)


def changed(before: str, after: str) -> bool:
    """Whether the words around a number, or around inline mathematics, do more than state it.

    "5, not 6" and "5 rather than 6" state 5. Only the rest of the sentence counts of `after`.
    """
    sentence = _SENTENCE.match(after)
    after = _CONTRAST.sub(" ", sentence[0] if sentence else after)
    return (
        BEFORE.search(before) is not None
        or AFTER.match(after) is not None
        or ANOTHER.match(after.lstrip(" \t$*_)")) is not None
        or DOUBT.search(after) is not None
    )


def denied(text: str) -> bool:
    """Whether a phrase denies what it holds; "5, not 6" does not deny 5."""
    return DENIAL.search(_CONTRAST.sub(" ", text) if text[:1].isdigit() else text) is not None
