"""What the tests on a GPU share: the device, prompts, pairs, and how results of two devices are compared.

`PREPPO_GPU_TESTS_DEVICE=cpu` runs the same bodies on the CPU: that shows the tests to be right, and nothing of a GPU.
"""

import os
from random import Random

import pytest
import torch

from trainer.engines.contract import Request, Sampling, sample_seed
from trainer.engines.transformers import TransformersEngine
from trainer.nursery.tasks import generate_tasks
from trainer.reward_models.pairs import Pair

DEVICE = os.environ.get("PREPPO_GPU_TESTS_DEVICE", "cuda")
ON_GPU = DEVICE.startswith("cuda")
# A library's own warnings differ from version to version, and this machine's versions are not ours to choose.
MARKS = [pytest.mark.gpu, pytest.mark.filterwarnings("default"), pytest.mark.usefixtures("device")]
NAMES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Nats between two tokens that rounding may swap: a few hundred times the error of a log-probability in each type.
TIE = {"float32": 1e-3, "bfloat16": 0.5}
# Share of the completions that may differ by such ties; one swapped token makes another text.
SHARE = {"float32": 0.02, "bfloat16": 0.15}
TOKEN = {"float32": 1e-4, "bfloat16": 0.05}  # mean error of a token's log-probability, in nats


def engine(device=DEVICE, dtype="float32", batch_size=64, **more):
    return TransformersEngine("nursery", device=device, dtype=dtype, batch_size=batch_size, **more)


def prompts(count=100):
    """Return prompts of all domains, and two long ones, so that padding varies."""
    words = ["Write these words in reverse order: " + "sun tree bird stone river " * n for n in (6, 30)]
    return [t.prompt for t in generate_tasks(count, seed=8)] + words


def requests(samples=1, count=100, **sampling):
    limit = Sampling(**{"max_tokens": 24, **sampling})
    return [
        Request(p, "scored", s, (("user", p),), None, sample_seed(0, p, "scored", s), limit, tokens=True)
        for p in prompts(count)
        for s in range(samples)
    ]


def answers(asked, drawn_by):
    """Return completions by name, each with its tokens."""
    found = {(c.prompt_id, c.sample): c for c in drawn_by.generate(asked)}
    assert len(found) == len(asked)
    return found


def tokens(completions):
    return {name: c.tokens for name, c in completions.items()}


def differing(expected, found):
    """Return the names whose tokens differ."""
    return [name for name, c in expected.items() if found[name].tokens != c.tokens]


def gap_where_they_part(judge, expected, found):
    """Return how far apart the log-probabilities of the two tokens are where two completions first differ, in nats.

    A small gap is a tie that rounding decides; a large one is a mistake.

    Args:
        judge: an engine that computes in fp32.
        expected: a completion.
        found: another one, to the same prompt.
    """
    same = next(i for i, (a, b) in enumerate(zip(expected.tokens, found.tokens, strict=False)) if a != b)
    (asked,) = [r for r in requests() if r.prompt_id == expected.prompt_id]
    before = [*judge.prompts.encode(asked), *expected.tokens[:same]]
    with torch.inference_mode():
        logits = judge.model(input_ids=torch.tensor([before], device=judge.device)).logits[0, -1].float()
    logp = logits.log_softmax(dim=-1)
    return abs(float(logp[expected.tokens[same]] - logp[found.tokens[same]]))


def per_token(expected, found):
    """Return the mean of |difference of log-probabilities| a token, over completions with the same tokens."""
    same = [n for n, c in expected.items() if found[n].tokens == c.tokens]
    off = sum(abs(expected[n].logprob_sum - found[n].logprob_sum) for n in same)
    return off / sum(len(expected[n].tokens) for n in same)


def style(count, seed):
    """Return pairs that any features can tell apart: a polite and a rude answer."""
    rng, found = Random(seed), []
    for i in range(count):
        n = rng.randint(10, 99)
        kind, rude = f"Thank you for asking about {n}! It is a number.", f"Why {n}? Go away."
        found.append(Pair(f"{seed}-{i}", (("user", f"Tell me about {n}."),), kind, rude, strength=1.0))
    return found


def cosine(one, other):
    """Return the cosine of two lists of tensors, each taken as one long vector, on the CPU in fp64."""
    a, b = (torch.cat([t.detach().double().cpu().flatten() for t in some]) for some in (one, other))
    return float(a @ b / (a.norm() * b.norm()))


def apart(one, other):
    """Return |a - b| / |a| of two lists of tensors, each taken as one long vector."""
    a, b = (torch.cat([t.detach().double().cpu().flatten() for t in some]) for some in (one, other))
    return float((a - b).norm() / a.norm())
