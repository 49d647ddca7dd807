"""Responses of the policy and what they are worth: prompts in, tokens with their rewards out."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.engines.contract import THINK, THOUGHT, Request, Sampling, sample_seed
from trainer.engines.prompts import PromptError
from trainer.ppo.prompts import PpoError
from verifiers.hybrid import Reward

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from trainer.engines.contract import Completion, Engine
    from trainer.engines.prompts import PromptEncoder
    from trainer.ppo.prompts import Prompt
    from verifiers.hybrid import HybridReward
    from warehouse.settings import PolicySettings, PpoSettings

LOWEST = 0.0  # of rewards, which are in [0, 1]


@dataclass(slots=True)
class Response:
    """One response to one prompt.

    Attributes:
        prompt: that it answers.
        sample: number among all responses to the prompt in this step.
        group: number of the prompt among those of the step.
        context: tokens of the prompt.
        tokens: that were drawn, the end token included; none where generating failed.
        text: of the response, or None where generating failed.
        finish_reason: `stop`, `length` or `error`.
        engine_logprob: sum over the tokens, as the engine says.
        reward: what the hybrid reward says of it.
        score: that the policy learns from; None: it is left out.
        worst: the least reward that a reward model's heads give, else the score.
    """

    prompt: Prompt
    sample: int
    group: int
    context: list[int]
    tokens: list[int]
    text: str | None
    finish_reason: str
    engine_logprob: float | None
    reward: Reward | None = None
    score: float | None = None
    worst: float | None = None


class Sampler:
    """Draws responses from whatever engine holds the policy.

    Args:
        engine: gives the engine with the policy's weights as they are now.
        encoder: of prompts, and of the responses of engines that do not tell their tokens.
        policy: `[policy]`; its top_p is not used: the policy that learns is the one that draws.
        end_token: that closes a response.
        computing: is entered while the engine generates, and for nothing else.
    """

    def __init__(
        self,
        engine: Callable[[], Engine],
        encoder: PromptEncoder,
        policy: PolicySettings,
        end_token: int,
        computing: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._engine, self._encoder, self._policy, self._end = engine, encoder, policy, end_token
        self._computing = computing
        self._sampling = Sampling(policy.temperature, 1.0, policy.max_tokens, tuple(policy.stop))

    def draw(
        self, prompts: Sequence[Prompt], samples: int, seed: int, role: str, drawn: Counter[str], start: int = 0
    ) -> list[Response]:
        """Return `samples` responses to each prompt, those of a prompt one after the other.

        Args:
            prompts: one a group; the same one may occur again.
            samples: of each.
            seed: with role, prompt and sample it decides the tokens.
            role: of these responses, such as the step.
            drawn: samples of the role that each prompt has already, which is brought up to date.
            start: number of the first group.
        """
        requests: list[Request] = []
        for prompt in prompts:
            for _ in range(samples):
                requests.append(self._request(prompt, drawn[prompt.prompt_id], seed, role))
                drawn[prompt.prompt_id] += 1
        with self._computing():
            answers = {(c.prompt_id, c.sample): c for c in self._engine().generate(requests)}
        return [
            self._response(prompts[n // samples], start + n // samples, request, answers)
            for n, request in enumerate(requests)
        ]

    def _request(self, prompt: Prompt, sample: int, seed: int, role: str) -> Request:
        turns, system = prompt.messages, self._policy.system_prompt
        if system is not None and prompt.raw_text is None and (not turns or turns[0][0] != "system"):
            turns = (("system", system), *turns)
        drawn_by = sample_seed(seed, prompt.prompt_id, role, sample)
        return Request(prompt.prompt_id, role, sample, turns, prompt.raw_text, drawn_by, self._sampling, tokens=True)

    def _response(
        self, prompt: Prompt, group: int, request: Request, answers: dict[tuple[str, int], Completion]
    ) -> Response:
        answer = answers[request.prompt_id, request.sample]
        try:
            context = self._encoder.encode(request)
        except PromptError:
            context = []
        tokens = list(answer.tokens or ())
        if answer.tokens is None and answer.response is not None:
            tokens = self._tokens(request, answer)
        failed = answer.finish_reason == "error" or not context or not tokens
        return Response(
            prompt,
            request.sample,
            group,
            context,
            [] if failed else tokens,
            None if failed else answer.response,
            "error" if failed else answer.finish_reason,
            answer.logprob_sum,
        )

    def _tokens(self, request: Request, answer: Completion) -> list[int]:
        """Return the tokens of a text: perhaps others than were drawn, which the logged mismatch then shows.

        A thought gets its tags again, which the engine took off; the first is the prompt's where its template opens it.
        """
        text = answer.response or ""
        if answer.reasoning is not None:
            opened = "" if self._encoder.opening(request) else THINK
            cut = answer.finish_reason == "length" and not text
            text = f"{opened}{answer.reasoning}{'' if cut else THOUGHT}{text}"
        found = list(self._encoder.tokenizer(text, add_special_tokens=False)["input_ids"])
        return [*found, self._end] if answer.finish_reason == "stop" else found


def score(responses: Sequence[Response], reward: HybridReward, settings: PpoSettings) -> None:
    """Ask for the rewards of some responses, and write down what the policy learns from.

    A response that was cut off is not asked about: it says nothing of the answer. Nulls are treated as `null_reward`
    and `truncated` say; where generating failed there is nothing to learn from.

    Raises:
        PpoError: a reward is no number in [0, 1].
    """
    asked = [r for r in responses if r.finish_reason == "stop"]
    rewards = reward.score([r.prompt.answered(r.sample, r.text, r.finish_reason) for r in asked])
    for response, found in zip(asked, rewards, strict=True):
        _check(found)
        response.reward = found
    for response in responses:
        if response.reward is None:
            source = reward.source_of(response.prompt.answered(response.sample, response.text, response.finish_reason))
            cut = response.finish_reason == "length"
            status, detail = ("truncated", "") if cut else ("error", "the response could not be generated")
            response.reward = Reward(response.prompt.prompt_id, response.sample, None, source, None, status, detail)
        response.score = _learnt(response, settings)
        worst = response.reward.worst
        response.worst = response.score if response.score is None or worst is None else worst


def refuse_failures(responses: Sequence[Response]) -> None:
    """Stop where every response that came to an end has failed to be rewarded, or to be generated at all.

    Then something is gone that the training cannot do without, such as a server or a sandbox: steps on nothing would
    pass as a training that went well.

    Raises:
        PpoError: says what failed, and where.
    """
    asked = [r for r in responses if r.finish_reason != "length"]
    rewards = [r.reward for r in asked if r.reward is not None and r.reward.status == "error"]
    if not rewards or len(rewards) < len(asked):
        return
    (maker, detail), _ = Counter((_maker(r), r.detail) for r in rewards).most_common(1)[0]
    msg = (
        f"none of {len(rewards)} responses has a reward, every one failed ({maker}: {detail or 'no reason given'}); "
        "nothing was learnt from this step, and the last checkpoint stays"
    )
    raise PpoError(msg)


def _maker(found: Reward) -> str:
    return found.reward_id or found.source or "no source"


def _learnt(response: Response, settings: PpoSettings) -> float | None:
    assert response.reward is not None
    if not response.tokens:
        return None
    if response.reward.reward is not None:
        return response.reward.reward
    cut = response.finish_reason == "length" and settings.truncated == "lowest"
    return LOWEST if cut or settings.null_reward == "lowest" else None


def _check(found: Reward) -> None:
    for name, value in (("reward", found.reward), ("worst", found.worst)):
        if value is not None and not (math.isfinite(value) and 0.0 <= value <= 1.0):
            msg = (
                f"prompt {found.prompt_id}, sample {found.sample}: source {found.source} ({found.reward_id}) gave the "
                f"{name} {value}, which is no number in [0, 1]; nothing was learnt from this step"
            )
            raise PpoError(msg)


def all_alike(responses: Sequence[Response]) -> bool:
    """Tell whether a group has nothing to compare: all its scores are equal, or fewer than two are known."""
    scores = [r.score for r in responses if r.score is not None]
    return len(scores) < 2 or max(scores) == min(scores)
