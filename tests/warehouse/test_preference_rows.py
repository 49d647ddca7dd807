"""From rows of files to preference pairs: every form that people write, and what is no pair."""

from __future__ import annotations

from typing import Any

import pytest

from warehouse.curation.identity import prompt_id
from warehouse.ingest.fields import RowError
from warehouse.ingest.preferences import PairReader, PairRow
from warehouse.settings import PreferencesSettings

HH = "\n\nHuman: Hello\n\nAssistant: Hi, what is it?\n\nHuman: The time?\n\nAssistant:"
TURNS = [("user", "Hello"), ("assistant", "Hi, what is it?"), ("user", "The time?")]


def read(row: dict[str, Any], **section: Any) -> PairRow:
    settings = {"name": "s", "path": "p", "chosen": "chosen", "rejected": "rejected", **section}
    return PairReader(PreferencesSettings.model_validate(settings)).read(row)


def code(row: dict[str, Any], **section: Any) -> str:
    with pytest.raises(RowError) as caught:
        read(row, **section)
    return caught.value.reason_code


def test_a_prompt_and_two_texts() -> None:
    pair = read({"q": " How? ", "chosen": "So. ", "rejected": "No."}, prompt="q")
    assert (pair.messages, pair.chosen, pair.rejected) == ([{"role": "user", "content": "How?"}], "So.", "No.")
    assert pair.prompt_id == prompt_id([("user", "How?")])
    assert pair.origin == "s"


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        (f"{HH} Noon.", f"{HH} Why ask?"),
        ([{"role": r, "content": c} for r, c in [*TURNS, ("assistant", "Noon.")]],
         [{"role": r, "content": c} for r, c in [*TURNS, ("assistant", "Why ask?")]]),
        (f"{HH} Noon.".replace("\n\nHuman", "\n\n## Human"), f"{HH} Why ask?"),
    ],
)  # fmt: skip
def test_whole_conversations_are_split_into_prompt_and_responses(chosen: Any, rejected: Any) -> None:
    pair = read({"chosen": chosen, "rejected": rejected})
    assert [(m["role"], m["content"]) for m in pair.messages] == TURNS
    assert (pair.chosen, pair.rejected) == ("Noon.", "Why ask?")


@pytest.mark.parametrize(
    ("label", "first"),
    [(1, True), ("1", True), (1.0, True), (2, False), ("2.0", False), ([1.5, 0.5], True), ([0, 2], False)],
)
def test_a_label_says_which_of_two_was_preferred(label: Any, first: bool) -> None:
    pair = read({"q": "?", "chosen": "a", "rejected": "b", "w": label}, prompt="q", label="w")
    assert (pair.chosen, pair.rejected) == (("a", "b") if first else ("b", "a"))


def test_labels_of_other_names_are_mapped_and_a_null_is_a_tie() -> None:
    winner = {"column": "w", "map": {"model_a": 1, "model_b": 2}}
    row = {"q": "?", "chosen": "a", "rejected": "b", "w": "model_b"}
    assert read(row, prompt="q", label=winner).chosen == "b"
    assert code(row | {"w": None}, prompt="q", label=winner) == "tie"
    for tie in (None, "tie", [1.0, 1.0]):
        assert code(row | {"w": tie}, prompt="q", label="w") == "tie"


@pytest.mark.parametrize("label", [0, -1, True, False, 0.5, "model_a", [1.0], [1.0, None], [float("nan"), 1.0], {}])
def test_a_label_that_could_mean_either_is_not_guessed(label: Any) -> None:
    assert code({"q": "?", "chosen": "a", "rejected": "b", "w": label}, prompt="q", label="w") == "bad_label"


def test_messages_are_read_as_those_of_prompts_are() -> None:
    turns = [{"from": "human", "value": "How?"}, {"from": "gpt", "value": [{"type": "text", "text": "So."}]}]
    other = [turns[0], {"role": "assistant", "content": "No."}]
    pair = read({"chosen": turns, "rejected": other})
    assert (pair.messages, pair.chosen) == ([{"role": "user", "content": "How?"}], "So.")
    assert pair.pair_id == read({"m": '[{"role": "user", "content": "How?"}]', "chosen": "So.", "rejected": "No."},
                                messages="m").pair_id  # fmt: skip
    assert code({"chosen": [{"role": "judge", "content": "?"}], "rejected": other}) == "unknown_role"
    assert code({"m": turns, "chosen": "a", "rejected": "b"}, messages="m") == "last_not_user"


def test_what_is_no_pair_says_why() -> None:
    row = {"q": "?", "chosen": "a", "rejected": "b"}
    assert code(row | {"rejected": " a "}, prompt="q") == "equal_texts"
    assert code(row | {"chosen": "  "}, prompt="q") == "empty_response"
    assert code(row | {"chosen": None}, prompt="q") == "bad_response"
    assert code(row | {"q": None}, prompt="q") == "null_prompt"
    assert code({"q": "?", "chosen": "a"}, prompt="q") == "missing_column"
    assert code(row) == "no_transcript"
    assert code({"chosen": f"{HH} a", "rejected": f"{HH} b".replace("Hello", "Bye")}) == "other_prompts"
    assert code({"chosen": "\n\nHuman: a", "rejected": "\n\nHuman: b"}) == "no_response"
    assert code({"m": [{"role": "user"}], "chosen": "a", "rejected": "b"}, messages="m") == "wrong_type"


def test_the_id_is_of_prompt_and_texts_and_not_of_the_file() -> None:
    one = read({"q": "?", "chosen": "a", "rejected": "b"}, prompt="q")
    assert one.pair_id == read({"x": "?", "chosen": "a", "rejected": "b"}, prompt="x", name="other").pair_id
    assert one.pair_id != read({"q": "?", "chosen": "b", "rejected": "a"}, prompt="q").pair_id
