"""Taking values out of rows."""

import pickle

import pytest

from warehouse.ingest.fields import RowError, getter, keep, resolve
from warehouse.settings import FieldSpec, Where

ROW = {
    "q": "What is 2+2?", "n": None, "deep": {"a": {"b": 7}}, "a.b": "flat", "list": ["x", "y"], "text": '{"k": [1]}',
    "numbers": "3 -4, 13", "pair": [1, 2], "odd|ints": "the column's own name",
}  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({"column": "q"}, "What is 2+2?"),
        ({"column": "deep.a.b"}, 7),
        ({"column": "a.b"}, "flat"),
        ({"column": "list", "index": -1}, "y"),
        ({"template": "{q} [{n}]"}, "What is 2+2? []"),
        ({"template": "{deep.a.b}"}, "7"),
        ({"column": "q", "extract": r"(\d)"}, "2"),
        ({"column": "q", "extract": r"What is (\d)\+(\d)"}, "2"),
        ({"column": "q", "map": {"What is 2+2?": "easy"}}, "easy"),
        ({"column": "q", "map": {}, "default": "other"}, "other"),
        ({"column": "n", "default": "d"}, "d"),
        ({"column": "n", "extract": "x"}, None),
        ({"column": "text", "parse_json": True}, {"k": [1]}),
        ({"value": "fixed"}, "fixed"),
        ({"object": {"a": "$q", "b": ["$$5", {"c": "$n"}], "d": 3}}, {"a": ROW["q"], "b": ["$5", {"c": None}], "d": 3}),
        ({"object": {"a": "$numbers|ints", "b": "$n|ints"}}, {"a": [3, -4, 13], "b": None}),
        ({"object": {"a": "$pair|ints", "b": "$odd|ints"}}, {"a": [1, 2], "b": "the column's own name"}),
    ],
)
def test_values(spec, value):
    assert resolve(FieldSpec(**spec), ROW) == value
    assert getter(FieldSpec(**spec))(ROW) == value


@pytest.mark.parametrize(
    ("spec", "code", "message"),
    [
        ({"column": "gone"}, "missing_column", "no column 'gone'"),
        ({"template": "{gone}"}, "missing_column", "no column 'gone'"),
        ({"object": {"a": "$gone"}}, "missing_column", "no column 'gone'"),
        ({"object": {"a": "$gone|ints"}}, "missing_column", "no column 'gone"),
        ({"object": {"a": "$q|ints"}}, "wrong_type", "column 'q' should hold whole numbers, holds"),
        ({"object": {"a": "$text|ints"}}, "wrong_type", "column 'text' should hold whole numbers"),
        ({"column": "list", "index": 5}, "missing_column", "holds 2 items, index 5 is asked"),
        ({"column": "q", "index": 0}, "wrong_type", "should hold a list"),
        ({"column": "q", "extract": "#### (.+)"}, "no_match", "nothing in column 'q' matches"),
        ({"column": "q", "map": {"a": "b"}}, "unmapped", "is not among"),
        ({"column": "q", "parse_json": True}, "broken_value", "should hold JSON text"),
        ({"column": "list", "parse_json": True}, "broken_value", "should hold JSON text"),
    ],
)
def test_errors(spec, code, message):
    for take in (lambda row: resolve(FieldSpec(**spec), row), getter(FieldSpec(**spec))):
        with pytest.raises(RowError, match=message) as caught:
            take(ROW)
        assert caught.value.reason_code == code


def test_no_spec_is_no_value():
    assert resolve(None, ROW) is None
    assert getter(None)(ROW) is None


def test_row_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(RowError("code", "message")))
    assert (error.reason_code, error.message, str(error)) == ("code", "message", "message")


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"column": "q", "equals": "What is 2+2?"}, None),
        ({"column": "q", "equals": "no"}, "q is not 'no'"),
        ({"column": "deep.a.b", "is_in": [7, 8]}, None),
        ({"column": "deep.a.b", "is_in": [8]}, "is not one of"),
        ({"column": "deep.a.b", "not_in": [7]}, "is one of"),
        ({"column": "n", "not_null": True}, "n is null"),
        ({"column": "q", "not_null": False}, "q is not null"),
        ({"column": "q", "matches": r"2\+2"}, None),
        ({"column": "n", "matches": "x"}, "does not match"),
    ],
)
def test_conditions(condition, reason):
    found = keep([Where(**condition)], ROW)
    assert found is None if reason is None else reason in found
