"""Recorded rollouts: every format, every kind of bad row, and that both ways out give the same rows."""

import gzip
import json
from operator import attrgetter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.engines.contract import Request, Sampling
from trainer.engines.recorded import (
    REJECTED,
    ROWS,
    RecordedEngine,
    join_by_key,
    read_recorded,
    settle_numbers,
    split_references,
    stream_recorded,
)
from warehouse.curation.identity import prompt_id
from warehouse.schemas import ROLLOUTS, conform
from warehouse.settings.model import RolloutsSettings

PATH = "unused"


def settings(**fields):
    return RolloutsSettings(**{"name": "sft", "path": PATH, "prompt": "q", **fields})


def jsonl(folder, rows, name="r.jsonl"):
    path = folder / name
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def imported(folder, rows, **fields):
    return read_recorded(settings(**fields), [jsonl(folder, rows)])


def pid(text):
    return prompt_id([("user", text)])


def test_one_response_a_row_is_numbered_in_order(tmp_path):
    rows = [
        {"q": "a", "r": "x", "s": 1, "f": "stop"},
        {"q": "b", "r": "y", "s": 0.25, "f": "max_tokens"},
        {"q": " a\n", "r": "<think>t</think>z", "s": None, "f": None},
        {"q": "a", "r": None, "s": None, "f": "abort"},
    ]
    got = imported(tmp_path, rows, response="r", score="s", finish_reason="f")
    assert (got.read, got.filtered, len(got.rejected)) == (4, 0, 0)
    assert got.rows.schema == ROWS
    columns = ["prompt_id", "sample", "response", "reasoning", "finish_reason", "recorded_score", "row"]
    assert got.rows.select(columns).rows() == [
        (pid("a"), 0, "x", None, "stop", 1.0, 0),
        (pid("b"), 0, "y", None, "length", 0.25, 1),
        (pid("a"), 1, "z", "t", "stop", None, 2),
        (pid("a"), 2, None, None, "error", None, 3),
    ]


def test_a_list_of_responses_a_row_with_scores(tmp_path):
    rows = [{"q": "a", "r": ["x", "y", None], "s": [True, False, None], "f": "stop"}]
    got = imported(tmp_path, rows, response="r", score="s", finish_reason="f").rows
    assert got["response"].to_list() == ["x", "y", None]
    assert got["recorded_score"].to_list() == [1.0, 0.0, None]
    assert got["finish_reason"].to_list() == ["stop", "stop", "error"]
    assert got["sample"].to_list() == [0, 1, 2]


def test_scores_alone(tmp_path):
    got = imported(tmp_path, [{"q": "a", "s": [1, 0]}, {"q": "b", "s": 0.5}], score="s").rows
    assert got.select("recorded_score", "response", "finish_reason").rows() == [
        (1.0, None, "stop"), (0.0, None, "stop"), (0.5, None, "stop"),
    ]  # fmt: skip


def test_templates_messages_and_numbers_of_samples(tmp_path):
    got = imported(tmp_path, [{"a": "x", "b": 2, "r": "y", "n": 7}], prompt="{a}\n{b}", response="r", sample="n")
    assert got.rows.select("prompt_id", "sample").rows() == [(pid("x\n2"), 7)]
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    got = imported(tmp_path, [{"m": turns, "r": "y"}], prompt=None, messages="m", response="r")
    assert got.rows["prompt_id"].to_list() == [prompt_id([("system", "s"), ("user", "u")])]


BAD = [
    ('{"q": "a", ', "broken_json"),
    ("[1]", "not_an_object"),
    ({"r": "y"}, "missing_column"),
    ({"q": None, "r": "y"}, "null_prompt"),
    ({"q": "  ", "r": "y"}, "bad_prompt"),
    ({"q": 5, "r": "y"}, "bad_prompt"),
    ({"q": "a", "r": 5}, "bad_response"),
    ({"q": "a", "r": ["y", 5], "s": [1, 1]}, "bad_response"),
    ({"q": "a", "r": "y", "s": "good"}, "bad_score"),
    ('{"q": "a", "r": "y", "s": NaN, "f": null}', "bad_score"),
    ({"q": "a", "r": ["y", "z"], "s": [1]}, "length_mismatch"),
    ({"q": "a", "r": ["y", "z"], "s": 1}, "length_mismatch"),
    ({"q": "a", "r": "y", "f": "tired"}, "bad_finish_reason"),
    ({"q": "a", "r": [], "s": []}, "no_samples"),
]


def test_one_bad_row_never_stops_the_import(tmp_path):
    good = {"q": "a", "r": "y", "s": 1, "f": "stop"}
    lines = [good]
    for bad, _ in BAD:
        lines += [bad if isinstance(bad, str) else {"s": None, "f": None, **bad}, good]
    got = imported(tmp_path, lines, response="r", score="s", finish_reason="f")
    assert got.rejected.schema == REJECTED
    assert got.rejected["reason_code"].to_list() == [code for _, code in BAD]
    assert got.rejected["row"].to_list() == list(range(1, 2 * len(BAD), 2))
    assert got.rejected["raw"].null_count() == 0
    assert all(got.rejected["reason"].str.len_chars() > 10)
    assert got.rows["sample"].to_list() == list(range(len(BAD) + 1))
    assert got.read == 2 * len(BAD) + 1


@pytest.mark.parametrize("number", [None, "0", 0.5, -1, True, 10**9, [0]])
def test_bad_sample_numbers(tmp_path, number):
    got = imported(tmp_path, [{"q": "a", "r": "y", "n": number}], response="r", sample="n")
    assert got.rejected["reason_code"].to_list() == ["bad_sample"]


def test_a_sample_number_that_comes_twice_is_rejected(tmp_path):
    rows = [{"q": "a", "r": "y", "n": 3}, {"q": "b", "r": "y", "n": 3}, {"q": "a ", "r": "z", "n": 3}]
    got = imported(tmp_path, rows, response="r", sample="n")
    assert got.rejected.select("row", "reason_code").rows() == [(2, "duplicate_sample")]
    rows = [{"q": "a", "r": ["y", "z"], "n": [1, 1]}, {"q": "a", "r": "w", "n": 1}]
    got = imported(tmp_path, rows, response="r", sample="n")
    assert got.rejected["row"].to_list() == [0]
    assert got.rows["response"].to_list() == ["w"]  # nothing of the rejected row was kept, nor counts as seen


def test_rows_left_out_by_where_are_counted(tmp_path):
    rows = [{"q": "a", "r": str(i), "model": m} for i, m in enumerate("xyxz")] + [{"q": "a", "r": "n"}]
    got = imported(tmp_path, rows, response="r", where=[{"column": "model", "equals": "x"}])
    assert got.rows["response"].to_list() == ["0", "2"]
    assert got.rows["sample"].to_list() == [0, 1]
    assert (got.read, got.filtered, got.rejected["reason_code"].to_list()) == (5, 2, ["missing_column"])


@given(st.integers(1, 64).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_a_pass_rate_becomes_its_exact_number_of_ones(tmp_path_factory, pair):
    samples, passed = pair
    folder = tmp_path_factory.mktemp("r")
    got = imported(folder, [{"q": "a", "p": passed / samples}], format="pass_rate", rate="p", samples=samples).rows
    assert got["recorded_score"].to_list() == [1.0] * passed + [0.0] * (samples - passed)
    assert got["response"].null_count() == samples
    assert got["sample"].to_list() == list(range(samples))


def test_pass_rates_that_cannot_be(tmp_path):
    rows = [{"q": "a", "p": 1.2}, {"q": "b", "p": "half"}, {"q": "c", "p": True}, {"q": "d", "p": None}]
    got = imported(tmp_path, rows, format="pass_rate", rate="p", samples=2)
    assert got.rejected["reason_code"].to_list() == ["bad_rate"] * 3
    unknown = got.rows.select("prompt_id", "recorded_score", "finish_reason").rows()
    assert unknown == [(pid("d"), None, "error")] * 2  # unknown is not zero


def test_open_r1(tmp_path):
    rows = [
        {"q": "a", "pass_rate_generations": ["<think>\nw\n</think>\n\nx", "y"], "pass_rate_rewards": [1.0, 0.0]},
        {"q": "b", "pass_rate_generations": ["x"], "pass_rate_rewards": [1.0, 0.0]},
        {"q": "c", "pass_rate_generations": None, "pass_rate_rewards": None},
        {"q": "d", "pass_rate_generations": ["x"], "pass_rate_rewards": 1.0},
    ]
    got = imported(tmp_path, rows, format="open-r1")
    assert got.rows.select("response", "reasoning", "recorded_score").rows() == [("x", "w", 1.0), ("y", None, 0.0)]
    assert got.rejected["reason_code"].to_list() == ["length_mismatch", "bad_response", "bad_score"]


def test_reasoning360_takes_zero_for_unknown(tmp_path):
    rows = [{"q": "a", "low_pass_rate": 0.0, "high_pass_rate": 0.75}, {"q": "b", "low_pass_rate": None}]
    got = imported(tmp_path, rows, format="reasoning360", samples=4)
    low, high = (got.rows.filter(policy=f"sft/{w}")["recorded_score"].to_list() for w in ("low", "high"))
    assert low == [None] * 4
    assert high == [1.0, 1.0, 1.0, 0.0]
    assert got.rejected["reason_code"].to_list() == ["missing_column"]


def test_skywork_counts_wrong_answers_of_several_models(tmp_path):
    def row(q, **counts):
        return {"q": q, "extra_info": {"model_difficulty": counts}}

    rows = [row("a", m7=16, m32=3), row("b", m7=None), row("c", m7=17), row("d", m7=1.5), row("e")]
    got = imported(tmp_path, rows, format="skywork")
    sums = got.rows.group_by("policy", "prompt_id").agg(pl.col("recorded_score").sum(), pl.len()).sort(pl.all())
    assert set(sums.rows()) == {
        ("sft/m32", pid("a"), 13.0, 16), ("sft/m7", pid("a"), 0.0, 16), ("sft/m7", pid("b"), 0.0, 16),
    }  # fmt: skip
    assert got.rows.filter(prompt_id=pid("b"))["recorded_score"].null_count() == 16
    assert got.rejected["reason_code"].to_list() == ["bad_rate"] * 3


def test_parquet_and_gzip_and_chunks_agree(tmp_path):
    rows = [{"q": str(i % 7), "r": ["x", f"y{i}"], "s": [1.0, None]} for i in range(50)]
    pl.DataFrame(rows).write_parquet(tmp_path / "r.parquet")
    with gzip.open(tmp_path / "r.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(r) + "\n" for r in rows)
    policy = settings(response="r", score="s")
    plain = read_recorded(policy, [jsonl(tmp_path, rows)]).rows.drop("file")
    for name in ("r.parquet", "r.jsonl.gz"):
        assert read_recorded(policy, [tmp_path / name]).rows.drop("file").equals(plain)
    chunks = list(stream_recorded(policy, [tmp_path / "r.jsonl"], chunk_rows=8))
    assert [c.read for c in chunks] == [8, 8, 8, 8, 8, 8, 2]
    assert pl.concat([c.rows for c in chunks]).drop("file").equals(plain)


def test_join_by_key(tmp_path):
    rows = [{"k": 1, "r": "x"}, {"k": 2, "r": "y"}, {"k": 3, "r": "z"}, {"k": 9, "r": "lost"}, {"k": None, "r": "n"}]
    got = read_recorded(
        RolloutsSettings(name="sft", path=PATH, key="k", source="s", response="r"), [jsonl(tmp_path, rows)]
    )
    assert got.rejected["reason_code"].to_list() == ["null_key"]
    keys = pl.DataFrame({"key": ["1", "2", "3"], "prompt_id": ["p", "q", "p"]})  # 1 and 3 are merged duplicates
    found, lost = join_by_key(got.rows, keys)
    assert found.select("prompt_id", "sample", "response").rows() == [("p", 0, "x"), ("p", 1, "z"), ("q", 0, "y")]
    assert lost["response"].to_list() == ["lost"]
    assert len(found) + len(lost) == len(got.rows)


def frame(**samples):
    """Return rows of one policy: prompt -> sample numbers."""
    found = [
        ("sft", p, None, n, f"{p}{n}", None, "stop", 1.0, "f", i) for p, ns in samples.items() for i, n in enumerate(ns)
    ]
    return pl.DataFrame(found, schema=ROWS, orient="row")


def test_numbers_settle_only_where_they_clash():
    rows = pl.concat([frame(p=[0, 1], q=[4, 6]), frame(p=[0, 1]).with_columns(file=pl.lit("g"))])
    settled = settle_numbers(rows)
    assert settled.filter(prompt_id="p")["sample"].to_list() == [0, 1, 2, 3]
    assert settled.filter(prompt_id="p")["file"].to_list() == ["f", "f", "g", "g"]
    assert settled.filter(prompt_id="q")["sample"].to_list() == [4, 6]


def test_reference_samples_are_the_last_and_leave_one_scored():
    got = split_references(frame(p=[0, 1, 2, 3, 4], q=[5, 9], r=[0]), 3).sort("prompt_id", "sample")
    roles = got.group_by("prompt_id", maintain_order=True).agg("role")["role"].to_list()
    assert roles == [["scored"] * 2 + ["reference"] * 3, ["scored", "reference"], ["scored"]]
    assert set(split_references(frame(p=[0, 1]), 0)["role"]) == {"scored"}


def asked(engine_rows):
    return [Request(p, role, n, (), None, 0, Sampling()) for p, role, n in engine_rows]


def test_both_ways_give_the_same_rows():
    rows = split_references(frame(p=[0, 1, 2], q=[3, 7], r=[0]), 1)
    engine = RecordedEngine(rows, "sft")
    straight = engine.frame_for(["q", "p", "p", "unknown"])
    conform(ROLLOUTS, straight)
    requests = asked((p, role, n) for p in "pq" for role in ("scored", "reference") for n in range(9))
    row = attrgetter(*straight.columns)
    objects = pl.DataFrame([row(c) for c in engine.generate(requests)], schema=straight.schema, orient="row")
    assert objects.sort("prompt_id", "role", "sample").equals(straight)
    assert len(straight) == 5
    assert set(straight["engine"]) == {"recorded"}
    assert straight["recorded"].all()


def test_what_was_not_recorded_yields_nothing_and_order_is_kept():
    engine = RecordedEngine(frame(p=[0, 1], q=[0]), "sft")
    requests = asked([("q", "scored", 0), ("p", "scored", 5), ("p", "scored", 1), ("z", "scored", 0)])
    assert [(c.prompt_id, c.sample) for c in engine.generate(requests)] == [("q", 0), ("p", 1)]
    assert engine.frame_for([]).is_empty()
    assert engine.fingerprint == "recorded:sft"


def test_a_sample_twice_or_without_a_prompt_is_refused():
    with pytest.raises(ValueError, match="twice"):
        RecordedEngine(pl.concat([frame(p=[0]), frame(p=[0])]), "sft")
    with pytest.raises(ValueError, match="no prompt_id"):
        RecordedEngine(frame(p=[0]).with_columns(prompt_id=pl.lit(None, dtype=pl.String)), "sft")


def test_real_rollouts(shared_data):
    policy = RolloutsSettings(
        name="m", path=PATH, prompt="question", response="response", score="correct", sample="sample"
    )
    got = read_recorded(policy, [shared_data / "rollouts_math_qwen_cot100x8.jsonl.gz"])
    assert (got.read, len(got.rows), len(got.rejected)) == (416, 416, 0)
    assert got.rows.group_by("prompt_id").len()["len"].to_list() == [8] * 52
