"""One row of a source becomes one canonical prompt, or a reason why it cannot."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.curation.domains import domain_of
from warehouse.curation.identity import gold_hash, gold_value_hash, prompt_id
from warehouse.ingest.fields import RowError, getter, keep

if TYPE_CHECKING:
    from collections.abc import Mapping

    from warehouse.settings import FieldSpec, IngestSettings, SourceSettings

# Names that published data sets use for the three speakers.
_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}


_quote = json.JSONEncoder(ensure_ascii=False).encode


class FilteredError(Exception):
    """The row does not meet a `where` condition of its source."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt in its canonical form. Golds, tools and extra are JSON text."""

    prompt_id: str
    messages: list[tuple[str, str]]
    raw_text: str | None
    verifier: str | None
    ground_truth: str | None
    gold_hash: str | None
    domain: str
    tools: str | None
    extra: str | None
    key: str | None
    licence: str | None

    @property
    def text(self) -> str:
        """What makes the prompt similar to another: every message but the system's (all, where there is no other)."""
        parts = [content for role, content in self.messages if role != "system"]
        return "\n".join(parts or [content for _, content in self.messages])


class RowMapper:
    """Maps the rows of one source; the settings are read once."""

    def __init__(self, source: SourceSettings, ingest: IngestSettings) -> None:
        self._source = source
        self._max_chars = ingest.max_chars
        self._min_chars = ingest.min_chars
        self._prompt = getter(source.prompt)
        self._messages = getter(source.messages)
        self._system = getter(source.system)
        self._gold = getter(source.ground_truth)
        self._verifier = getter(source.verifier)
        self._domain = getter(source.domain)
        self._tools = getter(source.tools)
        self._key = getter(source.key)
        self._licence = getter(source.licence)

    def map(self, row: Mapping[str, Any]) -> Prompt:
        """Return the prompt that a row holds.

        Raises:
            FilteredError: a `where` condition of the source does not hold.
            RowError: the row cannot be used. Codes: those of `fields.resolve`, and `null_prompt`, `empty_prompt`,
                `too_short`, `over_long`, `nul_bytes`, `wrong_encoding`, `wrong_type`, `unknown_role`, `last_not_user`,
                `bad_gold`, `too_deep`.
        """
        try:
            return self._map(row)
        except RecursionError:
            raise RowError("too_deep", "the row is nested too deeply") from None

    def _map(self, row: Mapping[str, Any]) -> Prompt:
        source = self._source
        if source.where and (reason := keep(source.where, row)) is not None:
            raise FilteredError(reason)
        if source.prompt is not None:
            messages = [("user", _prompt_text(self._prompt(row)))]
        else:
            messages = conversation(self._messages(row))
        if source.system is not None:
            system = _text_or_none(self._system(row), "system")
            if system is not None and system.strip():
                messages = [("system", system), *messages]
        self._check(messages)
        gold, same_gold = ground_truth(self._gold(row), source.ground_truth)
        verifier = _text_or_none(self._verifier(row), "verifier")
        domain = _text_or_none(self._domain(row), "domain")
        tools = _json_or_none(self._tools(row))
        extra = _dump_lenient({c: row[c] for c in source.extra if c in row}) if source.extra else None
        key = _text_or_none(self._key(row), "key")
        licence = _text_or_none(self._licence(row), "licence")
        _check_unicode(*(content for _, content in messages), gold, verifier, domain, tools, extra, key, licence)
        return Prompt(
            prompt_id=prompt_id(messages),
            messages=messages,
            raw_text=messages[-1][1] if source.raw else None,
            verifier=verifier,
            ground_truth=gold,
            gold_hash=same_gold,
            domain=domain if domain and domain.strip() else domain_of(messages[-1][1], verifier),
            tools=tools,
            extra=extra,
            key=key,
            licence=licence,
        )

    def _check(self, messages: list[tuple[str, str]]) -> None:
        last = messages[-1][1].strip()
        if not last:
            raise RowError("empty_prompt", "the prompt holds nothing but white space")
        if len(last) < self._min_chars:
            raise RowError("too_short", f"{len(last)} characters; ingest.min_chars is {self._min_chars}")
        total = sum(len(content) for _, content in messages)
        if total > self._max_chars:
            raise RowError("over_long", f"{total} characters; ingest.max_chars is {self._max_chars}")
        if any("\x00" in content for _, content in messages):
            raise RowError("nul_bytes", "the prompt holds NUL characters")


def ground_truth(value: Any, spec: FieldSpec | None) -> tuple[str | None, str | None]:
    """Return a gold as JSON text, and the hash by which it is the same as another.

    Text and numbers become a JSON string ("7" and 7 are the same gold), unless they were built as an `object`, are a
    constant `value`, or were read with `parse_json`: there they stay what they are. A blank gold is none.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None, None
    if isinstance(value, float) and not math.isfinite(value):
        if math.isnan(value):  # what `json.dumps` and pandas write for a missing number
            return None, None
        raise RowError("bad_gold", f"the gold is {value}, which no answer can equal")
    built = spec is not None and (spec.object is not None or spec.value is not None or spec.parse_json)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not built:
        value = _number(value)
    if isinstance(value, str):
        return _quote(value), gold_value_hash(value)
    text = _dump(value)
    return text, gold_hash(text)


def _number(value: float) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))  # a column with one null makes floats of integers
    return repr(value)


def _dump(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except (TypeError, ValueError) as error:
        raise RowError("bad_gold", f"the gold cannot be written as JSON: {error}") from None


def _dump_lenient(value: Any) -> str:
    """Return JSON text in which a number that JSON does not have (NaN, infinity) is a null, and keys are text."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    except (TypeError, ValueError):
        return json.dumps(_plain(value), ensure_ascii=False, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _json_or_none(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else _dump_lenient(value)


def _check_unicode(*texts: str | None) -> None:
    """Refuse half a surrogate pair, which JSON text inside JSON text can hold, and no file can."""
    for text in texts:
        if text is not None and not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                reason = f"the text holds half of a surrogate pair at character {error.start}"
                raise RowError("wrong_encoding", reason) from None


def _text_or_none(value: Any, what: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value)
    raise RowError("wrong_type", f"{what} should be text, is {type(value).__name__}")


def _prompt_text(value: Any) -> str:
    if value is None:
        raise RowError("null_prompt", "the prompt is null")
    if not isinstance(value, str):
        raise RowError("wrong_type", f"the prompt should be text, is {type(value).__name__}")
    return value


def conversation(value: Any) -> list[tuple[str, str]]:
    """Return (role, content) pairs from a list of `{role, content}` or `{from, value}`, or from its JSON text.

    Raises:
        RowError: it is no such list, or the last message is not the user's.
    """
    if value is None:
        raise RowError("null_prompt", "the messages are null")
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RowError("wrong_type", f"messages should be a list or its JSON text: {error}") from None
    if not isinstance(value, list):
        raise RowError("wrong_type", f"messages should be a list, are {type(value).__name__}")
    if not value:
        raise RowError("empty_prompt", "the list of messages is empty")
    messages = [message(m) for m in value]
    if messages[-1][0] != "user":
        raise RowError("last_not_user", f"the last message is the {messages[-1][0]}'s; a prompt ends with the user's")
    return messages


def message(value: Any) -> tuple[str, str]:
    """Return (role, content) of one message, under the roles that preppo knows.

    Raises:
        RowError: it is no message, or of an unknown role.
    """
    if not isinstance(value, dict):
        raise RowError("wrong_type", f"a message should be an object, is {type(value).__name__}")
    name = value.get("role", value.get("from"))
    if not isinstance(name, str) or name.lower() not in _ROLES:
        raise RowError("unknown_role", f"role {name!r} is none of {sorted(_ROLES)}")
    return _ROLES[name.lower()], _content(value.get("content", value.get("value")))


def _content(content: Any) -> str:
    """Return the text of a message, also where it comes as a list of text parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        return "".join(p["text"] for p in content)
    raise RowError("wrong_type", f"the content of a message should be text, is {type(content).__name__}")
