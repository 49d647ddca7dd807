"""Content hashes see rows, and nothing else."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from warehouse.hashing import FrameHasher, frame_hash, json_hash, text_hash

ROWS = st.lists(
    st.tuples(
        st.none() | st.text(max_size=5),
        st.none() | st.integers(-5, 5),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.booleans(),
        st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3),
    ),
    max_size=12,
)
SCHEMA = {"a": pl.String, "b": pl.Int64, "c": pl.Float64, "d": pl.Boolean, "e": pl.List(pl.String)}


def frame(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@given(ROWS, st.integers(1, 5))
def test_chunks_do_not_show(rows, size):
    whole = frame(rows)
    hasher = FrameHasher(whole.schema)
    for part in whole.iter_slices(size):
        hasher.update(part)
    assert hasher.hexdigest() == frame_hash(whole)


@given(ROWS, ROWS)
def test_different_rows_have_different_hashes(left, right):
    same = frame(left).equals(frame(right), null_equal=True) and [repr(x) for x in left] == [repr(x) for x in right]
    assert (frame_hash(frame(left)) == frame_hash(frame(right))) == same


def test_what_lies_under_a_null_does_not_show():
    dirty = pl.DataFrame({"x": [1, 2, 3]}).with_columns(pl.when(pl.col("x") != 2).then("x"))
    assert frame_hash(dirty) == frame_hash(pl.DataFrame({"x": [1, None, 3]}))


def test_slices_and_structs():
    rows = pl.DataFrame({"m": [[{"role": "user", "content": str(i)}] for i in range(10)]})
    assert frame_hash(rows[3:6]) == frame_hash(pl.DataFrame(rows[3:6].to_dicts(), schema=rows.schema))


def test_column_order_does_not_count_and_excluded_columns_do_not_show():
    left = pl.DataFrame({"a": [1], "b": ["x"], "t": [1]})
    assert frame_hash(left, ["t"]) == frame_hash(pl.DataFrame({"b": ["x"], "a": [1], "t": [2]}), ["t"])


def test_borders_between_texts_count():
    assert text_hash("ab", "c") != text_hash("a", "bc")
    assert json_hash({"a": 1, "b": 2}) == json_hash({"b": 2, "a": 1})
