"""The client: all verdicts under load and through failures, and never a score that no verifier gave."""

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.verifiers.service_harness import FaultyServer, GatedPool, http, running, until, verdict
from verifiers import Status, Task, VerifierPool, verify, version
from verifiers.admission import Limits
from verifiers.remote import RemoteVerifier, checked_url
from verifiers.wire import AnswerError, read_request, read_verdicts, write_task, write_verdicts

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "0123456789abcdef-secret"
QUICK = {"retries": 1, "silence_s": 0.5, "deadline_s": 10.0}
MIXED = [
    *(Task("math", f"#### {number}", '"5"') for number in range(10)),
    Task("math", "\\boxed{\\frac{x^2-1}{x-1}}", '"x+1"'),
    Task("nope", "5", '"5"'),
    Task("math", "\ud800 5 \x00", '"5"'),
    Task("exact", "世界 🎉", '"世界 🎉"'),
    Task("math", "5", "not JSON"),
    Task("math", "5", None),
    Task("math", "5", '"5"', finish_reason="length"),
    Task("choice", "(B)", '"B"', prompt="Which?", budget_s=2.5, finish_reason="eos"),
    Task("all", "#### 5", '[{"verifier": "math", "ground_truth": "5"}, {"verifier": "exact", "ground_truth": "6"}]'),
    Task("code", "def f(x):\n    return x", '{"kind": "asserts", "tests": ["assert f(3) == 3"]}'),
]


def plain(verdicts):
    return [replace(found, elapsed_ms=0.0) for found in verdicts]


@pytest.fixture(scope="module")
def url():
    with running(VerifierPool(2)) as (address, _, _):
        yield address


@pytest.fixture
def remote(url):
    with RemoteVerifier(url) as client:
        yield client


def test_verdicts_are_those_of_this_process(remote):
    expected = verify(MIXED)
    assert plain(remote.verify(MIXED)) == plain(expected)
    assert remote.verify([]) == []


def test_chunks_of_any_size_give_the_same(url):
    tasks = MIXED * 20
    expected = plain(verify(MIXED)) * 20
    for options in ({"chunk_tasks": 7}, {"chunk_bytes": 1}, {"concurrency": 1}):
        with RemoteVerifier(url, **options) as client:
            assert plain(client.verify(tasks)) == expected


def test_it_can_be_awaited_submitted_closed_and_used_again(remote):
    task = Task("math", "5", '"5"')

    async def beside():
        return await asyncio.gather(remote.verify_async([task]), remote.verify_async([task] * 2))

    assert [len(found) for found in asyncio.run(beside())] == [1, 2]
    remote.close()
    remote.close()
    assert remote.submit([task]).result()[0].score == 1.0


def test_several_threads_share_one_client(remote):
    def ask(number):
        tasks = [Task("math", f"#### {at}", json.dumps(str(number))) for at in range(50)]
        return [v.score for v in remote.verify(tasks)] == [float(at == number) for at in range(50)]

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(24)))


def _in_child(client, task, answers):
    answers.put(client.verify([task])[0].score)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_gets_connections_of_its_own(remote):
    task = Task("math", "5", '"5"')
    remote.verify([task])
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(remote, task, answers))
    child.start()
    assert answers.get() == 1.0
    child.join(20)
    assert child.exitcode == 0
    assert remote.verify([task])[0].score == 1.0


def test_tasks_that_are_none_are_errors_and_cost_no_other(remote):
    good = Task("math", "5", '"5"')
    bad = [
        Task("math", None, '"5"'), Task("math", "5", 5), Task(["math"], "5", '"5"'), Task("math", "5", '"5"', prompt=7),
        Task("math", "5", '"5"', budget_s=-1), Task("math", "5", '"5"', budget_s=float("nan")),
        Task("math", "5", '"5"', budget_s=True), Task("math", "5", '"5"', budget_s=10**5000),
        Task("math", "5", '"5"', budget_s=1e9),  # a number, but above the server's limit
    ]  # fmt: skip
    found = remote.verify([task for one in bad for task in (good, one)])
    assert [v.score for v in found] == [1.0, None] * len(bad)
    assert {v.status for v in found[1::2]} == {Status.error}
    assert "budget_s: must be above 0 and at most 60" in found[-1].detail


def test_overload_is_waited_out():
    pool = GatedPool()
    limits = Limits(queue_tasks=20, request_tasks=10)
    with running(pool, limits=limits) as (url, service, _), ThreadPoolExecutor(8) as threads:
        clients = [RemoteVerifier(url, chunk_tasks=8) for _ in range(4)]
        refused = count_refusals(service)
        calls = [threads.submit(client.verify, [Task("math", "#### 5", '"5"')] * 40) for client in clients]
        until(lambda: refused)
        pool.gate.set()
        for call in calls:
            assert [v.score for v in call.result(60)] == [1.0] * 40
        for client in clients:
            client.close()
        assert not service.waiting


def count_refusals(service):
    refused, submit = [], service.submit

    def counted(*arguments, **options):
        try:
            return submit(*arguments, **options)
        except Exception as error:
            refused.append(error.code)
            raise

    service.submit = counted
    return refused


def test_a_request_that_is_too_long_is_cut(url):
    with running(GatedPool(), limits=Limits(request_tasks=5, queue_tasks=100, body_bytes=4000)) as (small, service, _):
        service.pool.gate.set()
        tasks = [Task("math", "#### 5", '"5"', prompt=str(at)) for at in range(60)]
        tasks[30] = replace(tasks[30], prompt="x" * 5000)
        with RemoteVerifier(small) as client:
            found = client.verify(tasks)
    assert [at for at, v in enumerate(found) if v.score is None] == [30]
    assert "longer than this server's 4000 bytes" in found[30].detail


def test_the_token_comes_from_the_environment(monkeypatch):
    task = Task("exact", "a", '"a"')
    with running(GatedPool(), token=TOKEN) as (url, _, _):
        monkeypatch.setenv("PREPPO_REWARD_TOKEN", TOKEN)
        with RemoteVerifier(url) as client:
            assert client.verify([task])[0].score == 1.0
            assert TOKEN not in repr(client)
        with RemoteVerifier(url, "another token".replace(" ", "-")) as client:
            started = time.monotonic()
            (found,) = client.verify([task])
            assert time.monotonic() - started < 3  # another try would not help
    assert (found.status, found.score) == (Status.error, None)
    assert "401" in found.detail
    assert "PREPPO_REWARD_TOKEN must hold the server's token" in found.detail
    with pytest.raises(ValueError, match="printable ASCII") as failure:
        RemoteVerifier("http://127.0.0.1:1", "secret\ninjected")
    assert "secret" not in str(failure.value)


def test_another_version_is_an_error_that_names_both(url):
    with RemoteVerifier(url, versions={"math": "0-old", "exact": version("exact")}) as client:
        math, exact, unknown = client.verify(
            [Task("math", "5", '"5"'), Task("exact", "a", '"a"'), Task("nope", "a", "1")]
        )
    assert (math.status, math.score, exact.score) == (Status.error, None, 1.0)
    assert f"math {version('math')}, not 0-old as here: install the same preppo" in math.detail
    assert "there is no verifier 'nope'" in unknown.detail


TASK = Task("math", "5", '"5"')
GOOD = json.loads(write_verdicts(verify([TASK]), "x"))


def answered(change):
    """Answer with one good verdict, changed."""

    def answer(connection, body, _):
        value = json.loads(json.dumps({**GOOD, "id": json.loads(body)["id"]}))
        changed = change(value)
        http(connection, 200, changed if isinstance(changed, bytes) else json.dumps(changed or value).encode())

    return answer


def row(**fields):
    return lambda value: value["verdicts"][0].update(fields)


def drip(connection, _body, _count):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(200):
        connection.sendall(b" ")
        time.sleep(0.05)


def replies(status, body=b"", headers=()):
    return lambda connection, *_: http(connection, status, body, headers)


def writes(data, pause_s=0.0):
    def answer(connection, *_):
        time.sleep(pause_s)
        connection.sendall(data)

    return answer


def says(content):
    return answered(lambda _: content)


unchanged = says(None)

FAULTS = {
    "500": replies(500, b'{"error": "out of luck"}'),
    "503": replies(503, b"plain", ["Retry-After: 0"]),
    "404": replies(404, b"<html>"),
    "redirect": replies(302, b"", ["Location: http://127.0.0.1:1/"]),
    "no content": replies(204),
    "422 without problems": replies(422, b'{"error": "no"}'),
    "422 of other tasks": replies(422, b'{"problems": [{"task": 9, "field": "", "message": ""}]}'),
    "422 that is no JSON": replies(422, b"[" * 100_000),
    "dropped": writes(b""),
    "dropped in the headers": writes(b"HTTP/1.1 200 OK\r\nContent-"),
    "dropped in the body": writes(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"verdicts": ['),
    "dropped chunks": writes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n \r\n"),
    "not HTTP": writes(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "silence": writes(b"", pause_s=1.2),
    "truncated JSON": answered(lambda value: json.dumps(value)[:-9].encode()),
    "other JSON": says(b"[]"),
    "deep JSON": says(b"[" * 100_000),
    "not UTF-8": says(b"\xff"),
    "NaN": answered(lambda value: json.dumps(value).replace("1.0", "NaN").encode()),
    "empty": says(b""),
    "too few": answered(lambda value: {**value, "verdicts": []}),
    "too many": answered(lambda value: {**value, "verdicts": value["verdicts"] * 2}),
    "no verdicts": answered(lambda value: {"id": value["id"]}),
    "of another request": answered(lambda value: {**value, "id": "other"}),
    "without id": answered(lambda value: {"verdicts": value["verdicts"]}),
    "score as text": answered(row(score="1.0")),
    "score above 1": answered(row(score=2.0)),
    "score true": answered(row(score=True)),
    "score against status": answered(row(status="incorrect")),
    "score with an error": answered(row(status="error")),
    "partial without score": answered(row(status="partial", score=None)),
    "unknown status": answered(row(status="fine")),
    "status of a list": answered(row(status=["correct"])),
    "verdict of another verifier": answered(row(verifier="exact")),
    "another version": answered(row(version="0")),
    "no version": answered(row(version=None)),
    "no detail": answered(row(detail=None)),
    "extracted a number": answered(row(extracted=5)),
    "parts of another kind": answered(row(parts=[{"name": "x"}])),
    "score of a part": answered(row(parts=[{"name": "x", "status": "correct", "score": 7, "detail": ""}])),
    "no elapsed time": answered(row(elapsed_ms="x")),
    "a verdict that is a list": answered(lambda value: {**value, "verdicts": [[]]}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_an_error_and_never_a_score(name):
    with FaultyServer(FAULTS[name]) as server, RemoteVerifier(server.url, **QUICK) as client:
        (found,) = client.verify([TASK])
    assert (found.status, found.score, found.verifier, found.version) == (Status.error, None, "math", version("math"))
    assert server.url in found.detail
    assert len(server.requests) >= 1


def test_the_faulty_server_can_answer_well():
    with FaultyServer(unchanged) as server, RemoteVerifier(server.url, **QUICK) as client:
        assert client.verify([TASK])[0].score == 1.0


def test_a_trickle_ends_with_the_deadline():
    with FaultyServer(drip) as server, RemoteVerifier(server.url, deadline_s=1.0) as client:
        started = time.monotonic()
        (found,) = client.verify([TASK])
    assert 0.9 < time.monotonic() - started < 5
    assert (found.score, found.detail) == (None, f"the reward server at {server.url} had no verdict within 1 s")


def test_nobody_there_fails_once_for_all():
    with FaultyServer(FAULTS["500"]) as server:
        gone = server.url
    with RemoteVerifier(gone, concurrency=2, chunk_tasks=16, retries=2) as client:
        started = time.monotonic()
        found = client.verify([TASK] * 2000)
        assert time.monotonic() - started < 10  # not 125 requests, each with its pauses
    assert {v.score for v in found} == {None}
    assert "failed 3 times: ConnectError" in found[0].detail


def test_passing_failures_are_tried_again():
    good = unchanged
    faults = [FAULTS["503"], FAULTS["dropped"], FAULTS["truncated JSON"], FAULTS["dropped in the body"], good]
    with FaultyServer(lambda c, b, n: faults[n - 1](c, b, n)) as server, RemoteVerifier(server.url) as client:
        assert client.verify([TASK])[0].score == 1.0
    assert len(server.requests) == 5
    assert [json.loads(body)["tasks"] for body in server.requests] == [[json.loads(write_task(TASK))]] * 5


def test_retry_after_is_kept():
    times = []

    def answer(connection, body, count):
        times.append(time.monotonic())
        first = replies(429, headers=["Retry-After: 1"])
        (first if count == 1 else unchanged)(connection, body, count)

    with FaultyServer(answer) as server, RemoteVerifier(server.url, retries=0) as client:
        assert client.verify([TASK])[0].score == 1.0
    assert 0.7 < times[1] - times[0] < 3


def test_one_chunk_that_fails_costs_no_other():
    def answer(connection, body, _):
        asked = json.loads(body)
        if any(task["response"] == "7" for task in asked["tasks"]):
            return http(connection, 500)
        tasks = [Task(**task) for task in asked["tasks"]]
        return http(connection, 200, write_verdicts([verdict(task, Status.correct) for task in tasks], asked["id"]))

    with FaultyServer(answer) as server, RemoteVerifier(server.url, chunk_tasks=2, retries=2) as client:
        found = client.verify([Task("math", str(at), '"5"') for at in range(20)])
    assert [at for at, v in enumerate(found) if v.score is None] == [6, 7]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_lock_that_another_thread_holds_at_a_fork_stops_no_child(remote):
    task = Task("math", "5", '"5"')
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(remote, task, answers))
    with remote._lock:
        child.start()
    child.join(20)
    assert child.exitcode == 0
    assert answers.get() == 1.0


def test_closing_ends_calls_with_errors_and_not_with_an_exception():
    pool = GatedPool()
    with running(pool) as (url, service, _), RemoteVerifier(url, concurrency=1, chunk_tasks=2) as client:
        until(lambda: service.problems is not None)
        call = client.submit([Task("math", "#### 5", '"5"')] * 6)
        until(lambda: pool.batches)
        client.close()
        verdicts = call.result(10)
        assert [(found.status, found.score) for found in verdicts] == [(Status.error, None)] * 6
        assert "closed" in verdicts[0].detail
        until(lambda: not service.waiting.total() or pool.gate.set())


def test_an_interrupted_call_frees_the_server():
    pool = GatedPool()
    with running(pool) as (url, service, _), RemoteVerifier(url) as client:
        until(lambda: service.problems is not None)
        call = client.submit([Task("math", "#### 5", '"5"')] * 8)
        until(lambda: pool.batches)
        second = client.submit([Task("math", "#### 5", '"5"')] * 8)
        until(lambda: service.waiting.total() == 16)
        second.cancel()
        until(lambda: service.waiting.total() == 8)
        pool.gate.set()
        assert len(call.result(30)) == 8


def test_the_pool_sends_code_to_the_server_and_decides_the_rest_itself(monkeypatch):
    code = [Task("code", f"def f(x):\n    return x + {add}", '{"kind": "asserts", "tests": ["assert f(3) == 3"]}')
            for add in (0, 1)]  # fmt: skip
    tasks = [Task("math", "5", '"5"'), code[0], Task("code", "def f(", code[0].ground_truth), code[1], *MIXED]
    with running(VerifierPool(2)) as (url, service, _):
        asked, submit = [], service.submit
        monkeypatch.setattr(service, "submit", lambda client, tasks: asked.extend(tasks) or submit(client, tasks))
        with VerifierPool(1, sandbox="http", url=url) as pool:
            found = pool.verify(tasks)
    assert plain(found) == plain(verify(tasks))
    assert [v.score for v in found[1:4:2]] == [1.0, 0.0]
    assert {task.verifier for task in asked} == {"code"}
    with VerifierPool(1, sandbox="http", url=url) as pool:  # the server is gone now
        pool._remote._retries = 0
        found = pool.verify(tasks[:2])
    assert [(v.status, v.score) for v in found] == [(Status.correct, 1.0), (Status.error, None)]


SERVER = """
import sys
from verifiers import VerifierPool
from verifiers.service import create_app, open_socket, serve
listener = open_socket("127.0.0.1", int(sys.argv[1]), None)
print(listener.getsockname()[1], flush=True)
serve(create_app(VerifierPool(1)), listener)
"""


def start(port=0):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    return process, int(process.stdout.readline())


def finish(process):
    process.stdout.close()
    return process.wait(60)


SLOW = "import time\ndef f(x):\n    time.sleep(0.2)\n    return x + {}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_server_that_is_ended_in_the_middle_loses_nothing(number):
    tasks = [Task("code", SLOW.format(at), '{"kind": "asserts", "tests": ["assert f(3) == 3"]}') for at in range(20)]
    process, port = start()
    with RemoteVerifier(f"http://127.0.0.1:{port}", chunk_tasks=20, retries=9) as client:
        call = client.submit(tasks)
        time.sleep(2.0)
        assert not call.done()
        os.kill(process.pid, number)
        status = finish(process)
        assert call.done() == (number == signal.SIGTERM)  # told to end, it finishes first
        successor, _ = start(port)
        found = call.result(60)
        assert [v.score for v in found] == [1.0] + [0.0] * 19
        assert client.verify([TASK])[0].score == 1.0
        os.kill(successor.pid, signal.SIGTERM)
        assert finish(successor) == 0
    assert status == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    until(lambda: not children_of(process.pid))


def children_of(session):
    found = subprocess.run(["ps", "-o", "pid=", "-s", str(session)], capture_output=True, text=True, check=False)
    return found.stdout.split()


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8400", "ftp://x", "http://", "http://user:pass@x", "http://x/?a=1", "http://x#y", "http://x:99999",
     "http://[::1", "http://a b", "http://x\n", ""],
)  # fmt: skip
def test_urls_that_are_none(url):
    with pytest.raises(ValueError, match=r"like http://127\.0\.0\.1:8400"):
        RemoteVerifier(url)


def test_urls_and_numbers():
    assert checked_url("https://rewards.example/v1/") == "https://rewards.example/v1"
    for options in ({"concurrency": 0}, {"silence_s": 0}, {"retries": -1}):
        with pytest.raises(ValueError, match="must be"):
            RemoteVerifier("http://127.0.0.1:1", **options)


TEXTS = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=50)


@given(st.builds(Task, TEXTS, TEXTS, TEXTS | st.none(), TEXTS, st.floats(1e-300, 60) | st.none(),
                 st.sampled_from(["stop", "length", "error"])))  # fmt: skip
def test_a_task_arrives_as_it_was_sent(task):
    body = f'{{"tasks": [{write_task(task)}]}}'.encode("ascii")
    assert read_request(body, max_tasks=1, max_budget_s=60).tasks == [task]


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_no_other_bytes_are_verdicts(body):
    with pytest.raises(AnswerError):
        read_verdicts(body, [TASK], "x")


def test_importing_the_verifiers_loads_neither_client_nor_server():
    program = "import sys, verifiers; print([m for m in ('httpx2', 'starlette', 'uvicorn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_threads_end_with_the_client(url):
    before = threading.active_count()
    for _ in range(3):
        with RemoteVerifier(url) as client:
            client.verify([TASK])
    assert threading.active_count() <= before
