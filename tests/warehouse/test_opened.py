"""A table that is kept open is the table as it is now, whoever changed it."""

import shutil
import subprocess
import sys

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from warehouse.opened import keep, opened


def rows(*numbers):
    return pl.DataFrame({"n": list(numbers)}, schema={"n": pl.Int64})


def seen(table):
    return sorted(pl.read_parquet([u.removeprefix("file://") for u in table.file_uris()])["n"])


@pytest.fixture
def path(tmp_path):
    write_deltalake(tmp_path / "t", rows(1))
    return tmp_path / "t"


def test_it_is_opened_once_while_it_does_not_move(path):
    assert opened(path) is opened(path)
    assert seen(opened(path)) == [1]


def test_what_was_added_meanwhile_is_there_and_the_older_view_stays(path):
    before = opened(path)
    write_deltalake(path, rows(2), mode="append")
    assert seen(opened(path)) == [1, 2]
    assert seen(before) == [1]


def test_what_another_process_added_is_there(path):
    assert opened(path).version() == 0
    code = (
        "import polars, sys; from deltalake import write_deltalake; "
        "write_deltalake(sys.argv[1], polars.DataFrame({'n': [2]}), mode='append')"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert seen(opened(path)) == [1, 2]


def test_another_table_at_the_same_place_is_another_table(path):
    write_deltalake(path, rows(2), mode="append")
    assert seen(opened(path)) == [1, 2]
    shutil.rmtree(path)
    write_deltalake(path, rows(7))
    assert seen(opened(path)) == [7]
    write_deltalake(path, rows(8), mode="append")
    assert seen(opened(path)) == [7, 8]


def test_what_its_writer_hands_over_is_kept_until_somebody_else_writes(path):
    own = DeltaTable(path)
    write_deltalake(own, rows(2), mode="append")
    keep(path, own)
    assert opened(path) is own
    write_deltalake(path, rows(3), mode="append")
    assert seen(opened(path)) == [1, 2, 3]


def test_a_handed_over_table_that_others_have_passed_is_opened_again(path):
    own = DeltaTable(path)
    write_deltalake(own, rows(2), mode="append")
    write_deltalake(path, rows(3), mode="append")
    keep(path, own)
    assert seen(opened(path)) == [1, 2, 3]


def test_a_writer_that_others_have_passed_before_hands_over_their_rows_too(path):
    own = DeltaTable(path)
    write_deltalake(path, rows(2), mode="append")
    write_deltalake(own, rows(3), mode="append")
    keep(path, own)
    assert opened(path) is own
    assert seen(own) == [1, 2, 3]
    numbers = pl.DataFrame(own.get_add_actions(flatten=True)).sort("path")
    assert numbers.equals(pl.DataFrame(DeltaTable(path).get_add_actions(flatten=True)).sort("path"))


def test_rows_that_were_deleted_are_gone(path):
    write_deltalake(path, rows(2), mode="append")
    assert seen(opened(path)) == [1, 2]
    own = DeltaTable(path)
    own.delete("n = 1")
    keep(path, own)
    assert seen(opened(path)) == [2]


def test_a_table_whose_older_entries_were_tidied_away_is_opened_all_the_same(path):
    for n in (2, 3):
        write_deltalake(path, rows(n), mode="append")
    assert seen(opened(path)) == [1, 2, 3]
    DeltaTable(path).create_checkpoint()
    for entry in sorted((path / "_delta_log").glob("*.json"))[:-1]:
        entry.unlink()
    assert seen(opened(path)) == [1, 2, 3]
    write_deltalake(path, rows(4), mode="append")
    assert seen(opened(path)) == [1, 2, 3, 4]
