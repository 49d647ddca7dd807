"""Several runs and readers at once on one home: nothing is lost, doubled, or seen half.

What a reader may never see: a live commit whose rows are not all there; rewards of some but not all scored rollouts of
a batch; decisions of a stage that is not committed; a batch whose rows do not add up.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from pipeline.instance import open_instance
from tests.pipeline import harness
from warehouse.explain import explain
from warehouse.home import Home
from warehouse.queries import query
from warehouse.store import Snapshot, Store

if TYPE_CHECKING:
    from pathlib import Path

Start = Callable[..., harness.Command]
KEY = ["batch", "policy_id"]
_HALF = """
    with scored as (select batch, policy_id, count(*) as n from rollouts where role = 'scored' group by all),
        rewarded as (select batch, policy_id, count(*) as n from rewards group by all),
        verified as (select batch, policy_id, count(*) as n from verdicts group by all)
    select * from scored
        left join rewarded using (batch, policy_id)
        left join verified using (batch, policy_id)
    where rewarded.n <> scored.n or verified.n <> scored.n or (rewarded.n is not null and verified.n is null)
"""  # every rollout of the corpus can be verified


def assert_whole(view: Snapshot) -> None:
    """Check a view against what its ledger says, and the tables against one another."""
    for commit in view.live.values():
        for table, rows in commit.tables.items():
            if table != "decisions":
                seen = view.scan_builds(table, [commit]).select(pl.len()).collect().item()
                assert seen == rows, f"{table} of {commit.key}: {seen} rows seen, {rows} committed"
    decisions = view.decisions().select("stage", "batch", "arm").unique().collect()
    for stage, batch, arm in decisions.iter_rows():
        written_by = "selection" if stage == "overrides" else stage
        assert any(k[:2] == (written_by, batch) and arm in ("", None, k[2]) for k in view.live), (stage, batch, arm)
    scored = _counts(view.scan("rollouts").filter(pl.col("role") == "scored"))
    rewarded = _counts(view.scan("rewards"))
    assert all(scored[k] == n for k, n in rewarded.items()), (scored, rewarded)
    for commit in view.of_stage("prompts"):
        kept = view.scan("prompts").filter(pl.col("batch") == commit.batch).select(pl.len()).collect().item()
        gone = view.scan("rejected_prompts").filter(pl.col("batch") == commit.batch).select(pl.len()).collect().item()
        assert kept + gone == commit.counts["rows_read"]
    for commit in view.of_stage("selection"):
        compared = [k.removeprefix("prompts:").removesuffix(":") for k in commit.inputs if k.startswith("prompts:")]
        prompts = sum(view.live["prompts", b, ""].counts["prompts"] for b in compared)
        assert commit.counts["prompts"] == prompts


def _counts(rows: pl.LazyFrame) -> dict[tuple[str, ...], int]:
    return {(b, p): n for b, p, n in rows.group_by(KEY).len().collect().iter_rows()}


def read_while(home: Path, commands: list[harness.Command], corpus: harness.Corpus) -> int:
    """Read the home in every way while commands run; return how many views were looked at."""
    opened = Home(home)
    ids = list(corpus.questions)
    seen = 0
    while any(c.running for c in commands):
        if not (opened.tables / "commits" / "_delta_log").is_dir():
            time.sleep(0.05)
            continue
        view = Store(opened).snapshot()
        assert_whole(view)
        half = query(view, _HALF)
        assert half.is_empty(), half
        known = view.scan("prompts").filter(pl.col("prompt_id").is_in(ids)).select("prompt_id").collect()["prompt_id"]
        if len(known):
            explain(view, opened.releases, known[seen % len(known)])
        seen += 1
    return seen


def assert_same_content(home: Path, single: Path) -> None:
    """Compare releases, and what is live, with a home where one run did it all."""
    assert set(harness.release_bytes(home)) == set(harness.release_bytes(single))
    for key, files in harness.release_bytes(home).items():
        for name in ("train.parquet", "heldout.parquet"):
            assert files[name] == harness.release_bytes(single)[key][name]
    live = {c.key: (c.build_id, c.data_version) for c in Store(Home(home)).snapshot().live.values()}
    assert live == {c.key: (c.build_id, c.data_version) for c in Store(Home(single)).snapshot().live.values()}
    rows, expected = harness.visible_rows(home), harness.visible_rows(single)
    # How often a decision was looked at and stayed is told by `carry` rows: those depend on how many runs there were.
    assert rows | {"decisions": 0} == expected | {"decisions": 0}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start commands; those that still run when the test is over are killed."""
    started = []

    def begin(corpus: harness.Corpus, home: Path) -> harness.Command:
        started.append(harness.Command(corpus, home))
        return started[-1]

    yield begin
    for command in started:
        if command.running:
            command.kill()


def statuses(home: Path, monkeypatch: pytest.MonkeyPatch) -> Counter[dg.DagsterRunStatus]:
    """Return how the Dagster runs of a home ended."""
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    with open_instance(Home(home)) as instance:
        return Counter(r.status for r in instance.get_runs())


def test_two_runs_on_the_same_new_files_and_a_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    corpus = harness.small_corpus(tmp_path / "corpus", maths=16, sums=0, samples=3)
    home, single = tmp_path / "home", tmp_path / "single"
    runs = [start(corpus, home), start(corpus, home)]
    views = read_while(home, runs, corpus)
    for run in runs:
        run.finish()
    assert views >= 3
    monkeypatch.setenv("PREPPO_CONFIG", str(corpus.config))
    monkeypatch.setenv("PREPPO_HOME", str(single))
    harness.run_here(corpus, single)
    assert_same_content(home, single)
    assert harness.ledger_keys(home) == harness.ledger_keys(single), "a stage was committed twice"
    assert harness.stored_rows(home) == harness.stored_rows(single)
    assert set(statuses(home, monkeypatch)) == {dg.DagsterRunStatus.SUCCESS}


def test_dagster_databases_are_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster refuses databases that a killed process left half made, or that two made at once."""
    home = Home(tmp_path / "home").create()
    half = home.root / ".dagster-new" / "history"
    half.mkdir(parents=True)
    (half / "runs.db").write_bytes(b"half a database")
    assert statuses(home.root, monkeypatch) == Counter()
    assert not half.exists()
    assert (home.dagster / "history" / "runs.db").is_file()
    assert statuses(home.root, monkeypatch) == Counter()


@pytest.mark.slow
def test_two_runs_with_different_batches_and_a_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start
) -> None:
    corpus = harness.small_corpus(tmp_path / "corpus")
    home, one_by_one = tmp_path / "home", tmp_path / "one_by_one"
    start(corpus, one_by_one).finish()
    first = start(corpus, home)
    while not list(Home(home).batches.glob("*.json")):
        assert first.running, first.printed
        time.sleep(0.01)
    corpus.add_maths("second", 16, seed=2)  # the first run knows of one batch only, the second of both
    second = start(corpus, home)
    assert read_while(home, [first, second], corpus) >= 3
    first.finish()
    second.finish()
    start(corpus, one_by_one).finish()
    assert_same_content(home, one_by_one)
    keys = [k[:4] for k in harness.ledger_keys(home)]
    assert len(keys) == len(set(keys)), "a build was committed twice"
    assert set(statuses(home, monkeypatch)) == {dg.DagsterRunStatus.SUCCESS}
    assert "everything is up to date" in start(corpus, home).finish()


@pytest.mark.slow
def test_killed_beside_others_which_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    """A run that is killed while another waits for it lets that one go on; a third that starts then harms neither."""
    corpus = harness.small_corpus(tmp_path / "corpus")
    home, single = tmp_path / "home", tmp_path / "single"
    start(corpus, single).finish()
    count = harness.events(single) // 3
    first, second = start(corpus, home), start(corpus, home)
    assert harness.wait_for(home, first, new_events=count)
    first.kill()
    third = start(corpus, home)
    assert read_while(home, [second, third], corpus) >= 3
    second.finish()
    third.finish()
    assert_same_content(home, single)
    assert harness.ledger_keys(home) == harness.ledger_keys(single)
    ended = statuses(home, monkeypatch)
    assert set(ended) <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
    assert ended[dg.DagsterRunStatus.FAILURE] <= 1, "only the killed run failed"
