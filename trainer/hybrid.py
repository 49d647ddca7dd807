"""The hybrid reward of some settings, over real verifiers, a real judge and real reward models."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from trainer.engines import load_engine
from trainer.judge.scored import JudgeSource
from trainer.judge.settings import identity, judge_for, judge_policy, judged_sources
from trainer.reward_models.about import member
from verifiers import VerifierPool
from verifiers.hybrid import REWARD_MODEL, RTV, HybridReward
from verifiers.rtv import RuleVerifiers
from warehouse.hashing import json_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trainer.engines import Engine
    from verifiers.hybrid import Reward, Scorable
    from warehouse.settings import Settings


def makers(settings: Settings) -> dict[str, str]:
    """Return what names the judge of each source and the reward models: with another one rewards are others.

    Loads no weights.

    Raises:
        ModelError: a model cannot be had.
    """
    found = {source: identity(settings.judge, source) for source in judged_sources(settings.judge)}
    chosen = settings.reward_model
    if chosen.models:
        members = sorted(member(name).fingerprint for name in chosen.models)
        found[REWARD_MODEL] = json_hash([members, chosen.combine, chosen.dtype, chosen.max_length])
    return found


@contextmanager
def hybrid_reward(settings: Settings, workers: int | None = None) -> Iterator[HybridReward]:
    """Open the reward that `[verifiers]`, `[judge]` and `[reward_model]` describe, and close what it holds afterwards.

    It gives what the table `rewards` has, but for recorded scores, which are of responses that are there already.
    Models are loaded when the first response needs them.

    Args:
        settings: all of them.
        workers: processes of the verifiers; default: `[verifiers] workers`, `[engine] workers`, or one a CPU.

    Raises:
        EngineError: the judge's engine cannot be started.
        ModelError: a model cannot be had.
    """
    chosen = settings.verifiers
    count = workers or chosen.workers or settings.engine.workers
    with ExitStack() as stack:
        pool = stack.enter_context(VerifierPool(count, sandbox=chosen.sandbox, url=chosen.url))
        models = stack.enter_context(model_sources(settings))
        yield HybridReward({RTV: RuleVerifiers(pool, settings.reward.budget_s), **models})


@contextmanager
def model_sources(settings: Settings) -> Iterator[dict[str, LateSource]]:
    """Open the sources that need models, and close their engine afterwards: the judge's, and the reward models.

    Each loads what it needs when it is first asked, or told to.

    Raises:
        EngineError: the judge's engine cannot be started.
        ModelError: a model cannot be had.
    """
    with ExitStack() as stack:
        sources = _judges(settings, stack)
        if settings.reward_model.models:
            sources[REWARD_MODEL] = LateSource(lambda: _models(settings))
        yield sources


class LateSource:
    """A source that is made when it is first asked."""

    def __init__(self, make: Callable[[], Callable[[Sequence[Scorable]], Sequence[Reward]]]) -> None:
        self._make = make
        self._made: Callable[[Sequence[Scorable]], Sequence[Reward]] | None = None

    def load(self) -> Callable[[Sequence[Scorable]], Sequence[Reward]]:
        """Make it now, and return it."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def __call__(self, items: Sequence[Scorable]) -> Sequence[Reward]:
        return self.load()(items)


def _judges(settings: Settings, stack: ExitStack) -> dict[str, LateSource]:
    """Return a judge a source, all over one engine."""
    chosen = settings.judge
    engines: list[Engine] = []

    def judge(source: str) -> JudgeSource:
        if not engines:
            engines.append(load_engine(judge_policy(chosen), chosen.serving or settings.engine))
            stack.callback(engines[0].close)
        return JudgeSource(judge_for(chosen, source, engines[0]), source)

    def late(source: str) -> LateSource:
        return LateSource(lambda: judge(source))

    return {source: late(source) for source in judged_sources(chosen)}


def _models(settings: Settings) -> Callable[[Sequence[Scorable]], Sequence[Reward]]:
    from trainer.reward_models.model import load_reward_model  # torch takes seconds to import
    from trainer.reward_models.scored import ModelSource

    chosen = settings.reward_model
    loaded = [
        load_reward_model(
            name, device=chosen.device, dtype=chosen.dtype, batch=chosen.batch_size, max_length=chosen.max_length
        )
        for name in chosen.models
    ]
    return ModelSource(loaded, chosen.combine)
