"""`python -m trainer.nursery.reward --out models/nursery-reward`: train the shipped reward model, and measure it.

Its trunk is the nursery model's. It learns from pairs of answers to open nursery questions, the policy's own and spoilt
ones, of which `quality` says which is better; pairs of equal quality are left out.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.engines.transformers import TransformersEngine
from trainer.nursery.answers import PROMPTS, policy_answers
from trainer.nursery.pairs import (
    HELD_OUT,
    HELD_OUT_SAMPLES,
    Share,
    conversation,
    held_out_pairs,
    share_of,
    training_pairs,
)  # fmt: skip
from trainer.nursery.quality import quality
from trainer.nursery.threads import one_thread
from trainer.reward_models.model import RewardModel, load_reward_model, save_reward_model
from trainer.reward_models.recipes import recipe_of
from trainer.reward_models.settings import TrainSettings
from trainer.reward_models.training import train

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.reward_models.pairs import Pair

RECIPE = replace(recipe_of("brme"), hidden=64)  # 256 are for trunks that are wider than 128
SETTINGS = TrainSettings(
    rate=1e-3, head_rate=2e-3, batch=32, micro=32, epochs=1, second_epochs=4, max_length=256,
    dtype="float32", device="cpu",
)  # fmt: skip
PAIRS, SAMPLES = 20_000, 64  # in all, and of the policy for each prompt

README = """# The nursery's reward model

The trunk of the nursery model ({parameters:,} parameters with the heads), with five Gaussian heads (recipe `brme`, but
{hidden} hidden units a head). It scores answers to the open questions of `trainer/nursery/` and knows nothing else:
whether there are as many sentences as were asked for, whether each tells a fact of the subject, none twice, all
well-formed (`trainer.nursery.quality`). Apache-2.0, as the rest of the project; no outside data went into it.

Rebuild it (some minutes on one core; the same bytes on the same kind of processor, else nearly the same weights):

    python -m trainer.nursery.reward --out models/nursery-reward

It was trained on {pairs:,} pairs: answers of the nursery model, right ones, and right ones that were spoilt. Its
rewards of their responses have mean {centre:.2f} and standard deviation {scale:.2f} (`calibration` in
reward_model.json).

Held out: the nursery model's own samples under another seed, {samples} a question, every pair of different texts and
different quality. There are only {prompts} open questions and few right answers to each, so most good answers were seen
in training; the bad ones were often not.

| pairs | number | the better one has the higher reward |
|---|---|---|
| all | {all.number} | {all.share:.1%} |
| with a text that was not trained on | {new.number} | {new.share:.1%} |
| a right answer and another | {right.number} | {right.share:.1%} |
| both with something wrong | {wrong.number} | {wrong.share:.1%} |

The best of 8 of these samples by reward is right (quality 1) in {best:.1%} of the questions' groups; a random one in
{random:.1%}.
"""


def ahead(model: RewardModel, pairs: Sequence[Pair]) -> list[bool]:
    """Return of each pair whether the chosen response has the higher nominal reward."""
    scored = [s.nominal for s in model.score((p.messages, t) for p in pairs for t in (p.chosen, p.rejected))]
    return [c is not None and r is not None and c > r for c, r in zip(scored[::2], scored[1::2], strict=True)]


def best_of(model: RewardModel, own: Mapping[str, Sequence[str]], size: int = 8) -> tuple[float, float]:
    """Return how often the best of some samples by reward is right, and how often any sample is."""
    best, every = [], []
    for prompt, texts in own.items():
        rewards = [s.nominal for s in model.score((conversation(prompt), t) for t in texts)]
        right = [quality(prompt, t) == 1 for t in texts]
        every += right
        for start in range(0, len(texts) - size + 1, size):
            top = max(range(start, start + size), key=lambda i: rewards[i] or 0.0)
            best.append(right[top])
    return sum(best) / len(best), sum(every) / len(every)


def measured(model: RewardModel, engine: TransformersEngine, trained_on: Sequence[Pair]) -> dict[str, Share | float]:
    """Return what README tells of held-out pairs."""
    own = policy_answers(engine, HELD_OUT_SAMPLES, HELD_OUT)
    pairs = held_out_pairs(own)
    known = {(p.messages, text) for p in trained_on for text in (p.chosen, p.rejected)}
    right = list(zip(pairs, ahead(model, pairs), strict=True))
    best, every = best_of(model, own)
    full = {p.pair_id for p in pairs if quality(p.messages[0][1], p.chosen) == 1}
    return {
        "all": share_of([r for _, r in right]),
        "new": share_of([r for p, r in right if not {(p.messages, p.chosen), (p.messages, p.rejected)} <= known]),
        "right": share_of([r for p, r in right if p.pair_id in full]),
        "wrong": share_of([r for p, r in right if p.pair_id not in full]),
        "best": best,
        "random": every,
    }


def main(arguments: list[str] | None = None) -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.nursery.reward", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, tokenizer, heads and README.md")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pairs to train on (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides pairs, order and heads")
    options = parser.parse_args(arguments)
    with one_thread():
        engine = TransformersEngine("nursery", device="cpu")
        pairs = training_pairs(policy_answers(engine, SAMPLES, options.seed), options.pairs, options.seed)
        settings = replace(SETTINGS, seed=options.seed)
        started = time.monotonic()

        def told(done: int, steps: int, loss: float) -> None:
            if done % 50 == 0 or done == steps:
                seconds = time.monotonic() - started
                print(f"step {done}/{steps}  loss {loss:.3f}  {seconds:.0f} s", file=sys.stderr, flush=True)

        save_reward_model(train(pairs, "nursery", RECIPE, settings, told=told), RECIPE, options.out)
        for file in options.out.glob("*.safetensors"):
            file.chmod(0o644)  # it is written for its owner alone
        model = load_reward_model(str(options.out), device="cpu", dtype="float32")
        found = measured(model, engine, pairs)
    text = README.format(
        parameters=sum(p.numel() for p in model.network.parameters()),
        hidden=RECIPE.hidden,
        pairs=len(pairs),
        samples=HELD_OUT_SAMPLES,
        prompts=len(PROMPTS),
        centre=model.centre,
        scale=model.scale,
        **found,
    )
    (options.out / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
