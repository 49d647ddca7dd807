"""Preference pairs, from files to the next reward model: bad rows, votes of real models, the cleaned set, training."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from tests.pipeline import harness
from trainer.reward_models.model import load_reward_model
from warehouse.ingest.fields import RowError
from warehouse.ingest.preferences import PairReader
from warehouse.queries import query
from warehouse.settings import PreferencesSettings

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.usefixtures("one_thread")
TRAINING = {"tune": "frozen", "head_rate": 2e-2, "batch": 16, "epochs": 6, "max_length": 256, "device": "cpu"}
SUBJECTS = ("the sun", "a cat", "rain", "a book", "the sea", "a tree", "snow", "a lamp")


def short_is_better() -> list[dict[str, Any]]:
    """Return pairs that a small model can learn, a tenth of them labelled the wrong way."""
    rows = []
    for n in range(10):
        for k, s in enumerate(SUBJECTS):
            short, long = f"It is {n}.", f"It is {n}, " + "and so on, " * (n + 2)
            wrong = n == (3 * k + 1) % 10
            chosen, rejected = (long, short) if wrong else (short, long)
            rows.append({"q": f"Tell me about {s}, {n}.", "a": chosen, "b": rejected, "wrong": wrong})
    return rows


def corpus_of(folder: Path, models: list[str] | None = None, **changes: Any) -> harness.Corpus:
    corpus = harness.Corpus(folder)
    harness.write_lines(folder / "sums.jsonl", [{"q": f"What is {n} + 1?", "a": str(n + 1)} for n in range(6)])
    harness.write_lines(
        folder / "rollouts.jsonl",
        [{"q": f"What is {n} + 1?", "r": f"\\boxed{{{n + s}}}"} for n in range(6) for s in range(3)],
    )
    if not (folder / "pairs.jsonl").is_file():
        harness.write_lines(folder / "pairs.jsonl", short_is_better())
    corpus.settings = {
        "source": [{"name": "sums", "path": "sums.jsonl", "prompt": "q", "ground_truth": "a", "verifier": "math"}],
        "rollouts": [{"name": "sft", "path": "rollouts.jsonl", "prompt": "q", "response": "r"}],
        "preferences": [{"name": "short", "path": "pairs.jsonl", "prompt": "q", "chosen": "a", "rejected": "b"}],
        "policy": {"engine": "recorded"},
        "ingest": {"heldout_share": 0.0, "near_duplicate_threshold": 1.0},
        "engine": {"workers": 1},
        "reward_model": {"models": models or [], "device": "cpu", "dtype": "float32", "chunk_rows": 40},
        "reward_training": TRAINING,
        **changes,
    }
    corpus.write_settings()
    return corpus


def test_from_labels_to_a_cleaned_set_and_the_next_reward_model(tmp_path: Path, home: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus")
    first = harness.view_after(corpus, home)
    assert first.scan("preferences").collect().height == 80
    assert not first.of_stage("pair_rewards") and not first.of_stage("preference_pairs"), "nobody votes yet"
    told = harness.preppo("reward", "train", "--out", str(tmp_path / "rm"))
    assert "pairs: 80 of short (keep)" in told and str(tmp_path / "rm") in told
    about = json.loads((tmp_path / "rm" / "reward_model.json").read_text())
    assert about["report"]["accuracy"]["mean"] > 0.6 and not (tmp_path / "rm" / "checkpoints").exists()
    assert "holds a reward model already" in harness.preppo("reward", "train", "--out", str(tmp_path / "rm"), code=2)

    corpus = corpus_of(tmp_path / "corpus", [str(tmp_path / "rm")])
    second = harness.view_after(corpus, home)
    assert {c.stage for c in second.live.values()} >= {"pair_rewards", "preference_strength", "preference_pairs"}
    strength = query(second, "SELECT * FROM preference_strength JOIN preferences USING (pair_id)")
    assert set(strength["votes"]) == {1}
    own = strength.filter(pl.col("origin") == "own_rollouts")
    assert own.height == 6 and set(own["treatment"]) == {"keep"}, "a verdict outranks a vote"
    assert all(chosen.endswith(f"{{{n}}}") for chosen, n in zip(sorted(own["chosen"]), range(1, 7), strict=True))
    planted = {r["q"] for r in short_is_better() if r["wrong"]}
    flipped = strength.filter(pl.col("treatment") == "flip")
    asked = flipped.select(pl.col("messages").list.last().struct.field("content")).to_series()
    assert 6 <= flipped.height <= 8
    assert len(set(asked) & planted) >= 6, "the labels that were planted the wrong way are the weakest"
    cleaned = query(second, "FROM cleaned_preferences")
    assert cleaned.height == 86 and not set(cleaned["treatment"]) - {"keep", "flip"}
    turned = cleaned.filter(pl.col("treatment") == "flip").join(flipped, on="pair_id", suffix="_before")
    assert turned["chosen"].equals(turned["rejected_before"]) and (turned["strength"] > 0).all()

    scored = second.scan("pair_rewards").sort("pair_id", "side").collect()
    one = scored.filter(pl.col("pair_id") == flipped["pair_id"][0]).to_dicts()
    row = flipped.row(0, named=True)
    texts = [(tuple((m["role"], m["content"]) for m in row["messages"]), row[side["side"]]) for side in one]
    model = load_reward_model(str(tmp_path / "rm"), device="cpu", dtype="float32")
    assert [s.mean[0] for s in model.score(texts) if s.mean] == pytest.approx([r["mean"] for r in one], abs=1e-5)

    harness.preppo("--config", str(corpus.config), "reward", "train", "--out", str(tmp_path / "rm2"))
    assert json.loads((tmp_path / "rm2" / "reward_model.json").read_text())["report"]["pairs"] > 0
    corpus = corpus_of(tmp_path / "corpus", [str(tmp_path / "rm"), str(tmp_path / "rm2")])
    third = harness.view_after(corpus, home)
    assert set(query(third, "SELECT votes FROM preference_strength")["votes"]) == {2}
    again = (
        third.scan("pair_rewards").filter(pl.col("reward_model").is_in(scored["reward_model"])).sort("pair_id", "side")
    )
    assert again.collect().drop("batch").equals(scored.drop("batch")), "a new member costs that member alone"
    unmoved = {k[0] for k in second.live if second.live[k] == third.live.get(k)}
    assert {"prompts", "rollouts", "verdicts", "preferences"} <= unmoved


def test_recipes_that_need_strength_say_what_is_missing(tmp_path: Path, home: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", reward_training=TRAINING | {"recipe": "flip+margin"})
    harness.view_after(corpus, home)
    told = harness.preppo("reward", "train", "--out", str(tmp_path / "rm"), code=3)
    assert "needs the strength of every pair, and no reward model is there to vote" in told
    corpus_of(tmp_path / "corpus", reward_training=TRAINING | {"recipe": "gold"})
    assert "no recipe is named 'gold'" in harness.preppo("reward", "train", "--out", str(tmp_path / "rm"), code=2)
    corpus_of(tmp_path / "corpus", reward_training=TRAINING | {"origins": ["other"]})
    assert "no preference pairs of origins other" in harness.preppo(
        "reward", "train", "--out", str(tmp_path / "rm"), code=3
    )


def test_check_looks_at_pairs_and_a_home_of_pairs_alone_can_train(
    tmp_path: Path, home: Path, shared_data: Path
) -> None:
    corpus = corpus_of(tmp_path / "corpus")
    corpus.settings["source"] = corpus.settings["rollouts"] = []
    hh = {"name": "hh", "path": "hh.jsonl", "chosen": "chosen", "rejected": "rejected"}
    with gzip.open(shared_data / "pref_hh_harmless_base_test.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in itertools.islice(lines, 60)]
    harness.write_lines(tmp_path / "corpus" / "hh.jsonl", [*rows, "{broken", rows[0] | {"rejected": rows[0]["chosen"]}])
    corpus.settings["preferences"] = [hh, hh | {"name": "wrong", "prompt": "chosen", "chosen": "none"}]
    corpus.write_settings()
    told = harness.preppo("check", code=2).replace("\n", " ")
    assert "note: preferences hh: hh.jsonl: 60 of 62 rows are pairs; 1 broken_json (row 60)" in told
    assert "1 equal_texts (row 61): both responses are the same text" in told
    assert "problem: preferences wrong: hh.jsonl: 0 of 62 rows are pairs" in told and "no column 'none'" in told
    corpus.settings["preferences"] = [hh]
    corpus.write_settings()
    assert "settings and sources can be used" in harness.preppo("check")
    assert not (home / "tables" / "commits").exists() or not harness.commits(home), "a look commits nothing"
    harness.view_after(corpus, home)
    told = harness.preppo("reward", "train", "--out", str(tmp_path / "rm"))
    assert "pairs: 60 of hh (keep)" in told


def test_bad_rows_are_kept_with_their_reason_and_every_row_is_accounted_for(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "corpus"
    good = {"q": "Why?", "a": "So.", "b": "No."}
    rows: list[Any] = [good, good, good | {"b": "So. "}, good | {"a": ""}, "{broken", good | {"q": None}, {"q": "x"}]
    harness.write_lines(folder / "pairs.jsonl", rows)
    view = harness.view_after(corpus_of(folder), home)
    rejected = view.scan("rejected_preferences").sort("source_row").collect()
    assert rejected["reason_code"].to_list() == [
        "equal_texts", "empty_response", "broken_json", "null_prompt", "missing_column",
    ]  # fmt: skip
    assert rejected["raw"][2] == "{broken"
    [commit] = view.of_stage("preferences")
    counts = commit.counts
    assert (
        counts["rows_read"] == 7 == counts["pairs"] + counts["duplicate"] + counts["filtered"] + counts["quarantined"]
    )


# file, settings, the column that tells, and which of its values say that the first, or the second response is preferred
_LABELLED: list[tuple[str, dict[str, Any], str, Any, Any]] = [
    ("llmbar", {"prompt": "input", "chosen": "output_1", "rejected": "output_2", "label": "label"}, "label", [1], [2]),
    ("pandalm_human3",
     {"prompt": "{instruction}\n{input}", "chosen": "response1", "rejected": "response2",
      "label": {"column": "annotator1", "map": {"0": "tie", "1": 1, "2": 2}}}, "annotator1", [1], [2]),
    ("autoj_pairwise_human",
     {"prompt": "prompt", "chosen": "response 1", "rejected": "response 2",
      "label": {"column": "label", "map": {"0": 1, "1": 2, "2": "tie"}}}, "label", [0], [1]),
    ("webgpt_test_dsp",
     {"chosen": {"column": "text", "index": 0}, "rejected": {"column": "text", "index": 1}, "label": "score"},
     "score", [[1.5, 0.5], [2.0, 0.0]], [[0.5, 1.5], [0.0, 2.0]]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "column", "first", "second"), _LABELLED, ids=[x[0] for x in _LABELLED])
def test_public_labels_are_read_as_they_are_meant(
    name: str, fields: dict[str, Any], column: str, first: Any, second: Any, shared_data: Path
) -> None:
    section = PreferencesSettings.model_validate({"name": "s", "path": "p", **fields})
    reader, turned = PairReader(section), PairReader(section.model_copy(update={"label": None}))
    kinds = dict.fromkeys(("first", "second", "tie"), 0)
    with gzip.open(shared_data / f"pref_{name}.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            try:
                plain = turned.read(row)  # the first response as the chosen one
            except RowError:
                continue
            kind = "first" if row[column] in first else "second" if row[column] in second else "tie"
            kinds[kind] += 1
            if kind == "tie":
                with pytest.raises(RowError, match="neither"):
                    reader.read(row)
            else:
                assert (reader.read(row).chosen == plain.chosen) == (kind == "first")
    assert kinds["first"] > 40 and kinds["second"] > 40
    assert (kinds["tie"] > 40) == (name != "llmbar")


def test_public_preferences_are_read_as_they_come(tmp_path: Path, home: Path, shared_data: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus")
    corpus.settings["preferences"] = [
        {"name": "hh", "path": str(shared_data / "pref_hh_harmless_base_test.jsonl.gz"),
         "chosen": "chosen", "rejected": "rejected"},
        {"name": "llmbar", "path": str(shared_data / "pref_llmbar.jsonl.gz"), "prompt": "input",
         "chosen": "output_1", "rejected": "output_2", "label": "label"},
        {"name": "judgebench", "path": str(shared_data / "pref_judgebench.jsonl.gz"), "prompt": "question",
         "chosen": "response_A", "rejected": "response_B",
         "label": {"column": "label", "extract": "^(.)", "map": {"A": 1, "B": 2}}},
    ]  # fmt: skip
    corpus.write_settings()
    view = harness.view_after(corpus, home)
    for commit in view.of_stage("preferences"):
        counts = commit.counts
        assert counts["rows_read"] == sum(counts[k] for k in ("pairs", "duplicate", "filtered", "quarantined"))
        assert counts["pairs"] > 0.98 * (counts["rows_read"] - counts["duplicate"])
    with gzip.open(shared_data / "pref_llmbar.jsonl.gz", "rt") as lines:
        one = json.loads(next(iter(lines)))
    chosen = query(view, "SELECT chosen FROM preferences WHERE origin = 'llmbar'")["chosen"].to_list()
    assert one[f"output_{one['label']}"].strip() in chosen
    turns = query(view, "SELECT max(len(messages)) AS n, min(len(messages)) AS m FROM preferences WHERE origin = 'hh'")
    assert turns["n"][0] > 1 and turns["m"][0] == 1
