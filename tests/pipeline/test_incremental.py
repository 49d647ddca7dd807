"""New work costs what is new: told by which stages commit again and which rows are made anew, not by the clock."""

from __future__ import annotations

import copy
import json
import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

import assets.generation
import assets.verdicts
from assets import contamination, gold_checks, prompts, selection
from assets.discovery import register_new
from assets.policies import own_policy_id, recorded_policy_id
from assets.project import open_project
from assets.stages import Run, is_stale, materialise
from tests.pipeline import harness
from trainer.engines.contract import Completion, sample_seed
from verifiers import VerifierPool
from warehouse.ledger import CORPUS
from warehouse.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from trainer.engines.contract import Request
    from warehouse.ledger import Commit

BATCH_STAGES = {
    "prompts",
    "contamination",
    "gold_checks",
    "rollouts",
    "verdicts",
    "references",
    "rewards",
    "difficulty",
}
CORPUS_STAGES = {"selection", "curriculum", "release"}
ARMS = 2


class Counting:
    """An engine that answers every request with a number, and remembers what it was asked for."""

    fingerprint = "counting"
    chat_template = None

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        for r in requests:
            self.asked.append(r)
            text = f"\\boxed{{{r.seed % 7}}}"
            yield Completion(r.prompt_id, r.role, r.sample, text, None, "stop", 9, 4, -1.0, r.seed, "counting", False)


class Home:
    """A curated home in `folder`, and what the next run adds to its ledger."""

    def __init__(self, folder: Path, corpus: harness.Corpus, patch: pytest.MonkeyPatch) -> None:
        self.corpus = corpus
        self.home = folder / "home"
        self.engine = Counting()
        self.verified: list[str] = []
        patch.setenv("PREPPO_CONFIG", str(corpus.config))
        patch.setenv("PREPPO_HOME", str(self.home))
        patch.setattr(assets.generation, "engine_for", lambda *_: self.engine)
        patch.setattr(assets.verdicts, "VerifierPool", self._pool)
        harness.leave_out_what_is_for_people(patch)
        self.project = open_project(corpus.config, self.home)

    def _pool(self, *given: Any, **arguments: Any) -> Any:
        home = self

        class Pool(VerifierPool):
            def verify(self, tasks: Any) -> Any:
                home.verified += [t.response for t in tasks]
                return super().verify(tasks)

        return Pool(*given, **arguments)

    def run(self) -> list[Commit]:
        """Curate, and return the commits that were added."""
        before = len(harness.commits(self.home))
        self.engine.asked, self.verified = [], []
        self.corpus.write_settings()
        self.project, report = harness.run_here(self.corpus, self.home)
        assert report.failures == []
        return harness.commits(self.home)[before:]

    def live(self, table: str) -> pl.DataFrame:
        """Return the visible rows of a table."""
        return self.project.store.snapshot().scan(table).collect()

    @property
    def batch(self) -> str:
        """Return the key of the newest batch."""
        return self.project.batches.all()[-1].key


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, harness.Corpus]:
    """Curate two homes once: one with recorded rollouts alone, one in part rolled out here, 4 samples a prompt."""
    made = {}
    for name, sums in (("recorded", 0), ("generated", 5)):
        folder = tmp_path_factory.mktemp(name)
        corpus = harness.small_corpus(folder / "corpus", maths=24, sums=sums, samples=3)
        corpus.settings["selection"]["arms"] = corpus.settings["selection"]["arms"][:1]
        if sums:
            corpus.settings["policy"]["samples"] = 4
        with pytest.MonkeyPatch.context() as patch:
            added = Home(folder, corpus, patch).run()
        assert set(stages(added)) == {"recorded_rollouts", *BATCH_STAGES, *CORPUS_STAGES}
        made[name] = corpus
    return made


def _copy(corpus: harness.Corpus, folder: Path, patch: pytest.MonkeyPatch) -> Home:
    shutil.copytree(corpus.folder.parent, folder, dirs_exist_ok=True)
    return Home(folder, replace(copy.deepcopy(corpus), folder=folder / "corpus"), patch)


@pytest.fixture
def curated(templates: dict[str, harness.Corpus], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a home with one batch of recorded rollouts."""
    return _copy(templates["recorded"], tmp_path, monkeypatch)


@pytest.fixture
def generated(templates: dict[str, harness.Corpus], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a home with one batch, part of which is rolled out by its own policy, 4 samples a prompt."""
    return _copy(templates["generated"], tmp_path, monkeypatch)


def stages(commits: list[Commit]) -> Counter[str]:
    return Counter(c.stage for c in commits)


def test_nothing_new_commits_nothing(curated: Home) -> None:
    assert curated.run() == []


def test_new_batch_leaves_the_old_one_as_it_is(curated: Home) -> None:
    old = curated.batch
    before = {t: curated.live(t).filter(pl.col("batch") == old) for t in ("prompts", "rollouts", "verdicts", "rewards")}
    ids = curated.corpus.add_maths("second", 6, seed=2)
    added = curated.run()
    new = curated.batch
    assert new != old
    assert Counter((c.stage, c.batch) for c in added) == Counter(
        {
            ("recorded_rollouts", CORPUS): 1,
            **{(s, new): 1 for s in BATCH_STAGES},
            **{(s, CORPUS): ARMS for s in CORPUS_STAGES},
        }
    )
    for table, rows in before.items():
        key = [c for c in ("prompt_id", "role", "sample") if c in rows.columns]
        assert curated.live(table).filter(pl.col("batch") == old).sort(key).equals(rows.sort(key)), table
    rollouts = curated.live("rollouts").filter(pl.col("batch") == new)
    assert set(rollouts["prompt_id"]) == set(ids)
    assert rollouts.height == len(ids) * curated.corpus.samples
    assert len(curated.verified) == rollouts.height


def test_new_rollouts_file_touches_only_the_batch_it_is_about(curated: Home) -> None:
    old = curated.batch
    ids = curated.corpus.add_maths("second", 6, seed=2)
    file = curated.corpus.folder / "rollouts" / "second.jsonl"
    rows = file.read_text()
    harness.write_lines(file, rows.splitlines()[: 3 * curated.corpus.samples])
    curated.run()
    harness.write_lines(file.with_name("third.jsonl"), rows.splitlines()[3 * curated.corpus.samples : -1])
    added = curated.run()
    assert {c.batch for c in added if c.stage != "recorded_rollouts"} == {curated.batch, CORPUS}
    assert old not in {c.batch for c in added}
    assert {c.stage for c in added if c.batch == curated.batch} == BATCH_STAGES - {
        "prompts",
        "contamination",
        "gold_checks",
    }
    assert curated.live("rollouts").filter(pl.col("prompt_id").is_in(ids))["prompt_id"].n_unique() == len(ids)
    assert len(curated.verified) == 3 * curated.corpus.samples, "verdicts of the first three prompts are kept"


def test_selection_setting_touches_the_corpus_stages_only(curated: Home) -> None:
    curated.corpus.settings["selection"]["fraction"] = 0.5
    added = curated.run()
    assert {(c.stage, c.batch) for c in added} <= {(s, CORPUS) for s in CORPUS_STAGES}
    # The other arms select as before; their releases name the settings, so they are made anew.
    assert Counter(c.stage for c in added if c.stage != "release") == {"selection": 1, "curriculum": 1}
    assert curated.verified == []


def test_new_evaluation_set_is_compared_with_every_batch_and_nothing_else(curated: Home) -> None:
    curated.corpus.add_maths("second", 6, seed=2)
    curated.run()
    text, _ = next(iter(curated.corpus.questions.values()))
    harness.write_lines(curated.corpus.folder / "more.jsonl", [{"item": f"Asked elsewhere: {text}"}])
    sets = curated.corpus.settings["ingest"]["evaluation_sets"]
    sets.append({"name": "more", "path": "more.jsonl", "text": "item"})
    added = curated.run()
    assert {c.batch for c in added if c.stage == "contamination"} == {b.key for b in curated.project.batches.all()}
    assert set(stages(added)) <= {"contamination", *CORPUS_STAGES}
    assert stages(added)["contamination"] == 2
    assert curated.live("contamination").filter(pl.col("eval_set") == "more").height == 1
    assert curated.verified == []


def test_overruled_gold_verifies_that_prompt_alone(curated: Home) -> None:
    curated.corpus.add_maths("second", 6, seed=2)
    curated.run()
    verdicts = curated.live("verdicts")
    chosen = verdicts.filter(pl.col("batch") == curated.batch)["prompt_id"].min()
    word = {"prompt_id": chosen, "field": "ground_truth", "value": "123456789", "who": "a person", "why": "a test"}
    (curated.corpus.folder / "overrides.jsonl").write_text(json.dumps(word) + "\n")
    added = curated.run()
    assert {c.batch for c in added} == {curated.batch, CORPUS}
    assert not {"prompts", "contamination", "rollouts"} & set(stages(added))
    assert len(curated.verified) == curated.corpus.samples
    after = curated.live("verdicts")
    mine = pl.col("prompt_id") == chosen
    key = ["prompt_id", "role", "sample"]
    # elapsed_ms is of the run that decided: equal only where the row was taken over
    assert after.filter(~mine).sort(key).equals(verdicts.filter(~mine).sort(key))
    assert after.filter(mine)["status"].unique().to_list() == ["incorrect"]


def test_new_sampling_rolls_out_again_and_leaves_recorded_rollouts(generated: Home) -> None:
    first = own_policy_id(generated.project.settings.policy)
    before = generated.live("rollouts").filter(pl.col("recorded"))
    generated.corpus.settings["policy"]["temperature"] = 0.5
    added = generated.run()
    second = own_policy_id(generated.project.settings.policy)
    assert first != second
    assert {c.variant for c in added if c.stage in BATCH_STAGES} == {second}
    assert not {"prompts", "contamination", "recorded_rollouts"} & set(stages(added))
    assert len(generated.engine.asked) == 5 * 4
    rollouts = generated.live("rollouts")
    key = ["prompt_id", "role", "sample"]
    assert rollouts.filter(pl.col("recorded")).sort(key).equals(before.sort(key))
    assert rollouts.filter(pl.col("policy_id") == first).height == 5 * 4, "the first policy's samples stay beside"
    assert recorded_policy_id("sft") in set(rollouts["policy_id"])


def test_more_samples_generate_the_new_ones_only(generated: Home) -> None:
    before = generated.live("rollouts").filter(~pl.col("recorded"))
    generated.corpus.settings["policy"]["samples"] = 6
    added = generated.run()
    assert Counter(r.prompt_id for r in generated.engine.asked) == dict.fromkeys(before["prompt_id"].unique(), 2)
    assert {r.sample for r in generated.engine.asked} == {4, 5}
    after = generated.live("rollouts").filter(~pl.col("recorded"))
    key = ["prompt_id", "role", "sample"]
    assert after.filter(pl.col("sample") < 4).sort(key).equals(before.sort(key))
    assert after.height == 5 * 6
    assert {c.variant for c in added if c.stage in BATCH_STAGES} == {own_policy_id(generated.project.settings.policy)}
    assert len(generated.verified) == 5 * 2, "verdicts of the samples that were there are kept"


@pytest.mark.parametrize(("setting", "value"), [("samples", 3), ("seed", 1)])
def test_changed_samples_or_seed_leave_nothing_of_the_old_ones(generated: Home, setting: str, value: int) -> None:
    """The same settings must give the same rows, whatever was generated under others before."""
    generated.corpus.settings["policy"][setting] = value
    generated.run()
    rows = generated.live("rollouts").filter(~pl.col("recorded"))
    policy = generated.project.settings.policy
    assert rows.height == 5 * policy.samples
    seeds = {
        (i, s): sample_seed(policy.seed, i, "scored", s)
        for i in rows["prompt_id"].unique()
        for s in range(policy.samples)
    }
    assert {(i, s): seed for i, s, seed in rows.select("prompt_id", "sample", "seed").iter_rows()} == seeds


def test_prompts_of_a_batch_that_is_half_way_are_not_selected_from(curated: Home) -> None:
    """Another run is at that batch, or the last one failed there: nothing is known of its prompts yet."""
    curated.corpus.add_maths("second", 6, seed=2)
    project = open_project(curated.corpus.config, curated.home)
    batch = register_new(project)
    assert batch is not None
    assert not materialise(prompts.STAGE, batch.key, Run(project))[0].carried
    assert not is_stale(selection.STAGE, project, project.store.snapshot(), CORPUS)
    materialise(contamination.STAGE, batch.key, Run(project))
    assert not is_stale(selection.STAGE, project, project.store.snapshot(), CORPUS)
    materialise(gold_checks.STAGE, batch.key, Run(project))
    assert is_stale(selection.STAGE, project, project.store.snapshot(), CORPUS)


def test_stage_that_had_to_wait_looks_again_at_what_is_wanted(curated: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever held the stage may have made it from more than was there when we began to wait."""
    project = open_project(curated.corpus.config, curated.home)
    exclusive = Store.exclusive
    runs: list[list[Commit]] = []

    @contextmanager
    def slow(store: Store, key: tuple[str, str, str]) -> Iterator[None]:
        if not runs:  # between looking and getting the lock, another run adds a batch and selects anew
            runs.append([])
            curated.corpus.add_maths("second", 6, seed=2)
            runs[0] += curated.run()
        with exclusive(store, key):
            yield

    monkeypatch.setattr(Store, "exclusive", slow)
    outcomes = materialise(selection.STAGE, CORPUS, Run(project))
    assert stages(runs[0])["selection"] == ARMS
    assert [o.carried for o in outcomes] == [True] * ARMS
    assert {c.stage for c in harness.commits(curated.home)[-ARMS:]} == {"release"}, "nothing was committed after it"


def test_comment_in_the_settings_changes_nothing(curated: Home) -> None:
    config = curated.corpus.config
    text = "# a remark\n" + config.read_text().replace("[selection]", "# another\n[selection] # and one more")
    config.write_text(text)
    _, report = harness.run_here(curated.corpus, curated.home)
    assert report.idle
    assert config.read_text() == text


def test_a_home_that_is_moved_goes_on(curated: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = curated.home.rename(curated.home.with_name("elsewhere"))
    monkeypatch.setenv("PREPPO_HOME", str(moved))
    _, report = harness.run_here(curated.corpus, moved)
    assert report.idle
