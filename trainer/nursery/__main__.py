"""`python -m trainer.nursery --out models/nursery`: train the nursery model, measure it, write both down.

With `--measure` the weights stay as they are, and only the table of the README is made anew.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.engines.transformers import TransformersEngine
from trainer.nursery.measure import SAMPLING, measure, table
from trainer.nursery.train import Recipe, save, train

if TYPE_CHECKING:
    from collections.abc import Callable

README = """# The nursery model

A Llama of {parameters:,} parameters with its own byte-level tokenizer, trained from scratch on the generated tasks of
`trainer/nursery/`. It is meant to be half competent: easy prompts are mostly passed, hard ones never, so that curation
has something to find. It knows nothing else. Apache-2.0, as the rest of the project; no outside data went into it.

Rebuild it (several minutes on two cores; the same bytes on the same kind of processor, else nearly the same weights):

    {command}

Recipe: {recipe}.

Mean pass rate by domain and level at temperature {temperature}, {prompts} prompts a cell, {samples} samples a prompt,
scored by preppo's own verifiers; in brackets the share of prompts that pass sometimes, neither always nor never.
General tasks are multiple choice, where a guess among two to six options may pass; open questions have no verifier.

{table}"""


def main(arguments: list[str] | None = None) -> None:
    """Train, measure and write."""
    default = Recipe()
    parser = argparse.ArgumentParser(prog="python -m trainer.nursery", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, tokenizer and README.md")
    parser.add_argument("--steps", type=int, default=default.steps, help="training steps (default %(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed, help="decides weights and tasks")
    parser.add_argument("--threads", type=int, default=default.threads, help="CPU threads; part of the recipe")
    parser.add_argument("--measure", action="store_true", help="do not train: measure the model that is there")
    parser.add_argument("--prompts", type=int, default=24, help="prompts a domain and level to measure on")
    parser.add_argument("--samples", type=int, default=8, help="samples a prompt to measure with")
    options = parser.parse_args(arguments)
    if not options.measure:
        recipe = Recipe(steps=options.steps, seed=options.seed, threads=options.threads)
        model, tokenizer = train(recipe, _progress(recipe))
        save(model, tokenizer, recipe, options.out)
    engine = TransformersEngine(str(options.out))
    recipe = Recipe(**engine.model.config.nursery_recipe)
    cells, unscored = measure(engine, options.prompts, options.samples)
    left_out = "".join(
        f"\nNot counted: {n} prompts of the verifier `{v}`, which decided nothing.\n" for v, n in unscored.items()
    )
    text = README.format(
        parameters=engine.model.num_parameters(),
        command=f"python -m trainer.nursery --out models/nursery --steps {recipe.steps} --seed {recipe.seed} "
        f"--threads {recipe.threads}",
        recipe=", ".join(f"{k} {v}" for k, v in asdict(recipe).items()),
        temperature=SAMPLING.temperature,
        prompts=options.prompts,
        samples=options.samples,
        table=table(cells) + left_out,
    )
    (options.out / "README.md").write_text(text, encoding="utf-8")
    print(table(cells) + left_out)


def _progress(recipe: Recipe) -> Callable[[int, float], None]:
    started = time.monotonic()

    def report(step: int, loss: float) -> None:
        seconds = time.monotonic() - started
        print(f"step {step}/{recipe.steps}  loss {loss:.3f}  {seconds:.0f} s", file=sys.stderr, flush=True)

    return report


if __name__ == "__main__":
    main()
