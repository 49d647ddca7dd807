"""What every generation engine takes and gives. Importable without torch.

One `Request` asks for one sample. Engines stream completions back in any order; the triple (prompt_id, role,
sample) travels with each, so that a resumed run asks only for what is missing and gets the same texts.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from warehouse.settings.model import PolicySettings

FinishReason = Literal["stop", "length", "error"]
SCORED = "scored"  # the samples that rewards are computed on
REFERENCE = "reference"  # disjoint samples for best-of-N references, so that a reference never judges itself
THINK, THOUGHT = "<think>", "</think>"  # the tags around what a reasoning model thinks
TOO_LONG = "prompt_too_long"  # how the detail of a completion begins whose prompt does not fit the context
LAST_POSITIONS = 32  # at the end of a completion, for which alternatives are kept: a verdict stands there


class EngineError(RuntimeError):
    """An engine cannot generate: it is not installed, does not start, or its servers stay silent.

    The message says what, where, and what to do. What was generated before is kept.
    """


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn: softmax(logits / temperature), cut to the top_p nucleus. Temperature 0 is greedy."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One sample to generate. `raw_text`, where given, is an exact prefix and `messages` are not templated.

    `top_logprobs` asks for so many of the most likely tokens at each of the last positions (`Completion.top_logprobs`),
    `tokens` for what was drawn (`Completion.tokens`).
    """

    prompt_id: str
    role: str
    sample: int
    messages: tuple[tuple[str, str], ...]
    raw_text: str | None
    seed: int
    sampling: Sampling
    top_logprobs: int = 0
    tokens: bool = False


class Position(NamedTuple):
    """One token that was drawn, and what could have been drawn in its place.

    Attributes:
        token: the drawn one, as text; a token that is part of a character is whatever its decoder makes of it.
        top: log-probability of the most likely tokens by their text, of the distribution that `logprob_sum` is of;
            tokens of the same text are one. The drawn token need not be among them.
    """

    token: str
    top: dict[str, float]


@dataclass(frozen=True, slots=True)
class Completion:
    """One sample.

    Attributes:
        response: the text after any reasoning, or null where there is none (an error, or a recorded score only).
        reasoning: what stood inside `<think>`, or null.
        finish_reason: "stop" (end token or stop string), "length" (cut by max_tokens), "error" (no text).
        response_tokens: all tokens drawn, reasoning and the end token included.
        logprob_sum: sum over those tokens of log softmax(logits / temperature), in nats, before the top_p cut
            (temperature 0: of log softmax(logits)); null where it is not known.
        recorded: the sample was imported, not generated here; `recorded_score` is the score it came with.
        detail: why there is no text, as "code: what happened"; null where there is one.
        top_logprobs: the last positions, `LAST_POSITIONS` at most, in the order of the tokens drawn, the end token and
            a stop string's tokens included; None where the request asked for none or the engine does not know them.
            It is not kept in any table.
        tokens: ids of the tokens drawn, the end token included; None where the request asked for none or the engine
            does not know them. They are not kept in any table.
    """

    prompt_id: str
    role: str
    sample: int
    response: str | None
    reasoning: str | None
    finish_reason: str
    prompt_tokens: int | None
    response_tokens: int | None
    logprob_sum: float | None
    seed: int | None
    engine: str
    recorded: bool
    recorded_score: float | None = None
    detail: str | None = None
    top_logprobs: tuple[Position, ...] | None = None
    tokens: tuple[int, ...] | None = None

    @classmethod
    def failed(cls, request: Request, engine: str, detail: str, prompt_tokens: int | None = None) -> Completion:
        """Return the completion of a request that cannot have a text: an error, which is never a score."""
        return cls(
            request.prompt_id,
            request.role,
            request.sample,
            None,
            None,
            "error",
            prompt_tokens,
            None,
            None,
            request.seed,
            engine,
            recorded=False,
            detail=detail,
        )

    @classmethod
    def of_text(
        cls,
        request: Request,
        engine: str,
        text: str,
        finish_reason: FinishReason,
        *,
        prompt_tokens: int | None,
        response_tokens: int | None,
        logprob_sum: float | None,
        reasoning: str | None = None,
        top_logprobs: tuple[Position, ...] | None = None,
        tokens: tuple[int, ...] | None = None,
    ) -> Completion:
        """Return the completion of a request by a generated text, reasoning split off where it is still inside."""
        response: str | None = text
        if reasoning is None and request.raw_text is None:
            reasoning, response = split_reasoning(text)
        return cls(
            request.prompt_id,
            request.role,
            request.sample,
            response,
            reasoning,
            finish_reason,
            prompt_tokens,
            response_tokens,
            logprob_sum,
            request.seed,
            engine,
            recorded=False,
            top_logprobs=top_logprobs,
            tokens=tokens,
        )


class Engine(Protocol):
    """Anything that answers requests.

    `fingerprint` changes whenever the weights, the configuration or the tokenizer change.
    """

    @property
    def fingerprint(self) -> str: ...

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion a request, in any order, while requests are still being taken in.

        A request that cannot be answered comes back as an error with its reason. Where nothing can be answered any
        more, EngineError is raised, after what is finished was yielded.
        """
        ...

    def close(self) -> None:
        """Give back what the engine holds: processes, connections, memory. It may be called twice."""
        ...


def position(token: str, alternatives: Iterable[tuple[str, float]]) -> Position:
    """Return a position; the probabilities of alternatives that have the same text are added up."""
    top: dict[str, float] = {}
    for text, logprob in alternatives:
        top[text] = logprob if text not in top else _log_of_sum(top[text], logprob)
    return Position(token, top)


def _log_of_sum(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b)); NaN where one is."""
    high = math.nan if math.isnan(a) or math.isnan(b) else max(a, b)
    return high if not math.isfinite(high) else high + math.log(math.exp(a - high) + math.exp(b - high))


def sample_seed(seed: int, prompt_id: str, role: str, sample: int) -> int:
    """Return the seed of one sample: 63 bits, a function of its four names alone (never of batch or order)."""
    text = f"{seed}\x1f{prompt_id}\x1f{role}\x1f{sample}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def policy_id(
    fingerprint: str,
    sampling: Sampling | None = None,
    chat_template: str | None = None,
    system_prompt: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Return the identity of a policy, 32 hex characters: same model, same sampling, same prompt rendering.

    `extra` takes whatever else distinguishes two policies, as plain JSON data. Recorded rollouts have no known
    sampling: null.
    """
    text = json.dumps(
        {
            "fingerprint": fingerprint,
            "sampling": None if sampling is None else asdict(sampling),
            "chat_template": chat_template,
            "system_prompt": system_prompt,
            "extra": dict(extra or {}),
        },
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def sampling_of(policy: PolicySettings) -> Sampling:
    """Return the sampling part of `[policy]`."""
    return Sampling(policy.temperature, policy.top_p, policy.max_tokens, tuple(policy.stop))


def plan_requests(
    prompt_id: str,
    messages: Sequence[tuple[str, str]],
    raw_text: str | None,
    policy: PolicySettings,
    samples: Iterable[tuple[str, int]] | None = None,
) -> list[Request]:
    """Return the requests of one prompt.

    The system prompt of the policy goes before messages that bring none of their own; an exact prefix
    (`raw_text`) is left alone.

    Args:
        prompt_id: of the prompt.
        messages: role and content of each turn.
        raw_text: the exact prefix, or None.
        policy: that is rolled out.
        samples: role and number of each; default: all, `samples` scored ones, then `reference_samples` reference ones.
    """
    turns = tuple((role, content) for role, content in messages)
    if policy.system_prompt is not None and raw_text is None and (not turns or turns[0][0] != "system"):
        turns = (("system", policy.system_prompt), *turns)
    sampling = sampling_of(policy)
    if samples is None:
        counts = ((SCORED, policy.samples), (REFERENCE, policy.reference_samples))
        samples = [(role, i) for role, count in counts for i in range(count)]
    return [
        Request(prompt_id, role, i, turns, raw_text, sample_seed(policy.seed, prompt_id, role, i), sampling)
        for role, i in samples
    ]


def split_reasoning(text: str) -> tuple[str | None, str | None]:
    """Split a generated text into (reasoning, response) at `</think>`; a chat template may have opened it already.

    A thought that was cut before its end leaves an empty response. Text without any tag is all response: where the
    template opens the thought, an engine that renders it puts the tag before the text (`PromptEncoder.opening`).
    """
    head, end, tail = text.partition(THOUGHT)
    if end:
        return head.removeprefix(THINK).strip("\n"), tail.lstrip("\n")
    if text.startswith(THINK):
        return text.removeprefix(THINK).strip("\n"), ""
    return None, text
