"""What a recipe makes of the labels of pairs whose strength is known (arXiv 2401.06080, section 3.2)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.reward_models.pairs import Pair
    from trainer.reward_models.recipes import Recipe

_STRONGEST = 0.1


def treated(pairs: Sequence[Pair], recipe: Recipe) -> list[Pair]:
    """Return the pairs as the recipe takes them, in the same order.

    The weakest `flip` share is turned round (its strength changes sign), the weakest `drop` share left out (with both,
    those that are dropped are the weakest). With `soft`, pairs of negative strength and the strongest tenth get
    sigmoid(strength) as the probability that their label is right. Pairs whose label is trusted stay as they are, and
    the shares are of the others.

    Raises:
        ValueError: the recipe needs strengths, and a pair has none.
    """
    if not recipe.needs_strength:
        return list(pairs)
    lacking = [p.pair_id for p in pairs if p.strength is None]
    if lacking:
        msg = f"recipe: it needs the strength of every pair, and {len(lacking)} have none, such as {lacking[0]}"
        raise ValueError(msg)
    doubtful = [i for i, pair in enumerate(pairs) if not pair.trusted]
    order = sorted(doubtful, key=lambda i: (_strength(pairs[i]), pairs[i].pair_id))
    dropped = set(order[: round(recipe.drop * len(order))])
    weakest = order[len(dropped) :]
    flipped = set(weakest[: round(recipe.flip * len(order))])
    strongest = set(order[len(order) - round(_STRONGEST * len(order)) :])
    found = []
    for i, pair in enumerate(pairs):
        if i in dropped:
            continue
        taken = _flipped(pair) if i in flipped else pair
        if recipe.soft and not pair.trusted and (_strength(taken) < 0 or i in strongest):
            taken = replace(taken, target=1 / (1 + math.exp(-_strength(taken))))
        found.append(taken)
    return found


def _strength(pair: Pair) -> float:
    return 0.0 if pair.strength is None else pair.strength


def _flipped(pair: Pair) -> Pair:
    return replace(pair, chosen=pair.rejected, rejected=pair.chosen, strength=-_strength(pair))
