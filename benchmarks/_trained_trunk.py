"""A small language model from nothing, on the texts of preference pairs: a trunk that a benchmark can train whole.

Five folds by the prompt: each pair of the sets that are trained on is tested on by the one fold that did not see it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch.nn.functional import cross_entropy

from benchmarks._preferences import load
from trainer.nursery.tokenizer import PAD, special_id, train_tokenizer
from trainer.nursery.train import CONTEXT, Recipe, build_model, optimizers, rate_at, save
from trainer.reward_models.pairs import ConversationEncoder, Messages, Pair
from warehouse.curation.identity import prompt_id

TRAINED_ON = ("HH helpful", "PandaLM")
FOREIGN = ("HH harmless", "LLMBar", "RM-Bench", "WebGPT")
FOLDS = 5
LONGEST = 450  # characters of the conversation; WebGPT, whose answers are all longer: 900
FOREIGN_PAIRS = 150


@dataclass(frozen=True)
class Fold:
    """What one seed trains on and is tried on.

    Attributes:
        pairs: to train on.
        tests: name -> pairs; the sets trained on first.
        meta: unlabelled responses of the sets that are not trained on, to other prompts than those of the tests.
    """

    pairs: list[Pair]
    tests: dict[str, list[Pair]]
    meta: list[tuple[Messages, list[str]]]


def length(pair: Pair) -> int:
    return sum(len(content) for _, content in pair.messages) + max(len(pair.chosen), len(pair.rejected))


def short(name: str) -> list[Pair]:
    longest = 900 if name == "WebGPT" else LONGEST
    usable = (p for p in load(name) if p.chosen.strip() and p.rejected.strip() and p.chosen != p.rejected)
    return [p for p in usable if length(p) <= longest]


def part(pair: Pair, parts: int) -> int:
    return int(prompt_id(pair.messages)[:8], 16) % parts


def fold(number: int) -> Fold:
    own = {name: short(name) for name in TRAINED_ON}
    foreign = {name: short(name) for name in FOREIGN}
    tests = {name: [p for p in some if part(p, FOLDS) == number % FOLDS] for name, some in own.items()}
    tests |= {name: [p for p in some if part(p, 2)][:FOREIGN_PAIRS] for name, some in foreign.items()}
    pairs = [p for some in own.values() for p in some if part(p, FOLDS) != number % FOLDS]
    responses: dict[Messages, list[str]] = {}
    for some in foreign.values():
        for pair in some:
            if not part(pair, 2):
                responses.setdefault(pair.messages, []).extend((pair.chosen, pair.rejected))
    groups = [(m, list(dict.fromkeys(r))[:6]) for m, r in responses.items()]
    Random(number).shuffle(groups)
    return Fold(pairs, tests, [g for g in groups if len(g[1]) > 1])


def pretrain(pairs: list[Pair], recipe: Recipe, folder: Path) -> float:
    """Write a language model of the pairs' conversations, with a tokenizer of its own; return its last loss in nats."""
    texts = [text for p in pairs for text in (*(content for _, content in p.messages), p.chosen, p.rejected)]
    tokenizer = train_tokenizer(texts, recipe.vocabulary, CONTEXT)
    encoder = ConversationEncoder(tokenizer, CONTEXT)
    rows = [encoder.encode(p.messages, r).tokens for p in pairs for r in (p.chosen, p.rejected)]
    model = build_model(recipe, tokenizer).train()
    steppers = optimizers(recipe, model)
    peaks = [[group["lr"] for group in stepper.param_groups] for stepper in steppers]
    source = batches(rows, recipe, special_id(tokenizer, PAD))
    last = 0.0
    for step in range(recipe.steps):
        for stepper, rates in zip(steppers, peaks, strict=True):
            for group, rate in zip(stepper.param_groups, rates, strict=True):
                group["lr"] = rate * rate_at(recipe, step)
        tokens, labels = next(source)
        logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()
        last = loss.item() if step == 0 else 0.95 * last + 0.05 * loss.item()
    save(model.eval(), tokenizer, recipe, folder)
    return last


def batches(rows: list[list[int]], recipe: Recipe, pad: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (tokens, labels), [conversations, length], of similar lengths, padded on the right."""
    order = Random(recipe.seed)
    while True:
        drawn = sorted(order.sample(rows, len(rows)), key=len)
        groups: list[list[list[int]]] = [[]]
        for row in drawn:
            if (len(groups[-1]) + 1) * len(row) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(row)
        order.shuffle(groups)
        for group in groups:
            longest = max(map(len, group))
            padded = [row + [pad] * (longest - len(row)) for row in group]
            labels = [row + [-100] * (longest - len(row)) for row in group]
            yield torch.tensor(padded), torch.tensor(labels)
