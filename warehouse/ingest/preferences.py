"""From a row of a file to a preference pair."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from warehouse.curation.identity import canonical_text, prompt_id
from warehouse.hashing import text_hash
from warehouse.ingest.fields import RowError, getter
from warehouse.ingest.rows import conversation, message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from warehouse.settings import PreferencesSettings

Turns = tuple[tuple[str, str], ...]
_TURN = re.compile(r"(?:^|\n\n)(?:## )?(Human|User|Assistant):", re.IGNORECASE)
_LABELS = {"1": True, "1.0": True, "2": False, "2.0": False}  # 0 is a tie to some, the first or the second to others

_NO_TRANSCRIPT = (
    'is neither a list of messages nor a text of "Human:" and "Assistant:" turns; is there a prompt column?'
)


class PairRow(NamedTuple):
    """A pair as the table `preferences` has it."""

    pair_id: str
    prompt_id: str
    messages: list[dict[str, str]]
    chosen: str
    rejected: str
    origin: str


def pair_id(prompt: str, chosen: str, rejected: str) -> str:
    """Return the id of a pair: 32 hex characters over the prompt's id and both texts."""
    return text_hash("pair", prompt, chosen, rejected)


class PairReader:
    """Reads the rows of one `[[preferences]]` section."""

    def __init__(self, section: PreferencesSettings) -> None:
        self._section = section
        fields = ("prompt", "messages", "chosen", "rejected", "label")
        self._prompt, self._messages, self._chosen, self._rejected, self._label = (
            getter(getattr(section, name)) for name in fields
        )

    def read(self, row: Mapping[str, Any]) -> PairRow:
        """Return the pair that a row holds.

        Raises:
            RowError: it holds none; the code says why.
        """
        turns, first, second = self._responses(row)
        chosen, rejected = (first, second) if self._prefers_first(row) else (second, first)
        for name, text in (("chosen", chosen), ("rejected", rejected)):
            if not text.strip():
                raise RowError("empty_response", f"the {name} response is empty")
        if canonical_text(chosen) == canonical_text(rejected):
            raise RowError("equal_texts", "both responses are the same text")
        prompt = prompt_id(turns)
        messages = [{"role": role, "content": content} for role, content in turns]
        return PairRow(pair_id(prompt, chosen, rejected), prompt, messages, chosen, rejected, self._section.name)

    def _responses(self, row: Mapping[str, Any]) -> tuple[Turns, str, str]:
        """Return the turns before the responses, and both responses."""
        chosen, rejected = self._chosen(row), self._rejected(row)
        if self._section.prompt is not None:
            text = self._prompt(row)
            if not isinstance(text, str) or not text.strip():
                raise RowError("null_prompt", f"the prompt should be text, is {text!r:.60}")
            return (("user", text.strip()),), _text("chosen", chosen), _text("rejected", rejected)
        if self._section.messages is not None:
            return _stripped(conversation(self._messages(row))), _text("chosen", chosen), _text("rejected", rejected)
        (*before, one), (*other, two) = (_transcript(n, v) for n, v in (("chosen", chosen), ("rejected", rejected)))
        if prompt_id(before) != prompt_id(other):
            raise RowError("other_prompts", "chosen and rejected do not begin with the same turns")
        return tuple(before), one[1], two[1]

    def _prefers_first(self, row: Mapping[str, Any]) -> bool:
        if self._section.label is None:
            return True
        value = self._label(row)
        scores = _scores(value)
        if value in (None, "tie") or (scores and scores[0] == scores[1]):
            raise RowError("tie", "the label prefers neither response")
        if scores:
            return scores[0] > scores[1]
        told = _LABELS.get(str(value).strip())
        if told is None:
            what = 'should be 1 or 2, for the response that was preferred, "tie", or a list of two scores'
            raise RowError("bad_label", f"the label {what}; it is {value!r:.60}: use `map`")
        return told


def _scores(value: Any) -> list[float]:
    """Return the two scores that a label may be, or nothing."""
    numbers = isinstance(value, list) and len(value) == 2 and all(type(v) in (int, float) for v in value)
    return [float(v) for v in value] if numbers and all(map(math.isfinite, value)) else []


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise RowError("bad_response", f"the {name} response should be text, is {value!r:.60}")
    return value.strip()


def _stripped(turns: Iterable[tuple[str, str]]) -> Turns:
    return tuple((role, content.strip()) for role, content in turns)


def _transcript(name: str, value: Any) -> Turns:
    """Return the turns of a whole conversation, the last of which is the response."""
    if isinstance(value, list):
        turns = _stripped(message(m) for m in value)
    elif isinstance(value, str):
        turns = _split(name, value)
    else:
        raise RowError("no_transcript", f"{name} {_NO_TRANSCRIPT}")
    if len(turns) < 2 or turns[-1][0] != "assistant":
        raise RowError("no_response", f"{name} should be a conversation that ends with an assistant's turn")
    return turns


def _split(name: str, text: str) -> Turns:
    """Split "Human: ... Assistant: ..." into turns; what stands before the first one has to be blank."""
    head, *parts = _TURN.split(text)
    if head.strip() or not parts:
        raise RowError("no_transcript", f"{name} {_NO_TRANSCRIPT}")
    said = zip(parts[::2], parts[1::2], strict=True)
    return tuple(("assistant" if who.lower() == "assistant" else "user", text.strip()) for who, text in said)
