"""The allocator numbers batches once, in order, whoever asks."""

import threading

import pytest

from warehouse.batches import Batches, BatchFile
from warehouse.home import Home, write_atomically


@pytest.fixture
def batches(tmp_path):
    return Batches(Home(tmp_path / "home").create())


def test_numbers_grow_and_keys_name_content(batches):
    first = batches.register([BatchFile("a", "1" * 32, path="x")])
    second = batches.register([BatchFile("a", "2" * 32, path="y")])
    assert [first.key[:6], second.key[:6]] == ["000001", "000002"]
    assert batches.all() == [first, second]


def test_the_same_content_is_registered_once(batches):
    file = BatchFile("a", "1" * 32, path="x")
    assert batches.register([file, BatchFile("a", "1" * 32, path="copy")]).files == (file,)
    assert batches.register([BatchFile("a", "1" * 32, path="moved")]) is None
    assert batches.register([BatchFile("b", "1" * 32, path="x")]).key.startswith("000002")


def test_a_start_of_the_key_is_enough(batches):
    batch = batches.register([BatchFile("a", "1" * 32)])
    assert batches.get("000001") == batch
    with pytest.raises(KeyError, match="no batch '000009'; batches: 000001-"):
        batches.get("000009")


def test_many_at_once_get_different_numbers(batches):
    def work(i):
        batches.register([BatchFile("a", f"{i:032x}")])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [b.key[:6] for b in batches.all()] == [f"{i:06d}" for i in range(1, 13)]


def test_atomic_writes_leave_no_scraps(tmp_path):
    write_atomically(tmp_path / "f", "one")
    write_atomically(tmp_path / "f", b"two")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "two"
