"""Constraints that no response can meet together, where that is cheap to see."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

from verifiers.instructions.content import commas
from verifiers.instructions.text import any_occurrence, folded, loosened

Given = tuple[str, dict[str, Any]]

# Arguments whose text must appear in a response.
_REQUIRED_TEXTS = ("keywords", "keyword", "end_phrase", "first_word", "prompt_to_repeat", "section_spliter")
_BOUNDED = {  # id: (count, relation, the argument that says of what)
    "length_constraints:number_sentences": ("num_sentences", "relation", None),
    "length_constraints:number_words": ("num_words", "relation", None),
    "keywords:frequency": ("frequency", "relation", "keyword"),
    "keywords:letter_frequency": ("let_frequency", "let_relation", "letter"),
    "change_case:capital_word_frequency": ("capital_frequency", "capital_relation", None),
}
_SINGLE = {  # id: arguments that two of one kind must share
    "language:response_language": ("language",),
    "length_constraints:number_paragraphs": ("num_paragraphs",),
    "length_constraints:nth_paragraph_first_word": ("num_paragraphs",),
    "detectable_format:number_bullet_lists": ("num_bullets",),
}
_EXCLUDING = (
    {"change_case:english_capital", "change_case:english_lowercase"},
    {"detectable_format:json_format", "startend:quotation"},
    {"detectable_format:json_format", "combination:repeat_prompt"},
    {"detectable_format:json_format", "combination:two_responses"},
    {"detectable_format:constrained_response", "change_case:english_capital"},
    {"detectable_format:constrained_response", "change_case:english_lowercase"},
)


def conflict(instructions: list[Given]) -> str:
    """Return the first contradiction found, or an empty text."""
    required = [text for given in instructions for text in _required(given[1])]
    problems = [
        *(_between(*pair) for pair in combinations(instructions, 2)),
        *(_against_texts(given, required) for given in instructions),
    ]
    return next(filter(None, problems), "")


def _required(arguments: dict[str, Any]) -> Iterable[str]:
    if arguments.get("relation") == "less than":
        return
    for key in _REQUIRED_TEXTS:
        if key in arguments:
            yield from arguments[key] if isinstance(arguments[key], list) else [arguments[key]]


def _between(one: Given, other: Given) -> str:
    (first, mine), (second, theirs) = one, other
    if {first, second} in _EXCLUDING:
        return f"{first} and {second}"
    languages = {given["language"] for given in (mine, theirs) if "language" in given}
    if languages - {"en"} and "change_case:english" in first + second:
        return f"{first} and {second}"
    if first != second:
        return ""
    if any(mine[key] != theirs[key] for key in _SINGLE.get(first, ())):
        return f"two different {first}"
    if first == "length_constraints:nth_paragraph_first_word":
        same = mine["nth_paragraph"] == theirs["nth_paragraph"]
        differs = folded(mine["first_word"]) != folded(theirs["first_word"])
        return "two first words for one paragraph" if same and differs else ""
    if first == "startend:end_checker":
        ends = sorted((folded(mine["end_phrase"]), folded(theirs["end_phrase"])), key=len)
        return "" if ends[1].endswith(ends[0]) else "two different end phrases"
    if first == "combination:repeat_prompt":
        starts = sorted((folded(mine["prompt_to_repeat"]), folded(theirs["prompt_to_repeat"])), key=len)
        return "" if starts[1].startswith(starts[0]) else "two different prompts to repeat"
    return _empty_range(first, mine, theirs)


def _empty_range(name: str, mine: dict[str, Any], theirs: dict[str, Any]) -> str:
    if name not in _BOUNDED:
        return ""
    count, relation, of = _BOUNDED[name]
    if of and folded(mine[of]) != folded(theirs[of]):
        return ""
    if mine[relation] == theirs[relation]:
        return ""
    least, most = (mine, theirs) if mine[relation] == "at least" else (theirs, mine)
    return f"{name} at least {least[count]} and less than {most[count]}" if most[count] <= least[count] else ""


def _against_texts(given: Given, required: list[str]) -> str:
    """Say whether a constraint forbids a text that another one requires."""
    name, arguments = given
    if name == "punctuation:no_comma":
        return next((f"no comma, but {text[:40]!r} is required" for text in required if commas().search(text)), "")
    forbidden = arguments.get("forbidden_words", [])
    if name == "keywords:frequency" and arguments["relation"] == "less than" and arguments["frequency"] == 1:
        forbidden = [arguments["keyword"]]
    for word in forbidden:
        for text in required:
            if any_occurrence(loosened(word), loosened(text)):
                return f"{word!r} is forbidden, but {text[:40]!r} is required"
    return ""
