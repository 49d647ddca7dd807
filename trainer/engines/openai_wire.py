"""What is said to an OpenAI-compatible server, and how its answers are read. Pure functions, no network.

Nothing is guessed: an answer that is not one choice with a text, a known end and the model that was asked is no answer,
and what a server does not say (tokens, log-probabilities) is null.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from trainer.engines.contract import LAST_POSITIONS, TOO_LONG, Completion, FinishReason, Position, Request, position

NAME = "openai"
REFUSED = "refused"  # how the detail of a completion begins that the server will not give
_SHORT = 31
_QUOTED = 300  # characters of a server's message that are passed on
# Samplers that a model's generation_config.json would switch on behind the back of the contract.
_NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
_CONTEXT = re.compile(r"context[ _](length|window|size)|(prompt|input) is too long|max_new_tokens. must be", re.I)
_CONTEXT_SIZE = re.compile(r"context (?:length|window|size)\D{0,12}(\d+)", re.I)
_PROMPT_SIZE = re.compile(r"(\d+) (?:tokens )?(?:in the messages|in (?:your|the) prompt|from the input|input tokens)")
_REASONING = ("reasoning_content", "reasoning")


class WrongReplyError(ValueError):
    """A server's answer cannot be used; the message says why. Another try may help.

    Attributes:
        model: that the answer names, where it is another one than was asked.
    """

    def __init__(self, problem: str, model: str | None = None) -> None:
        super().__init__(problem)
        self.model = model


class Reply(NamedTuple):
    """What came back over HTTP. `retry_after` is in seconds, 0 where the server does not say."""

    status: int
    content: bytes
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server understands; all of it, until it says otherwise."""

    logprobs: bool = True
    alternatives: int = 20  # log-probabilities a position, as OpenAI has it
    neutral: bool = True  # top_k and others, which are not OpenAI's own
    seed_bits: int = 63  # 0: none at all
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    def without(self, refusal: Refusal) -> Dialect | None:
        """Return the dialect without what a refusal names, or None where it names nothing that could be left out."""
        names = refusal.param or refusal.message
        if self.limit == "max_tokens" and "max_completion_tokens" in refusal.message and "max_tokens" in names:
            if _CONTEXT.search(refusal.message) is None:
                return replace(self, limit="max_completion_tokens")
        elif self.alternatives and re.search(r"top_logprobs", names):
            return replace(self, alternatives=5 if self.alternatives > 5 else 0)
        elif self.logprobs and re.search(r"logprobs", names):
            return replace(self, logprobs=False)
        elif self.neutral and re.search(r"\b(top_k|min_p|repetition_penalty)\b", names):
            return replace(self, neutral=False)
        elif self.seed_bits and re.search(r"\bseed\b", names):
            return replace(self, seed_bits=_SHORT if self.seed_bits > _SHORT else 0)
        return None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A 4xx answer about one request.

    Attributes:
        message: what the server says, on one line.
        param: the parameter it blames, where it names one.
        too_long: the context is exceeded.
        prompt_tokens, room: of the prompt, and how many are left for a response, where the server says so.
    """

    message: str
    param: str | None
    too_long: bool
    prompt_tokens: int | None
    room: int | None

    @property
    def detail(self) -> str:
        """Return the reason that a completion carries."""
        return f"{TOO_LONG if self.too_long else REFUSED}: {self.message}"


def path(request: Request) -> str:
    """Return where a request goes, below the base URL."""
    return "/chat/completions" if request.raw_text is None else "/completions"


def body(request: Request, model: str, dialect: Dialect, room: int | None = None) -> bytes:
    """Return the JSON of a request.

    One sample a request (`n` = 1) with a seed of its own, so that a resumed run, which lacks only some samples of a
    prompt, gets the same texts; servers that cache prefixes compute the prompt once anyway. vLLM and SGLang take seeds
    of 64 bits. Log-probabilities are asked for only where raw ones are those of the distribution sampled from.
    Completions of a raw text have five alternatives a position at most, as OpenAI has it.
    """
    sampling = request.sampling
    found: dict[str, Any] = {"model": model, "n": 1, "temperature": sampling.temperature}
    found["top_p"] = sampling.top_p if sampling.temperature else 1.0
    found[dialect.limit] = sampling.max_tokens if room is None else min(room, sampling.max_tokens)
    if dialect.seed_bits:
        found["seed"] = request.seed & ((1 << dialect.seed_bits) - 1)
    if sampling.stop:
        found["stop"] = list(sampling.stop)
    if dialect.neutral:
        found |= _NEUTRAL
    logprobs = dialect.logprobs and sampling.temperature in (0.0, 1.0)
    if request.raw_text is not None:
        found["prompt"] = request.raw_text
        if logprobs:
            found["logprobs"] = min(request.top_logprobs, dialect.alternatives, 5)
    else:
        found["messages"] = [{"role": role, "content": content} for role, content in request.messages]
        if logprobs:
            found["logprobs"] = True
            if most := min(request.top_logprobs, dialect.alternatives):
                found["top_logprobs"] = most
    return json.dumps(found).encode()


def completion(request: Request, content: bytes, model: str, aliases: frozenset[str] = frozenset()) -> Completion:
    """Return the completion in the body of a 200 answer.

    Raises:
        WrongReplyError: it is none, or not one of this model.
    """
    found = _object(content)
    choices = found.get("choices")
    if not isinstance(choices, list):
        raise WrongReplyError("it holds no choices")
    if len(choices) != 1 or not isinstance(choices[0], dict):
        problem = f"it holds {len(choices)} choices, and 1 was asked for"
        raise WrongReplyError(problem)
    said = found.get("model")
    if isinstance(said, str) and not _is_model(said, model) and said not in aliases:
        problem = f"it is by model {said[:80]!r}, and {model!r} was asked"
        raise WrongReplyError(problem, said)
    choice: dict[str, Any] = choices[0]
    usage = found.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    prompt_tokens, tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    reason = choice.get("finish_reason")
    if not isinstance(reason, str) or reason in ("abort", "error"):  # the server was interrupted
        problem = f"its finish_reason is {reason!r}"
        raise WrongReplyError(problem)
    if reason not in ("stop", "length"):
        return Completion.failed(request, NAME, f"{REFUSED}: finish_reason {reason[:40]}", prompt_tokens)
    finish: FinishReason = "stop" if reason == "stop" else "length"
    message = choice.get("message") if request.raw_text is None else {"content": choice.get("text")}
    if not isinstance(message, dict):
        raise WrongReplyError("its choice holds no message")
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        return Completion.failed(request, NAME, f"{REFUSED}: {_line(message['refusal'])}", prompt_tokens)
    reasoning = next((t for n in _REASONING if isinstance(t := message.get(n), str) and t), None)
    text = message.get("content")
    if text is None and reasoning is not None:
        text = ""  # cut, or ended, inside the thought
    if not isinstance(text, str):
        raise WrongReplyError("its choice holds no text")
    return Completion.of_text(
        request,
        NAME,
        text,
        finish,
        prompt_tokens=prompt_tokens,
        response_tokens=tokens,
        logprob_sum=_logprob_sum(choice.get("logprobs"), tokens, request),
        reasoning=reasoning,
        top_logprobs=_positions(choice.get("logprobs"), request),
    )


def refusal(content: bytes) -> Refusal:
    """Return what a 4xx answer says.

    Raises:
        WrongReplyError: it is no JSON object, as every such server sends: something else answers.
    """
    found = _object(content)
    inner = found.get("error", found)
    fields = inner if isinstance(inner, dict) else {"message": inner}
    message = fields.get("message", fields.get("detail", fields.get("object")))
    text = message if isinstance(message, str) else json.dumps(message)
    known = f"{fields.get('code')} {fields.get('type')} {text}"
    param = fields.get("param")
    context, prompt = (int(m[1]) if (m := p.search(text)) else None for p in (_CONTEXT_SIZE, _PROMPT_SIZE))
    return Refusal(
        _line(text),
        param if isinstance(param, str) else None,
        _CONTEXT.search(known) is not None,
        prompt,
        context - prompt if context is not None and prompt is not None else None,
    )


def models(content: bytes) -> dict[str, Any]:
    """Return the models of an answer to GET /models, name -> root (names of the same root are the same weights)."""
    try:
        rows = _object(content).get("data")
    except WrongReplyError:
        return {}
    cards = rows if isinstance(rows, list) else []
    return {c["id"]: c.get("root") for c in cards if isinstance(c, dict) and isinstance(c.get("id"), str)}


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        start = _line(content[:200].decode("utf-8", "replace"))[:80]
        problem = f"it is no JSON, or was cut: {start!r}" if start else "it is empty"
        raise WrongReplyError(problem) from None
    if not isinstance(found, dict):
        raise WrongReplyError("it is no JSON object")
    return found


def _is_model(said: str, asked: str) -> bool:
    """Tell whether an answer's model is the one asked: hosts add a date or a variant, or leave the owner out."""
    return said == asked or (said.startswith(asked) and said[len(asked)] in "-@:") or asked.endswith(f"/{said}")


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _logprob_sum(logprobs: object, tokens: int | None, request: Request) -> float | None:
    """Return the sum over all tokens drawn, or None where one is missing or the temperature is not in it."""
    if not isinstance(logprobs, dict) or not tokens or request.sampling.temperature not in (0.0, 1.0):
        return None
    values = logprobs.get("token_logprobs")
    if request.raw_text is None:
        rows = logprobs.get("content")
        values = [r.get("logprob") if isinstance(r, dict) else None for r in rows] if isinstance(rows, list) else None
    if not isinstance(values, list) or len(values) != tokens:
        return None
    if not all(isinstance(v, int | float) and math.isfinite(v) for v in values):
        return None
    return math.fsum(values)


def _positions(logprobs: object, request: Request) -> tuple[Position, ...] | None:
    """Return the last positions, or None where one of them is not what was asked for."""
    wanted = request.top_logprobs and request.sampling.temperature in (0.0, 1.0)
    if not wanted or not isinstance(logprobs, dict):
        return None
    if request.raw_text is None:
        rows = logprobs.get("content")
        rows = [(r.get("token"), r.get("top_logprobs")) if isinstance(r, dict) else None for r in _last(rows)]
    else:
        rows = list(zip(_last(logprobs.get("tokens")), _last(logprobs.get("top_logprobs")), strict=False))
    found = [_position(*row) if row is not None else None for row in rows]
    known = [p for p in found if p is not None]
    return tuple(known) if known and len(known) == len(found) else None


def _last(rows: object) -> list[Any]:
    return rows[-LAST_POSITIONS:] if isinstance(rows, list) else []


def _position(token: object, top: object) -> Position | None:
    """Return one position; a value that is no log-probability (NaN, say) is left for the reader to see."""
    if isinstance(top, list):
        pairs = [(t.get("token"), t.get("logprob")) if isinstance(t, dict) else (None, None) for t in top]
    else:
        pairs = list(top.items()) if isinstance(top, dict) else []
    known = [(t, float(p)) for t, p in pairs if isinstance(t, str) and isinstance(p, int | float)]
    if not isinstance(token, str) or not pairs or len(known) < len(pairs):
        return None
    return position(token, known)


def _line(text: str) -> str:
    return " ".join(text.split())[:_QUOTED]
