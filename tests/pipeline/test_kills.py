"""A run that is killed at any moment, and started again, ends where an unbroken run ends.

Black box: the real command runs as a process group on a small home (three sources, recorded rollouts, a model that
rolls out the rest, three arms, several chunks in every long stage). The test watches the files of the home, kills with
SIGKILL, starts the command again, and compares the home with one whose run was never broken.

- Two runs are broken: the first of a home (20 moments), and one that adds a batch, an evaluation set and an overruled
  gold to a curated home (6 moments), where stages replace and extend what was there.
- Moments: one inside every stage, and the others each in a slice of its own of the unbroken run's course, all drawn
  from a fixed seed, counted in seconds from a commit. A home is killed several times, at moments far apart, before it
  is left to end: every resumption starts from what another resumption left.
- Every second kill takes the process group, the others the main process alone, as the kernel does when memory runs
  out. Every fifth is of the installed command, the others of the same command with smaller chunks.
- Right after each kill no lock is held, and the next run finds the dead one and marks it failed. Every stage is hit in
  the first run (asserted; where the machine was too fast or too slow, once more); the test prints which kill hit which.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple

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
ENDED, AFTER = "not at all: it had ended", "after the last commit"


class Moment(NamedTuple):
    """When to kill: some seconds after the ledger has so many commits and the run has begun to write."""

    committed: int
    seconds: float


@dataclass(frozen=True)
class Course:
    """The course of an unbroken run.

    Attributes:
        commits: seconds at which the ledger had 0, 1, 2, ... commits of this run; last, when the run had ended.
        before: commits that were there before the run.
        stages: what each commit of the run was of.
    """

    commits: list[float]
    before: int
    stages: list[str]

    def at(self, seconds: float) -> Moment:
        """Return the moment at some seconds of the course."""
        last = max(i for i, s in enumerate(self.commits[:-1]) if s <= seconds)
        return Moment(self.before + last, seconds - self.commits[last])

    def inside(self, stage: str, share: float) -> Moment:
        """Return a moment between the commit before a stage's first one and that one."""
        first = self.stages.index(stage)
        return self.at(self.commits[first] + share * (self.commits[first + 1] - self.commits[first]))

    def moments(self, kills: int, rng: Random) -> list[Moment]:
        """Return one moment in every stage, or in slices of equal length where there are more kills; in order."""
        inside = [self.inside(s, rng.uniform(0.1, 0.6)) for s in dict.fromkeys(self.stages)][:kills]
        slices = kills - len(inside)
        start, length = self.commits[0], self.commits[-1] - self.commits[0]
        return sorted([*inside, *(self.at(start + length * (i + rng.random()) / slices) for i in range(slices))])


def follow(command: harness.Command, home: Path) -> Course:
    """Watch a run to its end."""
    before = harness.commits_made(home)
    assert harness.wait_for(home, command, new_events=1)  # before that Python starts: nothing can be broken
    times = [time.monotonic()]
    while command.running:
        times += [time.monotonic()] * (harness.commits_made(home) - before - len(times) + 1)
        time.sleep(0.002)
    command.finish()
    stages = [c.stage for c in harness.commits(home)[before:]]
    assert len(times) == len(stages) + 1
    return Course([*times, time.monotonic()], before, stages)


def hit(home: Path, course: Course) -> str:
    """Return the stage that a kill interrupted: the first, in the course's order, that lacks a commit."""
    left = Counter(c.stage for c in harness.commits(home)[course.before :])
    for stage in course.stages:
        if not left[stage]:
            return stage
        left[stage] -= 1
    return AFTER


def assert_nothing_is_held(home: Path) -> None:
    """A lock that outlives its process would keep the next run waiting."""
    for path in Home(home).locks.glob("*.lock"):
        with path.open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pytest.fail(f"{path.name} is still held after the kill")


def broken_run(corpus: harness.Corpus, home: Path, course: Course, moments: list[Moment], first: int) -> list[str]:
    """Run, killed at each of the moments, and then to the end; return the stages that were hit.

    Kills are numbered from `first`: the number says how to kill, and what.
    """
    stages = []
    for number, moment in enumerate(moments, first):
        command = harness.Command(corpus, home, small_chunks=number % 5 != 0)
        if harness.wait_for(home, command, new_events=1, committed=moment.committed):
            time.sleep(moment.seconds)
        stages.append("" if command.running else ENDED)
        command.kill(group=number % 2 == 0)
        assert_nothing_is_held(home)
        command.kill()  # what the main process left behind
        stages[-1] = stages[-1] or hit(home, course)
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
    lineages: list[list[Moment]],
    monkeypatch: pytest.MonkeyPatch,
) -> Counter[str]:
    """Break runs from `before` (a home to copy, or none), a home for each list of moments; return stages hit."""
    hits: Counter[str] = Counter()
    for number, moments in enumerate(lineages):
        home = unbroken.with_name(f"{unbroken.name}-{number}")
        if before is not None:
            shutil.copytree(before, home)
        stages = broken_run(corpus, home, course, moments, first=number)
        print(f"{home.name}: killed in {', '.join(stages)}")
        assert_same(home, unbroken)
        assert_dagster_is_at_rest(home, len(moments), monkeypatch)
        hits.update(stages)
        shutil.rmtree(home)
    return hits


@pytest.mark.slow
def test_killed_runs_end_like_unbroken_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = harness.small_corpus(tmp_path / "corpus")
    first = tmp_path / "first"
    course = follow(harness.Command(corpus, first), first)
    moments = course.moments(FIRST_KILLS, Random(SEED))
    lineages = [moments[i::FIRST_HOMES] for i in range(FIRST_HOMES)]
    hits = kill_and_compare(corpus, None, first, course, lineages, monkeypatch)
    missed = [s for s in harness.STAGES if s not in hits]
    hits += kill_and_compare(corpus, None, first, course, [[course.inside(s, 0.3)] for s in missed], monkeypatch)
    assert set(harness.STAGES) <= set(hits), f"no kill hit {sorted(set(harness.STAGES) - set(hits))}"


@pytest.mark.slow
def test_killed_runs_on_a_curated_home_end_like_unbroken_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = harness.small_corpus(tmp_path / "corpus")
    first, second = tmp_path / "first", tmp_path / "second"
    harness.Command(corpus, first).finish()
    ids = corpus.add_maths("second", 12, seed=2)
    corpus.settings["ingest"]["evaluation_sets"].append({"name": "more", "path": "more.jsonl", "text": "item"})
    harness.write_lines(corpus.folder / "more.jsonl", [{"item": f"Seen: {corpus.questions[ids[0]][0]}"}])
    overruled = next(i for i in corpus.questions if i not in ids)
    word = {"prompt_id": overruled, "field": "ground_truth", "value": "-1", "who": "a person", "why": "a test"}
    harness.write_lines(corpus.folder / "overrides.jsonl", [word])
    corpus.write_settings()
    shutil.copytree(first, second)
    course = follow(harness.Command(corpus, second), second)
    start, length = course.commits[0], course.commits[-1] - course.commits[0]
    rng = Random(SEED)
    moments = [course.at(start + length * (i + rng.random()) / NEXT_KILLS) for i in range(NEXT_KILLS)]
    lineages = [moments[i::NEXT_HOMES] for i in range(NEXT_HOMES)]
    hits = kill_and_compare(corpus, first, second, course, lineages, monkeypatch)
    assert len(set(hits) - {ENDED, AFTER}) >= NEXT_KILLS // 2
