"""How a response is read: as it stands, as loosely as an evasion needs, and as words.

One rule for words serves keywords, counts and first words: a word is a run of letters, digits and combining marks;
everything else, apostrophes, hyphens and underscores included, is a boundary. In scripts that put no blanks between
words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) boundaries cannot be seen: none is asked for, and a number of
words has two bounds.

What must be in a response is read as written (NFC, case folded). What must not be in it is read loosely
(`loosened`), so that an invisible character, a full-width letter or a Cyrillic look-alike hides nothing.
"""

import html
import re
import unicodedata
from collections.abc import Iterator
from functools import cache, cached_property, lru_cache

from verifiers.normal_form import marks, normal_form
from verifiers.visible import BLANK_GLYPHS, is_visible, shown

# Overlays and variation selectors ride on a letter without being part of any alphabet.
_RIDERS = re.compile("[\u0334-\u0338\u034f\u20d0-\u20e6\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_LONG_LIGATURES = "\ufdfa\ufdfb"  # whole phrases, up to 18 letters each in NFKC
_APOSTROPHES = "’‘ʼ＇"
_CONFUSED = "авекмнорстухіїјѕһԁԛԝցհոսօαβεηικνορτυχϲıɑɡᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ"
_LOOKALIKES = str.maketrans(_CONFUSED, "abekmhopctyxiijshdqwghnuoabenikvoptuxciagabcdefghijklmnoprstuvwyz")
_LOOKALIKE = re.compile(f"[{_CONFUSED}]")
_EMBLEMS = {  # white on black squares and parts of flags, which NFKC leaves
    first + index: letter
    for first in (0x1F150, 0x1F170, 0x1F1E6)
    for index, letter in enumerate("abcdefghijklmnopqrstuvwxyz")
}
_EMBLEM = re.compile("[\U0001f150-\U0001f169\U0001f170-\U0001f189\U0001f1e6-\U0001f1ff]")
_MARKUP = re.compile(r"</?[A-Za-z][^<>]{0,200}>|\*+|(?<![^\W_])_+|_+(?![^\W_])")
# Not the joiners and soft hyphens, which belong inside words.
_SEPARATORS = re.compile(f"[\u180e\u200b\u2060-\u2064\ufeff{BLANK_GLYPHS}]")
_LETTERS = re.compile(r"[^\W\d_]+")
_ASCII_LETTER = re.compile("[a-z]")
_WORD = re.compile(r"[^\W_]+")
_VOWEL = re.compile("[aeiouy]")
_LEAST_INFLECTED = 3  # letters: "be" is not in "bed"

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts without blanks between words, as the inside of a character class."""

_UNSPACED_RUN = re.compile(f"[{UNSPACED}]+")


@cache
def _marks_pattern() -> re.Pattern[str]:
    return re.compile(f"[{marks()}]+")


@cache
def _format_characters() -> re.Pattern[str]:
    points = (*range(0x80, 0x20000), *range(0xE0000, 0xE0080))
    return re.compile(f"[{''.join(chr(point) for point in points if unicodedata.category(chr(point)) == 'Cf')}]+")


def says(text: str) -> bool:
    """Whether a text has a letter or a digit."""
    return _WORD.search(text) is not None


def folded(text: str) -> str:
    """Return the form in which required texts are compared: NFC, case folded, apostrophes straight."""
    if text.isascii():
        return text.lower()
    text = normal_form("NFC", normal_form("NFC", text).casefold())
    for apostrophe in _APOSTROPHES:
        text = text.replace(apostrophe, "'")
    return text


def loosened(text: str) -> str:
    """Return the form in which forbidden texts are looked for.

    NFKC, case folded, without invisible characters and overlays. A word that mixes Latin letters with look-alikes
    of other scripts, or consists of look-alikes alone, is read as Latin.
    """
    if text.isascii():
        return text.lower()
    for ligature in _LONG_LIGATURES:
        text = text.replace(ligature, " ")
    if _EMBLEM.search(text):
        text = text.translate(_EMBLEMS)
    seen = folded(_RIDERS.sub("", _format_characters().sub("", normal_form("NFKC", text))))
    return _LETTERS.sub(_read_as_latin, seen) if _LOOKALIKE.search(seen) else seen


def rendered(text: str) -> str:
    """Return a text as Markdown and HTML show it: no comments, tags and emphasis, character references read."""
    return html.unescape(_MARKUP.sub("", shown(text)))


def separated(text: str) -> str:
    """Return a text with characters that separate words without showing it replaced by blanks."""
    return text if text.isascii() else _SEPARATORS.sub(" ", text)


def _read_as_latin(match: re.Match[str]) -> str:
    word = match[0]
    if word.isascii():
        return word
    latin = word.translate(_LOOKALIKES)
    return latin if latin.isascii() or _ASCII_LETTER.search(word) else word


def occurrences(phrase: str, text: str) -> Iterator[int]:
    """Yield where a phrase stands in a text as words of its own; blanks in it match any blanks.

    Both must be in the same form, `folded` or `loosened`.
    """
    pattern = _phrase(phrase)
    before, after = _needs_boundary(phrase[0]), _needs_boundary(phrase[-1])
    found = pattern.search(text)
    while found:
        start, end = found.span()
        alone = not (before and start and _continues(text[start - 1])) and not (
            after and end < len(text) and _continues(text[end])
        )
        if alone:
            yield start
        found = pattern.search(text, end if alone else start + 1)


def any_occurrence(phrase: str, text: str) -> bool:
    """Whether a phrase stands anywhere in a text as words of its own; see `occurrences`."""
    return next(occurrences(phrase, text), None) is not None


def inflected_occurrences(phrase: str, text: str) -> Iterator[int]:
    """Yield where a phrase stands in a text, its last word as it is or with an English ending.

    The endings are -s, -es, -d, -ed and -ing, the last two also after a doubled consonant: "knot" is in "knots" and
    "knotted", not in "knotty". Endings that change the word ("try", "tries") are not seen. A last word without
    a vowel or of less than three letters has no endings.
    """
    endings = _endings(_last_word(phrase))
    if endings is None:
        yield from occurrences(phrase, text)
        return
    pattern, before = _phrase(phrase), _needs_boundary(phrase[0])
    found = pattern.search(text)
    while found:
        start = found.start()
        end = endings.match(text, found.end())
        if end and not (before and start and _continues(text[start - 1])):
            yield start
            found = pattern.search(text, end.end())
        else:
            found = pattern.search(text, start + 1)


def _last_word(phrase: str) -> str:
    found = re.search(r"[a-z]+\Z", phrase)
    return found[0] if found and not (found.start() and _continues(phrase[found.start() - 1])) else ""


@lru_cache(maxsize=1024)
def _endings(word: str) -> re.Pattern[str] | None:
    """Return the pattern of the endings that a word may have, none included, up to where the word ends."""
    if len(word) < _LEAST_INFLECTED or not _VOWEL.search(word):
        return None
    last = word[-1]
    if last == "e":
        endings = "s|d"
    elif word.endswith(("s", "x", "z", "ch", "sh", "o")):
        endings = "s|es|ed|ing"
    elif last in "aiuwxy":
        endings = "s|ed|ing"
    else:
        endings = f"s|{last}?(?:ed|ing)"
    return re.compile(f"(?:{endings})?+(?![^\\W_{UNSPACED}])(?![{marks()}])")


@lru_cache(maxsize=1024)
def _phrase(phrase: str) -> re.Pattern[str]:
    # No look-behind: a pattern that begins with a literal is searched an order of magnitude faster.
    return re.compile(r"\s+".join(map(re.escape, phrase.split())))


def _continues(neighbour: str) -> bool:
    """Whether a character beside a phrase makes it part of a longer word."""
    if neighbour.isalnum():
        return _UNSPACED_RUN.match(neighbour) is None
    return not neighbour.isascii() and unicodedata.category(neighbour)[0] == "M"


def _needs_boundary(edge: str) -> bool:
    return edge.isalnum() and _UNSPACED_RUN.match(edge) is None


def words(text: str) -> list[str]:
    """Return the words of a text, in order. Combining marks are left out of them."""
    return _WORD.findall(_unmarked(text))


def _unmarked(text: str) -> str:
    if text.isascii():
        return text
    composed = _format_characters().sub("", normal_form("NFC", text))
    return _marks_pattern().sub("", composed)


class Reading:
    """One form of a response; what several constraints need of it is computed once."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def folded(self) -> str:
        """See `folded`."""
        return folded(self.text)

    @cached_property
    def loosened(self) -> str:
        """See `loosened`."""
        return loosened(self.text)

    @cached_property
    def disguises(self) -> tuple[str, ...]:
        """The forms in which what must not be there is looked for: as written, and as it is shown."""
        plain = rendered(self.text)
        return (self.loosened,) if plain == self.text else (self.loosened, loosened(plain))

    @cached_property
    def words(self) -> list[str]:
        """See `words`."""
        return words(self.text)

    @cached_property
    def word_count(self) -> tuple[int, int]:
        """Least and greatest number of words; they differ only where a script puts no blanks between words."""
        least = len(self.words)
        if self.text.isascii():
            return least, least
        return least, least + sum(len(run) - 1 for word in self.words for run in _UNSPACED_RUN.findall(word))

    @cached_property
    def separated(self) -> "Reading":
        """The reading in which invisible separators are blanks, for limits from above."""
        text = separated(self.text)
        return self if text == self.text else Reading(text)


def variants(response: str) -> list[str]:
    """Return what the loose mode looks at, the response itself first.

    The whole response, without its first line, without its last, without both, and each of these without asterisks.
    Those that show nothing are left out, and so are repetitions.
    """
    lines = response.split("\n")
    forms = [response, *("\n".join(kept).strip() for kept in (lines[1:], lines[:-1], lines[1:-1]))]
    forms += [form.replace("*", "") for form in forms]
    return [form for form in dict.fromkeys(forms) if is_visible(form)]
