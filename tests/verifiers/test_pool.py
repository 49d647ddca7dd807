"""The contract of verify: order, statuses, scores, and that nothing in a task raises."""

import asyncio
import gc
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import verifiers
from verifiers import Status, Task, VerifierPool, available, verify, version
from verifiers.contract import Outcome, Verifier
from verifiers.hybrid import route
from verifiers.registry import REGISTRY


def test_the_public_surface():
    assert verifiers.__all__ == sorted(verifiers.__all__)
    names = {"Part", "Status", "Task", "Verdict", "VerifierPool", "available", "check_gold", "isolation_problem"}
    assert set(verifiers.__all__) == names | {"sandboxed", "verify", "version"}
    assert all(hasattr(verifiers, name) for name in verifiers.__all__)


def test_importing_loads_no_symbolic_library():
    program = "import sys, verifiers; print('sympy' in sys.modules, 'math_verify' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["False", "False"]


def test_versions_name_what_decides():
    assert list(available()) == sorted(REGISTRY)
    assert version("math") == available()["math"]
    assert "math-verify-0.9.0" in version("math")
    with pytest.raises(KeyError, match=r"no verifier 'nope'; available: .*math"):
        version("nope")


def test_one_verdict_per_task_in_order():
    tasks = [Task("math", f"#### {index % 3}", '"1"') for index in range(50)]
    assert [verdict.score for verdict in verify(tasks)] == [1.0 if index % 3 == 1 else 0.0 for index in range(50)]
    assert verify([]) == []


@pytest.mark.parametrize(
    ("task", "status", "score", "detail"),
    [
        (Task("math", "5", '"5"'), "correct", 1.0, "last number"),
        (Task("math", "6", '"5"'), "incorrect", 0.0, "last number"),
        (Task("math", "none", '"5"'), "unparsed", 0.0, "no answer"),
        (Task("math", "5", '"5"', finish_reason="length"), "truncated", None, "token limit"),
        (Task("math", "5", '"5"', finish_reason="error"), "error", None, "generation"),
        (Task("math", "5", None), "bad_gold", None, "no ground_truth"),
        (Task("math", "5", None, finish_reason="length"), "bad_gold", None, "no ground_truth"),
        (Task("math", "5", "Paris"), "bad_gold", None, "not JSON"),
        (Task("math", "5", "NaN"), "bad_gold", None, "not JSON"),
        (Task("math", "5", "[" * 100_000), "bad_gold", None, "not JSON"),
        (Task("math", "5", "null"), "bad_gold", None, "not an answer"),
        (Task("nope", "5", '"5"'), "error", None, "no verifier 'nope'; available: all, choice"),
        (Task("math", None, '"5"'), "error", None, "response must be text"),
        (Task("math", "5", 5), "error", None, "ground_truth must be"),
        (Task("math", "5", '"5"', budget_s=-1), "error", None, "budget_s"),
        (Task("math", "5", '"5"', budget_s="x"), "error", None, "budget_s"),
        (Task(["math"], "5", '"5"'), "error", None, "no verifier"),
    ],
)  # fmt: skip
def test_statuses_and_scores(task, status, score, detail):
    (verdict,) = verify([task])
    assert (verdict.status.value, verdict.score) == (status, score)
    assert detail in verdict.detail
    assert verdict.elapsed_ms >= 0


def test_a_partial_score_and_a_defect_of_ours(monkeypatch):
    def check(response, gold, prompt):
        if response == "defect":
            raise RuntimeError(prompt)
        return Outcome(Status.partial, None, "half", 0.5)

    monkeypatch.setitem(REGISTRY, "half", Verifier("half", "3", parse_gold=lambda gold: gold, check=check))
    half, defect, fine = verify(
        [Task("half", "x", "1"), Task("half", "defect", "1", prompt="why"), Task("math", "1", '"1"')]
    )
    assert (half.status, half.score, half.version) == (Status.partial, 0.5, "3")
    assert (defect.status, defect.score) == (Status.error, None)
    assert "RuntimeError: why" in defect.detail
    assert fine.score == 1.0


SINE = json.dumps(r"2\sin(x)\cos(x)")  # left to a worker


def test_equal_pairs_are_computed_once(monkeypatch):
    with VerifierPool(1) as pool:
        seen = []
        run = pool._runner.run
        monkeypatch.setattr(pool._runner, "run", lambda jobs, cancel: seen.append(len(jobs)) or run(jobs, cancel))
        verdicts = pool.verify(
            [Task("math", r"\boxed{\sin(2x)}", SINE)] * 40 + [Task("math", r"\boxed{\sin(3x)}", SINE)] * 40
        )
    assert seen == [2]
    assert [verdict.score for verdict in verdicts] == [1.0] * 40 + [0.0] * 40


def test_the_fast_path_starts_no_process():
    with VerifierPool(2) as pool:
        pool.verify([Task("math", "#### 5", '"5"'), Task("choice", "B", '"B"'), Task("exact", "a", '"b"')])
        assert pool._runner.workers == []


def test_threads_share_a_pool():
    with VerifierPool(2) as pool:
        results = {}

        def run(index):
            tasks = [Task("math", rf"\boxed{{x+{index}}}", json.dumps(f"{n}+x")) for n in range(4)]
            results[index] = [verdict.score for verdict in pool.verify(tasks)]

        threads = [threading.Thread(target=run, args=(index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {index: [float(n == index) for n in range(4)] for index in range(4)}


def test_async_and_reuse_after_closing():
    with VerifierPool(1) as pool:
        tasks = [Task("math", r"\boxed{x+x}", '"2x"')]
        assert asyncio.run(pool.verify_async(tasks))[0].score == 1.0
        pool.close()
        assert pool.verify(tasks)[0].score == 1.0


BOMB = Task("regex", "a" * 60, json.dumps({"pattern": "(a+)+b"}), budget_s=60)
QUICK = Task("regex", "ab", json.dumps({"pattern": "a+b"}))


def test_a_batch_may_be_any_iterable():
    with VerifierPool(1) as pool:
        assert [verdict.score for verdict in pool.verify(task for task in [QUICK, QUICK])] == [1.0, 1.0]
        joined = Task("all", "5", json.dumps([{"verifier": "math", "ground_truth": "5"}]))
        assert [verdict.score for verdict in pool.verify(iter([joined, QUICK]))] == [1.0, 1.0]


def test_what_is_cancelled_frees_its_workers():
    async def cancelled(pool):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.verify_async([BOMB] * 3), 0.5)
        return await pool.verify_async([QUICK])

    with VerifierPool(1) as pool:
        pool.verify([QUICK])
        started = time.monotonic()
        (verdict,) = asyncio.run(cancelled(pool))  # its end waits for the thread
        assert verdict.score == 1.0 and time.monotonic() - started < 15


def test_an_interrupt_leaves_a_pool_that_works():
    def interrupt(_number, _frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with VerifierPool(1) as pool:
            pool.verify([QUICK])
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            started = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                pool.verify([BOMB, BOMB])
            assert pool.verify([QUICK])[0].score == 1.0 and time.monotonic() - started < 15
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_pool_that_nobody_has_any_more_leaves_no_process():
    pool = VerifierPool(1)
    pool.verify([QUICK])
    server = pool._runner.server.process
    del pool
    gc.collect()
    assert server.poll() == 0


def test_many_calls_leave_no_descriptor_behind():
    with VerifierPool(2) as pool:
        pool.verify([QUICK])
        before = sum(1 for _ in Path("/proc/self/fd").iterdir())
        for number in range(100):
            tasks = [
                Task("regex", f"{number}b", QUICK.ground_truth),
                Task("regex", "a" * number + "b", '{"pattern": "a*b"}'),
            ]
            pool.verify(tasks)
        assert pool.verify([Task("regex", BOMB.response, BOMB.ground_truth, budget_s=0.2)])[0].status == "timeout"
        pool.verify([QUICK, Task("regex", "aab", QUICK.ground_truth)])
        assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= before + 2  # a second worker has two pipes


def test_a_pool_needs_a_worker():
    with pytest.raises(ValueError, match="workers must be at least 1"):
        VerifierPool(0)


def test_verdicts_can_be_stored():
    (verdict,) = verify([Task("exact", "\ud800" + "x" * 5000, '"a"')])
    assert verdict.extracted is not None
    verdict.extracted.encode()
    assert len(verdict.extracted) <= 1000


@given(
    st.sampled_from(["choice", "exact", "numeric"]), st.text(max_size=60), st.one_of(st.none(), st.text(max_size=30))
)
def test_nothing_in_a_task_raises(name, response, gold):
    for ground_truth in (gold, json.dumps(gold)):
        (verdict,) = verify([Task(name, response, ground_truth)])
        undecided = verdict.status in (Status.truncated, Status.timeout, Status.bad_gold, Status.error)
        assert (verdict.score is None) == undecided


@pytest.mark.parametrize(
    ("verifier", "gold", "recorded", "source"),
    [
        ("math", '"7"', True, "rtv"), ("math", '"7"', False, "rtv"), ("math", None, True, "recorded"),
        ("math", None, False, None), (None, '"7"', True, "recorded"), ("nope", '"7"', False, None),
        (None, None, False, None),
    ],
)  # fmt: skip
def test_routing(verifier, gold, recorded, source):
    assert route(verifier, gold, has_recorded_score=recorded) == source
