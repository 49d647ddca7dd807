"""How one row of a file becomes recorded samples: one function a format. No torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from trainer.engines.contract import split_reasoning
from warehouse.curation.identity import prompt_id
from warehouse.ingest.fields import RowError, column, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from warehouse.settings.model import RolloutsSettings

PUBLISHED_SAMPLES = 16  # what Reasoning360 and Skywork rolled out per prompt
_MAX_SAMPLE = 1_000_000
_FINISH = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "tool_calls"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_length", "truncated"), "length"),
    **dict.fromkeys(("error", "abort", "content_filter"), "error"),
}


class Sample(NamedTuple):
    """One recorded sample; `number` is null where samples are to be numbered in the order they are found."""

    policy: str
    number: int | None
    response: str | None
    reasoning: str | None
    finish_reason: str
    score: float | None


def join_of(settings: RolloutsSettings, row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return (prompt_id, key): exactly one of them, by which the row is joined to a prompt.

    Raises:
        RowError: there is no prompt, no key, or messages of a wrong shape.
    """
    if settings.key is not None:
        key = resolve(settings.key, row)
        if key is None or str(key) == "":
            raise RowError("null_key", "the key that joins this row to a prompt is null or empty")
        return None, str(key)
    if settings.messages is not None:
        return prompt_id(_messages(resolve(settings.messages, row))), None
    text = resolve(settings.prompt, row)
    if not isinstance(text, str) or not text.strip():
        raise RowError("null_prompt" if text is None else "bad_prompt", f"the prompt should be text, is {text!r:.60}")
    return prompt_id([("user", text)]), None


def _messages(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, list) or not value:
        raise RowError("bad_messages", f"messages should be a list of {{role, content}}, this is {value!r:.60}")
    turns = []
    for turn in value:
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if not isinstance(role, str) or not isinstance(content, str):
            raise RowError("bad_messages", f"a message should have a text role and content, this is {turn!r:.60}")
        turns.append((role, content))
    return turns


def samples_of(settings: RolloutsSettings, row: Mapping[str, Any]) -> list[Sample]:
    """Return the samples that one row holds. Raises RowError where the row cannot be used; then none of it is."""
    return list(_FORMATS[settings.format](settings, row))


def _rows(settings: RolloutsSettings, row: Mapping[str, Any]) -> Iterator[Sample]:
    response, score = resolve(settings.response, row), resolve(settings.score, row)
    finish, number = resolve(settings.finish_reason, row), resolve(settings.sample, row)
    numbered = settings.sample is not None
    if not isinstance(response, list) and not isinstance(score, list):
        return iter([_sample(settings, response, score, finish, _number(number) if numbered else None)])
    count = len(response) if isinstance(response, list) else len(score)
    columns = {"response": response, "score": score, "finish_reason": finish, "sample": number}
    responses, scores, finishes, numbers = (_spread(name, value, count) for name, value in columns.items())
    return (
        _sample(settings, r, s, f, _number(n) if numbered else None)
        for r, s, f, n in zip(responses, scores, finishes, numbers, strict=True)
    )


def _spread(name: str, value: Any, count: int) -> list[Any]:
    """Return one value per sample of a row that holds several; only a finish reason may stand for all of them."""
    if isinstance(value, list):
        if len(value) != count:
            raise RowError("length_mismatch", f"{name} lists {len(value)} values for {count} samples")
        return value
    if value is not None and name != "finish_reason":
        raise RowError("length_mismatch", f"the row lists {count} samples, but {name} is one value, not a list")
    return [value] * count


def _sample(settings: RolloutsSettings, response: Any, score: Any, finish: Any, number: int | None) -> Sample:
    if response is not None and not isinstance(response, str):
        raise RowError("bad_response", f"a response should be text, this is {response!r:.60}")
    reason = _finish(finish)
    points = _score(score)
    if response is None:
        # No text: a score alone is a finished sample; neither text nor score is a generation that failed.
        reason = reason if points is not None and reason != "error" else "error"
        return Sample(settings.name, number, None, None, reason, points)
    reasoning, text = split_reasoning(response)
    return Sample(settings.name, number, text, reasoning, reason, points)


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise RowError("bad_sample", f"a sample number should be a whole number, this is {value!r:.60}")
    if not 0 <= value <= _MAX_SAMPLE:
        raise RowError("bad_sample", f"a sample number should lie between 0 and {_MAX_SAMPLE}, this is {value}")
    return int(value)


def _finish(value: Any) -> str:
    """Map what servers write to stop, length, error. Where nothing was recorded, the response is taken as finished."""
    if value is None:
        return "stop"
    known = _FINISH.get(value.lower()) if isinstance(value, str) else None
    if known is None:
        raise RowError(
            "bad_finish_reason", f"unknown finish_reason {value!r:.60}; known: {', '.join(sorted(_FINISH))}; use `map`"
        )
    return known


def _numeric(value: Any) -> Any:
    """Return the number that a text holds (CSV knows text only), and anything else as it is; blank text is none."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return float(value)
    except ValueError:
        return {"true": True, "false": False}.get(value.strip().lower(), value)


def _score(value: Any) -> float | None:
    value = _numeric(value)
    if value is None:
        return None
    if not isinstance(value, (bool, int, float)) or not math.isfinite(value):
        raise RowError("bad_score", f"a score should be a finite number, true or false, this is {value!r:.60}")
    return float(value)


def _pass_rate(settings: RolloutsSettings, row: Mapping[str, Any]) -> Iterator[Sample]:
    """One rate of `samples` samples; or a list of rates, each of `samples` samples, which are then all one policy."""
    rate, samples = resolve(settings.rate, row), settings.samples or 0
    if not isinstance(rate, list):
        return _counted(settings.name, _passes(rate, samples), samples)
    counts = [_passes(r, samples) for r in rate]
    passed = None if None in counts else sum(c for c in counts if c is not None)
    return _counted(settings.name, passed, samples * len(rate))


def _passes(rate: Any, samples: int) -> int | None:
    rate = _numeric(rate)
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
        raise RowError("bad_rate", f"a pass rate should be a number from 0 to 1, this is {rate!r:.60}")
    return round(rate * samples)


def _counted(policy: str, passed: int | None, samples: int) -> Iterator[Sample]:
    """`passed` ones, then zeros. An unknown count gives samples without a score: the prompt shows as unscored."""
    for i in range(samples):
        if passed is None:
            yield Sample(policy, i, None, None, "error", None)
        else:
            yield Sample(policy, i, None, None, "stop", 1.0 if i < passed else 0.0)


def _open_r1(settings: RolloutsSettings, row: Mapping[str, Any]) -> Iterator[Sample]:
    texts, scores = column(row, "pass_rate_generations"), column(row, "pass_rate_rewards")
    if not isinstance(texts, list):
        raise RowError("bad_response", f"pass_rate_generations should be a list, this is {texts!r:.60}")
    if not isinstance(scores, list):
        raise RowError("bad_score", f"pass_rate_rewards should be a list, this is {scores!r:.60}")
    points = _spread("pass_rate_rewards", scores, len(texts))
    return (_sample(settings, text, score, None, None) for text, score in zip(texts, points, strict=True))


def _reasoning360(settings: RolloutsSettings, row: Mapping[str, Any]) -> Iterator[Sample]:
    """Two policies. There a rate of 0.0 also stands for "not measured", so it says nothing: null."""
    samples = settings.samples or PUBLISHED_SAMPLES
    for which in ("low", "high"):
        rate = column(row, f"{which}_pass_rate")
        yield from _counted(f"{settings.name}/{which}", _passes(rate or None, samples), samples)


def _skywork(settings: RolloutsSettings, row: Mapping[str, Any]) -> Iterator[Sample]:
    """One policy a model; the number is how many of the samples were wrong."""
    samples = settings.samples or PUBLISHED_SAMPLES
    difficulty = column(row, "extra_info.model_difficulty")
    if not isinstance(difficulty, dict) or not difficulty:
        raise RowError("bad_rate", f"extra_info.model_difficulty should map models to counts, is {difficulty!r:.60}")
    for model, wrong in sorted(difficulty.items()):
        if wrong is not None and (
            isinstance(wrong, bool) or not isinstance(wrong, (int, float)) or not 0 <= wrong <= samples or wrong % 1
        ):
            raise RowError("bad_rate", f"{model}: {wrong!r:.60} wrong answers out of {samples} cannot be")
        yield from _counted(f"{settings.name}/{model}", None if wrong is None else samples - int(wrong), samples)


_FORMATS: dict[str, Callable[[RolloutsSettings, Mapping[str, Any]], Iterator[Sample]]] = {
    "rows": _rows,
    "pass_rate": _pass_rate,
    "open-r1": _open_r1,
    "reasoning360": _reasoning360,
    "skywork": _skywork,
}
