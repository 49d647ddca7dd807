"""What takes an answer back: a question mark, another answer after it, a denial, or a part of it that was not read."""

import re

from verifiers.extract import MAX_PHRASE, Candidate

_AFTER = re.compile(
    r"[\s*_\"'”’)]*(?:\?|[.!,;]?[\s*_]*\b(?:or|alternatively|otherwise|maybe|perhaps|possibly)\b)", re.IGNORECASE
)
_AFTER_BOX = re.compile(
    r"[\s*_\"'”’)$\\\]}]*(?:\?|[.!,;]?[\s*_(]*\b(?:or|alternatively|otherwise|maybe|perhaps|possibly)\b"
    r"(?!\W*(?:equivalently|simply|just|about|approximately|roughly|in\b|as\b|\$|\\|[0-9≈])))",
    re.IGNORECASE,
)
DENIAL = re.compile(
    r"\b(?:not|neither|nor|except|cannot|anything but|all but|never|unlikely|ruled? out|rules out|eliminat\w+|exclud\w+"
    r"|wrong|incorrect|false|impossible|nicht|kein\w*)\b|n['’]t\b|(?:\\|\b)(?:neg|lnot)(?![a-z])|¬",
    re.IGNORECASE,
)
"""Words that say what an answer is not."""


def taken_back(candidate: Candidate) -> bool:
    """Whether the rest of its line questions the answer or offers another: "Paris? No.", "Paris. Or London.".

    Behind a box, "or" may also lead to another way to write the same; a number there is compared (extract.py).
    """
    if candidate.after:
        return _AFTER_BOX.match(candidate.after) is not None
    rest = candidate.line[len(candidate.text) :] if candidate.line.startswith(candidate.text) else ""
    return _AFTER.match(rest) is not None


def cut_off(candidate: Candidate) -> bool:
    """Whether the answer goes on beyond what was read of it; a box is always read to its end."""
    return candidate.source != "boxed" and max(len(candidate.text), len(candidate.line)) >= MAX_PHRASE
