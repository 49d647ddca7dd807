"""`python -m trainer.nursery.gold_judge --out models/nursery-judge`: train the shipped judge, and measure it.

It begins with the weights of the nursery model, which can copy and knows the policy's texts, and learns to read a
comparison in the template `nursery-gold`: it notes the verified answer and the final answers of both responses, then
gives the verdict. Loss and optimizers are the nursery's.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from trainer.engines.transformers import TransformersEngine
from trainer.nursery.gold_cases import draw_case, problems, sampled
from trainer.nursery.gold_measure import measured, readme
from trainer.nursery.threads import one_thread
from trainer.nursery.tokenizer import ASSISTANT, END, PAD, USER, special_id
from trainer.nursery.train import Recipe, fit, loss_on, padded, save
from verifiers.genrm.quoting import nonce
from verifiers.genrm.templates import template

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from transformers import PreTrainedTokenizerFast

    from trainer.nursery.gold_cases import Case

TEMPLATE = template("nursery-gold")
RECIPE = Recipe(steps=1200, matrix_rate=1.5e-2, vector_rate=3e-3, warmup=20)
TASKS, SAMPLES = 2000, 6  # whose answers by the policy are learnt from, and samples of each
_ROWS, _POOL = 24, 384  # of a step, and drawn together, so that rows of similar length share a step


def encoded(case: Case, tokenizer: PreTrainedTokenizerFast, mark: str) -> tuple[list[int], list[int]]:
    """Return the tokens of a comparison, as engines make them, and of what the judge should say."""
    shown = {"gold": case.gold, "first": case.first, "second": case.second}
    verdict = f"{TEMPLATE.anchor}: {case.label}"
    asked, said = tokenizer([TEMPLATE.messages(shown, mark)[0][1], verdict], add_special_tokens=False)["input_ids"]
    # Character by character: each note is as long as every other.
    noted = [i for row in tokenizer(list(case.notes), add_special_tokens=False)["input_ids"] for i in row]
    user, assistant, end = (special_id(tokenizer, t) for t in (USER, ASSISTANT, END))
    return [user, *asked, end, assistant], [*noted, *said, end]


def batches(
    policy: TransformersEngine, tokenizer: PreTrainedTokenizerFast, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (tokens, labels) of random cases, as `padded` returns them. Every case has delimiters of its own."""
    rng, pad = Random(seed), special_id(tokenizer, PAD)
    tasks = list(islice(problems(seed + 1, held_out=False), TASKS))
    known = list(zip(tasks, sampled(policy, tasks, SAMPLES, seed), strict=True))
    while True:
        cases = [draw_case(rng, *rng.choice(known)) for _ in range(_POOL)]
        rows = [encoded(c, tokenizer, nonce(rng.getrandbits(32), "", 0, "", 0, ())) for c in cases]
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))
        groups = [rows[i : i + _ROWS] for i in range(0, _POOL, _ROWS)]
        rng.shuffle(groups)
        for group in groups:
            yield padded(group, pad)


def train(recipe: Recipe) -> tuple[Any, PreTrainedTokenizerFast]:
    """Return the judge and its tokenizer, from the weights of the nursery model; progress goes to stderr."""
    policy, judge = (TransformersEngine("nursery", device="cpu", dtype="float32") for _ in range(2))
    model, tokenizer = judge.model.train(), judge.prompts.tokenizer
    source = batches(policy, tokenizer, recipe.seed)
    started = time.monotonic()

    def told(step: int, loss: float) -> None:
        seconds = time.monotonic() - started
        print(f"step {step}/{recipe.steps}  loss {loss:.3f}  {seconds:.0f} s", file=sys.stderr, flush=True)

    fit(recipe, model, lambda: loss_on(model, *next(source)), told)
    return model.eval(), tokenizer


def main(arguments: list[str] | None = None) -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(
        prog="python -m trainer.nursery.gold_judge", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, tokenizer and README.md")
    parser.add_argument("--steps", type=int, default=RECIPE.steps, help="training steps (default %(default)s)")
    parser.add_argument("--seed", type=int, default=RECIPE.seed, help="decides cases and their order")
    parser.add_argument("--measure", action="store_true", help="do not train: measure the judge that is there")
    options = parser.parse_args(arguments)
    recipe = Recipe(**asdict(RECIPE) | {"steps": options.steps, "seed": options.seed})
    with one_thread():
        if not options.measure:
            save(*train(recipe), recipe, options.out)
        judge = TransformersEngine(str(options.out), device="cpu", dtype="float32")
        recipe = Recipe(**judge.model.config.nursery_recipe)
        found = measured(judge, TransformersEngine("nursery", device="cpu", dtype="float32"), TEMPLATE)
    text = readme(found, judge.model.num_parameters(), recipe, TEMPLATE.id)
    (options.out / "README.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
