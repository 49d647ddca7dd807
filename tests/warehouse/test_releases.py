"""Releases are immutable, complete, and the same for the same inputs."""

import json
import os
from dataclasses import replace

import polars as pl
import pyarrow.parquet as pq
import pytest

from tests.warehouse import release_home as small
from warehouse.curation.overrides import OVERRIDES
from warehouse.hashing import text_hash
from warehouse.ledger import CORPUS
from warehouse.rebuild import rebuild
from warehouse.release_rows import DECISION_ROWS, ROWS, ReleaseError
from warehouse.releases import (
    PARQUET_FILES,
    ReleaseInputs,
    list_releases,
    load_release,
    pinned_versions,
    release_inputs,
    verify_release,
    write_release,
)
from warehouse.schemas import TABLES


@pytest.fixture
def store(tmp_path, monkeypatch):
    small.without_pictures(monkeypatch)
    return small.make(tmp_path / "home")


def inputs(store, arm="main", **changes):
    given = {
        "policy": {"selection": {"fraction": 0.1}},
        "policy_hash": "settings-1",
        "inputs": {"gsm8k": "aa"},
        "code_version": "code-1",
        "policy_ids": (small.POLICY,),
        "models": [{"name": "nursery"}],
        "run_id": "run-1",
    }
    return release_inputs(store.snapshot(), arm, **(given | changes))


def write(store, **changes):
    return write_release(store.home.releases, inputs(store, **changes))


def bytes_of(release):
    return {name: (release.folder / name).read_bytes() for name in PARQUET_FILES}


def ids(*texts):
    return [p.id for t in texts for p in small.PROMPTS if p.text == t]


def test_train_is_the_curriculum_in_order(store):
    train = write(store).train().collect()
    assert train.schema == pl.Schema(ROWS)
    assert train.get_column("position").to_list() == [0, 1, 2, 3, 4]
    assert train.get_column("phase").to_list() == ["code", *["mixture"] * 4]
    expected = ["Write f(x) = x.", "What is 2 + 2?", "What is 3 + 3?", "Write f(x) = x.", "Write a poem, please."]
    assert train.get_column("prompt_id").to_list() == ids(*expected)
    assert [m[0]["content"] for m in train.get_column("messages").to_list()] == expected


def test_train_rows_say_why_and_how_hard(store):
    rows = {r["prompt_id"]: r for r in write(store).train().collect().to_dicts()}
    sum_row, poem = rows[ids("What is 3 + 3?")[0]], rows[ids("Write a poem, please.")[0]]
    assert (sum_row["pass_rate"], sum_row["reason"], sum_row["policy_id"]) == (0.25, "pre_ppo", small.POLICY)
    assert (poem["mean"], poem["reason"], poem["pool"]) == (None, "original", "original")
    assert rows[ids("What is 2 + 2?")[0]]["reference"] == "four"


def test_heldout_has_no_contaminated_and_no_eval_prompts(store):
    heldout = write(store).heldout().collect()
    assert heldout.schema == pl.Schema(ROWS)
    assert heldout.get_column("prompt_id").to_list() == ids("Held out")
    assert heldout.get_column("position").to_list() == [None]


def test_heldout_has_no_prompt_whose_gold_is_unusable(store):
    found = [{"prompt_id": ids("Held out")[0], "verifier": "math", "verifier_version": "1", "problem": "no answer"}]
    small.put(store, "gold_checks", small.BATCH, {"gold_checks": small.shaped("gold_checks", found)})
    assert write(store).heldout().collect().is_empty()


def test_decisions_tell_of_every_prompt_also_those_left_out(store):
    decisions = write(store).decisions().collect()
    assert decisions.schema == pl.Schema(DECISION_ROWS)
    assert sorted(decisions.get_column("prompt_id")) == sorted(p.id for p in small.PROMPTS)
    assert decisions.get_column("prompt_id").is_sorted()
    reasons = dict(decisions.select("prompt_id", "reason").iter_rows())
    assert reasons == {p.id: p.reason for p in small.PROMPTS}


def test_the_same_inputs_give_the_same_release_and_bytes(store, tmp_path):
    first = write(store)
    other = small.make(tmp_path / "other home".replace(" ", "-"))
    second = write(other, run_id="run-2")
    assert first.release_id == second.release_id
    assert bytes_of(first) == bytes_of(second)
    assert verify_release(first) == verify_release(second) == []


@pytest.mark.parametrize("bucket_rows", [1, 2, 5])
def test_how_rows_are_bucketed_decides_nothing(store, tmp_path, bucket_rows):
    whole = write_release(tmp_path / "a", inputs(store))
    cut = write_release(tmp_path / "b", inputs(store), bucket_rows=bucket_rows)
    assert cut.release_id == whole.release_id
    assert bytes_of(cut) == bytes_of(whole)
    assert (cut.manifest["counts"], cut.manifest["content"]) == (whole.manifest["counts"], whole.manifest["content"])


def test_an_existing_release_is_left_untouched(store):
    first = write(store)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in first.folder.rglob("*")}
    again = write(store, run_id="another")
    assert again.manifest == first.manifest
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in first.folder.rglob("*")} == before
    assert [p.name for p in store.home.releases.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    "change", [{"policy": {"selection": {"fraction": 0.2}}}, {"inputs": {"gsm8k": "bb"}}], ids=["policy", "inputs"]
)
def test_the_id_depends_on_policy_and_inputs(store, change):
    assert write(store).release_id != write(store, **change).release_id


@pytest.mark.parametrize("change", [{"run_id": "x"}, {"code_version": "x"}, {"models": []}])
def test_the_id_does_not_depend_on_what_is_only_recorded(store, change):
    assert write(store).release_id == write(store, **change).release_id


def test_the_id_depends_on_the_order(store):
    given = inputs(store)
    backwards = given.curriculum.with_columns(position=pl.col("position").max() - pl.col("position"))
    first = write_release(store.home.releases, given)
    second = write_release(store.home.releases, replace(given, curriculum=backwards))
    assert first.release_id != second.release_id


def test_frames_in_any_order_give_the_same_release(store, tmp_path):
    given = inputs(store)
    names = ("prompts", "curriculum", "selection", "difficulty", "references", "decisions")
    shuffled = {n: getattr(given, n).collect().sample(fraction=1.0, shuffle=True, seed=3).lazy() for n in names}
    first = write_release(tmp_path / "a", given)
    second = write_release(tmp_path / "b", replace(given, **shuffled))
    assert bytes_of(first) == bytes_of(second)


def test_latest_is_the_one_asked_for_last(store):
    first = write(store)
    second = write(store, policy={"selection": {"fraction": 0.2}})
    folder = store.home.releases
    assert load_release(folder).release_id == second.release_id
    write(store)
    assert load_release(folder).release_id == first.release_id
    assert [r.release_id for r in list_releases(folder)] == [second.release_id, first.release_id]
    assert load_release(folder, second.release_id[:8]).release_id == second.release_id
    small.choose(store, small.PROMPTS, arm="other")
    third = write(store, arm="other")
    assert load_release(folder, arm="main").release_id == first.release_id
    assert load_release(folder).release_id == third.release_id


def test_loading_says_what_there_is(store, tmp_path):
    with pytest.raises(ReleaseError, match="no release yet"):
        load_release(tmp_path / "nothing")
    release = write(store)
    with pytest.raises(ReleaseError, match=release.release_id[:12]):
        load_release(store.home.releases, "zz")
    with pytest.raises(ReleaseError, match="of arm 'other'"):
        load_release(store.home.releases, arm="other")


def test_a_failing_write_leaves_nothing(store, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("warehouse.releases.write_card", fail)
    with pytest.raises(OSError, match="disk full"):
        write(store)
    assert list(store.home.releases.iterdir()) == []


def test_changed_files_are_noticed(store):
    release = write(store)
    path = release.folder / "heldout.parquet"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"x")
    assert verify_release(release) == ["heldout.parquet was changed after the release was written"]
    path.unlink()
    assert verify_release(release) == ["heldout.parquet is missing"]
    manifest = release.manifest | {"policy": {"selection": {"fraction": 0.9}}}
    assert any("manifest.json was changed" in w for w in verify_release(replace(release, manifest=manifest)))


@pytest.mark.parametrize("text", ["Held out", "An exam question", "From the exam"])
def test_what_may_not_be_trained_on_is_refused(tmp_path, text):
    prompts = [replace(p, selected=p.selected or p.text == text) for p in small.PROMPTS]
    store = small.make(tmp_path / "home", prompts)
    with pytest.raises(ReleaseError, match=ids(text)[0]):
        write(store)


def test_a_person_may_overrule_contamination(tmp_path):
    prompts = [replace(p, selected=True, reason="override") if p.text == "From the exam" else p for p in small.PROMPTS]
    train = write(small.make(tmp_path / "home", prompts)).train().collect()
    assert ids("From the exam")[0] in train.get_column("prompt_id")


def test_a_prompt_that_is_missing_is_named(store):
    given = inputs(store)
    lost = ids("What is 2 + 2?")[0]
    fewer = given.prompts.filter(pl.col("prompt_id") != lost)
    with pytest.raises(ReleaseError, match=f"{lost} of the curriculum is not among the prompts"):
        write_release(store.home.releases, replace(given, prompts=fewer))


def test_a_release_is_rebuilt_from_the_tables_as_they_were(store):
    release = write(store)
    later = [replace(p, selected=not p.selected and p.reason == "above_cut") for p in small.PROMPTS]
    small.choose(store, later, version="2")
    small.fill(store, [small.Prompt("A later prompt")], batch="000002-bbbbbbbb")
    assert write(store).release_id != release.release_id
    found = rebuild(store.home, release)
    assert found.same_id
    assert found.matches == dict.fromkeys(PARQUET_FILES, True)


def test_what_people_overruled_is_in_the_release_and_in_its_rebuild(store):
    poem = ids("Write a poem, please.")[0]
    said = [{"prompt_id": poem, "field": "domain", "value": '"poetry"', "who": "ada", "why": "it is", "line": 1}]
    release = write(store, overrides=pl.DataFrame(said, schema=OVERRIDES))
    domains = dict(release.train().select("prompt_id", "domain").collect().iter_rows())
    assert domains[poem] == "poetry"
    assert release.counts["rows_by_domain"] == {"code": 2, "math": 2, "poetry": 1}
    assert release.manifest["overrides"][0]["who"] == "ada"
    assert rebuild(store.home, release).matches == dict.fromkeys(PARQUET_FILES, True)


def test_withdrawn_and_replaced_decisions_are_left_out(store):
    first, second, third = small.PROMPTS[:3]
    rows = small.selection_decision_rows([replace(first, selected=False), second], "main", 0.7)
    rows = rows.with_columns(
        outcome=pl.when(pl.col("prompt_id") == second.id).then(pl.lit("withdrawn")).otherwise("outcome")
    )
    frames = {"selection": small.selection_rows(small.PROMPTS, "main"), "decisions": rows}
    small.put(store, "selection", CORPUS, frames, variant="main", version="2", extends=True)
    rows = write(store).decisions().collect()
    decided = {r["prompt_id"]: (r["outcome"], r["threshold"]) for r in rows.to_dicts()}
    assert decided[first.id] == ("drop", 0.7)
    assert second.id not in decided
    assert decided[third.id] == ("drop", 0.3)
    assert rows.height == len(small.PROMPTS) - 1


def test_decisions_about_rows_without_an_id_are_all_kept(store):
    rows = [
        {
            "stage": "prompts",
            "arm": "",
            "prompt_id": None,
            "rule": "bad_json",
            "outcome": "quarantine",
            "detail": f"line {i}",
        }
        for i in (1, 2)
    ]
    frames = {"prompts": small.prompt_rows([small.Prompt("Another")]), "decisions": small.shaped("decisions", rows)}
    small.put(store, "prompts", "000002-bbbbbbbb", frames)
    told = write(store).decisions().filter(pl.col("stage") == "prompts").collect()
    assert told.get_column("detail").to_list() == ["line 1", "line 2"]


def test_a_rebuild_of_vacuumed_tables_says_so(store):
    release = write(store)
    small.choose(store, [replace(p, selected=False) for p in small.PROMPTS[:-1]], version="2")
    store.tidy(keep_hours=0, pinned=pinned_versions(store.home.releases))
    assert rebuild(store.home, release).same_id, "pinned versions stay"
    store.tidy(keep_hours=0)
    with pytest.raises(ReleaseError, match="housekeeping removed"):
        rebuild(store.home, release)


def test_a_changed_release_does_not_match_its_rebuild(store):
    release = write(store)
    manifest = json.loads(json.dumps(release.manifest))
    manifest["files"]["train.parquet"]["blake2b"] = "0" * 32
    found = rebuild(store.home, replace(release, manifest=manifest))
    assert found.matches == {"train.parquet": False, "heldout.parquet": True, "decisions.parquet": True}


def test_a_release_of_nothing_can_be_written(tmp_path):
    prompts = [replace(p, selected=False, split="train") for p in small.PROMPTS]
    release = write(small.make(tmp_path / "home", prompts))
    assert release.counts["train_rows"] == release.counts["heldout"] == 0
    assert release.train().collect().schema == pl.Schema(ROWS)


def test_release_files_are_read_only(store):
    modes = {p.stat().st_mode & 0o222 for p in write(store).folder.rglob("*") if p.is_file()}
    assert modes == {0}
    assert os.access(store.home.releases, os.W_OK)


def many(rows):
    """Return the inputs of a release of `rows` made-up prompts, in a shuffled order, without a home."""
    ids = pl.Series([text_hash(str(i)) for i in range(rows)])
    base = pl.DataFrame({"prompt_id": ids}).with_row_index("i")
    prompts = base.with_columns(
        pool=pl.lit("new"), domain=pl.lit("math"), source=pl.lit("s"),
        split=pl.when(pl.col("i") % 40 == 0).then(pl.lit("heldout")).otherwise(pl.lit("train")),
        messages=pl.concat_list(pl.struct(role=pl.lit("user"), content=pl.format("prompt {}", "i"))),
        batch=pl.lit("000001-aaaaaaaa"),
    )  # fmt: skip
    order = prompts.filter(pl.col("split") == "train").sample(fraction=1.0, shuffle=True, seed=1)
    decided = base.with_columns(
        stage=pl.lit("selection"), arm=pl.lit("main"), batch=pl.lit("corpus"), rule=pl.lit("r"), outcome=pl.lit("keep")
    )

    def shaped(table, frame):
        types = TABLES[table].schema
        have = frame.columns
        return frame.select(
            (pl.col(c) if c in have else pl.lit(None)).cast(t).alias(c) for c, t in types.items()
        ).lazy()

    return ReleaseInputs(
        arm="main",
        prompts=shaped("prompts", prompts),
        curriculum=shaped("curriculum", order.select("prompt_id").with_row_index("position")),
        selection=pl.LazyFrame(schema=TABLES["selection"].schema),
        difficulty=pl.LazyFrame(schema=TABLES["difficulty"].schema),
        references=pl.LazyFrame(schema=TABLES["references"].schema),
        decisions=shaped("decisions", decided),
        policy={},
        policy_hash="h",
        inputs={},
        code_version="c",
    )


def test_bytes_of_many_row_groups_depend_on_rows_alone(tmp_path):
    given = many(25_000)
    first, second = (write_release(tmp_path / str(size), given, bucket_rows=size) for size in (100_000, 3_333))
    assert bytes_of(first) == bytes_of(second)
    groups = pq.read_metadata(first.folder / "train.parquet")
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [10_000, 10_000, 4_375]
    assert first.train().select("position").collect().to_series().to_list() == list(range(24_375))
