"""Train the nursery model from scratch on generated tasks, and measure what it learnt.

    python -m trainer.nursery --out models/nursery

A Llama of about 0.9M parameters (head size 32) learns answers only: the loss covers the answer and its end token.
Batches hold tasks of similar length, right-padded, so that causal attention needs no mask. The same seed, steps and
threads give the same bytes on the same processor (fp32 on the CPU, fixed order of all sums).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from random import Random
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from trainer.nursery.tasks import generate_tasks, stream_tasks
from trainer.nursery.tokenizer import ASSISTANT, END, PAD, USER, special_id, train_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

CONTEXT = 1024
# Easy levels are practised most, so that difficulty shows as a pass rate and not as all or nothing.
PRACTICE = {1: 0.28, 2: 0.32, 3: 0.28, 4: 0.10, 5: 0.02}
DOMAIN_PRACTICE = {"math": 2.4, "code": 1.2, "instruction": 1.0, "general": 0.8}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    steps: int = 1400
    seed: int = 0
    threads: int = 1
    vocabulary: int = 512
    hidden: int = 128
    layers: int = 4
    intermediate: int = 384
    batch_tokens: int = 4096
    matrix_rate: float = 2e-2  # Muon, for the matrices inside the layers
    vector_rate: float = 4e-3  # AdamW, for embeddings and norms
    warmup: int = 60


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return an untrained model for the tokenizer, its weights drawn from the recipe's seed."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.hidden // 32,
        num_key_value_heads=recipe.hidden // 32,
        intermediate_size=recipe.intermediate,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=special_id(tokenizer, PAD),
        bos_token_id=None,
        eos_token_id=special_id(tokenizer, END),
    )
    model = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        pad_token_id=config.pad_token_id,
        eos_token_id=config.eos_token_id,
    )
    return model


def batches(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (tokens, labels), both int64 [tasks, length]; label -100 wherever there is nothing to learn."""
    tasks = stream_tasks(recipe.seed + 1, DOMAIN_PRACTICE, PRACTICE)
    order = Random(recipe.seed)
    user, assistant, end, pad = (special_id(tokenizer, t) for t in (USER, ASSISTANT, END, PAD))
    while True:
        pool = [next(tasks) for _ in range(4096)]
        prompts = tokenizer([t.prompt for t in pool], add_special_tokens=False)["input_ids"]
        answers = tokenizer([t.answer for t in pool], add_special_tokens=False)["input_ids"]
        rows = [([user, *p, end, assistant], [*a, end]) for p, a in zip(prompts, answers, strict=True)]
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))  # stable: ties stay in the order of the stream
        groups: list[list[tuple[list[int], list[int]]]] = [[]]
        for row in rows:
            if (len(groups[-1]) + 1) * (len(row[0]) + len(row[1])) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(row)
        order.shuffle(groups)
        for group in groups:
            yield padded(group, pad)


def padded(rows: Sequence[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (tokens, labels), both int64 [rows, length], of prompts and answers; label -100 off the answers."""
    length = max(len(p) + len(a) for p, a in rows)
    tokens = [p + a + [pad] * (length - len(p) - len(a)) for p, a in rows]
    labels = [[-100] * len(p) + a + [-100] * (length - len(p) - len(a)) for p, a in rows]
    return torch.tensor(tokens), torch.tensor(labels)


def loss_on(model: LlamaForCausalLM, tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean cross entropy of the labelled tokens, in nats.

    A token weighs 1 / sqrt(tokens of its answer): between a mean over tokens, where long programs drown the sums,
    and a mean over answers. Logits are computed only where there is something to learn.
    """
    wanted = labels[:, 1:] != -100
    hidden = model.model(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state[wanted]
    losses = cross_entropy(model.lm_head(hidden), labels[:, 1:][wanted], reduction="none")
    weights = wanted.sum(dim=1, keepdim=True).expand_as(wanted)[wanted].float().rsqrt()
    return (losses * weights).sum() / weights.sum()


def rate_at(recipe: Recipe, step: int) -> float:
    """Return the share of the peak learning rates at a step: linear warm-up, then linear decay to 2%."""
    return min(1.0, (step + 1) / recipe.warmup) * (0.02 + 0.98 * (1 - step / recipe.steps))


def optimizers(recipe: Recipe, model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside the layers (Jordan et al., 2024) and AdamW for all else."""
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    other = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(inner, lr=recipe.matrix_rate, weight_decay=0.0, momentum=0.95, nesterov=True),
        torch.optim.AdamW(other, lr=recipe.vector_rate, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def fit(
    recipe: Recipe,
    model: LlamaForCausalLM,
    loss_of: Callable[[], torch.Tensor],
    report: Callable[[int, float], None] = lambda _step, _loss: None,
) -> None:
    """Take the recipe's steps, each down one `loss_of()`; `report(step, mean loss)` is called every 100 steps."""
    steppers = optimizers(recipe, model)
    peaks = [[group["lr"] for group in stepper.param_groups] for stepper in steppers]
    total = torch.zeros(())
    for step in range(recipe.steps):
        for stepper, rates in zip(steppers, peaks, strict=True):
            for group, rate in zip(stepper.param_groups, rates, strict=True):
                group["lr"] = rate * rate_at(recipe, step)
        loss = loss_of()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()
        total += loss.detach()
        if (step + 1) % 100 == 0:
            report(step + 1, float(total) / 100)
            total.zero_()


def train(
    recipe: Recipe, report: Callable[[int, float], None] = lambda _step, _loss: None
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Train a model and its tokenizer; `report(step, loss)` is called every 100 steps."""
    torch.set_num_threads(recipe.threads)
    samples = generate_tasks(12_000, recipe.seed + 2)
    tokenizer = train_tokenizer((f"{t.prompt}\n{t.answer}" for t in samples), recipe.vocabulary, CONTEXT)
    model = build_model(recipe, tokenizer).train()
    source = batches(recipe, tokenizer)
    fit(recipe, model, lambda: loss_on(model, *next(source)), report)
    return model.eval(), tokenizer


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe, folder: Path) -> None:
    """Write weights, configuration, tokenizer and the recipe, in the layout that `from_pretrained` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.nursery_recipe = asdict(recipe)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    for file in folder.glob("*.safetensors"):
        file.chmod(0o644)  # it is written for its owner alone
