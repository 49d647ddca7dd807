"""The hybrid reward: the source is the prompt's, every response is answered once and in order, a null stays null."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.hybrid import SOURCES, HybridReward, Reward, Scorable, route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GOLDS, VERIFIERS = st.sampled_from([None, '"4"']), st.sampled_from([None, "math", "nobody's"])


def says(source: str, value: float | None) -> Callable[[Sequence[Scorable]], list[Reward]]:
    """Return a source that says one thing of everything, in another order."""

    def score(items: Sequence[Scorable]) -> list[Reward]:
        return [Reward(i.prompt_id, i.sample, value, source, source, "scored") for i in reversed(items)]

    return score


@pytest.mark.parametrize(
    ("verifier", "gold", "reference", "recorded", "source"),
    [
        ("math", '"4"', True, True, "rtv"),
        ("math", None, False, True, "recorded"),
        (None, '"4"', False, True, "recorded"),
        (None, '"4"', False, False, "genrm_ground_truth"),
        (None, None, True, False, "genrm_best_of_n"),
        (None, None, False, False, "genrm_rubric"),
        ("nobody's", '"4"', False, False, "reward_model"),
    ],
)
def test_the_strongest_source_that_applies_rewards_a_prompt(
    verifier: str | None, gold: str | None, reference: bool, recorded: bool, source: str
) -> None:
    found = route(verifier, gold, has_reference=reference, has_recorded_score=recorded, available=SOURCES)
    assert found == source


@given(st.lists(st.tuples(VERIFIERS, GOLDS, st.booleans()), max_size=12), st.sets(st.sampled_from(SOURCES)))
def test_every_response_is_answered_once_in_order_by_the_source_of_its_prompt(
    prompts: list[tuple[str | None, str | None, bool]], configured: set[str]
) -> None:
    hybrid = HybridReward({source: says(source, 0.25) for source in configured})
    items = [
        Scorable(f"p{n}", n % 3, (("user", "?"),), "text", verifier=v, ground_truth=g, reference="r" if r else None)
        for n, (v, g, r) in enumerate(prompts)
    ]
    found = hybrid.score(items)
    assert [(r.prompt_id, r.sample) for r in found] == [(i.prompt_id, i.sample) for i in items]
    for item, reward in zip(items, found, strict=True):
        best = next((s for s in SOURCES if s in configured and s == hybrid.source_of(item)), None)
        assert reward.source == best
        assert (reward.reward is None) == (best is None)
        assert best is not None or reward.status == "no_source"


def test_a_null_never_falls_through_to_a_weaker_source() -> None:
    hybrid = HybridReward({"rtv": says("rtv", None), "reward_model": says("reward_model", 0.9)})
    [found] = hybrid.score([Scorable("p", 0, (("user", "2 + 2?"),), "4", verifier="math", ground_truth='"4"')])
    assert (found.reward, found.source) == (None, "rtv")


def test_a_source_that_leaves_a_response_out_is_found_out() -> None:
    hybrid = HybridReward({"reward_model": lambda items: says("reward_model", 0.5)(items[1:])})
    items = [Scorable(f"p{n}", 0, (), "text") for n in range(2)]
    with pytest.raises(ValueError, match="1 responses were not answered, such as one to p0"):
        hybrid.score(items)


def test_the_same_response_twice_and_a_source_of_another_name_are_refused() -> None:
    one = Scorable("p", 0, (), "text")
    with pytest.raises(ValueError, match="1 responses have the prompt_id and sample of another one"):
        HybridReward({}).score([one, one])
    with pytest.raises(ValueError, match="no source is named 'oracle'"):
        HybridReward({"oracle": says("oracle", 1.0)})
