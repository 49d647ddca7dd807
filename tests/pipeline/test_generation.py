"""Rollouts are made as a stream and kept chunk by chunk: what is done is never done twice, and every token is told."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from click.testing import CliRunner

import assets.generation
from assets import contamination, gold_checks, prompts, rollouts
from assets.discovery import register_new
from assets.generation import BudgetSpentError
from assets.progress import listening
from assets.project import open_project
from assets.requests import KEY
from assets.stages import Run, materialise
from pipeline.cli import main
from tests.pipeline import harness
from trainer.engines import Completion, EngineError
from warehouse.explain import explain
from warehouse.usage import usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from click.testing import Result

    from assets.project import Project
    from trainer.engines import Request
    from warehouse.ledger import Commit

PROMPT_TOKENS, RESPONSE_TOKENS, MAX_TOKENS, SAMPLES, CHUNK = 9, 4, 20, 3, 2


@dataclass
class Scripted:
    """An engine that takes requests in windows and answers each window in an order of its own.

    Attributes:
        window: requests that are on their way at a time.
        fails_after: answers after which it cannot go on.
        too_long: a word of the prompts that do not fit.
        cut: a word of the prompts whose responses the token limit cuts.
    """

    fingerprint: str = "scripted"
    window: int = 5
    fails_after: int | None = None
    too_long: str = "novel"
    cut: str = "story"
    broken: str = "garbled"
    asked: list[Request] = field(default_factory=list)
    answered: int = 0

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        source, rng = iter(requests), Random(7)
        while window := [r for _, r in zip(range(self.window), source, strict=False)]:
            self.asked += window
            rng.shuffle(window)
            for request in window:
                if self.fails_after is not None and self.answered >= self.fails_after:
                    msg = "policy.engine = 'scripted': the servers are silent"
                    raise EngineError(msg)
                self.answered += 1
                yield self.answer(request)

    def answer(self, r: Request) -> Completion:
        text = r.messages[-1][1]
        if self.too_long in text:
            return Completion.failed(r, "scripted", "prompt_too_long: 999 tokens, and scripted takes 128", 999)
        if self.broken in text and r.sample == 0:
            return Completion.failed(r, "scripted", "bad_answer: it is no JSON")
        cut = self.cut in text
        return Completion.of_text(
            r,
            "scripted",
            f"\\boxed{{{r.seed % 7}}}",
            "length" if cut else "stop",
            prompt_tokens=PROMPT_TOKENS,
            response_tokens=MAX_TOKENS if cut else RESPONSE_TOKENS,
            logprob_sum=-1.0,
        )

    def close(self) -> None:
        """Nothing to give back."""


class Place:
    """Settings and sources in a folder, and the home that is made of them."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.engine = folder, Scripted()
        self.policy: dict[str, Any] = {"samples": SAMPLES, "max_tokens": MAX_TOKENS, "chunk_prompts": CHUNK}
        self.budget: dict[str, Any] = {}
        self.adaptive: dict[str, Any] = {}
        self.selection: dict[str, Any] = {}
        self.storage: dict[str, Any] = {}
        patch.setenv("PREPPO_CONFIG", str(folder / "preppo.toml"))
        patch.setenv("PREPPO_HOME", str(folder / "home"))
        patch.setenv("DAGSTER_HOME", "")
        patch.setattr(assets.generation, "engine_for", lambda *_: self.engine)
        harness.leave_out_what_is_for_people(patch)

    def add(self, name: str, questions: list[str]) -> None:
        """Write a file of questions, all with the gold 3."""
        rows = [{"q": q, "a": "3"} for q in questions]
        harness.write_lines(self.folder / "in" / f"{name}.jsonl", list(rows))

    def project(self) -> Project:
        """Write the settings, and open the project."""
        source = {"name": "sums", "path": "in/*", "prompt": "q", "ground_truth": "a", "verifier": "math"}
        settings = {
            "source": [source | {"domain": {"column": "q", "extract": "(story|sum|novel|garbled)"}}],
            "policy": self.policy,
            "budget": self.budget,
            "adaptive": self.adaptive,
            "selection": self.selection,
            "storage": self.storage,
            "ingest": {"heldout_share": 0.0, "near_duplicate_threshold": 1.0},
            "engine": {"workers": 1},
        }
        corpus = harness.Corpus(self.folder, settings=settings)
        corpus.write_settings()
        return open_project(corpus.config, self.folder / "home")

    def prepare(self) -> tuple[Project, str]:
        """Bring a new batch up to its rollouts; return the project and the key of its newest batch."""
        project = self.project()
        register_new(project)
        for batch in project.batches.all():
            for stage in (prompts.STAGE, contamination.STAGE, gold_checks.STAGE):
                materialise(stage, batch.key, Run(project))
        return project, project.batches.all()[-1].key

    def roll(self, run_id: str = "run", earlier: tuple[str, ...] = (), batch: str | None = None) -> Commit:
        """Roll a batch out, the newest by default, and return the commit."""
        project, newest = self.prepare()
        self.engine.asked.clear()
        self.engine.answered = 0
        (outcome,) = materialise(rollouts.STAGE, batch or newest, Run(project, run_id, earlier))
        return outcome.commit

    def run(self) -> Result:
        """Run the command."""
        self.project()
        return CliRunner().invoke(main, ["run"], catch_exceptions=False)

    def rows(self, table: str) -> pl.DataFrame:
        """Return all rows of a table on disk, those of builds that are not committed included."""
        return self.project().store.stored(table).collect()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path, monkeypatch)
    made.add("first", [f"What is the sum of {i} and {i * i}?" for i in range(7)])
    return made


def test_chunks_hold_each_sample_once_and_accounts_add_up(place: Place) -> None:
    commit = place.roll()
    rows, account = place.rows("rollouts"), place.rows("generation").sort("chunk")
    assert rows.select(KEY).is_unique().all()
    assert rows.height == 7 * SAMPLES == len(place.engine.asked)
    assert account["chunk"].to_list() == list(range(math.ceil(7 * SAMPLES / (CHUNK * SAMPLES))))
    assert account["samples"].to_list() == [6, 6, 6, 3]
    assert account["prompt_tokens"].sum() == 7 * SAMPLES * PROMPT_TOKENS == commit.counts["prompt_tokens"]
    assert account["response_tokens"].sum() == 7 * SAMPLES * RESPONSE_TOKENS == commit.counts["response_tokens"]
    assert commit.counts["generated"] == commit.counts["rows"] == 21
    assert commit.counts["generation_ms"] == round(1000 * account["seconds"].sum())
    assert set(account["run_id"]) == {"run"}


def test_progress_counts_samples_and_tokens(place: Place) -> None:
    seen: list[tuple[int, int | None, int]] = []
    with listening(
        lambda what, done, total, tokens=0: seen.append((done, total, tokens)) if what == "rollouts" else None
    ):
        place.roll()
    assert seen[0] == (0, 21, 0)
    assert seen[-1] == (21, 21, 21 * RESPONSE_TOKENS)


@pytest.mark.parametrize("fails_after", [0, 1, 6, 13, 20])
def test_a_failing_engine_keeps_what_it_finished_and_the_next_run_asks_for_the_rest(
    place: Place, fails_after: int
) -> None:
    place.engine.fails_after = fails_after
    with pytest.raises(EngineError, match="silent"):
        place.roll("one")
    before = place.rows("rollouts").sort(KEY)
    assert before.height == fails_after
    place.engine.fails_after = None
    commit = place.roll("two")
    assert len(place.engine.asked) == 21 - fails_after
    after = place.rows("rollouts").sort(KEY)
    assert after.height == 21
    assert after.join(before, on=KEY, how="semi").sort(KEY).equals(before)
    assert commit.counts["generated"] == 21


_DIES = """
import os, signal, sys
import assets.generation
from assets import rollouts
from assets.project import open_project
from assets.requests import KEY
from assets.stages import Run, materialise
from tests.pipeline.test_generation import Scripted
from warehouse.store import StageWriter

moment, number = sys.argv[1], int(sys.argv[2])
count = {"answer": 0, "append": 0}

def passed(what):
    count[what] += 1
    if (what, count[what]) == (moment, number):
        os.kill(os.getpid(), signal.SIGKILL)

class Dying(Scripted):
    def answer(self, request):
        passed("answer")
        return super().answer(request)

append = StageWriter.append

def counted(self, table, frame):
    passed("append")
    append(self, table, frame)

StageWriter.append = counted
assets.generation.engine_for = lambda *_: Dying()
project = open_project()
materialise(rollouts.STAGE, project.batches.all()[-1].key, Run(project, "one"))
"""


@pytest.mark.parametrize(
    ("moment", "number", "kept", "told"),
    [
        ("answer", 6, 0, 0),  # nothing was written
        ("answer", 17, 12, 12),
        ("append", 4, 6, 12),  # between the account of the second chunk and its rows
        ("append", 5, 12, 12),
        ("answer", 21, 18, 18),
    ],
)
def test_a_kill_costs_one_chunk_at_most(place: Place, moment: str, number: int, kept: int, told: int) -> None:
    place.prepare()
    command = [sys.executable, "-c", _DIES, moment, str(number)]
    done = subprocess.run(command, cwd=harness.REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert place.rows("rollouts").height == kept
    commit = place.roll("two")
    assert len(place.engine.asked) == 21 - kept
    rows = place.rows("rollouts")
    assert rows.height == 21
    assert rows.select(KEY).is_unique().all()
    # What was paid for and lost is in the account, as far as anything could be written.
    assert commit.counts["generated"] == told + 21 - kept


@pytest.mark.parametrize("answers", ["twice", "never", "unasked"])
def test_an_engine_that_does_not_answer_each_request_once_is_found_out(
    place: Place, answers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def generate(requests: Iterable[Request]) -> Iterator[Completion]:
        for n, request in enumerate(requests):
            answer = place.engine.answer(request)
            if n == 9 and answers == "never":
                continue
            yield answer
            if n == 9 and answers == "twice":
                yield answer
            if n == 9 and answers == "unasked":
                yield Completion.failed(place.engine.asked[0], "scripted", "?")

    place.roll()
    place.policy["seed"] = 1
    monkeypatch.setattr(place.engine, "generate", generate)
    place.engine.asked = list(place.engine.asked)
    with pytest.raises(EngineError, match=r"did not answer 1 requests|was not asked for"):
        project, batch = place.prepare()
        materialise(rollouts.STAGE, batch, Run(project, "two"))


def test_a_budget_holds_for_all_batches_of_a_run_and_the_next_run_goes_on(place: Place) -> None:
    each = PROMPT_TOKENS + RESPONSE_TOKENS
    place.roll("one")
    first = place.project().batches.all()[0].key
    place.add("second", [f"What is the sum of {i} and {i * i * i}?" for i in range(20, 27)])
    place.budget["max_tokens"] = limit = 21 * each + 260
    with pytest.raises(
        BudgetSpentError, match=r"budget.max_tokens = 533: .* samples of this run are kept, .* are left"
    ):
        place.roll("one")
    spent = place.rows("generation").select(pl.sum("prompt_tokens") + pl.sum("response_tokens")).item()
    assert 21 * each < spent <= limit
    kept = place.rows("rollouts").filter(pl.col("batch") != first).height
    assert kept == (spent - 21 * each) // each > 0
    # Another run of the same command has what is left of it; a new command has a budget of its own.
    with pytest.raises(BudgetSpentError, match="; 0 samples of this run are kept"):
        place.roll("later", earlier=("one",))
    place.budget["max_tokens"] = 2000
    commit = place.roll("two")
    assert len(place.engine.asked) == 21 - kept
    assert commit.counts["rows"] == commit.counts["generated"] == 21


def test_a_budget_of_money_is_used_up_in_rounds_and_never_exceeded(place: Place) -> None:
    place.budget.update(max_cost=0.006, price_response=100.0)  # 60 tokens: three of the longest responses
    place.engine.window = 100
    with pytest.raises(BudgetSpentError, match=r"budget.max_cost = 0.006: 0.0044 is spent for 143 tokens"):
        place.roll()
    assert place.rows("rollouts")["response_tokens"].sum() == 44 > 60 - MAX_TOKENS


def test_a_prompt_that_is_too_long_is_quarantined_with_its_reason(place: Place) -> None:
    place.add("long", ["A novel: what is 1 and 2?", "A garbled question: what is 2 and 3?"])
    done = place.run()
    assert done.exit_code == 0, done.output
    view = place.project().store.snapshot()
    texts = {m[0]["content"]: i for i, m in view.scan("prompts").select("prompt_id", "messages").collect().iter_rows()}
    novel, garbled = (next(i for t, i in texts.items() if word in t) for word in ("novel", "garbled"))
    told = view.decisions().filter(pl.col("rule") == "answerable").collect()
    found = {i: (o, v, d) for i, o, v, d in told.select("prompt_id", "outcome", "value", "detail").iter_rows()}
    assert found == {
        novel: (
            "quarantine",
            999.0,
            "3 of 3 samples have no text: prompt_too_long: 999 tokens, and scripted takes 128",
        ),
        garbled: ("flag", None, "1 of 3 samples have no text: bad_answer: it is no JSON"),
    }
    story = explain(view, place.project().home.releases, novel)
    assert any(d["rule"] == "answerable" and "999 tokens" in d["detail"] for d in story.decisions)
    assert "prompt_too_long" in harness.preppo("explain", novel).replace("\n", " ")
    chosen = view.scan("selection").filter(pl.col("prompt_id") == novel).collect().row(0, named=True)
    assert (chosen["selected"], chosen["reason"], chosen["score"]) == (False, "unscored", None)
    assert view.scan("rewards").filter(pl.col("prompt_id") == novel).collect()["reward"].to_list() == [None] * 3
    # It was counted, and sent nowhere.
    account = view.scan("generation").collect()
    assert account["prompt_tokens"].sum() == (9 * SAMPLES - SAMPLES - 1) * PROMPT_TOKENS
    assert account["errors"].sum() == SAMPLES + 1


def test_a_sample_that_failed_for_another_reason_is_tried_again_with_the_next_build(place: Place) -> None:
    place.add("long", ["A novel: what is 1 and 2?", "A garbled question: what is 2 and 3?"])
    place.roll("one")
    place.engine.broken = "nothing is broken any more"
    place.policy["samples"] = SAMPLES + 1
    place.roll("two")
    asked = Counter((r.messages[-1][1][:3], r.sample) for r in place.engine.asked)
    assert asked["A g", 0] == 1
    assert sum(asked.values()) == 9 + 1
    rows = place.rows("rollouts")
    assert rows.height == 9 * (SAMPLES + 1)
    assert set(rows.filter(pl.col("finish_reason") == "error")["detail"].str.slice(0, 15)) == {"prompt_too_long"}


def test_a_cut_sample_is_counted_and_never_wrong(place: Place) -> None:
    place.add("stories", [f"Tell the story of {i} and {i * 7}." for i in range(40, 44)])
    done = place.run()
    assert done.exit_code == 0, done.output
    told = "truncation_share: cut by policy.max_tokens = 20: story: 100.0% of 12 samples"
    assert told in done.output.replace("\n", " ")
    view = place.project().store.snapshot()
    ids = view.scan("prompts").filter(pl.col("domain") == "story").select("prompt_id").collect()["prompt_id"]
    mine = pl.col("prompt_id").is_in(ids.to_list())
    assert view.scan("verdicts").filter(mine).collect()["status"].unique().to_list() == ["truncated"]
    rewards = view.scan("rewards").filter(mine).collect()
    assert (rewards["reward"].null_count(), rewards["status"].unique().to_list()) == (12, ["truncated"])
    measured = view.scan("difficulty").filter(mine).collect()
    assert measured.select("samples", "scored", "truncated", "mean").unique().rows() == [(3, 0, 3, None)]
    assert set(view.scan("selection").filter(mine).collect()["reason"]) == {"unscored"}
    asked = harness.preppo("sql", "from truncation", "--format", "json")
    assert [(r["domain"], r["token_limit"], r["samples"], r["truncated"], r["share"]) for r in json.loads(asked)] == [
        ("story", MAX_TOKENS, 12, 12, 1.0),
        ("sum", MAX_TOKENS, 21, 0, 0.0),
    ]


def test_a_spent_budget_stops_the_command_with_one_line_and_a_code_of_its_own(place: Place) -> None:
    place.budget["max_tokens"] = 250
    done = place.run()
    assert done.exit_code == 4
    (line,) = done.output.strip().splitlines()
    assert line.startswith("preppo: rollouts: budget.max_tokens = 250: ")
    kept = place.rows("rollouts").height
    assert f"{kept} samples of this run are kept, {21 - kept} are left for a later one" in line
    place.budget.clear()
    assert place.run().exit_code == 0
    assert place.rows("rollouts").height == 21
    view = place.project().store.snapshot()
    sums = usage(view.commits, list(view.live.values()), place.project().store.stored("generation"))
    assert sums["samples"].to_list() == [21]


def test_an_update_of_preppo_between_a_kill_and_the_next_run_costs_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.engine.fails_after = 13
    with pytest.raises(EngineError):
        place.roll("one")
    monkeypatch.setattr("assets.stages.code_version", lambda _: "another version")
    place.engine.fails_after = None
    commit = place.roll("two")
    assert len(place.engine.asked) == 21 - 13
    assert place.project().store.snapshot().scan("rollouts").collect().height == 21 == commit.counts["rows"]


def test_what_replaced_and_unfinished_builds_took_stays_in_the_account(place: Place) -> None:
    place.roll("one")
    place.policy["seed"] = 1  # the same policy, other samples
    place.roll("two")
    place.policy["temperature"] = 0.5  # another policy
    place.engine.fails_after = 8
    with pytest.raises(EngineError):
        place.roll("three")
    store = place.project().store
    view = store.snapshot()
    sums = usage(view.commits, list(view.live.values()), store.stored("generation"))
    assert sorted(sums.select("state", "samples", "response_tokens").rows()) == [
        ("live", 21, 84),
        ("replaced", 21, 84),
        ("unfinished", 8, 32),
    ]
    assert sums["policy_id"].n_unique() == 2
