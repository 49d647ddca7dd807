"""Commits are atomic, readers see whole stages, and killed work can be continued."""

import threading

import polars as pl
import pytest

from warehouse.home import Home
from warehouse.ledger import CORPUS, Build
from warehouse.schemas import TABLES, SchemaError
from warehouse.store import Store, StoreError


@pytest.fixture
def store(tmp_path):
    return Store(Home(tmp_path / "home"))


def build(batch="000001-aaaaaaaa", stage="rewards", variant="p1", **inputs):
    return Build(stage, batch, inputs, code_version="c", policy_hash="h", variant=variant)


def rewards(*ids, reward=1.0):
    rows = {"prompt_id": list(ids), "sample": [0] * len(ids), "reward": [reward] * len(ids)}
    return pl.DataFrame(rows).with_columns(
        source=pl.lit("rtv"), reward_id=pl.lit("math"), status=pl.lit("correct")
    )  # fmt: skip


def decision(prompt, outcome="keep", stage="selection"):
    return pl.DataFrame(
        {"stage": [stage], "arm": [""], "prompt_id": [prompt], "rule": ["r"], "outcome": [outcome], "value": [0.5],
         "threshold": [0.1], "detail": [""], "policy_hash": ["h"]}
    )  # fmt: skip


def put(store, the_build, frame, table="rewards", **kwargs):
    with store.stage(the_build) as writer:
        if not writer.committed:
            writer.write(table, frame)
            writer.commit(table, **kwargs)


def test_nothing_shows_before_the_commit(store):
    with store.stage(build()) as writer:
        writer.append("rewards", rewards("a", "b"))
        assert store.snapshot().scan("rewards").collect().is_empty()
        writer.commit("rewards", {"rows": 2})
    view = store.snapshot()
    assert view.scan("rewards").collect().get_column("prompt_id").to_list() == ["a", "b"]
    assert view.commit("rewards", "000001-aaaaaaaa", "p1").tables == {"rewards": 2}


def test_a_killed_build_continues_where_it_stopped(store):
    with store.stage(build()) as writer:
        writer.append("rewards", rewards("a"))
    with store.stage(build()) as writer:
        assert writer.written("rewards").collect().height == 1
        writer.append("rewards", rewards("b"))
        writer.commit("rewards")
    assert store.snapshot().scan("rewards").collect().height == 2


def test_rewriting_a_build_doubles_nothing(store):
    with store.stage(build()) as writer:
        writer.write("rewards", rewards("a", "b"))
    put(store, build(), rewards("a", "b"))
    assert store.snapshot().scan("rewards").collect().height == 2


def test_the_same_build_is_not_done_twice(store):
    put(store, build(x="1"), rewards("a"))
    assert store.snapshot().is_current(build(x="1"))
    assert not store.snapshot().is_current(build(x="2"))
    put(store, build(x="1"), rewards("z"))
    assert store.snapshot().scan("rewards").collect().get_column("prompt_id").to_list() == ["a"]


def test_a_new_build_replaces_the_old_and_going_back_works(store):
    put(store, build(x="1"), rewards("a"))
    put(store, build(x="2"), rewards("b"))
    assert store.snapshot().scan("rewards").collect().get_column("prompt_id").to_list() == ["b"]
    before = store.snapshot()
    put(store, build(x="1"), rewards("a"))
    assert store.snapshot().scan("rewards").collect().get_column("prompt_id").to_list() == ["a"]
    assert before.scan("rewards").collect().get_column("prompt_id").to_list() == ["b"], "an old view stays whole"


def test_batches_and_policies_live_side_by_side(store):
    put(store, build(), rewards("a"))
    put(store, build(batch="000002-bbbbbbbb"), rewards("b"))
    put(store, build(variant="p2"), rewards("a", reward=0.0))
    found = store.snapshot().scan("rewards").collect().sort("batch", "policy_id")
    assert found.select("batch", "policy_id").rows() == [
        ("000001-aaaaaaaa", "p1"), ("000001-aaaaaaaa", "p2"), ("000002-bbbbbbbb", "p1"),
    ]  # fmt: skip


def test_an_abandoned_batch_leaves_every_view(store):
    put(store, build(), rewards("a"))
    store.abandon("000001-aaaaaaaa", "bad file")
    assert store.snapshot().scan("rewards").collect().is_empty()


def test_a_retired_policy_leaves_every_view_until_it_is_rolled_out_again(store):
    put(store, build(), rewards("a"))
    put(store, build(variant="p2"), rewards("a", reward=0.5))
    put(store, build(CORPUS, "selection", variant="p1"), decision("a"), "decisions")  # an arm of the same name
    store.retire("p1", "not needed")
    view = store.snapshot()
    assert view.scan("rewards").collect()["policy_id"].to_list() == ["p2"]
    assert view.decisions().collect().height == 1
    assert not view.is_current(build())
    put(store, build(), rewards("b"))
    assert set(store.snapshot().scan("rewards").collect()["prompt_id"]) == {"a", "b"}
    assert view.scan("rewards").collect()["policy_id"].to_list() == ["p2"], "an old view stays as it is"


def test_what_others_wrote_can_be_found(store):
    put(store, build(x="1"), rewards("a"))
    with store.stage(build(x="2")) as writer:
        writer.append("rewards", rewards("b"))
    put(store, build(batch="000002-bbbbbbbb"), rewards("c"))
    writer = store.writer(build(x="3"))
    assert writer.of_others("rewards").collect()["prompt_id"].sort().to_list() == ["a", "b"]
    assert store.stored("rewards").collect().height == 3
    assert store.snapshot().scan("rewards").collect().height == 2


def test_decisions_extend_or_replace(store):
    first, second, third = (build(CORPUS, "selection", x=x) for x in "123")
    put(store, first, pl.concat([decision("a"), decision("b")]), "decisions")
    put(store, second, decision("b", "drop"), "decisions", extends=True)
    now = store.snapshot().decisions().collect().sort("prompt_id")
    assert now.select("prompt_id", "outcome").rows() == [("a", "keep"), ("b", "drop")]
    put(store, third, decision("c"), "decisions")
    assert store.snapshot().decisions().collect().get_column("prompt_id").to_list() == ["c"]


def test_the_data_version_depends_on_content_alone(store):
    frame = rewards(*(f"{i:032x}" for i in range(1000)))
    put(store, build(batch="000001-aaaaaaaa"), frame)
    with store.stage(build(batch="000002-bbbbbbbb")) as writer:
        for part in frame.iter_slices(137):
            writer.append("rewards", part)
        writer.commit("rewards")
    put(store, build(batch="000003-cccccccc"), frame.with_columns(reward=0.5))
    versions = [c.data_version for c in store.snapshot().of_stage("rewards")]
    assert versions[0] == versions[1] != versions[2]


def test_a_wrong_frame_is_refused_by_name(store):
    with store.stage(build()) as writer, pytest.raises(SchemaError, match=r"missing \['reward'\]"):
        writer.append("rewards", rewards("a").drop("reward"))


def test_readers_during_writes_never_see_half_a_stage(store):
    size, rounds, seen, stop = 50, 12, [], threading.Event()

    def read():
        while not stop.is_set():
            try:
                view = Store(store.home).snapshot(["rewards", "decisions"])
            except StoreError:
                continue
            table = view.scan("rewards").collect()
            seen.append((table.height, table.get_column("reward").n_unique(), view.decisions().collect().height))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for r in readers:
        r.start()
    for i in range(rounds):
        with store.stage(build(x=str(i))) as writer:
            writer.write("decisions", decision("a", str(i)))
            for part in rewards(*(f"{k:032x}" for k in range(size)), reward=float(i)).iter_slices(10):
                writer.append("rewards", part)
            writer.commit("rewards")
    stop.set()
    for r in readers:
        r.join()
    assert set(seen) <= {(0, 0, 0), (size, 1, 1)}
    assert (size, 1, 1) in seen


def test_concurrent_writers_lose_nothing(store):
    def work(i):
        put(store, build(batch=f"{i:06d}-aaaaaaaa"), rewards(f"{i}"))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    view = store.snapshot()
    assert view.scan("rewards").collect().height == 8
    assert sorted(c.seq for c in view.commits) == list(range(1, 9))


def test_two_writers_of_one_stage_do_it_once(store):
    done = []

    def work():
        with store.stage(build()) as writer:
            if not writer.committed:
                writer.write("rewards", rewards("a"))
                done.append(writer.commit("rewards"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(done) == 1


def test_tidy_removes_what_was_never_committed(store):
    with store.stage(build(x="dead")) as writer:
        writer.append("rewards", rewards("a"))
    put(store, build(x="alive"), rewards("b"))
    store.tidy(keep_hours=0)
    assert store.snapshot().scan("rewards").collect().height == 1
    with store.stage(build(x="dead")) as writer:
        assert writer.written("rewards").collect().is_empty()


def test_every_table_can_be_read_empty(store):
    view = store.snapshot()
    for name, table in TABLES.items():
        assert view.scan(name).collect_schema() == table.schema
