"""The 25 kinds of constraints: what each takes and what decides it. A new kind is one entry here."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from verifiers.instructions import content, formats, language
from verifiers.instructions.fields import COUNT, KEYWORD, KEYWORDS, LANGUAGE, LETTER, RELATION, TEXT, Field
from verifiers.instructions.finding import Finding
from verifiers.instructions.text import Reading

Arguments = dict[str, Any]


def _no_problem(_arguments: Arguments) -> str:
    return ""


def _less_than_one(count: str, relation: str) -> Callable[[Arguments], str]:
    def problem(arguments: Arguments) -> str:
        never = arguments[relation] == "less than" and arguments[count] == 1
        return "less than 1 of what every response has" if never else ""

    return problem


def _beyond_last(arguments: Arguments) -> str:
    n, last = arguments["nth_paragraph"], arguments["num_paragraphs"]
    return f"paragraph {n} of {last}" if n > last else ""


class Kind(NamedTuple):
    """One kind of constraint.

    Attributes:
        holds: (reading, arguments) to a `Finding`; linear in the length of the reading.
        fields: the arguments it needs, by name.
        problem: what makes a combination of arguments useless, or an empty text.
    """

    holds: Callable[[Reading, Arguments], Finding]
    fields: Mapping[str, Field] = {}
    problem: Callable[[Arguments], str] = _no_problem


KINDS: dict[str, Kind] = {
    "keywords:existence": Kind(content.keywords_exist, {"keywords": KEYWORDS}),
    "keywords:frequency": Kind(
        content.keyword_frequency, {"keyword": KEYWORD, "frequency": COUNT, "relation": RELATION}
    ),
    "keywords:forbidden_words": Kind(content.no_forbidden_words, {"forbidden_words": KEYWORDS}),
    "keywords:letter_frequency": Kind(
        content.letter_frequency, {"letter": LETTER, "let_frequency": COUNT, "let_relation": RELATION}
    ),
    "language:response_language": Kind(language.response_language, {"language": LANGUAGE}),
    "length_constraints:number_sentences": Kind(
        content.number_of_sentences,
        {"num_sentences": COUNT, "relation": RELATION},
        _less_than_one("num_sentences", "relation"),
    ),
    "length_constraints:number_words": Kind(
        content.number_of_words, {"num_words": COUNT, "relation": RELATION}, _less_than_one("num_words", "relation")
    ),
    "length_constraints:number_paragraphs": Kind(formats.paragraphs, {"num_paragraphs": COUNT}),
    "length_constraints:nth_paragraph_first_word": Kind(
        formats.nth_paragraph_first_word,
        {"num_paragraphs": COUNT, "nth_paragraph": COUNT, "first_word": TEXT},
        _beyond_last,
    ),
    "detectable_content:number_placeholders": Kind(content.placeholders, {"num_placeholders": COUNT}),
    "detectable_content:postscript": Kind(formats.postscript, {"postscript_marker": TEXT}),
    "detectable_format:number_bullet_lists": Kind(formats.bullets, {"num_bullets": COUNT}),
    "detectable_format:constrained_response": Kind(formats.constrained_response),
    "detectable_format:number_highlighted_sections": Kind(formats.highlights, {"num_highlights": COUNT}),
    "detectable_format:multiple_sections": Kind(formats.sections, {"section_spliter": TEXT, "num_sections": COUNT}),
    "detectable_format:json_format": Kind(formats.json_format),
    "detectable_format:title": Kind(formats.title),
    "combination:two_responses": Kind(formats.two_responses),
    "combination:repeat_prompt": Kind(formats.repeat_prompt, {"prompt_to_repeat": TEXT}),
    "startend:end_checker": Kind(formats.end_checker, {"end_phrase": TEXT}),
    "startend:quotation": Kind(formats.quotation),
    "change_case:capital_word_frequency": Kind(
        content.capital_words, {"capital_frequency": COUNT, "capital_relation": RELATION}
    ),
    "change_case:english_capital": Kind(language.english_capital),
    "change_case:english_lowercase": Kind(language.english_lowercase),
    "punctuation:no_comma": Kind(content.no_comma),
}
