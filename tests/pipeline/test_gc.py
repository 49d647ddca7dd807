"""`preppo gc`: rollouts of retired policies go, releases and what they are made again from stay."""

from __future__ import annotations

import json
import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest

from assets.policies import own_policy_id
from tests.pipeline.harness import preppo
from tests.pipeline.test_generation import SAMPLES, Place
from trainer.engines import EngineError
from warehouse.rebuild import rebuild
from warehouse.releases import list_releases
from warehouse.sweep import POLICY_TABLES
from warehouse.usage import usage

if TYPE_CHECKING:
    from pathlib import Path


def gc(*arguments: str, code: int = 0) -> str:
    return preppo("gc", *arguments, code=code)


def files_of(home: Path, policy: str) -> list[Path]:
    return list(home.glob(f"tables/*/batch=*/policy_id={policy}/*/*.parquet"))


def own(place: Place) -> str:
    return str(own_policy_id(place.project().settings.policy))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path, monkeypatch)
    made.add("first", [f"What is the sum of {i} and {i * i}?" for i in range(7)])
    return made


def test_a_retired_policy_goes_and_the_release_can_still_be_made_again(place: Place) -> None:
    home = place.folder / "home"
    place.policy["temperature"] = 0.1
    place.roll("never released")
    old = own(place)
    place.policy["temperature"] = 0.2
    assert place.run().exit_code == 0
    released = own(place)
    place.policy["temperature"] = 0.3
    place.roll("next")
    current = own(place)
    (release,) = list_releases(home / "releases")
    before = place.project().store.snapshot()

    found = json.loads(gc("--json"))
    assert [p["policy_id"] for p in found["retired"]] == [old]
    assert {p["policy_id"]: p["why"] for p in found["kept"]} == {
        released: f"release {release.release_id[:12]} names it",
        current: "the policy of the settings",
    }
    assert found["retired"][0]["rows"] >= 7 * SAMPLES
    goes = [f for f in files_of(home, old) if f.parts[f.parts.index("tables") + 1] not in ("difficulty", "references")]
    assert found["bytes"] == sum(f.stat().st_size for f in goes) > 0, "the release was made when those two were there"
    shown = gc()
    assert "nothing was touched" in shown
    assert old[:12] in shown
    assert place.project().store.ledger.version() == before.ledger_version, "a dry run changes nothing"

    removed = json.loads(gc("--yes", "--json"))
    assert (removed["removed"], removed["bytes"]) == (True, found["bytes"])
    assert not any(f.exists() for f in goes)
    assert {f.parts[f.parts.index("tables") + 1] for f in files_of(home, old)} == {"difficulty", "references"}
    view = place.project().store.snapshot()
    assert set(view.scan("rollouts").collect()["policy_id"]) == {released, current}
    assert {k[2] for k in view.live} & {old} == set()
    kept = [k for k in before.live if k[2] != old]
    assert [view.live[k] for k in kept] == [before.live[k] for k in kept]
    rebuilt = rebuild(place.project().home, release)
    assert rebuilt.same_id
    assert all(rebuilt.matches.values())
    assert json.loads(gc("--json"))["retired"] == [], "once is enough"

    # Rolled out again, it counts again: all of it is generated anew.
    place.policy["temperature"] = 0.1
    place.roll("again")
    assert len(place.engine.asked) == 7 * SAMPLES
    rows = place.project().store.snapshot().scan("rollouts").filter(pl.col("policy_id") == old).collect()
    assert rows.height == 7 * SAMPLES


def test_decisions_of_a_released_home_survive_retiring_a_policy_that_was_measured(place: Place) -> None:
    """The old policy went as far as difficulty, in tables that the release pins."""
    home = place.folder / "home"
    place.policy["temperature"] = 0.1
    assert place.run().exit_code == 0
    old = own(place)
    place.policy["temperature"] = 0.2
    assert place.run().exit_code == 0
    first, second = list_releases(home / "releases")
    assert json.loads(gc("--json"))["retired"] == [], "the first release names it"
    for path in sorted(first.folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    first.folder.rmdir()
    found = json.loads(gc("--yes", "--json"))
    assert [p["policy_id"] for p in found["retired"]] == [old]
    left = {f.parts[f.parts.index("tables") + 1] for f in files_of(home, old)}
    assert left == {"difficulty", "references"}, "what the release was made of stays on disk; no view shows it"
    assert set(place.project().store.snapshot().scan("difficulty").collect()["policy_id"]) == {own(place)}
    rebuilt = rebuild(place.project().home, second)
    assert rebuilt.same_id
    assert all(rebuilt.matches.values())
    assert place.run().exit_code == 0
    assert [r.release_id for r in list_releases(home / "releases")] == [second.release_id]


def test_what_retired_policies_took_stays_in_the_account(place: Place) -> None:
    place.engine.fails_after = 10
    place.policy["temperature"] = 0.1
    with pytest.raises(EngineError):
        place.roll("one")
    place.policy["temperature"] = 0.2
    place.engine.fails_after = None
    place.roll("two")
    old = own(place)
    place.policy["temperature"] = 0.3
    place.project()

    def sums() -> dict[tuple[str, bool], int]:
        store = place.project().store
        view = store.snapshot()
        rows = usage(view.commits, list(view.live.values()), store.stored("generation"))
        return {(state, policy == old): n for policy, state, n in rows.select("policy_id", "state", "samples").rows()}

    assert sums() == {("live", True): 21, ("unfinished", False): 10}
    gc("--yes")
    assert sums() == {("replaced", True): 21, ("replaced", False): 10}


def test_what_a_killed_run_left_goes_when_it_is_old(place: Place) -> None:
    place.engine.fails_after = 10
    with pytest.raises(EngineError):
        place.roll("one")
    policy = own(place)
    assert json.loads(gc("--json"))["uncommitted"] == [], "younger than storage.keep_hours"
    old = time.time() - 1000 * 3600
    work = place.folder / "home" / "work" / "prompts-dead"
    work.mkdir()
    (work / "part.parquet").write_bytes(b"x" * 100)
    os.utime(work, (old, old))
    assert json.loads(gc("--json"))["intermediate_files"] == {"files": 1, "bytes": 100}
    place.storage["keep_hours"] = 0
    place.project()
    found = json.loads(gc("--json"))
    assert {u["table"]: u["rows"] for u in found["uncommitted"]} == {"generation": 2, "rollouts": 10}
    gc("--yes")
    assert files_of(place.folder / "home", policy) == []
    assert not work.exists()
    assert "nothing to remove" in gc()


def test_nothing_is_removed_while_a_run_is_at_work(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.policy["temperature"] = 0.1
    place.roll()
    old = own(place)
    place.policy["temperature"] = 0.2
    project = place.project()
    with project.home.lock("sweep", shared=True):
        assert "a run is at work on this home; nothing was removed" in gc("--yes", code=1).replace("\n", " ")
        assert old[:12] in gc(), "a dry run is always possible"
    run = SimpleNamespace(run_id="a-run-of-the-ui")
    monkeypatch.setattr(dg.DagsterInstance, "get_runs", lambda *_, **__: [run])
    monkeypatch.setattr("pipeline.instance.fail_dead_runs", lambda _: [])
    assert "run a-run-of-the-ui is at work" in gc("--yes", code=1).replace("\n", " ")
    assert files_of(project.home.root, old)


def test_an_empty_home_says_so(place: Place) -> None:
    assert "holds nothing yet" in gc(code=3)


def test_policy_tables_are_those_with_a_policy_in_their_path() -> None:
    assert {"rollouts", "generation", "verdicts", "rewards", "references", "difficulty"} <= set(POLICY_TABLES)
