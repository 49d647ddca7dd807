"""The inbox sensor takes settled files once; the schedule asks for what is stale; dead runs do not block."""

import gzip
import json
from datetime import datetime

import dagster as dg
import pytest

from assets.partitions import BATCHES
from assets.project import open_project
from assets.resources import PreppoResource
from pipeline.automation import inbox_sensor, nightly_schedule
from pipeline.definitions import defs
from pipeline.execute import curate
from pipeline.instance import PROCESS_TAG, fail_dead_runs, open_instance
from tests.pipeline.harness import leave_out_what_is_for_people
from warehouse.ingest.raw import InputError

SETTINGS = """
[[source]]
name = "sums"
path = "inbox/*.jsonl.gz"
prompt = "question"
ground_truth = "answer"
verifier = "math"
domain = "math"

[[rollouts]]
name = "model"
path = "inbox/*.jsonl.gz"
prompt = "question"
response = "response"

[policy]
engine = "recorded"
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "inbox").mkdir()
    (tmp_path / "preppo.toml").write_text(SETTINGS)
    monkeypatch.setenv("PREPPO_CONFIG", str(tmp_path / "preppo.toml"))
    monkeypatch.setenv("PREPPO_HOME", str(tmp_path / "home"))
    leave_out_what_is_for_people(monkeypatch)
    return tmp_path


def put(place, name, start, count=6):
    with gzip.open(place / "inbox" / name, "wt") as file:
        for i in range(start, start + count):
            answer = i + 7 if i % 3 else 0
            row = {"question": f"What is {i} plus 7?", "answer": str(i + 7), "response": f"The answer is {answer}"}
            file.write(json.dumps(row) + "\n")


def look(sensor, cursor):
    with dg.build_sensor_context(cursor=cursor, resources={"preppo": PreppoResource()}) as context:
        return sensor(context)


def test_a_file_is_taken_when_it_did_not_change_for_two_looks(place):
    sensor = inbox_sensor(30)
    put(place, "a.jsonl.gz", 0)
    first = look(sensor, None)
    assert first.run_requests == []
    put(place, "a.jsonl.gz", 0, count=9)  # still being written
    second = look(sensor, first.cursor)
    assert second.run_requests == []
    third = look(sensor, second.cursor)
    (request,) = third.run_requests
    assert request.partition_key.startswith("000001-")
    assert request.run_key == f"{request.partition_key}:1"
    assert third.dynamic_partitions_requests[0].partition_keys == [request.partition_key]
    copied = open_project().batches.all()[0].files[0].path
    assert "/home/inbox/" in copied
    (place / "inbox" / "a.jsonl.gz").unlink()  # the copy is what is ingested
    again = look(sensor, third.cursor)
    assert {r.run_key for r in again.run_requests} <= {request.run_key}  # Dagster drops a run key it has seen


def test_the_same_file_twice_is_one_batch(place):
    sensor = inbox_sensor(30)
    put(place, "a.jsonl.gz", 0)
    put(place, "b.jsonl.gz", 0)
    cursor = look(sensor, None).cursor
    look(sensor, cursor)
    assert len(open_project().batches.all()) == 1
    assert len(open_project().batches.all()[0].files) in (1, 2)


def test_the_run_that_the_sensor_asks_for_curates(place):
    sensor = inbox_sensor(30)
    put(place, "a.jsonl.gz", 0)
    request = look(sensor, look(sensor, None).cursor).run_requests[0]
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(BATCHES.name), [request.partition_key])
        done = (
            defs()
            .resolve_job_def("curate_batch")
            .execute_in_process(instance=instance, partition_key=request.partition_key, tags=request.tags)
        )
        assert done.success
        assert defs().resolve_job_def("curate_corpus").execute_in_process(instance=instance).success
    view = open_project().store.snapshot()
    assert view.scan("difficulty").collect().height == 6
    assert view.of_stage("release")


def test_an_asset_refuses_partitions_it_was_not_asked_for(place):
    put(place, "a.jsonl.gz", 0)
    from assets.discovery import register_new
    from assets.partitions import ASKED_TAG

    batch = register_new(open_project())
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions(str(BATCHES.name), [batch.key])
        done = (
            defs()
            .resolve_job_def("curate_batch")
            .execute_in_process(
                instance=instance, partition_key=batch.key, tags={ASKED_TAG: "000009-ffffffff"}, raise_on_error=False
            )
        )
    assert not done.success
    assert not open_project().store.snapshot().of_stage("prompts")


def test_the_schedule_asks_for_stale_batches_only(place):
    put(place, "a.jsonl.gz", 0)
    with dg.DagsterInstance.ephemeral() as instance:
        assert not curate(open_project(), instance).failures

    def ask():
        with dg.build_schedule_context(
            scheduled_execution_time=datetime(2026, 1, 2, 3), resources={"preppo": PreppoResource()}
        ) as context:
            return nightly_schedule("0 3 * * *")(context)

    assert isinstance(ask(), dg.SkipReason)
    (place / "preppo.toml").write_text(SETTINGS + "\n[reward]\nconfidence = 0.9\n")
    (request,) = ask()
    assert request.run_key == f"2026-01-02:{request.partition_key}"


def test_a_dead_run_is_marked_failed_and_a_living_one_is_not(place):
    from pipeline.instance import this_process

    project = open_project()
    with open_instance(project.home) as instance:
        dead = instance.create_run_for_job(
            _trivial, tags={PROCESS_TAG: _other(this_process())}, status=dg.DagsterRunStatus.STARTED
        )
        alive = instance.create_run_for_job(
            _trivial, tags={PROCESS_TAG: this_process()}, status=dg.DagsterRunStatus.STARTED
        )
        assert fail_dead_runs(instance) == [dead.run_id]
        assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(alive.run_id).status == dg.DagsterRunStatus.STARTED


@dg.job
def _trivial():
    pass


def _other(process):
    host, pid, _ = process.split(":")
    return f"{host}:{pid}:1"  # the same id, given again to another process


def test_an_emptied_inbox_is_no_mistake_once_it_had_files(place):
    with pytest.raises(InputError, match=r"inbox/\*\.jsonl\.gz"):
        open_project().source_files()
    put(place, "a.jsonl.gz", 0)
    look(inbox_sensor(30), look(inbox_sensor(30), None).cursor)
    (place / "inbox" / "a.jsonl.gz").unlink()
    assert open_project().source_files() == []
