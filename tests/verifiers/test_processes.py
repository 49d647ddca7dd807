"""Worker processes: isolation, the clock, crashes and retries."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from verifiers.contract import Status, Verifier
from verifiers.processes import Job, Runner

WORK = "fake_work:work"


def fake(work=WORK, memory_mb=None):
    return Verifier("fake", "1", parse_gold=lambda gold: gold, check=None, work=work, memory_mb=memory_mb)


def job(action, argument=None, budget_s=20.0, **options):
    return Job(fake(**options), json.dumps([action, argument]), budget_s)


@pytest.fixture
def on_path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
def runner(on_path) -> Iterator[Runner]:
    made = Runner(2)
    yield made
    made.close()


def statuses(results):
    return [result.outcome.status.value for result in results]


def test_results_come_in_the_order_of_the_jobs(runner):
    results = runner.run([job("sleep", 0.2), job("none"), job("sleep", 0.1), job("none")])
    assert statuses(results) == ["correct"] * 4
    assert results[0].seconds >= 0.2 and results[2].seconds >= 0.1


def test_workers_stay_warm_between_calls(runner):
    first, second = (runner.run([job("none")])[0].outcome.detail for _ in range(2))
    assert first == second


def test_an_overrun_is_killed_and_its_neighbours_are_not(runner):
    started = time.monotonic()
    results = runner.run([job("sleep", 60, budget_s=0.5), job("none"), job("none"), job("none")])
    assert statuses(results) == ["timeout", "correct", "correct", "correct"]
    assert "0.5 s" in results[0].outcome.detail
    assert time.monotonic() - started < 20


def test_a_call_that_holds_the_interpreter_is_killed_too(runner):
    assert statuses(runner.run([job("spin", 50_000_000, budget_s=0.5), job("none")])) == ["timeout", "correct"]


@pytest.mark.parametrize(("action", "argument", "cause"), [("exit", 7, "exit status 7"), ("segfault", 0, "signal 11")])
def test_a_crash_is_tried_once_more_and_then_an_error(runner, action, argument, cause):
    results = runner.run([job("none"), job(action, argument), job("none")])
    assert statuses(results) == ["correct", "error", "correct"]
    assert cause in results[1].outcome.detail


def test_a_crash_that_does_not_repeat_costs_nothing(runner, tmp_path):
    results = runner.run([job("crash once", str(tmp_path / "crashed")), job("none")])
    assert statuses(results) == ["correct", "correct"]


def test_an_exception_is_an_error_and_names_itself(runner):
    (result,) = runner.run([job("raise", "of the test")])
    assert result.outcome.status is Status.error
    assert "ZeroDivisionError: of the test" in result.outcome.detail


def test_the_memory_limit_holds_for_its_job_only(runner):
    results = runner.run([job("memory", 3000, memory_mb=1024), job("memory", 100, memory_mb=1024), job("memory", 1500)])
    assert statuses(results) == ["error", "correct", "correct"]
    assert "MemoryError" in results[0].outcome.detail


def test_what_a_library_prints_is_no_result(runner):
    assert statuses(runner.run([job("print", '["correct", null, "", null]'), job("none")])) == ["correct"] * 2


def test_a_worker_that_cannot_start_gives_errors_and_a_reason(on_path):
    runner = Runner(2)
    results = runner.run([job("none", work="no_such_module:work"), job("none", work="no_such_module:work")])
    assert statuses(results) == ["error", "error"]
    assert "no_such_module" in results[0].outcome.detail
    runner.close()


def test_closing_leaves_no_process(runner):
    pids = [int(r.outcome.detail.split()[1]) for r in runner.run([job("sleep", 0.1), job("sleep", 0.1)])]
    runner.close()
    for pid in set(pids):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_end_with_a_parent_that_is_killed():
    program = (
        "from verifiers import Task, VerifierPool\n"
        "pool = VerifierPool(1)\n"
        "pool.verify([Task('math', 'the answer is x+x', '\"2x\"')])\n"
        "print(pool._runner._server.process.pid, flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 15
    while Path(f"/proc/{worker}/status").exists() and time.monotonic() < deadline:
        if "Z (zombie)" in Path(f"/proc/{worker}/status").read_text():
            break
        time.sleep(0.05)
    assert time.monotonic() < deadline


def test_a_runner_can_be_used_again_after_closing(runner):
    runner.run([job("none")])
    runner.close()
    assert statuses(runner.run([job("none")])) == ["correct"]
