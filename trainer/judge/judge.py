"""The judge: comparisons in, judgements out, over any engine.

A response is compared with a reference, the ground truth or the best of N SFT responses (arXiv 2503.22230, section
3.1), and the score is the probability that the judge prefers it, so that 0.5 is parity (arXiv 2504.13914). Both orders
are always asked and averaged; where they disagree the judgement says so (`flipped`). A failure is never a score.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trainer.engines.contract import Completion, EngineError, policy_id
from trainer.judge.calls import JudgeSettings, Trial, opened
from verifiers.genrm import gates
from verifiers.genrm.canaries import CanaryCounts, CanaryLimits, canaries
from verifiers.genrm.contract import Comparison, Judgement, JudgementStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.engines.contract import Engine, Request
    from trainer.judge.calls import Call
    from verifiers.genrm.templates import Template


class JudgeError(EngineError):
    """The judge cannot be asked at all; the message says why and what to do. What was judged before was yielded."""


class CanaryError(RuntimeError):
    """The judge is fooled by what it must see through, so its scores are worth nothing.

    It is raised after the last judgement of a batch was yielded: nothing that was scored is lost.

    Attributes:
        counts: of the canaries of the run so far.
        judgements: of the batch, canaries not included.
        fooled: the canaries that failed, with their scores.
    """

    def __init__(
        self, reason: str, counts: CanaryCounts, judgements: Sequence[Judgement], fooled: Sequence[Judgement]
    ) -> None:
        super().__init__(reason)
        self.counts, self.judgements, self.fooled = counts, tuple(judgements), tuple(fooled)


@dataclass(slots=True)
class Usage:
    """What a judge took so far, canaries included, and how its judgements ended.

    Attributes:
        calls: answered by the engine, `retries` among them.
        prompt_tokens, response_tokens: of those calls, as far as the engine counts.
        seconds: spent in the engine.
        outcomes: judgements (without canaries) by status, with the code of the reason, or of how they were read.
    """

    calls: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)


class Judge:
    """Compares responses with references.

    Args:
        engine: any; where it knows no log-probabilities of alternatives, the verdict's line decides.
        template: what is asked.
        settings: how.
        limits: when canaries stop the run.

    Raises:
        JudgeError: the engine's model has no chat template.

    Attributes:
        id: 32 hex characters, the policy id of the engine's model as a judge: weights, sampling, template, gates.
        counts: of the canaries so far.
        usage: what all this took, and how judgements ended.
    """

    def __init__(
        self,
        engine: Engine,
        template: Template,
        settings: JudgeSettings | None = None,
        limits: CanaryLimits | None = None,
    ) -> None:
        self._engine, self.template = engine, template
        self.settings, self.limits = settings or JudgeSettings(), limits or CanaryLimits()
        prompts = getattr(engine, "prompts", None)  # of engines that tokenise here
        if prompts is not None and prompts.chat_template is None:
            msg = f"judge {prompts.name!r} has no chat template: a judge is asked in turns, so name an instruct model"
            raise JudgeError(msg)
        self._tokens = special_tokens(engine)
        self.id = judge_id(engine.fingerprint, template, self.settings)
        self.counts, self.usage = CanaryCounts(), Usage()

    def judge(self, batch: Sequence[Comparison]) -> Iterator[Judgement]:
        """Yield one judgement a comparison, as they are finished, in any order.

        Raises:
            ValueError: two comparisons have the same prompt_id and sample; nothing was asked.
            JudgeError: the engine cannot judge at all (it does not start, or its model has no chat template).
            CanaryError: the judge is fooled too often. All judgements of the batch were yielded; it holds them, too.
        """
        twice = [name for name, n in Counter((c.prompt_id, c.sample) for c in batch).items() if n > 1]
        if twice:
            msg = f"judge: {len(twice)} responses come more than once in a batch, first: {twice[0]}"
            raise ValueError(msg)
        made = canaries(self._shown(batch), self.settings.canaries, self.settings.seed)
        found: list[Judgement] = []
        fooled: list[Judgement] = []
        for number, judgement in self._judged([*made, *batch]):
            if number < len(made):
                if self.counts.add(judgement, self.limits):
                    fooled.append(judgement)
            else:
                found.append(judgement)
                self.usage.outcomes[_outcome(judgement)] += 1
                yield judgement
        reason = self.counts.problem(self.limits)
        if reason is not None:
            model = getattr(self._engine, "name", None) or self._engine.fingerprint
            msg = f"judge {model!r} with template {self.template.id}: {reason}; its scores are not to be used"
            raise CanaryError(msg, self.counts, found, fooled)

    def _shown(self, batch: Sequence[Comparison]) -> Sequence[Comparison]:
        """Return what canaries are made from: a pointwise judge compares with nothing."""
        if self.template.kind == "pairwise":
            return batch
        return [replace(c, reference="") for c in batch]

    def _judged(self, batch: Sequence[Comparison]) -> Iterator[tuple[int, Judgement]]:
        """Yield (number in the batch, judgement)."""
        trials: dict[int, Trial] = {}
        for number, comparison in enumerate(batch):
            one = opened(number, comparison, self.template, self._tokens, self.id)
            if isinstance(one, Judgement):
                yield number, one
            else:
                trials[number] = one
        waiting = {n: len(trial.calls) for n, trial in trials.items()}
        calls = [(trial, call) for trial in trials.values() for call in trial.calls]
        while calls:
            again: list[tuple[Trial, Call]] = []
            for trial, call, completion in self._answers(calls):
                if trial.take(call, completion, self.template, self.settings):
                    again.append((trial, call))
                    continue
                waiting[trial.number] -= 1
                if not waiting[trial.number]:
                    yield trial.number, trial.judgement(self.template, self.id)
            self.usage.retries += len(again)
            calls = sorted(again, key=lambda pair: (pair[0].number, pair[1].order))

    def _answers(self, calls: Sequence[tuple[Trial, Call]]) -> Iterator[tuple[Trial, Call, Completion]]:
        """Ask the engine. Each call is answered once: by an error where the engine forgot to, and no second time."""
        waiting: dict[tuple[str, str], tuple[Trial, Call, Request]] = {}

        def requests() -> Iterator[Request]:
            for trial, call in calls:
                request = trial.request(call, self.template, self.settings)
                waiting[request.prompt_id, request.role] = trial, call, request
                yield request

        started = time.monotonic()
        stream = self._engine.generate(requests())
        try:
            for completion in stream:
                found = waiting.pop((completion.prompt_id, completion.role), None)
                if found is None:
                    continue
                self.usage.calls += 1
                self.usage.prompt_tokens += completion.prompt_tokens or 0
                self.usage.response_tokens += completion.response_tokens or 0
                self.usage.seconds += time.monotonic() - started
                yield found[0], found[1], completion
                started = time.monotonic()
        except EngineError as error:
            msg = f"the judge cannot be asked: {error}"
            raise JudgeError(msg) from error
        for trial, call, request in list(waiting.values()):
            yield trial, call, Completion.failed(request, "judge", "no_answer: the engine gave none")


def _outcome(judgement: Judgement) -> str:
    """Return the status with its code; a verdict by its line alone is coarser than others, and told apart."""
    status, code = judgement.status.value, judgement.detail.partition(":")[0]
    plain = judgement.status is JudgementStatus.judged and code == "logprobs"
    return status if plain or status == code else f"{status}: {code}"


def judge_id(fingerprint: str, template: Template, settings: JudgeSettings) -> str:
    """Return the identity of a judge: a judgement of another one is another judgement. No engine is needed.

    Args:
        fingerprint: of the engine's model, its chat template included.
        template: that is asked.
        settings: all of them count but the number of canaries.
    """
    extra: dict[str, Any] = {
        "judge": template.id,
        "gates": gates.VERSION,
        "alternatives": settings.top_logprobs,
        "min_mass": settings.min_mass,
        "retries": settings.retries,
        "seed": settings.seed,
    }
    return policy_id(fingerprint, settings.sampling(template), None, template.system, extra)


def special_tokens(engine: Engine) -> frozenset[str]:
    """Return the special tokens of an engine's tokenizer, where it has one here; others are known by their form."""
    tokenizer = getattr(getattr(engine, "prompts", None), "tokenizer", None)
    found = set(getattr(tokenizer, "all_special_tokens", ()) or ())
    # Tokens like <tool_call> are added without being special; runs of blanks are, too, and mean nothing.
    for token in (getattr(tokenizer, "added_tokens_decoder", None) or {}).values():
        text = str(token)
        if text[:1] in "<[◁" and text[-1:] in ">]▷":
            found.add(text)
    return frozenset(t for t in found if isinstance(t, str) and len(t) > 1)
