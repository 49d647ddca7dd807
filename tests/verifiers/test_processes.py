"""Worker processes: isolation, the clock, crashes and retries."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from verifiers.contract import Status, Verifier
from verifiers.processes import Abandoned, Cancel, Job, Runner
from verifiers.scheduler import Scheduler

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
        'pool.verify([Task(\'regex\', \'ab\', \'{"pattern": "a+b", "on": "response"}\')])\n'
        "print(pool._runner.server.process.pid, flush=True)\n"
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


def in_thread(runner, jobs):
    found = []
    thread = threading.Thread(target=lambda: found.append((runner.run(jobs), time.monotonic())))
    thread.start()
    return thread, found


def test_calls_share_the_workers_a_job_of_each_in_turn(runner):
    runner.run([job("none")])
    long, of_long = in_thread(runner, [job("sleep", 0.05)] * 60)
    time.sleep(0.3)
    started = time.monotonic()
    runner.run([job("none"), job("sleep", 0.01)])
    assert time.monotonic() - started < 0.6, "it waits for what runs, not for the whole of the other call"
    assert not of_long
    long.join()
    assert statuses(of_long[0][0]) == ["correct"] * 60


def test_closing_ends_a_call_that_waits(runner):
    thread, found = in_thread(runner, [job("sleep", 60), job("sleep", 60), job("none")])
    time.sleep(1.5)
    runner.close()
    thread.join(10)
    assert statuses(found[0][0]) == ["error"] * 3
    assert "closed" in found[0][0][2].outcome.detail
    assert statuses(runner.run([job("none")])) == ["correct"]


def test_a_server_that_is_killed_is_replaced(runner):
    runner.run([job("none")])
    thread, found = in_thread(runner, [job("sleep", 1.0), *[job("none")] * 4])
    time.sleep(0.3)
    runner.server.process.kill()
    thread.join(60)
    assert statuses(found[0][0]) == ["correct"] * 5


def test_a_defect_of_the_scheduler_is_an_error_and_not_a_hang(runner, monkeypatch):
    def broken(self, worker):
        raise ZeroDivisionError("of the test")

    with monkeypatch.context() as patched:
        patched.setattr("verifiers.scheduler.Scheduler._read", broken)
        (result,) = runner.run([job("none")])
    assert (result.outcome.status, "ZeroDivisionError" in result.outcome.detail) == (Status.error, True)
    assert statuses(runner.run([job("none")])) == ["correct"]


def test_what_is_given_up_is_killed_and_its_worker_free(on_path):
    runner, cancel = Runner(1), Cancel()
    runner.run([job("none")])
    threading.Timer(0.5, cancel).start()
    started = time.monotonic()
    with pytest.raises(Abandoned):
        runner.run([job("sleep", 60, budget_s=90)] * 3, cancel)
    assert statuses(runner.run([job("none")])) == ["correct"]
    with pytest.raises(Abandoned):
        runner.run([job("sleep", 60, budget_s=90)], cancel)
    assert time.monotonic() - started < 15
    runner.close()


def test_giving_up_while_workers_load_costs_nobody_else(runner, monkeypatch):
    cancel, load = Cancel(), Scheduler._load

    def slow(self, wanted):
        load(self, wanted)
        cancel()

    monkeypatch.setattr(Scheduler, "_load", slow)
    thread, found = in_thread(runner, [job("sleep", 0.2)])
    with pytest.raises(Abandoned):
        runner.run([job("none")] * 3, cancel)
    thread.join(20)
    assert statuses(found[0][0]) == ["correct"]


def test_a_worker_that_writes_nonsense_is_replaced(runner):
    for nonsense in ("no json\n", '["correct", null, "", null, []]\n["correct", null, "", null, []]\n'):
        first, second = runner.run([job("babble", nonsense, budget_s=10), job("none")])
        assert second.outcome.status is Status.correct
        assert first.outcome.status in (Status.error, Status.correct)  # the second form is a result, and one too many
    assert statuses(runner.run([job("none")] * 4)) == ["correct"] * 4


def test_a_worker_that_reads_nothing_stops_no_other(on_path):
    runner = Runner(1)
    pid = int(runner.run([job("none")])[0].outcome.detail.split()[1])
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    results = runner.run([job("none", "x" * 1_000_000, budget_s=1.0), job("none")])
    assert statuses(results) == ["timeout", "correct"]
    assert time.monotonic() - started < 10
    runner.close()


def test_schedulers_that_fail_leave_no_descriptor_behind(runner, monkeypatch):
    def broken(self, worker):
        raise ZeroDivisionError("of the test")

    runner.run([job("none")])
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for _ in range(3):
        with monkeypatch.context() as patched:
            patched.setattr(Scheduler, "_read", broken)
            runner.run([job("none")])
        assert statuses(runner.run([job("none")])) == ["correct"]
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= before


def forked(function):
    """Run a function in a forked process, and return the process's id and what tells what the function returned."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside a thread, from Python 3.12 on
        child = os.fork()
    if child == 0:
        os.close(read)
        os.write(write, function().encode())
        os._exit(0)
    os.close(write)
    return child, read


def test_a_forked_process_does_not_keep_the_workers(runner):
    runner.run([job("none")])
    process = runner.server.process
    child, read = forked(lambda: time.sleep(30) or "")
    try:
        runner.close()
        assert process.returncode == 0, "it ended when its pipe was closed, and was not killed"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)


def test_a_lock_that_another_thread_holds_at_a_fork_stops_no_child(runner):
    runner.run([job("none")])
    with runner._lock:
        child, read = forked(lambda: statuses(runner.run([job("none")]))[0])
    with os.fdopen(read) as told:
        assert told.read() == "correct"
    os.waitpid(child, 0)
    assert statuses(runner.run([job("none")])) == ["correct"]


def test_a_forked_process_starts_its_own_workers(runner):
    runner.run([job("none")])
    child, read = forked(lambda: [statuses(runner.run([job("none")]))[0], runner.close()][0])
    with os.fdopen(read) as told:
        assert told.read() == "correct"
    os.waitpid(child, 0)
    assert statuses(runner.run([job("none")])) == ["correct"]
