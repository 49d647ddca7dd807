"""Whole batches: every row accounted for, whatever the files, chunks, workers and interruptions."""

import gzip
import json
import random
import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.curation.identity import gold_hash, prompt_id
from warehouse.ingest import batch, ingested, staging
from warehouse.ingest.batch import SourceFile, ingest_batch
from warehouse.ingest.readers import InputError, dataset_hash, file_hash
from warehouse.schemas import DECISIONS, PROMPTS, REJECTED_PROMPTS, SIGNATURES, conform
from warehouse.settings import Settings

NOTHING_EARLIER = pl.LazyFrame(schema=SIGNATURES.columns)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def config(chunk_rows=20_000, sources=None, **ingest):
    sources = sources or [{"name": "s", "path": "x", "prompt": "q", "ground_truth": "a"}]
    return Settings.model_validate({"source": sources, "ingest": {"chunk_rows": chunk_rows, **ingest}})


def ingest(paths, chosen, work, *, earlier=NOTHING_EARLIER, workers=1, sources=None):
    sources = sources or ["s"] * len(paths)
    files = [SourceFile(s, p, file_hash(p)) for s, p in zip(sources, paths, strict=True)]
    return ingest_batch(
        files, chosen, earlier=earlier, work=work, workers=workers, ingested_at=NOW, policy_hash="p" * 32
    )


def tables(result):
    """Every table of a batch, checked against its schema."""
    found = {}
    for table, frames in (
        (PROMPTS, result.prompts()),
        (REJECTED_PROMPTS, result.rejected()),
        (SIGNATURES, result.signatures()),
        (DECISIONS, result.decisions()),
    ):
        parts = [conform(table, f) for f in frames]
        found[table.name] = pl.concat([pl.DataFrame(schema=table.columns), *parts])
    return found


def same(one, two):
    return all(one[name].equals(two[name]) for name in one)


def accounted(result, found):
    counts = result.counts
    outcomes = dict(found["rejected_prompts"].group_by("outcome").len().iter_rows())
    assert {**dict.fromkeys(counts, 0), "prompts": found["prompts"].height, **outcomes} == counts
    assert sum(counts.values()) == result.rows_read
    located = pl.concat([found["prompts"]["source_row"], found["rejected_prompts"]["source_row"]])
    assert located.n_unique() == result.rows_read


def write(path, rows):
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def many(count, seed=0):
    rng = random.Random(seed)
    vocabulary = [f"word{i}" for i in range(300)]
    rows = []
    for _ in range(count):
        if rows and rng.random() < 0.4:
            words = rng.choice(rows)["q"].split()
            for _ in range(rng.choice([0, 1, 3])):
                words[rng.randrange(len(words))] = rng.choice(vocabulary)
        else:
            words = rng.choices(vocabulary, k=rng.randrange(1, 60))
        rows.append({"q": " ".join(words), "a": rng.choice([None, 7, 8])})
    return rows


def test_a_small_batch(tmp_path):
    rows = [
        {"q": "What is 2+2?", "a": 4},
        "{broken",
        {"q": None, "a": 1},
        {"q": "What is 2+2? ", "a": 5},
        {"a": 3},
        {"q": "Name a colour.", "a": None},
        {"q": "Name a colour.", "a": "red"},
    ]
    path = write(tmp_path / "a.jsonl", rows)
    result = ingest([path], config(heldout_share=0), tmp_path / "work")
    found = tables(result)
    accounted(result, found)
    assert result.counts == {"prompts": 2, "duplicate": 2, "near_duplicate": 0, "quarantined": 3, "filtered": 0}
    registered = file_hash(path)
    expected = sorted([prompt_id([("user", "What is 2+2?")]), prompt_id([("user", "Name a colour.")])])
    assert found["prompts"]["prompt_id"].to_list() == expected
    sums = found["prompts"].row(by_predicate=pl.col("source_row") == f"{registered}:0", named=True)
    assert sums["messages"] == [{"role": "user", "content": "What is 2+2?"}]
    assert (sums["ground_truth"], sums["gold_conflict"], sums["split"], sums["ingested_at"]) == (
        '"4"',
        True,
        "train",
        NOW,
    )
    rejected = {int(r["source_row"].split(":")[1]): r for r in found["rejected_prompts"].iter_rows(named=True)}
    codes = {i: (r["outcome"], r["reason_code"]) for i, r in rejected.items()}
    assert codes == {
        1: ("quarantined", "broken_json"),
        2: ("quarantined", "null_prompt"),
        3: ("duplicate", "gold_conflict"),
        4: ("quarantined", "missing_column"),
        5: ("duplicate", "duplicate"),
    }
    assert rejected[1]["raw"] == "{broken"
    assert rejected[5]["matched_prompt_id"] == prompt_id([("user", "Name a colour.")])
    assert json.loads(rejected[3]["raw"])["ground_truth"] == '"5"'
    decided = found["decisions"].select("prompt_id", "rule", "outcome", "detail", "policy_hash")
    assert ("", "broken_json", "quarantine", f"{registered}:1", "p" * 32) in decided.rows()
    assert (sums["prompt_id"], "gold_conflict", "flag", f"{registered}:0", "p" * 32) in decided.rows()
    assert set(found["decisions"]["stage"]) == {"prompts"}
    signed = found["signatures"].row(by_predicate=pl.col("prompt_id") == sums["prompt_id"], named=True)
    assert (signed["gold_hash"], len(signed["bands"]), len(signed["signature"])) == (gold_hash('"4"'), 32, 512)


DEEP = b'{"q": "x", "a": ' + b"[" * 800 + b"]" * 800 + b"}"
junk = st.one_of(
    st.binary(max_size=30).map(lambda b: b.replace(b"\n", b" ")),
    st.fixed_dictionaries(
        {}, optional={"q": st.text(max_size=20) | st.none() | st.integers(), "a": st.text(max_size=5) | st.floats()}
    ).map(lambda d: json.dumps(d).encode()),
    st.sampled_from(
        [b'{"q": "the same prompt", "a": 1}', b'{"q": "the same prompt", "a": 2}', b'{"q": "\\ud800"}', DEEP]
    ),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(junk, max_size=25), min_size=1, max_size=3), st.integers(1, 10), st.integers(1, 10))
def test_rows_in_are_rows_accounted_for(tmp_path_factory, contents, chunk_rows, frame_rows):
    folder = tmp_path_factory.mktemp("x")
    paths = []
    for i, lines in enumerate(contents):
        paths.append(folder / f"{i}.jsonl")
        paths[-1].write_bytes(b"\n".join([*lines, b'{"q": "%d", "a": null}' % i]))
    results = []
    for rows, work in ((chunk_rows, "one"), (20_000, "two")):
        result = ingest(paths, config(rows, heldout_share=0.3), folder / work)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ingested, "FRAME_ROWS", frame_rows if work == "one" else 50_000)
            found = tables(result)
        accounted(result, found)
        results.append(found)
    read = sum(1 for p in paths for line in p.read_bytes().split(b"\n") if line and not line.isspace())
    assert result.rows_read == read
    assert same(*results)


def test_chunks_workers_and_interruptions_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "_SMALL_BYTES", 0)
    paths = [write(tmp_path / f"{i}.jsonl", [*many(300, i), "{broken", {"q": "", "a": 1}]) for i in range(3)]
    sources = ["s", "t", "s"]
    both = [
        {"name": "s", "path": "x", "prompt": "q", "ground_truth": "a", "pool": "original"},
        {"name": "t", "path": "y", "prompt": "q", "where": [{"column": "q", "not_in": [many(1, 1)[0]["q"]]}]},
    ]

    def run(chunk_rows, work, workers=1):
        chosen = config(chunk_rows, both, heldout_share=0.2)
        result = ingest(paths, chosen, tmp_path / work, workers=workers, sources=sources)
        found = tables(result)
        accounted(result, found)
        return result, found

    one, whole = run(10_000, "a")
    assert one.counts["near_duplicate"] > 10
    assert one.counts["duplicate"] > 50
    assert one.counts["filtered"] >= 1
    assert same(whole, run(17, "b")[1])
    assert same(whole, run(60, "c", workers=2)[1])
    staged = sorted((tmp_path / "c" / "chunks").iterdir())
    for i, folder in enumerate(staged):
        if i % 3 == 0:
            shutil.rmtree(folder)
    half_written = tmp_path / "c" / "chunks" / (staged[0].name + ".part")
    half_written.mkdir()
    (half_written / "prompts.parquet").write_bytes(b"cut off")
    staged_again = []
    original = staging.stage
    monkeypatch.setattr(batch, "stage", lambda task: (staged_again.append(task.folder.name), original(task))[1])
    assert same(whole, run(60, "c")[1])
    assert staged_again == [f.name for i, f in enumerate(staged) if i % 3 == 0]


def test_what_was_staged_for_other_settings_is_not_used(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"q": "a longer prompt", "a": 1}, {"q": "short", "a": 1}])
    assert ingest([path], config(), tmp_path / "work").counts["prompts"] == 2
    assert ingest([path], config(min_chars=10), tmp_path / "work").counts["prompts"] == 1
    write(path, [{"q": "a longer prompt", "a": 1}])
    assert ingest([path], config(min_chars=10), tmp_path / "work").rows_read == 1


def test_batches_after_one_another_are_as_one(tmp_path):
    rows = [{"q": r["q"]} for r in many(600)]
    plain = config(sources=[{"name": "s", "path": "x", "prompt": "q"}], heldout_share=0.2)
    whole = tables(ingest([write(tmp_path / "w.jsonl", rows)], plain, tmp_path / "w"))
    earlier, kept = NOTHING_EARLIER, []
    for i in range(0, 600, 200):
        path = write(tmp_path / f"{i}.jsonl", rows[i : i + 200])
        found = tables(ingest([path], plain, tmp_path / str(i), earlier=earlier))
        earlier = pl.concat([earlier, found["signatures"].lazy()])
        kept.append(found["prompts"].select("prompt_id", "split"))
    assert pl.concat(kept).sort("prompt_id").equals(whole["prompts"].select("prompt_id", "split"))


def test_an_evaluation_prompt_is_never_trained_on(tmp_path):
    sources = [{"name": n, "path": "x", "prompt": "q", "pool": p} for n, p in (("new", "new"), ("test", "eval"))]
    new = write(tmp_path / "new.jsonl", [{"q": "shared prompt"}, {"q": "own prompt"}])
    test = write(tmp_path / "test.jsonl", [{"q": "shared prompt"}, {"q": "shared prompt"}, {"q": "other"}])
    chosen = config(sources=sources, heldout_share=0)
    found = tables(ingest([new, test], chosen, tmp_path / "w", sources=["new", "test"]))
    assert sorted(found["prompts"].select("source", "split").rows()) == [
        ("new", "train"),
        ("test", "eval"),
        ("test", "eval"),
    ]
    assert sorted(found["rejected_prompts"]["reason_code"]) == ["duplicate", "evaluation_prompt"]
    later = tables(ingest([new], chosen, tmp_path / "l", earlier=found["signatures"].lazy(), sources=["new"]))
    assert sorted(later["rejected_prompts"]["reason_code"]) == ["duplicate", "evaluation_prompt"]


def test_long_raw_text_is_cut_with_a_note(tmp_path):
    path = write(tmp_path / "a.jsonl", ["[" + "1," * 20_000])
    raw = tables(ingest([path], config(), tmp_path / "w"))["rejected_prompts"]["raw"][0]
    assert len(raw) < 10_100
    assert raw.endswith("[... 30001 more characters]")


def test_nothing_to_ingest(tmp_path):
    result = ingest([write(tmp_path / "a.jsonl", [])], config(), tmp_path / "w")
    assert all(f.height == 0 for f in tables(result).values())
    assert result.rows_read == 0


def test_errors_name_the_input(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"q": "x"}])
    with pytest.raises(ValueError, match=r"no \[\[source\]\] is called gone; the settings have \['s'\]"):
        ingest([path], config(), tmp_path / "w", sources=["gone"])
    changed = SourceFile("s", path, "0" * 32)
    with pytest.raises(InputError, match=r"a\.jsonl: the file has changed since it was registered"):
        ingest_batch([changed], config(), earlier=NOTHING_EARLIER, work=tmp_path / "v", workers=1, ingested_at=NOW)
    missing = SourceFile("s", Path(tmp_path / "gone.jsonl"), "0" * 32)
    with pytest.raises(InputError, match=r"gone\.jsonl: no such file"):
        ingest_batch([missing], config(), earlier=NOTHING_EARLIER, work=tmp_path / "u", workers=1, ingested_at=NOW)


def test_a_data_set(tmp_path):
    datasets = pytest.importorskip("datasets")
    folder = str(tmp_path / "d")
    datasets.Dataset.from_list([{"q": f"prompt {i % 7}"} for i in range(20)]).save_to_disk(folder)
    chosen = config(sources=[{"name": "s", "dataset": folder, "prompt": "q"}])
    source = SourceFile("s", None, dataset_hash(folder, None, "train"), folder)
    result = ingest_batch([source], chosen, earlier=NOTHING_EARLIER, work=tmp_path / "w", workers=1, ingested_at=NOW)
    accounted(result, tables(result))
    assert (result.rows_read, result.counts["prompts"]) == (20, 7)


def test_known_duplicates_of_real_data(shared_data, tmp_path):
    path = shared_data / "openended_alpaca_dolly.jsonl.gz"
    sources = [{"name": "s", "path": "x", "prompt": "{instruction}\n{input}", "extra": ["dup_instruction"]}]
    result = ingest([path], config(sources=sources), tmp_path / "w")
    found = tables(result)
    accounted(result, found)
    assert result.rows_read == 12_225
    # The flags mark equal instructions, also with other inputs; every exact copy must be among them.
    seen, copies = set(), 0
    for row in map(json.loads, lines_of(path)):
        text = f"{row['instruction']}\n{row['input']}".strip()
        copies += text in seen
        seen.add(text)
    assert result.counts["duplicate"] == copies > 0
    assert result.counts["near_duplicate"] < 60


def lines_of(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from file
