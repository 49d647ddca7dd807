"""`engine = "openai"` through the pipeline: a server's texts become scores, and a run that its servers left goes on."""

import re

import polars as pl
import pytest

from assets import contamination, gold_checks, prompts, references, rewards, rollouts, verdicts
from assets.discovery import register_new
from assets.policies import close_engine
from assets.project import open_project
from assets.stages import Run, materialise
from tests.pipeline import harness
from tests.trainer.engines.fault_server import FaultServer
from trainer.engines import EngineError, server_pool

SUMS, SAMPLES, LONG = 20, 3, 2
BEFORE = (prompts.STAGE, contamination.STAGE, gold_checks.STAGE)
AFTER = (verdicts.STAGE, references.STAGE, rewards.STAGE)
TOO_LONG = {"error": {"message": "maximum context length is 8 tokens. However, your prompt contains 9 input tokens"}}


def solution(text, seed):
    """Answer a sum: right where the seed is even."""
    a, b = map(int, re.findall(r"\d+", text))
    return f"Let me count.\n#### {a + b + seed % 2}"


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(server_pool, "FIRST_PAUSE_S", 0.01)
    made = harness.Corpus(tmp_path)
    rows = [{"q": f"What is {i} + {i * i}?", "a": str(i + i * i)} for i in range(SUMS)]
    rows += [{"q": f"A novel of {i} pages. What is {i} + 1?", "a": str(i + 1)} for i in range(LONG)]
    harness.write_lines(tmp_path / "in" / "sums.jsonl", rows)
    source = {"name": "sums", "path": "in/*", "prompt": "q", "ground_truth": "a", "verifier": "math"}
    made.settings = {
        "source": [source],
        "policy": {"engine": "openai", "model": "m", "samples": SAMPLES, "chunk_prompts": 2},
        "engine": {"workers": 1, "retries": 2, "concurrency": 4},
        "ingest": {"heldout_share": 0.0, "near_duplicate_threshold": 1.0},
    }
    yield made
    close_engine()


def stages(corpus, home, wanted):
    """Take the batch through some stages, as a run does that has just begun."""
    project = open_project(corpus.config, home)
    register_new(project)
    (batch,) = project.batches.all()
    for stage in wanted:
        materialise(stage, batch.key, Run(project))
    return project.store


def test_a_run_whose_servers_fail_is_resumed_and_nothing_is_generated_twice(corpus, tmp_path):
    alive, right = 31, []

    def script(text, _attempt):
        if "novel" in text:
            return 400, TOO_LONG
        if len(right) >= alive:
            return "503"
        right.append((text, server.asked[-1]["seed"]))
        return "ok"

    with FaultServer(script, answer=solution) as server:
        corpus.settings["engine"]["base_urls"] = [server.url]
        corpus.write_settings()
        home = tmp_path / "home"
        with pytest.raises(EngineError, match=r"no server answers, after 2 retries: .* 503: not now; .* is kept"):
            stages(corpus, home, (*BEFORE, rollouts.STAGE))
        stored = open_project(corpus.config, home).store.stored("rollouts").collect()
        assert stored.filter(pl.col("finish_reason") == "stop").height == alive == len(right)
        alive = 10_000
        view = stages(corpus, home, (*BEFORE, rollouts.STAGE, *AFTER)).snapshot()

    assert len(right) == len(set(right)) == SUMS * SAMPLES
    rows = view.scan("rollouts").collect()
    assert rows.height == rows.select("prompt_id", "role", "sample").n_unique() == (SUMS + LONG) * SAMPLES
    assert set(rows["engine"]) == {"openai"}
    texts = view.scan("prompts").select("prompt_id", text=pl.col("messages").list.last().struct.field("content"))
    scored = view.scan("rewards").select("prompt_id", "sample", "reward").collect()
    scores = rows.join(texts.collect(), on="prompt_id").join(scored, on=["prompt_id", "sample"])
    assert scores.height == rows.height
    for row in scores.iter_rows(named=True):
        if "novel" in row["text"]:
            assert (row["response"], row["reward"]) == (None, None)
        else:
            assert row["response"] == solution(row["text"], row["seed"])
            assert row["reward"] == float(row["seed"] % 2 == 0)
    assert set(scores["reward"]) == {0.0, 1.0, None}
    told = view.decisions().filter(pl.col("rule") == "answerable").collect()
    assert told["outcome"].to_list() == ["quarantine"] * LONG
    assert all("prompt_too_long: maximum context length" in d for d in told["detail"])
