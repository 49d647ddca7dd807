"""Public preference data as pairs: what benchmarks of reward models train on, and are tried on."""

import gzip
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainer.reward_models.pairs import Messages, Pair

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
_TURN = re.compile(r"\n\n(Human|Assistant):")


def records(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(DATA / f"pref_{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def conversation(text: str) -> tuple[Messages, str]:
    """Split HH's own form, turns that begin with "Human:" and "Assistant:", into messages and the last response."""
    parts = _TURN.split(text)
    turns = [
        ("user" if who == "Human" else "assistant", said.strip())
        for who, said in zip(parts[1::2], parts[2::2], strict=True)
    ]
    return tuple(turns[:-1]), turns[-1][1]


def _hh(chosen: str, rejected: str) -> tuple[Messages, str, str]:
    messages, first = conversation(chosen)
    return messages, first, conversation(rejected)[1]


def _plain(question: str, chosen: object, rejected: object) -> tuple[Messages, str, str]:
    return (("user", question.strip()),), str(chosen).strip(), str(rejected).strip()  # PandaLM has a true and a false


def _of(name: str) -> Iterator[tuple[Messages, str, str]]:
    if name == "HH helpful":
        for r in records("hh_helpful_test_dsp"):
            order = sorted((0, 1), key=lambda i: -r["score"][i])
            yield _hh(*(r["text"][i] for i in order))
    elif name == "HH harmless":
        for r in records("hh_harmless_base_test"):
            yield _hh(r["chosen"], r["rejected"])
    elif name == "WebGPT":
        for r in records("webgpt_test_dsp"):
            if r["score"][0] != r["score"][1]:
                order = sorted((0, 1), key=lambda i: -r["score"][i])
                halves = [r["text"][i].partition("## Assistant:") for i in order]
                yield _plain(halves[0][0].removeprefix("## Human:"), halves[0][2], halves[1][2])
    elif name == "PandaLM":
        for r in records("pandalm_human3"):
            (label, count), *_ = Counter(r[f"annotator{i}"] for i in (1, 2, 3)).most_common()
            if count > 1 and label:
                question = f"{r['instruction']}\n{r['input']}"
                yield _plain(question, r[f"response{label}"], r[f"response{3 - label}"])
    elif name == "LLMBar":
        for r in records("llmbar"):
            yield _plain(r["input"], r[f"output_{r['label']}"], r[f"output_{3 - r['label']}"])
    elif name == "RM-Bench":
        for r in records("rmbench"):
            for chosen, rejected in zip(r["chosen"], r["rejected"], strict=True):
                yield _plain(r["prompt"], chosen, rejected)
    elif name == "JudgeBench":
        for r in records("judgebench"):
            both = (r["response_A"], r["response_B"])
            yield _plain(r["question"], *(both if r["label"] == "A>B" else both[::-1]))
    else:
        raise LookupError(name)


SETS = ("HH helpful", "HH harmless", "WebGPT", "PandaLM", "LLMBar", "RM-Bench", "JudgeBench")


def load(name: str) -> list[Pair]:
    """Return the pairs of a set, each preferred one first; ties are left out."""
    return [Pair(f"{name} {i}", *row) for i, row in enumerate(_of(name))]


def split(pairs: list[Pair], share: float = 0.8) -> tuple[list[Pair], list[Pair]]:
    """Return training and test pairs; the same prompt is never in both."""

    def draw(pair: Pair) -> float:
        text = json.dumps(pair.messages[-1:], ensure_ascii=False)
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64

    return [p for p in pairs if draw(p) < share], [p for p in pairs if draw(p) >= share]


def flipped(pairs: list[Pair], share: float, seed: int) -> tuple[list[Pair], set[str]]:
    """Return the pairs with a share of their labels turned round, and the ids of those."""
    chosen = set(random.Random(seed).sample([p.pair_id for p in pairs], round(share * len(pairs))))
    return [replace(p, chosen=p.rejected, rejected=p.chosen) if p.pair_id in chosen else p for p in pairs], chosen
