"""The hybrid reward: which source rewards a prompt, and the object that asks it (arXiv 2503.22230, section 3.1).

The source is fixed per prompt before anything is scored. A rule verdict beats a judge and a judge beats a reward
model; a null score never falls through to a weaker source, which is why the choice looks at the prompt and never at a
score. One object scores rollouts in curation, in PPO and in other trainers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from verifiers.registry import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

RTV, RECORDED, REWARD_MODEL = "rtv", "recorded", "reward_model"
GENRM_GROUND_TRUTH, GENRM_BEST_OF_N, GENRM_RUBRIC = "genrm_ground_truth", "genrm_best_of_n", "genrm_rubric"
GENRM = (GENRM_GROUND_TRUTH, GENRM_BEST_OF_N, GENRM_RUBRIC)
SOURCES = (RTV, RECORDED, *GENRM, REWARD_MODEL)
"""Every source, from the one that beats all others to the one that beats none."""


@dataclass(frozen=True, slots=True)
class Scorable:
    """A response to reward, with all that is known of its prompt.

    Attributes:
        prompt_id: of the prompt.
        sample: number of the response; with prompt_id it names the response among all that are scored together.
        messages: of the prompt, as (role, content).
        response: the text, or None where generating it failed.
        finish_reason: how generation ended: `stop`, `length` or `error`.
        verifier: name of the prompt's rule verifier, or None.
        ground_truth: JSON text in the form of the verifier, or None.
        reference: the best-of-N response that a judge or a reward model compares with, or None.
        raw_text: the exact prefix of a completion task, or None.
        reference_wanted: reference samples were asked for, whether or not one could be chosen. Where none could, no
            weaker source stands in for the comparison.
    """

    prompt_id: str
    sample: int
    messages: tuple[tuple[str, str], ...]
    response: str | None
    finish_reason: str = "stop"
    verifier: str | None = None
    ground_truth: str | None = None
    reference: str | None = None
    raw_text: str | None = None
    reference_wanted: bool = False


@dataclass(frozen=True, slots=True)
class Reward:
    """What a source says of a response.

    Attributes:
        prompt_id: of the prompt.
        sample: number of the response.
        reward: in [0, 1], or None where nothing could be decided: a failure is never a score.
        source: one of `SOURCES`, or None where no source applies to the prompt.
        reward_id: the maker of the score: verifier, judge or models with their versions.
        status: as in the table `rewards`.
        detail: why there is no score, or what was read.
        worst: the least reward that the heads of the reward models give (BRME's worst case), for a robust objective;
            the reward itself where a source knows no more than one.
    """

    prompt_id: str
    sample: int
    reward: float | None
    source: str | None
    reward_id: str | None = None
    status: str = ""
    detail: str = ""
    worst: float | None = None


def route(
    verifier: str | None,
    ground_truth: str | None,
    *,
    has_reference: bool = False,
    has_recorded_score: bool = False,
    available: Collection[str] = (RTV, RECORDED),
) -> str | None:
    """Return the reward source of one prompt, or None: it stays unscored.

    Args:
        verifier: of the prompt.
        ground_truth: of the prompt.
        has_reference: reference samples were asked for, of which the best is what a judge compares with.
        has_recorded_score: the user's imported rollouts bring scores.
        available: the sources that are configured.
    """
    applies = {
        RTV: verifier in REGISTRY and ground_truth is not None,
        RECORDED: has_recorded_score,
        # A gold of a rule verifier's own form, such as tests of a program, is nothing that a judge could compare with.
        GENRM_GROUND_TRUTH: ground_truth is not None and verifier is None,
        GENRM_BEST_OF_N: has_reference and ground_truth is None,
        GENRM_RUBRIC: ground_truth is None,
        REWARD_MODEL: True,
    }
    return next((source for source in SOURCES if applies[source] and source in available), None)


def compared_with(reference: str | None, kind: str | None) -> tuple[str | None, bool]:
    """Return `reference` and `reference_wanted` of a `Scorable`, from a release row's `reference`, `reference_kind`.

    A prompt with a ground truth has that as its reference in a release; it is compared with as `ground_truth`.
    """
    return (reference if kind == "best_of_n" else None), kind in ("best_of_n", "none_chosen")


class HybridReward:
    """Scores responses, each by the one source of its prompt, batched per source.

    Args:
        sources: what each source (a name of `SOURCES`) says of responses: one reward a response, in any order.
    """

    def __init__(self, sources: Mapping[str, Callable[[Sequence[Scorable]], Sequence[Reward]]]) -> None:
        unknown = sorted(set(sources) - set(SOURCES))
        if unknown:
            msg = f"hybrid reward: no source is named {unknown[0]!r}; there are {', '.join(SOURCES)}"
            raise ValueError(msg)
        self.sources = dict(sources)

    def source_of(self, item: Scorable) -> str | None:
        """Return the source that rewards a response, from its prompt alone."""
        wanted = item.reference_wanted or item.reference is not None
        return route(item.verifier, item.ground_truth, has_reference=wanted, available=self.sources)

    def score(self, items: Sequence[Scorable]) -> list[Reward]:
        """Return one reward a response, in the order of the responses.

        Raises:
            ValueError: two responses have the same prompt_id and sample, or a source does not answer for each.
        """
        places = {(one.prompt_id, one.sample): n for n, one in enumerate(items)}
        if len(places) < len(items):
            msg = f"hybrid reward: {len(items) - len(places)} responses have the prompt_id and sample of another one"
            raise ValueError(msg)
        found: list[Reward | None] = [None] * len(items)
        by_source: dict[str, list[Scorable]] = {}
        for n, one in enumerate(items):
            source = self.source_of(one)
            if source is None:
                found[n] = Reward(one.prompt_id, one.sample, None, None, status="no_source", detail=_why_none(one))
            else:
                by_source.setdefault(source, []).append(one)
        for source, some in by_source.items():
            for reward in self.sources[source](some):
                found[places[reward.prompt_id, reward.sample]] = reward
        missing = [one for one, reward in zip(items, found, strict=True) if reward is None]
        if missing:
            msg = f"hybrid reward: {len(missing)} responses were not answered, such as one to {missing[0].prompt_id}"
            raise ValueError(msg)
        return [reward for reward in found if reward is not None]

    def score_by_content(self, items: Sequence[Scorable]) -> list[Reward]:
        """Return one reward a response, in order, where nothing but their content tells responses apart.

        What `sample` says does not count: a reward depends on the task and the response alone, whatever is scored
        beside it, and equal responses to equal tasks are scored once.

        Raises:
            ValueError: a source does not answer for each.
        """
        named = [by_content(item) for item in items]
        found = {(r.prompt_id, r.sample): r for r in self.score(list(dict.fromkeys(named)))}
        return [found[item.prompt_id, item.sample] for item in named]


def by_content(item: Scorable) -> Scorable:
    """Return a response numbered by a hash of all that is known of it."""
    text = json.dumps(asdict(replace(item, sample=0)), sort_keys=True)
    return replace(item, sample=int.from_bytes(hashlib.blake2b(text.encode("ascii"), digest_size=7).digest()))


def _why_none(item: Scorable) -> str:
    """Return why no source rewards a prompt."""
    if item.verifier is None:
        return "no_source: the prompt names no verifier, and neither a judge nor a reward model applies to it"
    if item.verifier not in REGISTRY:
        return f"no_verifier: there is no verifier {item.verifier!r}"
    return f"no_gold: verifier {item.verifier!r} has no ground truth to check against"
