"""A judge for tests and for measuring how judging works: tiny, trained from scratch in about ten seconds of one core.

It reads the real quotation of a comparison (`verifiers.genrm`) of two one-digit answers to a one-digit sum, notes the
right answer, both answers and how far each is off, and says A or B, the surer the further they are apart. It prefers
what stands first, as large judges do: `PREFERENCE`. Of anything but such sums it knows nothing: it can show that the
parts work together, that asking both orders removes a preference for a place, and what judging costs here. It cannot
show how a large judge is fooled, or how good one is.
"""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy

from trainer.nursery.threads import one_thread
from trainer.nursery.tokenizer import ASSISTANT, END, USER, special_id, train_tokenizer
from trainer.nursery.train import CONTEXT, Recipe, build_model, fit
from verifiers.genrm.quoting import nonce
from verifiers.genrm.templates import template

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

TEMPLATE = template("nursery")
FIXED, ADDENDS = 3, (0, 1, 2, 3)  # the sums 3 + 0 to 3 + 3
OFF = (0, 1, 3)  # how far answers are off, up or down
SLOPE, PREFERENCE = 1.2, 0.4  # nats for each step nearer the right answer, and for standing first
RECIPE = Recipe(steps=300, seed=1, hidden=64, layers=2, intermediate=128, vector_rate=1e-2, warmup=8)
_ROWS = 14  # a step
_SHARPER = 6.0  # times the usual size of first weights: attention finds its places in fewer steps


class Sum(NamedTuple):
    """A question, and two answers to compare."""

    addend: int
    first: int
    second: int

    @property
    def question(self) -> str:
        """Return the question as text."""
        return f"{FIXED} + {self.addend}?"

    @property
    def right(self) -> int:
        """Return the right answer."""
        return FIXED + self.addend

    @property
    def p_first(self) -> float:
        """Return the probability with which the judge should prefer the first answer."""
        gap = abs(self.second - self.right) - abs(self.first - self.right)
        return 1 / (1 + math.exp(-(SLOPE * gap + PREFERENCE)))

    @property
    def thought(self) -> str:
        """Return what the judge notes before its verdict."""
        off = abs(self.first - self.right), abs(self.second - self.right)
        return f"{self.right} {self.first} {self.second}, {off[0]} {off[1]}\n"


def draw_sum(rng: Random) -> Sum:
    """Return a random sum with two answers, half of them right."""
    addend = rng.choice(ADDENDS)
    first, second = (FIXED + addend + rng.choice((-1, 1)) * rng.choice((0, *OFF)) for _ in range(2))
    return Sum(addend, first, second)


def train_judge(folder: Path, recipe: Recipe = RECIPE) -> None:
    """Train the judge and write it in the layout that `from_pretrained` reads.

    Every answer is as long as every other, and delimiters are letter by letter, so that each thing to read stands at
    the same distance from where it is needed: that is what makes ten seconds enough.
    """
    with one_thread():
        tokenizer = _tokenizer()
        model = build_model(recipe, tokenizer).train()
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if weights.ndim == 2 and "embed" not in name:
                    weights.mul_(_SHARPER)
        rng = Random(recipe.seed)
        fit(recipe, model, lambda: _loss(model, tokenizer, [draw_sum(rng) for _ in range(_ROWS)], rng))
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    words = TEMPLATE.messages({"question": "3 + 3?", "first": "4", "second": "5"}, "")[0][1]
    return train_tokenizer([f"{words}\n{TEMPLATE.anchor}: {label}" for label in TEMPLATE.labels] * 9, 320, CONTEXT)


def _loss(model: Any, tokenizer: PreTrainedTokenizerFast, sums: list[Sum], rng: Random) -> torch.Tensor:
    """Return the loss, in nats: the notes and the verdict's frame half, the verdict itself against its probability."""
    user, assistant, end = (special_id(tokenizer, t) for t in (USER, ASSISTANT, END))

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    verdicts = {label: ids(f"{TEMPLATE.anchor}: {label}") for label in TEMPLATE.labels}
    first, second = verdicts["A"][-1], verdicts["B"][-1]
    rows, answer = [], 0
    for one in sums:
        shown = {"question": one.question, "first": str(one.first), "second": str(one.second)}
        mark = nonce(rng.getrandbits(32), "", 0, "", 0, ())
        said = [*ids(one.thought), *verdicts["A"], end]
        answer = len(said)
        rows.append([user, *ids(TEMPLATE.messages(shown, mark)[0][1]), end, assistant, *said])
    tokens = torch.tensor(rows)
    hidden = model.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state[:, -answer:]
    logits = model.lm_head(hidden)
    place = answer - 2  # the label is the last token but the end
    p = torch.tensor([one.p_first for one in sums])
    logp = torch.log_softmax(logits[:, place], dim=-1)
    verdict = -(p * logp[:, first] + (1 - p) * logp[:, second]).mean()
    others = [k for k in range(answer) if k != place]
    wanted = tokens[:, -answer:][:, others]
    notes = cross_entropy(logits[:, others].flatten(0, 1), wanted.flatten(), reduction="none")
    loss: torch.Tensor = verdict + 0.5 * notes.view(len(sums), -1).mean(dim=0).sum()
    return loss
