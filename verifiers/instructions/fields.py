"""The arguments of constraints: how each is read from a gold, and what is expected of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from verifiers.instructions.language import LANGUAGES
from verifiers.instructions.text import folded, loosened, says
from verifiers.visible import is_visible

MAX_COUNT = 1_000_000
MAX_TEXT = 20_000
MAX_TEXTS = 100


class Field(NamedTuple):
    """How one argument is read: `read` returns the value or raises `ValueError`; `expected` says what it takes."""

    read: Callable[[Any], Any]
    expected: str


def _count(value: Any) -> int:
    # JSON has one kind of number, and tables turn whole numbers into 3.0.
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise ValueError
    if not 1 <= value <= MAX_COUNT:
        raise ValueError
    return int(value)


def _relation(value: Any) -> str:
    if value not in ("at least", "less than"):
        raise ValueError
    return str(value)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not is_visible(value) or len(value) > MAX_TEXT:
        raise ValueError
    return value.strip()


def _sentence(value: Any) -> str:
    text = _text(value)
    if not says(text):
        raise ValueError
    return text


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_TEXTS:
        raise ValueError
    texts = [_text(item) for item in value]
    if not all(loosened(text).strip() for text in texts):
        raise ValueError
    return texts


def _keyword(value: Any) -> str:
    return _texts([value])[0]


def _letter(value: Any) -> str:
    text = _text(value)
    if len(folded(text)) != 1 or len(loosened(text)) != 1:
        raise ValueError
    return text


def _language(value: Any) -> str:
    if value not in LANGUAGES:
        raise ValueError
    return str(value)


COUNT = Field(_count, f"a whole number from 1 to {MAX_COUNT}")
RELATION = Field(_relation, "'at least' or 'less than'")
TEXT = Field(_sentence, f"a text with a letter or digit, at most {MAX_TEXT} characters")
KEYWORD = Field(_keyword, "a text that is not empty")
KEYWORDS = Field(_texts, f"a list of 1 to {MAX_TEXTS} texts that are not empty")
LETTER = Field(_letter, "one character")
LANGUAGE = Field(_language, f"one of {', '.join(sorted(LANGUAGES))}")
