"""Which language a response is in.

1. Letters first, in the calling process. More than half of them must be of a script the language is written in.
   Where no other supported language is written in that script, this decides.
2. Otherwise langdetect decides in a worker, on lower-case text, with seed 0 and its profiles loaded in order of name:
   the likeliest language, as in IFEval's program, where it is likelier than all others together. That another one is
   likeliest decides only with probability 0.8 or more, or where this one has less than 0.1, and on at least `DECIDES`
   letters. Anything else is undecided: the detector calls "etchings" German. Letters are counted over distinct words,
   so repetition adds nothing.
3. A paragraph of at least `PARAGRAPH` letters that is certainly in another language makes the text fail: an
   introduction in English is not "entirely in Hindi".
"""

import re
from functools import cache
from typing import Any

from verifiers.instructions.finding import Finding, Question
from verifiers.instructions.text import Reading, words

LEAST = 6
"""Letters of distinct words below which nothing is detected."""

DECIDES = 40
"""Letters of distinct words from which a language can be ruled out."""

PARAGRAPH = 60
"""Letters of distinct words from which a paragraph is judged alone."""

SAMPLE = 3_000
"""Characters that langdetect looks at; of a longer text, ten slices spread over it."""

_PARAGRAPHS = 20  # paragraphs that are judged alone, at most
_PARAGRAPH_SAMPLE = 1_000
_CERTAIN = 0.8  # six of the seven trials that langdetect averages
_LIKELIEST = 0.5
_POSSIBLE = 0.1

# Unicode blocks; what is looked for in them is letters only.
_LATIN = r"A-Za-z\u00aa-\u024f\u1e00-\u1eff\ufb00-\ufb06\uff21-\uff5a"
_CYRILLIC = r"\u0400-\u052f\u1c80-\u1c8f\ua640-\ua69f"
_ARABIC = r"\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefe"
_DEVANAGARI = r"\u0900-\u097f\ua8e0-\ua8ff"
_HAN = r"\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = r"\u3040-\u30ff\uff66-\uff9f"
_SCRIPTS = {
    **dict.fromkeys(("bg", "mk", "ru", "uk"), _CYRILLIC),
    **dict.fromkeys(("ar", "fa", "ur"), _ARABIC),
    **dict.fromkeys(("hi", "mr", "ne"), _DEVANAGARI),
    **dict.fromkeys(("zh", "zh-cn", "zh-tw"), _HAN),
    "ja": _HAN + _KANA,
    "bn": r"\u0980-\u09ff",
    "el": r"\u0370-\u03ff\u1f00-\u1fff",
    "gu": r"\u0a80-\u0aff",
    "he": r"\u0590-\u05ff\ufb1d-\ufb4f",
    "kn": r"\u0c80-\u0cff",
    "ko": r"\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff",
    "ml": r"\u0d00-\u0d7f",
    "pa": r"\u0a00-\u0a7f",
    "ta": r"\u0b80-\u0bff",
    "te": r"\u0c00-\u0c7f",
    "th": r"\u0e00-\u0e7f",
}
_ALONE = frozenset({"bn", "el", "gu", "he", "kn", "ko", "ml", "pa", "ta", "te", "th"})
_UNSPACED = frozenset({"ja", "th", "zh", "zh-cn", "zh-tw"})
_LATIN_LANGUAGES = "af ca cs cy da de en es et fi fr hr hu id it lt lv nl no pl pt ro sk sl so sq sv sw tl tr vi"
LANGUAGES = frozenset(_SCRIPTS).union(_LATIN_LANGUAGES.split())
"""The codes that may be asked for: langdetect's 55, and `zh` for either way of writing Chinese."""

_LETTERS = re.compile(r"[^\W\d_]+")
_LAYOUT = re.compile(r"[\s\d*_#|<>\[\](){}]+")
_BLANK_LINES = re.compile(r"\n\s*\n")


@cache
def _script_of(language: str) -> re.Pattern[str]:
    return re.compile(f"[{_SCRIPTS.get(language, _LATIN)}]+")


def _share(text: str, language: str) -> tuple[int, int]:
    """Return (letters of the language's script, letters).

    Where blanks separate words, a word that mixes scripts has none of the first: look-alikes are no letters of it.
    """
    script, runs = _script_of(language), _LETTERS.findall(text)
    if language in _UNSPACED:
        own = sum(map(len, script.findall("".join(runs))))
    else:
        own = sum(len(run) for run in runs if script.fullmatch(run))
    return own, sum(map(len, runs))


def distinct_letters(text: str) -> int:
    """Return the number of letters in the distinct words of a text, whatever their case."""
    return sum(sum(map(str.isalpha, word)) for word in set(words(text.lower())))


def in_language(reading: Reading, language: str) -> Finding:
    """Say whether a text is in a language, as far as the letters tell; else with the question for the detector."""
    own, letters = _share(reading.text, language)
    if letters == 0:
        return Finding(None, f"no letters to detect a language in, required: {language}")
    detail = f"{own} of {letters} letters in the script of {language}"
    if 2 * own <= letters:
        return Finding(False, f"{detail}, required: most")
    paragraphs = _long_paragraphs(reading.text)
    if language in _ALONE:
        foreign = any(10 * own < letters for own, letters in (_share(paragraph, language) for paragraph in paragraphs))
        return Finding(not foreign, f"{detail}{', a paragraph in another script' if foreign else ''}")
    if distinct_letters(reading.text) < LEAST:
        return Finding(None, f"too few letters to detect a language in, required: {language}")
    question = Question(language, _sample(reading.text, SAMPLE), tuple(paragraphs))
    return Finding(None, f"required: {language}", question)


def _long_paragraphs(text: str) -> list[str]:
    """Return lower-case samples of paragraphs long enough to be judged alone, spread over the text."""
    pieces = _BLANK_LINES.split(text)
    if len(pieces) == 1:
        return []
    if len(pieces) > 5 * _PARAGRAPHS:
        pieces = sorted(pieces, key=len, reverse=True)[: 5 * _PARAGRAPHS]
    samples = (_sample(piece, _PARAGRAPH_SAMPLE) for piece in pieces)
    found = list(dict.fromkeys(sample for sample in samples if distinct_letters(sample) >= PARAGRAPH))
    return found if len(found) <= _PARAGRAPHS else found[:: -(-len(found) // _PARAGRAPHS)]


def _sample(text: str, size: int) -> str:
    """Return a text in lower case without digits and marks of layout; of a long one, ten slices."""
    text = _LAYOUT.sub(" ", text.lower()).strip()
    if len(text) <= size:
        return text
    step, width = len(text) // 10, size // 10 - 1
    return " ".join(text[start : start + width] for start in range(0, 10 * step, step))


def response_language(reading: Reading, arguments: dict[str, Any]) -> Finding:
    """The whole text is in the language."""
    return in_language(reading, arguments["language"])


def english_capital(reading: Reading, _arguments: dict[str, Any]) -> Finding:
    """The text is English and all letters are capitals."""
    if not reading.text.isupper():
        return Finding(False, "not all in capital letters")
    return in_language(reading, "en")


def english_lowercase(reading: Reading, _arguments: dict[str, Any]) -> Finding:
    """The text is English and no letter is a capital."""
    if not reading.text.islower():
        return Finding(False, "not all in small letters")
    return in_language(reading, "en")


class Detector:
    """langdetect with fixed seed and profiles; loading them takes most of a second."""

    def __init__(self) -> None:
        from importlib.resources import files

        from langdetect.detector_factory import DetectorFactory

        profiles = sorted(files("langdetect").joinpath("profiles").iterdir(), key=lambda item: item.name)
        self._factory = DetectorFactory()
        self._factory.load_json_profile(
            [item.read_text(encoding="utf-8") for item in profiles if not item.name.startswith(("_", "."))]
        )
        self._factory.set_seed(0)

    def probabilities(self, text: str) -> dict[str, float]:
        """Return the probability of each language that has 0.1 or more; nothing when the text has no features."""
        from langdetect.lang_detect_exception import LangDetectException

        detector = self._factory.create()
        detector.append(text)
        try:
            found = detector.get_probabilities()
        except LangDetectException:
            return {}
        return {language.lang: language.prob for language in found}


@cache
def detector() -> Detector:
    """Return the detector of this process."""
    return Detector()


def answer(question: Question) -> Finding:
    """Answer a question; runs in a worker."""
    found = _probability(question.text, question.language)
    shown = ", ".join(f"{name} {probability:.2f}" for name, probability in sorted(found[1].items())) or "no language"
    detail = f"detected: {shown}; required: {question.language}"
    if not found[1]:
        return Finding(None, detail)
    another = found[0] < _LIKELIEST and max(found[1].values()) >= _CERTAIN
    if (another or found[0] < _POSSIBLE) and distinct_letters(question.text) >= DECIDES:
        return Finding(False, detail)
    for paragraph in question.paragraphs:
        own, others = _probability(paragraph, question.language)
        if own < _POSSIBLE and any(probability >= _CERTAIN for probability in others.values()):
            other = max(others, key=lambda name: others[name])
            return Finding(False, f"{detail}; a paragraph is in {other}")
    return Finding(True, detail) if found[0] > _LIKELIEST else Finding(None, detail)


def _probability(text: str, language: str) -> tuple[float, dict[str, float]]:
    found = detector().probabilities(text)
    names = ("zh-cn", "zh-tw") if language == "zh" else (language,)
    return sum(found.get(name, 0.0) for name in names), found
