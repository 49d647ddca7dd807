"""Overrides: what people say is read exactly, applied, and explained."""

from __future__ import annotations

import json

import polars as pl
import pytest

from warehouse.curation.overrides import OverrideError, apply_overrides, override_decisions, read_overrides
from warehouse.schemas import DECISIONS, conform

A, B = "a" * 32, "b" * 32


def line(prompt_id=A, field="selected", value=True, who="ada", why="seen it"):
    return json.dumps({"prompt_id": prompt_id, "field": field, "value": value, "who": who, "why": why})


def read(tmp_path, *lines):
    path = tmp_path / "overrides.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_overrides(path)


def test_the_last_line_about_a_field_counts(tmp_path):
    got = read(tmp_path, line(), "", line(B, "domain", "math"), line(value=False, who="bob"))
    assert got.select("prompt_id", "field", "value", "who", "line").rows() == [
        (A, "selected", "false", "bob", 4),
        (B, "domain", '"math"', "ada", 3),
    ]


def test_an_empty_file_has_no_overrides(tmp_path):
    got = read(tmp_path)
    assert got.is_empty()
    assert apply_overrides(pl.DataFrame({"prompt_id": [A]}), got).columns == ["prompt_id", "override_selected"]
    assert override_decisions(got, "").is_empty()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"line 2: not JSON that can be used \(.+ column 2"),
        ("[1]", "line 2: has list; each line is an object with exactly prompt_id, field, value, who, why"),
        ('{"prompt_id": "a"}', r"line 2: has \['prompt_id'\]; each line"),
        (line(prompt_id="A" * 32), "line 2: prompt_id 'A{32}' is not an id"),
        (line(who=" "), "line 2: who is ' '; it must be a text that is not empty"),
        (line(why=3), "line 2: why is 3"),
        (line(field="score"), "line 2: field 'score' cannot be overruled; allowed: selected, suspect_gold, domain"),
        (line(value="yes"), "line 2: value 'yes' of selected; allowed: true or false"),
        (line(value=1), "line 2: value 1 of selected"),
        (line(field="pool", value="old"), 'line 2: value \'old\' of pool; allowed: "original", "new" or "eval"'),
        (line(field="split", value=["train"]), "line 2: value"),
        (line(field="domain", value=None), "line 2: value None of domain; allowed: the name of a domain"),
        (line(field="verifier", value=""), "line 2: value '' of verifier; allowed: the name of a verifier, or null"),
    ],
)
def test_a_bad_line_is_named(tmp_path, text, message):
    with pytest.raises(OverrideError, match=message):
        read(tmp_path, line(), text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(
        OverrideError, match=r"cannot read the overrides file .*none.jsonl.*Fix the path in `overrides`"
    ):
        read_overrides(tmp_path / "none.jsonl")


def test_values_take_the_place_of_the_columns(tmp_path):
    overrides = read(
        tmp_path,
        line(A, "ground_truth", {"answer": 3, "abs_tol": 0}),
        line(A, "verifier", None),
        line(A, "domain", "code"),
        line(B, "selected", value=False),
        line(B, "suspect_gold", value=True),
        line("c" * 32, "domain", "nowhere"),
    )
    frame = pl.DataFrame(
        {
            "prompt_id": [B, A, "d" * 32],
            "domain": ["math"] * 3,
            "verifier": ["math"] * 3,
            "ground_truth": ['"1"', '"2"', None],
            "split": ["train"] * 3,
        }
    )
    got = apply_overrides(frame, overrides)
    assert got.rows() == [
        (B, "math", "math", '"1"', "train", False),
        (A, "code", None, '{"abs_tol": 0, "answer": 3}', "train", None),
        ("d" * 32, "math", "math", None, "train", None),
    ]
    assert apply_overrides(got, overrides).equals(got)
    flagged = apply_overrides(pl.DataFrame({"prompt_id": [B], "suspect_gold": [False]}), overrides)
    assert flagged["suspect_gold"].to_list() == [True]


def test_a_gold_may_be_taken_back(tmp_path):
    overrides = read(tmp_path, line(A, "ground_truth", None))
    got = apply_overrides(pl.DataFrame({"prompt_id": [A], "ground_truth": ['"7"']}), overrides)
    assert got["ground_truth"].to_list() == [None]


def test_every_override_is_a_decision(tmp_path):
    overrides = read(tmp_path, line(), line(A, "domain", "code"), line(B, value=False, why="broken"))
    got = override_decisions(overrides, "f" * 32, known=pl.Series([A]))
    conform(DECISIONS, got)
    assert got.select("prompt_id", "rule", "outcome", "value", "detail").rows() == [
        (A, "override:domain", "flag", None, 'domain set to "code" by ada: seen it'),
        (A, "override:selected", "keep", 1.0, "selected set to true by ada: seen it"),
        (B, "override:selected", "flag", 0.0, "selected set to false by ada: broken (no such prompt: without effect)"),
    ]
    assert override_decisions(overrides, "")["outcome"].to_list() == ["flag", "keep", "drop"]
