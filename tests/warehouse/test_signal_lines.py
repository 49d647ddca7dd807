"""Signals of trainings: lines that people and processes wrote, into rows with the columns of the table."""

import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.home import Home
from warehouse.schemas import TRAINING_SIGNALS
from warehouse.signal_lines import SignalsError, import_signals, read_signals
from warehouse.store import Store

A, B = "a" * 32, "b" * 32


def line(**more):
    found = {"training_run_id": "run-1", "release_id": "c" * 32, "step": 0, "prompt_id": A, "sample": 0, "reward": 1.0,
             "source": "rtv", "status": "correct", "worker": "w1"}  # fmt: skip
    return json.dumps(found | more)


def two_releases():
    return line(training_run_id="x"), line(training_run_id="x", sample=1, release_id="d" * 32)


def write(tmp_path, *lines, name="signals.jsonl"):
    file = tmp_path / name
    file.write_text("\n".join(lines) + "\n")
    return file


def test_lines_become_rows(tmp_path):
    undecided = line(sample=1, reward=None, response_tokens=7, kl=0.25, status="timeout", detail="why", more=[{}])
    found = read_signals([write(tmp_path, line(), undecided, "")])
    assert found.rejected == {}
    assert found.frame.schema == pl.Schema(TRAINING_SIGNALS.columns)
    assert found.frame.select("step", "sample", "reward", "kl", "response_tokens", "policy_id").rows() == [
        (0, 0, 1.0, None, None, None),
        (0, 1, None, 0.25, 7, None),
    ]


def test_samples_of_several_workers_are_counted_together(tmp_path):
    lines = [line(worker="w2", reward=0.0), line(worker="w1", reward=0.25), line(worker="w2", sample=1, reward=1.0),
             line(worker="w1", step=None, sample=1, reward=0.5), line(worker="w1", prompt_id=B)]  # fmt: skip
    one = read_signals([write(tmp_path, *lines)]).frame
    two = read_signals([write(tmp_path, *lines[:2], name="x"), write(tmp_path, *reversed(lines[2:]), name="y")]).frame
    assert one.equals(two)
    first = one.filter((pl.col("prompt_id") == A) & (pl.col("step") == 0))
    assert first.select("sample", "reward").rows() == [(0, 0.25), (1, 0.5), (2, 0.0), (3, 1.0)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{oops", "not_json"),
        ("[1]", "not_an_object"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "not_json"),
        (line(prompt_id="A" * 32), "bad_prompt_id"),
        (line(prompt_id=None), "bad_prompt_id"),
        (line(training_run_id=""), "bad_training_run_id"),
        (line(training_run_id="a/b"), "bad_training_run_id"),
        (line(release_id=None), "bad_release_id"),
        (line(reward="1"), "bad_reward"),
        (line(reward=True), "bad_reward"),
        (line(reward=float("nan")), "bad_reward"),
        (line(reward=float("inf")), "bad_reward"),
        (line(reward=10**400), "bad_reward"),
        (line(step=-1), "bad_step"),
        (line(step=1.5), "bad_step"),
        (line(sample=None), "bad_sample"),
        (line(sample=2**70), "bad_sample"),
        (line(source=3), "bad_source"),
        (line(kl="much"), "bad_kl"),
        (line(release_id="latest"), "bad_release_id"),
        (line(), "duplicate"),
    ],
)
def test_lines_that_cannot_be_used(tmp_path, bad, reason):
    file = write(tmp_path, line(), bad, line(sample=1))
    found = read_signals([file])
    assert (found.rejected, found.examples, found.frame.height) == ({reason: 1}, [f"{file}:2: {reason}"], 2)


@given(st.lists(st.one_of(st.binary(max_size=20), st.just(line().encode())), max_size=8))
def test_nothing_is_lost(tmp_path_factory, lines):
    file = tmp_path_factory.mktemp("signals") / "file"
    file.write_bytes(b"\n".join(lines))
    found = read_signals([file])
    written = sum(1 for one in file.read_bytes().split(b"\n") if one.strip())
    assert found.frame.height + sum(found.rejected.values()) == written


def test_a_file_that_is_missing(tmp_path):
    with pytest.raises(SignalsError, match="No such file"):
        read_signals([tmp_path / "missing"])


def test_into_the_table_and_again(tmp_path):
    store = Store(Home(tmp_path / "home"))
    found = read_signals([write(tmp_path, line(), line(training_run_id="run-2"), line(sample=1))])
    assert import_signals(store, found) == {"run-2": 1, "run-1": 2}
    commits = len(store.ledger.read())
    assert import_signals(store, found) == {"run-2": 1, "run-1": 2}
    assert len(store.ledger.read()) == commits
    more = read_signals([write(tmp_path, line(), line(sample=1), line(step=1))])
    assert import_signals(store, more) == {"run-1": 3}
    rows = store.snapshot().scan("training_signals").collect()
    assert sorted(rows.select("training_run_id", "step", "sample").rows()) == [
        ("run-1", 0, 0), ("run-1", 0, 1), ("run-1", 1, 0), ("run-2", 0, 0),
    ]  # fmt: skip
    two = read_signals([write(tmp_path, *two_releases())])
    with pytest.raises(SignalsError, match=r"'x' names 2 releases: .*a PREPPO_TRAINING_RUN_ID of its own"):
        import_signals(store, two)
    other = read_signals([write(tmp_path, line(step=2, release_id="d" * 32))])
    with pytest.raises(SignalsError, match=r"'run-1' names 2 releases"):
        import_signals(store, other)
    assert len(store.ledger.read()) == commits + 1
    some = read_signals([write(tmp_path, line(training_run_id="a"), *two_releases())])
    with pytest.raises(SignalsError, match="'x' names 2 releases"):
        import_signals(store, some)
    assert len(store.ledger.read()) == commits + 1
    with pytest.raises(SignalsError, match="no line is a signal of a training"):
        import_signals(store, read_signals([write(tmp_path, "{oops")]))


def rewards_of(store):
    rows = store.snapshot().scan("training_signals").collect().sort("step", "sample")
    return rows.group_by("step", maintain_order=True).agg("reward").rows()


def of_worker(name, *rewards, **more):
    """Return lines of a worker for step 0, samples of one prompt."""
    return [line(worker=name, sample=n, reward=reward, **more) for n, reward in enumerate(rewards)]


def test_files_that_grow_replace_what_is_known_of_a_step_and_prompt(tmp_path):
    """Samples are numbered over workers in order of their names, so those of the second one move."""
    store = Store(Home(tmp_path / "home"))
    second = write(tmp_path, *of_worker("w2", 0.0, None), line(worker="w2", step=1, reward=0.75), name="second")
    import_signals(store, read_signals([write(tmp_path, *of_worker("w1", 1.0), name="first"), second]))
    assert rewards_of(store) == [(0, [1.0, 0.0, None]), (1, [0.75])]
    grown = [write(tmp_path, *of_worker("w1", 1.0, 0.25), line(worker="w1", step=2, reward=0.5), name="first"), second]
    assert import_signals(store, read_signals(grown)) == {"run-1": 6}
    commits = len(store.ledger.read())
    assert rewards_of(store) == [(0, [1.0, 0.25, 0.0, None]), (1, [0.75]), (2, [0.5])]
    import_signals(store, read_signals(grown))
    later = write(tmp_path, line(worker="w1", step=2, reward=0.5), name="later")
    assert import_signals(store, read_signals([later])) == {"run-1": 6}, "nothing is lost: it is all of step 2"
    assert len(store.ledger.read()) == commits


@pytest.mark.parametrize(
    "others",
    [
        of_worker("w2", 0.0, 0.0),
        of_worker("w1", 1.0),
        of_worker("w2", 1.0, 1.0, 1.0),
        of_worker("w1", 1.0, None, None),
        of_worker("w1", 1.0, 0.5, source="genrm_rubric"),
        of_worker("w2", 1.0, 0.5, response_tokens=8),
    ],
)
def test_signals_that_would_lose_others_are_refused(tmp_path, others):
    """A second worker's file alone, or another training of the same name."""
    store = Store(Home(tmp_path / "home"))
    import_signals(store, read_signals([write(tmp_path, *of_worker("w1", 1.0, 0.5, response_tokens=7))]))
    commits = len(store.ledger.read())
    new = [line(training_run_id="a"), line(step=1), *others]
    with pytest.raises(SignalsError, match=f"'run-1': not all rewards .* of prompt {A} in step 0 .*a PREPPO_TRAINING"):
        import_signals(store, read_signals([write(tmp_path, *new)]))
    assert (rewards_of(store), len(store.ledger.read())) == ([(0, [1.0, 0.5])], commits)


def test_more_that_is_said_of_known_samples_is_no_contradiction(tmp_path):
    store = Store(Home(tmp_path / "home"))
    import_signals(store, read_signals([write(tmp_path, *of_worker("w1", 1.0, None))]))
    told = of_worker("w1", 1.0, None, kl=0.25, response_tokens=7)
    assert import_signals(store, read_signals([write(tmp_path, *told)])) == {"run-1": 2}
    assert store.snapshot().scan("training_signals").collect()["kl"].to_list() == [0.25, 0.25]
