"""A run that is killed at any moment, and started again, ends where an unbroken run ends.

Black box: the real command runs as a process group on a small home (three sources, recorded rollouts, a model that
rolls out the rest, three arms, several chunks in every long stage). The test watches the files of the home, kills with
SIGKILL, starts the command again, and compares the home with one whose run was never broken.

- Two runs are broken: the first of a home (20 moments), and one that adds a batch, an evaluation set and an overruled
  gold to a curated home (6 moments), where stages replace and extend what was there.
- Moments: the unbroken run's course, half by the clock and half by the files it puts into the home, is cut into equal
  slices, and one moment is drawn in each from a fixed seed. A home is killed several times, at moments far apart,
  before it is left to end: every resumption starts from what another resumption left.
- Every second kill takes the process group, the others the main process alone, as the kernel does when memory runs
  out. Every fifth is of the installed command, the others of the same command with smaller chunks.
- Right after each kill no lock is held, and the next run finds the dead one and marks it failed. Every stage is hit
  by the 20 (asserted); the test prints which kill hit which.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from pipeline.instance import open_instance
from tests.pipeline import harness
from warehouse.home import Home
from warehouse.store import Store

if TYPE_CHECKING:
    from pathlib import Path

SEED = 20240607
FIRST_KILLS, FIRST_HOMES = 20, 5
NEXT_KILLS, NEXT_HOMES = 6, 2


@dataclass(frozen=True)
class Course:
    """The course of an unbroken run: (seconds, events) whenever the number of events in its home changed."""

    steps: list[tuple[float, int]]

    def moment(self, progress: float) -> tuple[int, float]:
        """Return (events to wait for, seconds to wait after them) for a share of the way, 0 to 1."""
        seconds = [(s - self.steps[0][0]) / (self.steps[-1][0] - self.steps[0][0]) for s, _ in self.steps]
        files = [(n - self.steps[0][1]) / (self.steps[-1][1] - self.steps[0][1]) for _, n in self.steps]
        ways = [(a + b) / 2 for a, b in zip(seconds, files, strict=True)]
        last = max(i for i, way in enumerate(ways) if way <= progress)
        if last == len(ways) - 1:
            return self.steps[last][1], 0.0
        share = (progress - ways[last]) / (ways[last + 1] - ways[last])
        return self.steps[last][1], share * (self.steps[last + 1][0] - self.steps[last][0])


def follow(command: harness.Command, home: Path) -> Course:
    """Watch a run to its end."""
    started = time.monotonic()
    before = harness.events(home)
    steps = [(0.0, before)]
    while command.running:
        now = harness.events(home)
        if now > steps[-1][1]:
            steps.append((time.monotonic() - started, now))
        time.sleep(0.002)
    command.finish()
    # The seconds until the first file are the start of Python: nothing of a home can be broken there.
    return Course([(steps[1][0], before), *steps[1:]])


def hit(home: Path, done_before: Counter[str]) -> str:
    """Return the stage that a kill interrupted: the first, in order, that the run had not committed as often."""
    done = Counter(c.stage for c in harness.commits(home))
    wanted = UNBROKEN[len(done_before) > 0]
    return next((s for s in harness.STAGES if done[s] - done_before[s] < wanted[s]), "after the last commit")


UNBROKEN: dict[bool, Counter[str]] = {}  # has the home been curated before? -> commits of an unbroken run, by stage


def assert_nothing_is_held(home: Path) -> None:
    """A lock that outlives its process would keep the next run waiting."""
    for path in Home(home).locks.glob("*.lock"):
        with path.open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pytest.fail(f"{path.name} is still held after the kill")


def broken_run(corpus: harness.Corpus, home: Path, moments: list[tuple[int, float]], first_kill: int) -> list[str]:
    """Run, killed at each of the moments, and then to the end; return the stages that were hit."""
    done_before = Counter(c.stage for c in harness.commits(home))
    stages = []
    for number, (count, delay) in enumerate(moments, first_kill):
        command = harness.Command(corpus, home, small_chunks=number % 5 != 0)
        assert harness.wait_for(home, command, count), f"ended before kill {number}: {command.printed}"
        time.sleep(delay)
        command.kill(group=number % 2 == 0)
        assert_nothing_is_held(home)
        command.kill()  # what the main process left behind
        stages.append(hit(home, done_before))
    harness.Command(corpus, home).finish()
    return stages


def assert_same(home: Path, unbroken: Path) -> None:
    """Compare everything but times and the ids of runs."""
    assert harness.release_bytes(home) == harness.release_bytes(unbroken)
    assert harness.ledger_keys(home) == harness.ledger_keys(unbroken)
    assert [c.seq for c in harness.commits(home)] == list(range(1, len(harness.commits(home)) + 1))
    assert harness.visible_rows(home) == harness.visible_rows(unbroken)
    # What a kill between a commit and the removal of what it replaced leaves is seen by nobody, and tidied away.
    Store(Home(home)).tidy(keep_hours=0)
    assert harness.stored_rows(home) == harness.stored_rows(unbroken), "rows that nobody sees were left behind"


def assert_dagster_is_at_rest(home: Path, kills: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run has an end; the killed ones are failed."""
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    with open_instance(Home(home)) as instance:
        statuses = Counter(r.status for r in instance.get_runs())
    assert set(statuses) <= {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}
    assert statuses[dg.DagsterRunStatus.FAILURE] <= kills  # a kill between two runs leaves none


def kill_and_compare(
    corpus: harness.Corpus,
    before: Path | None,
    unbroken: Path,
    course: Course,
    kills: int,
    homes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> Counter[str]:
    """Break runs from `before` (a home to copy, or none) at `kills` moments in `homes` homes; return stages hit."""
    rng = Random(SEED)
    moments = [course.moment((i + rng.random()) / kills) for i in range(kills)]
    hits: Counter[str] = Counter()
    for lineage in range(homes):
        home = unbroken.with_name(f"{unbroken.name}-{lineage}")
        if before is not None:
            shutil.copytree(before, home)
        mine = moments[lineage::homes]
        stages = broken_run(corpus, home, mine, first_kill=lineage)
        print(f"{home.name}: killed in {', '.join(stages)}")
        assert_same(home, unbroken)
        assert_dagster_is_at_rest(home, len(mine), monkeypatch)
        hits.update(stages)
        shutil.rmtree(home)
    return hits


@pytest.mark.slow
def test_killed_runs_end_like_unbroken_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = harness.small_corpus(tmp_path / "corpus")
    first = tmp_path / "first"
    course = follow(harness.Command(corpus, first), first)
    UNBROKEN[False] = Counter(c.stage for c in harness.commits(first))
    hits = kill_and_compare(corpus, None, first, course, FIRST_KILLS, FIRST_HOMES, monkeypatch)
    missed = set(harness.STAGES) - set(hits)

    ids = corpus.add_maths("second", 12, seed=2)
    corpus.settings["ingest"]["evaluation_sets"].append({"name": "more", "path": "more.jsonl", "text": "item"})
    harness.write_lines(corpus.folder / "more.jsonl", [{"item": f"Seen: {corpus.questions[ids[0]][0]}"}])
    overruled = next(i for i in corpus.questions if i not in ids)
    word = {"prompt_id": overruled, "field": "ground_truth", "value": "-1", "who": "a person", "why": "a test"}
    harness.write_lines(corpus.folder / "overrides.jsonl", [word])
    corpus.write_settings()
    second = tmp_path / "second"
    shutil.copytree(first, second)
    course = follow(harness.Command(corpus, second), second)
    UNBROKEN[True] = Counter(c.stage for c in harness.commits(second)) - UNBROKEN[False]
    kill_and_compare(corpus, first, second, course, NEXT_KILLS, NEXT_HOMES, monkeypatch)
    assert not missed, f"no kill hit {sorted(missed)}; hit: {dict(hits)}"
