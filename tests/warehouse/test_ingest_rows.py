"""One row becomes one prompt, or a reason."""

import json
import math

import pytest

from warehouse.curation.identity import prompt_id
from warehouse.ingest.fields import RowError
from warehouse.ingest.readers import read_rows
from warehouse.ingest.rows import FilteredError, RowMapper
from warehouse.settings import IngestSettings, SourceSettings


def mapper(ingest=None, **source):
    source = {"name": "s", "path": "x.jsonl", **source}
    if "messages" not in source:
        source.setdefault("prompt", "q")
    return RowMapper(SourceSettings(**source), IngestSettings(**(ingest or {})))


def test_a_plain_prompt():
    prompt = mapper(ground_truth="a", verifier="math", licence="MIT", key="id", extra=["level", "gone"]).map(
        {"q": " What is 2+2?\n", "a": 4, "id": 17, "level": {"n": 3}}
    )
    assert prompt.messages == [("user", " What is 2+2?\n")]
    assert prompt.prompt_id == prompt_id([("user", "What is 2+2?")])
    assert (prompt.ground_truth, prompt.verifier, prompt.licence, prompt.key) == ('"4"', "math", "MIT", "17")
    assert (prompt.extra, prompt.domain, prompt.raw_text) == ('{"level": {"n": 3}}', "math", None)


def test_system_and_raw():
    prompt = mapper(system="s", raw=True).map({"q": "def f(x):\n    ", "s": "Be brief."})
    assert prompt.messages == [("system", "Be brief."), ("user", "def f(x):\n    ")]
    assert prompt.raw_text == "def f(x):\n    "
    assert prompt.text == "def f(x):\n    "
    assert mapper(system="s").map({"q": "hi", "s": None}).messages == [("user", "hi")]


@pytest.mark.parametrize(
    "chat",
    [
        [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}],
        [{"from": "system", "value": "S"}, {"from": "human", "value": "U"}],
        [{"role": "developer", "content": "S"}, {"role": "User", "content": [{"type": "text", "text": "U"}]}],
        json.dumps([{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]),
    ],
)
def test_messages(chat):
    assert mapper(messages="m").map({"m": chat}).messages == [("system", "S"), ("user", "U")]


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("a", "7", '"7"'),
        ("a", 7, '"7"'),
        ("a", 7.0, '"7"'),
        ("a", 0.1, '"0.1"'),
        ("a", True, "true"),
        ("a", ["7", "seven"], '["7", "seven"]'),
        ("a", {"b": 1}, '{"b": 1}'),
        ("a", "ünï", '"ünï"'),
        ("a", '{"kind": "asserts"}', json.dumps('{"kind": "asserts"}')),
        ("a", None, None),
        ("a", "  ", None),
        ({"column": "a", "parse_json": True}, '{"kind": "asserts"}', '{"kind": "asserts"}'),
        ({"column": "a", "parse_json": True}, "7", "7"),
        ({"object": {"answer": "$a", "rel_tol": 0.5}}, 3, '{"answer": 3, "rel_tol": 0.5}'),
        ({"column": "a", "extract": "#### (.+)"}, "1\n#### 2\n#### 72 ", '"72"'),
    ],
)
def test_golds(field, value, text):
    assert mapper(ground_truth=field).map({"q": "x", "a": value}).ground_truth == text


def deep(levels):
    return json.loads("[" * levels + "]" * levels)


@pytest.mark.parametrize(
    ("source", "row", "code"),
    [
        ({}, {"q": None}, "null_prompt"),
        ({}, {"q": " \n"}, "empty_prompt"),
        ({}, {}, "missing_column"),
        ({}, {"q": 5}, "wrong_type"),
        ({}, {"q": "a\x00b"}, "nul_bytes"),
        ({"ingest": {"max_chars": 3}}, {"q": "four"}, "over_long"),
        ({"ingest": {"min_chars": 5}}, {"q": "four  "}, "too_short"),
        ({"ground_truth": {"column": "a", "extract": "#### (.+)"}}, {"q": "x", "a": "none"}, "no_match"),
        ({"ground_truth": {"column": "a", "parse_json": True}}, {"q": "x", "a": "{"}, "broken_value"),
        ({"ground_truth": "a"}, {"q": "x", "a": {"b": math.nan}}, "bad_gold"),
        ({"domain": {"column": "c", "map": {"a": "b"}}}, {"q": "x", "c": "z"}, "unmapped"),
        ({"verifier": {"column": "v"}}, {"q": "x", "v": ["math"]}, "wrong_type"),
        ({"ground_truth": "a"}, {"q": "x", "a": deep(800)}, "too_deep"),
        ({"ground_truth": {"column": "a", "parse_json": True}}, {"q": "x", "a": '"\\ud800"'}, "wrong_encoding"),
        ({"messages": "m"}, {"m": '[{"role": "user", "content": "\\ud800"}]'}, "wrong_encoding"),
        ({"messages": "m"}, {"m": None}, "null_prompt"),
        ({"messages": "m"}, {"m": []}, "empty_prompt"),
        ({"messages": "m"}, {"m": "hello"}, "wrong_type"),
        ({"messages": "m"}, {"m": {"role": "user"}}, "wrong_type"),
        ({"messages": "m"}, {"m": ["hello"]}, "wrong_type"),
        ({"messages": "m"}, {"m": [{"role": "wizard", "content": "x"}]}, "unknown_role"),
        ({"messages": "m"}, {"m": [{"content": "x"}]}, "unknown_role"),
        ({"messages": "m"}, {"m": [{"role": "user", "content": None}]}, "wrong_type"),
        ({"messages": "m"}, {"m": [{"role": "user", "content": [{"type": "image"}]}]}, "wrong_type"),
        (
            {"messages": "m"},
            {"m": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
            "last_not_user",
        ),
        ({"messages": "m"}, {"m": [{"role": "user", "content": ""}]}, "empty_prompt"),
    ],
)
def test_reasons(source, row, code):
    with pytest.raises(RowError) as caught:
        mapper(**source).map(row)
    assert caught.value.reason_code == code
    assert caught.value.message


def test_filtered():
    chosen = mapper(where=[{"column": "split", "equals": "train"}])
    assert chosen.map({"q": "x", "split": "train"}).messages == [("user", "x")]
    with pytest.raises(FilteredError, match="split is not 'train'"):
        chosen.map({"q": "x", "split": "test"})
    with pytest.raises(RowError, match="no column 'split'"):
        chosen.map({"q": "x"})


def test_extra_columns_never_cost_a_prompt():
    row = {"q": "x", "e": {"n": math.nan, "l": [math.inf, 1.5], 3: None}}
    assert json.loads(mapper(extra=["e"]).map(row).extra) == {"e": {"n": None, "l": [None, 1.5], "3": None}}


def test_domain_of_the_source_wins():
    assert mapper(domain="law").map({"q": "Compute 2+2"}).domain == "law"
    assert mapper(domain={"column": "d"}).map({"q": "Compute 2+2", "d": None}).domain == "math"


def test_real_rows(shared_data):
    chosen = mapper(prompt="question", ground_truth={"column": "answer", "extract": "#### (.+)"}, verifier="math")
    found = [chosen.map(r.value) for r in read_rows(shared_data / "gsm8k_train.jsonl.gz")]
    assert len(found) == 7473
    assert found[0].ground_truth == '"72"'
    assert {p.domain for p in found} == {"math"}
