"""Every format, every way a file can be broken; nothing lost, nothing raised for a row."""

import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.ingest import lines, readers
from warehouse.ingest.readers import InputError, expand, file_hash, read_blocks, read_dataset, read_rows

ROWS = [{"q": "What is 2+2?", "a": 4}, {"q": "Ünïcödé 漢字 🙂", "a": None}, {"q": "a\nb", "a": [1, {"b": 2}]}]


def codes(path, **options):
    return [(r.row, r.error.reason_code if r.error else None) for r in read_rows(path, **options)]


def values(path, **options):
    return [r.value for r in read_rows(path, **options)]


def write(path, data):
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def jsonl(rows):
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode()


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz", "a.JSONL", "a.json"])
def test_json_lines(tmp_path, name):
    assert values(write(tmp_path / name, jsonl(ROWS))) == ROWS


@pytest.mark.parametrize(
    "data", [json.dumps(ROWS), json.dumps(ROWS, indent=2), "\n".join(json.dumps(r, indent=1) for r in ROWS)]
)
@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
@pytest.mark.parametrize("read_bytes", [1, 7, 1 << 20])
def test_json_values(tmp_path, monkeypatch, data, name, read_bytes):
    monkeypatch.setattr(lines, "READ_BYTES", read_bytes)
    assert values(write(tmp_path / name, data.encode())) == ROWS


def test_parquet(tmp_path):
    rows = [{"q": f"question {i}", "n": i, "m": [{"role": "user", "content": "x"}]} for i in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=30)
    assert values(tmp_path / "a.parquet") == rows
    assert [r.row for r in read_rows(tmp_path / "a.parquet", start_row=37)] == list(range(37, 100))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_csv(tmp_path, name):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows(
        [["q", "a"], ["one, two", "1"], ['quoted "x"\nnext line', "2"], ["ünï", ""], ["too", "many", "cells"]]
    )
    rows = list(read_rows(write(tmp_path / name, text.getvalue().encode())))
    assert [r.value for r in rows[:3]] == [
        {"q": "one, two", "a": "1"},
        {"q": 'quoted "x"\nnext line', "a": "2"},
        {"q": "ünï", "a": None},
    ]
    assert (rows[3].row, rows[3].error.reason_code, rows[3].raw) == (3, "broken_csv", "too,many,cells")


def test_every_bad_line_has_its_code_and_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 2000)
    monkeypatch.setattr(lines, "READ_BYTES", 1500)
    good = b'{"q": "fine"}\n'
    bad = [
        (b'{"q": "cut', "broken_json"),
        (b'{"q": "\xff\xfe"}', "wrong_encoding"),
        (b"[1, 2]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"q": "a\x00b"}', "nul_bytes"),
        (b'{"q": "\\ud800"}', "wrong_encoding"),
        (b"[" * 1500, "broken_json"),
        (b'{"n": ' + b"9" * 1400 + b"e}", "broken_json"),
        (b'{"q": "' + b"x" * 9000 + b'"}', "huge_line"),
    ]
    data = good + b"".join(line + b"\n" + good for line, _ in bad)
    expected = [(0, None)]
    for i, (_, code) in enumerate(bad):
        expected += [(2 * i + 1, code), (2 * i + 2, None)]
    assert codes(write(tmp_path / "a.jsonl", data)) == expected
    assert codes(write(tmp_path / "a.jsonl.gz", data)) == expected
    raw = {r.row: r.raw for r in read_rows(tmp_path / "a.jsonl")}
    assert raw[3] == '{"q": "\\xff\\xfe"}'
    assert "a\\x00b" in raw[9]
    assert 0 < len(raw[17]) <= 9000


def test_blank_lines_and_byte_order_mark_are_no_rows(tmp_path):
    data = b"\xef\xbb\xbf" + b'{"q": 1}\r\n\r\n   \n{"q": 2}'
    assert codes(write(tmp_path / "a.jsonl", data)) == [(0, None), (3, None)]


def test_truncated_gzip_keeps_what_is_before(tmp_path):
    rows = [{"q": f"question {i} " + "x" * 50} for i in range(3000)]
    data = gzip.compress(jsonl(rows), mtime=0)
    (tmp_path / "a.jsonl.gz").write_bytes(data[: len(data) // 2])
    got = list(read_rows(tmp_path / "a.jsonl.gz"))
    assert [r.value for r in got[:-1]] == rows[: len(got) - 1]
    assert len(got) > 100
    assert got[-1].error.reason_code == "truncated_gzip"
    (tmp_path / "b.jsonl.gz").write_bytes(b"not gzip at all")
    assert codes(tmp_path / "b.jsonl.gz") == [(0, "truncated_gzip")]


@pytest.mark.parametrize("name", ["a.json.gz", "a.csv.gz"])
def test_truncated_gzip_of_other_formats(tmp_path, name):
    rows = [{"q": f"question {i}"} for i in range(5000)]
    text = json.dumps(rows) if "json" in name else "q\n" + "\n".join(r["q"] for r in rows)
    data = gzip.compress(text.encode())
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    got = list(read_rows(tmp_path / name))
    assert [r.value for r in got[:-1]] == rows[: len(got) - 1]
    assert got[-1].error.reason_code == "truncated_gzip"


def test_broken_json_array_keeps_what_is_before(tmp_path):
    got = list(read_rows(write(tmp_path / "a.json", b'[{"q": 1}, {"q": "\xff"}, 5, {"q": 2}, {"q" 3}, {"q": 4}]')))
    assert [r.error.reason_code if r.error else r.value["q"] for r in got] == [
        1,
        "wrong_encoding",
        "not_an_object",
        2,
        "broken_json",
    ]
    assert "q" in got[-1].raw


def test_unreadable_parquet_is_a_row(tmp_path):
    assert codes(write(tmp_path / "a.parquet", b"PAR1 nonsense")) == [(0, "unreadable_parquet")]
    table = pa.table({"q": [f"{i:064d}" for i in range(4000)]})
    pq.write_table(table, tmp_path / "b.parquet", row_group_size=1000, compression="zstd", use_dictionary=False)
    data = bytearray((tmp_path / "b.parquet").read_bytes())
    start = pq.ParquetFile(tmp_path / "b.parquet").metadata.row_group(1).column(0).data_page_offset
    data[start : start + 200] = b"\xff" * 200
    (tmp_path / "b.parquet").write_bytes(data)
    got = codes(tmp_path / "b.parquet")
    assert [row for row, _ in got] == list(range(4000))
    assert {row // 1000 for row, code in got if code} == {1}


def test_other_encodings(tmp_path):
    rows = [{"q": "naïve café"}, {"q": "x"}]
    for encoding in ("cp1252", "utf-16", "utf-16-le"):
        assert values(write(tmp_path / "a.jsonl", jsonl(rows).decode().encode(encoding)), encoding=encoding) == rows
    assert codes(write(tmp_path / "a.jsonl", jsonl(rows).decode().encode("cp1252"))) == [
        (0, "wrong_encoding"),
        (1, None),
    ]
    with pytest.raises(InputError, match="unknown encoding 'klingon'"):
        list(read_rows(tmp_path / "a.jsonl", encoding="klingon"))


def test_paths_that_cannot_be_used(tmp_path):
    write(tmp_path / "a.txt", b"x")
    with pytest.raises(InputError, match=r"a\.txt: unknown format; known suffixes are \.jsonl"):
        list(read_rows(tmp_path / "a.txt"))
    with pytest.raises(InputError, match=r"gone\.jsonl: no such file"):
        list(read_rows(tmp_path / "gone.jsonl"))
    with pytest.raises(InputError, match=r"sub/\*\.jsonl: no file matches"):
        expand("sub/*.jsonl", tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="it is a folder"):
        expand("folder", tmp_path)


def test_expand_sorts_and_walks(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "sub/deep/c.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, b"")
    found = expand(["**/*.jsonl", "a.jsonl"], tmp_path)
    assert [p.relative_to(tmp_path.resolve()).as_posix() for p in found] == ["a.jsonl", "b.jsonl", "sub/deep/c.jsonl"]
    assert expand(str(tmp_path / "a.jsonl"), tmp_path) == [(tmp_path / "a.jsonl").resolve()]


def test_a_changed_file_is_refused(tmp_path):
    path = write(tmp_path / "a.jsonl.gz", jsonl(ROWS))
    registered = file_hash(path)
    assert len(registered) == 32
    assert sum(b.rows for b in read_blocks(path, expected_hash=registered)) == 3
    write(path, jsonl(ROWS[:2]))
    with pytest.raises(InputError, match="has changed since it was registered"):
        list(read_blocks(path, expected_hash=registered))


line = st.one_of(
    st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")),
    st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=8) | st.none(), max_size=3).map(
        lambda d: json.dumps(d, ensure_ascii=False).encode("utf-8", "surrogatepass")
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(line, max_size=30), st.integers(1, 8), st.integers(1, 300), st.booleans())
def test_each_line_is_one_row_whatever_the_blocks(tmp_path_factory, content, block_rows, read_bytes, compress):
    path = tmp_path_factory.mktemp("x") / ("a.jsonl.gz" if compress else "a.jsonl")
    write(path, b"\n".join(content))
    whole = list(read_rows(path))
    physical = b"\n".join(content).split(b"\n")
    assert [r.row for r in whole] == [i for i, x in enumerate(physical) if x and not x.isspace()]
    assert all((r.value is None) != (r.error is None) for r in whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "READ_BYTES", read_bytes)
        blocks = list(read_blocks(path, block_rows=block_rows))
    assert all(b.rows <= block_rows for b in blocks)
    plain = [(r.row, r.raw, r.value, str(r.error)) for b in blocks for r in b.parse()]
    assert repr(plain) == repr([(r.row, r.raw, r.value, str(r.error)) for r in whole])


def test_datasets_on_disk(tmp_path):
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list([{"q": f"q{i}", "n": i} for i in range(25)])
    data.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": data}).save_to_disk(str(tmp_path / "many"))
    assert [r.value for r in read_dataset(str(tmp_path / "one"))] == data.to_list()
    assert [r.row for r in read_dataset(str(tmp_path / "many"), None, "train")] == list(range(25))
    with pytest.raises(InputError, match=r"no split 'test'; it has \['train'\]"):
        list(read_dataset(str(tmp_path / "many"), None, "test"))
    assert readers.dataset_hash(str(tmp_path / "one"), None, "train") == readers.dataset_hash(
        str(tmp_path / "one"), None, "train"
    )
