"""A reasoning model from its weights to the release: what it thinks is kept apart, and what was cut is never wrong.

The model is real, if small: a Llama that is trained here, in seconds, to think in `<think>` tags about a few sums, long
about some and short about others, and then to answer. So one token limit cuts some thoughts, some answers, and nothing
of the rest.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import polars as pl
import pytest
import torch
from transformers import AutoTokenizer

from tests.pipeline import harness
from trainer.nursery.tokenizer import ASSISTANT, END, PAD, USER, special_id
from trainer.nursery.train import Recipe, build_model, loss_on
from warehouse.queries import query

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 150
LIMIT = 60  # tokens
LONG_THOUGHT, LONG_ANSWER = 2, 3
WRONG = "Is it \\boxed{999}? No."  # in every thought: whoever reads thoughts as answers finds something wrong
OPENS = "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"


def tasks() -> list[tuple[str, str, str, str]]:
    """Return (question, gold, thought, answer): two that fit, one with a long thought, one with a long answer."""
    rng, found = Random(5), []
    for number in range(4):
        a, b = rng.randint(10, 49), rng.randint(10, 49)
        long_thought, long_answer = number == LONG_THOUGHT, number == LONG_ANSWER
        count = " ".join(str(a + i) for i in range(20 if long_thought else 2))
        told = " ".join(str(b + i) for i in range(20)) if long_answer else "So"
        found.append((f"What is {a} + {b}?", str(a + b), f"{WRONG} {count}", f"{told} it is \\boxed{{{a + b}}}."))
    return found


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the model on its sums until it knows them by heart."""
    folder = tmp_path_factory.mktemp("thinker")
    torch.manual_seed(1)
    tokenizer = AutoTokenizer.from_pretrained("models/nursery")
    model = build_model(Recipe(hidden=96, layers=2, intermediate=192), tokenizer).train()
    user, assistant, end, pad = (special_id(tokenizer, t) for t in (USER, ASSISTANT, END, PAD))

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    rows = [
        ([user, *ids(question), end, assistant, *ids("<think>\n")], [*ids(f"{thought}\n</think>\n\n{answer}"), end])
        for question, _, thought, answer in tasks()
    ]
    length = max(len(p) + len(a) for p, a in rows)
    tokens = torch.tensor([p + a + [pad] * (length - len(p) - len(a)) for p, a in rows])
    opened = len(ids("<think>\n"))  # which the model learns to say, too
    labels = torch.tensor([
        [-100] * (len(p) - opened) + p[-opened:] + a + [-100] * (length - len(p) - len(a)) for p, a in rows
    ])  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # it is too small for more
    for _ in range(STEPS):
        loss = loss_on(model, tokens, labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    torch.set_num_threads(threads)
    assert float(loss.detach()) < 0.02, "it does not know its sums by heart"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(params=["the model", "the template"])
def opened_by(request: pytest.FixtureRequest, thinker: Path, tmp_path: Path) -> Path:
    """Return the model; either it says `<think>` itself, or its chat template has said so in the prompt."""
    if request.param == "the model":
        return thinker
    folder = tmp_path / "opened"
    tokenizer = AutoTokenizer.from_pretrained(thinker)
    assert OPENS in tokenizer.chat_template
    tokenizer.chat_template = tokenizer.chat_template.replace(
        OPENS, OPENS.replace("<|assistant|>", "<|assistant|><think>\\n")
    )
    folder.mkdir()
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        (folder / name).write_bytes((thinker / name).read_bytes())
    tokenizer.save_pretrained(folder)
    return folder


def test_thoughts_are_kept_apart_and_what_was_cut_is_never_wrong(
    opened_by: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = harness.Corpus(tmp_path / "corpus")
    harness.write_lines(corpus.folder / "sums.jsonl", [{"q": q, "a": gold} for q, gold, _, _ in tasks()])
    corpus.settings = {
        "source": [
            {
                "name": "sums",
                "path": "sums.jsonl",
                "prompt": "q",
                "ground_truth": "a",
                "verifier": "math",
                "domain": "sums",
            }
        ],
        "policy": {"model": str(opened_by), "samples": 1, "temperature": 0.0, "max_tokens": LIMIT, "device": "cpu"},
        "ingest": {"heldout_share": 0.0, "near_duplicate_threshold": 1.0},
        "engine": {"workers": 1},
    }
    corpus.write_settings()
    monkeypatch.setenv("PREPPO_CONFIG", str(corpus.config))
    monkeypatch.setenv("PREPPO_HOME", str(tmp_path / "home"))
    project, report = harness.run_here(corpus, tmp_path / "home")
    assert report.failures == []

    view = project.store.snapshot()
    texts = {m[0]["content"]: i for i, m in view.scan("prompts").select("prompt_id", "messages").collect().iter_rows()}
    rollouts = {r["prompt_id"]: r for r in view.scan("rollouts").collect().to_dicts()}
    rewards = {r["prompt_id"]: r for r in view.scan("rewards").collect().to_dicts()}
    for number, (question, _, thought, answer) in enumerate(tasks()):
        row, reward = rollouts[texts[question]], rewards[texts[question]]
        if number < LONG_THOUGHT:
            assert (row["reasoning"], row["response"], row["finish_reason"]) == (thought, answer, "stop")
            assert (reward["reward"], reward["status"]) == (1.0, "correct")
            continue
        assert (row["finish_reason"], row["response_tokens"]) == ("length", LIMIT)
        assert row["reasoning"].startswith(WRONG)
        assert "999" not in row["response"]
        assert (row["response"] == "") == (number == LONG_THOUGHT), "a thought that was cut leaves no answer"
        assert (reward["reward"], reward["status"]) == (None, "truncated")
    difficulty = view.scan("difficulty").collect()
    assert difficulty.filter(pl.col("scored") == 0)["truncated"].to_list() == [1, 1]
    assert difficulty.filter(pl.col("scored") == 1)["mean"].to_list() == [1.0, 1.0]
    chosen = (
        view.scan("selection")
        .filter(pl.col("prompt_id").is_in([texts[q] for q, *_ in tasks()[LONG_THOUGHT:]]))
        .collect()
    )
    assert set(chosen["reason"]) == {"unscored"}, "what was cut is not hard"

    (cut,) = query(view, "FROM truncation").to_dicts()
    assert [cut[c] for c in ("domain", "samples", "truncated", "share", "token_limit")] == ["sums", 4, 2, 0.5, LIMIT]
    check = next(c for c in view.of_stage("rollouts")).checks["truncation_share"]
    assert check["detail"] == f"cut by policy.max_tokens = {LIMIT}: sums: 50.0% of 4 samples"
