"""What a reader sees of a text: whether it shows anything, and without what Markdown hides."""

import re
import unicodedata

BLANK_GLYPHS = "\u2800\u3164\u115f\u1160\uffa0"
"""Blank glyphs that Unicode does not class as blanks: Braille blank and the Hangul fillers."""

_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs", "Mn", "Me"})
# In a code block everything is seen. Each alternative takes all that it looks at, so this is linear.
_HIDDEN = re.compile(
    r"^ {0,3}```[^`\n]*\n.*?(?:^ {0,3}```|\Z)|(?P<hidden><!--.*?(?:-->|\Z)|^ {0,3}\[[^\]\n]{0,80}\]: *#[^\n]*)",
    re.MULTILINE | re.DOTALL,
)


def is_visible(text: str) -> bool:
    """Whether a text shows anything: a character that is no blank, control, invisible or lone combining mark."""
    return any(33 <= ord(character) <= 126 or _shows(character) for character in text)


def _shows(character: str) -> bool:
    return unicodedata.category(character) not in _INVISIBLE and character not in BLANK_GLYPHS


def shown(text: str) -> str:
    """Return a text without what Markdown does not show: HTML comments and `[//]: # (notes)`."""
    if "<!--" not in text and "]:" not in text:
        return text
    return _HIDDEN.sub(lambda match: "" if match["hidden"] is not None else match[0], text)
