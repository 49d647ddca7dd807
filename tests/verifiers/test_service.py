"""The reward server: what it admits, refuses and promises, over real connections."""

import functools
import gc
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.verifiers.service_harness import MATH, GatedPool, post, running, until, verdict
from verifiers import Status, Task, VerifierPool, available, verify
from verifiers.admission import Limits
from verifiers.fair_queue import FairQueue
from verifiers.service import ListenError, ServiceError, check_token, open_socket
from verifiers.wire import write_task

TOKEN = "0123456789abcdef-secret"
SMALL = Limits(queue_tasks=20, request_tasks=10, body_bytes=20_000, held_bytes=40_000, budget_s=30, body_s=1)


@pytest.fixture(scope="module")
def served():
    with running(VerifierPool(2), limits=Limits(request_tasks=50, body_bytes=3_000_000)) as (url, service, _):
        yield url, service


@pytest.fixture
def gated():
    pool = GatedPool()
    with running(pool, limits=SMALL) as (url, service, server):
        yield url, service, server, pool
        pool.gate.set()


TASKS = [
    Task("math", "#### 5", '"5"'),
    Task("math", "so x is \\boxed{\\frac{1}{x+1}}", '"1/(1+x)"'),
    Task("math", "none", '"5"'),
    Task("math", "5", '"5"', finish_reason="length"),
    Task("math", "5", '"5"', finish_reason="error"),
    Task("math", "5", None),
    Task("math", "5", "Paris"),
    Task("nope \ud800", "5", '"5"'),
    Task("exact", "\ud800\x00 Paris", '"Paris"'),
    Task("exact", "Grüße, 世界 🎉", '"grüße, 世界 🎉"'),
    Task("choice", "The answer is (B)", '"B"', prompt="Which? \u2028 \ud83d", budget_s=2.5),
    Task("numeric", "3.2000001", '{"answer": 3.2, "rel_tol": 1e-6, "abs_tol": 0}'),
    Task("all", "#### 5", '[{"verifier": "math", "ground_truth": "5"}, {"verifier": "exact", "ground_truth": "6"}]'),
]


def test_verdicts_are_those_of_this_process_in_the_same_order(served):
    url, _ = served
    answer = post(url, content=f'{{"tasks": [{", ".join(map(write_task, TASKS))}]}}',
                  headers={"Content-Type": "application/json; charset=utf-8"})  # fmt: skip
    assert answer.status_code == 200
    expected = verify(TASKS)
    assert len({v.status for v in expected}) >= 6
    for row, local in zip(answer.json()["verdicts"], expected, strict=True):
        assert row.pop("elapsed_ms") >= 0
        parts = [part._asdict() for part in local.parts]
        assert row == {
            "status": local.status, "score": local.score, "extracted": local.extracted, "detail": local.detail,
            "verifier": local.verifier, "version": local.version, "parts": parts,
        }  # fmt: skip


def test_no_tasks_no_verdicts_and_the_id_comes_back(served):
    assert post(served[0], {"tasks": [], "id": "7"}).json() == {"id": "7", "verdicts": []}


def test_health_tells_what_is_served(served):
    url, service = served
    until(lambda: service.problems is not None)
    answer = httpx2.get(f"{url}/health", trust_env=False)
    found = answer.json()
    assert (answer.status_code, found["status"], found["problems"]) == (200, "ok", {})
    assert found["verifiers"] == available()
    assert (found["workers"], found["sandbox"]) == (2, "bubblewrap")
    assert found["queue"] == {"waiting": 0, "running": 0, "limit": 16_384}


class UnablePool(GatedPool):
    """A host where code cannot be isolated."""

    def verify(self, tasks):
        return [replace(verdict(task, Status.error), detail="no bubblewrap here") if task.verifier == "code"
                else verdict(task, Status.correct) for task in tasks]  # fmt: skip


def test_a_server_that_cannot_verify_is_not_healthy_but_serves_the_rest():
    with running(UnablePool()) as (url, service, _):
        assert httpx2.get(f"{url}/health", trust_env=False).status_code == 503 or service.problems is not None
        until(lambda: service.problems is not None)
        answer = httpx2.get(f"{url}/health", trust_env=False)
        assert (answer.status_code, answer.json()["status"]) == (503, "failing")
        assert answer.json()["problems"] == {"code": "no bubblewrap here"}
        assert post(url, {"tasks": [MATH]}).json()["verdicts"][0]["score"] == 1.0


def test_a_batch_that_does_not_end_is_not_healthy(gated, monkeypatch):
    url, _, _, pool = gated
    monkeypatch.setattr("verifiers.dispatch.START_LIMIT_S", -1000.0)
    with ThreadPoolExecutor() as threads:
        answer = threads.submit(post, url, {"tasks": [MATH]})
        until(lambda: pool.batches)
        found = httpx2.get(f"{url}/health", trust_env=False)
        assert (found.status_code, found.json()["status"]) == (503, "stuck")
        pool.gate.set()
        assert answer.result().status_code == 200


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"[" * 200_000, 400, "nested too deeply"),
        (b'{"tasks": NaN}', 400, "NaN is no JSON value"),
        (b'{"tasks": [], "tasks": []}', 400, "'tasks' occurs twice"),
        (b'{"tasks": [' + b"9" * 5000 + b"]}", 400, "not JSON"),
        (b"[]", 422, 'an object {"tasks": [...]}'),
        (b'{"task": []}', 422, 'an object {"tasks": [...]}'),
        (b'{"tasks": [], "workers": 9}', 422, 'an object {"tasks": [...]}'),
        (b'{"tasks": {}}', 422, "tasks must be a list, not an object"),
        (b'{"tasks": [], "id": 1}', 422, "id must be text"),
    ],
)  # fmt: skip
def test_bodies_that_are_no_request(served, body, code, message):
    answer = post(served[0], content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == code
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verifier": 5}, "tasks[1].verifier: must be text, not a number"),
        ({"response": None}, "tasks[1].response: must be text, not null"),
        ({"prompt": []}, "tasks[1].prompt: must be text, not a list"),
        ({"ground_truth": 5}, "tasks[1].ground_truth: must be JSON text or null, not a number: quote it once more"),
        ({"budget_s": 0}, "tasks[1].budget_s: must be above 0 and at most 60"),
        ({"budget_s": 10**300}, "tasks[1].budget_s: must be above 0 and at most 60"),
        ({"budget_s": True}, "tasks[1].budget_s: must be a number of seconds or null, not a truth value"),
        ({"budget_s": "5"}, "tasks[1].budget_s: must be a number of seconds or null, not text"),
        ({"finish_reason": "eos"}, "tasks[1].finish_reason: must be one of stop, length, error"),
        ({"finish_reason": ["stop"]}, "tasks[1].finish_reason: must be one of stop, length, error"),
        ({"groundtruth": "5"}, "tasks[1].groundtruth: unknown; allowed: verifier, response, ground_truth, prompt"),
    ],
)
def test_a_wrong_field_is_named_with_its_task(served, change, message):
    answer = post(served[0], {"tasks": [MATH, {**MATH, **change}]})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(message)
    assert answer.json()["problems"][0]["task"] == 1


def test_missing_fields_and_several_problems(served):
    answer = post(served[0], {"tasks": [{"verifier": "math"}, 7]}).json()
    assert answer["error"] == "tasks[0].response: missing (and 2 more)"
    assert [(p["task"], p["field"]) for p in answer["problems"]] == [(0, "response"), (0, "ground_truth"), (1, "")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(["verifier", "response", "ground_truth", "prompt", "budget_s", "finish_reason", "x"])
ROWS = st.dictionaries(FIELDS, JSON | st.sampled_from(["math", "exact", "stop", '"5"']), max_size=7)
BODIES = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.lists(ROWS, max_size=3).map(lambda rows: json.dumps({"tasks": rows}).encode()),
)


@functools.cache
def client():
    """One client for many requests: most of the time of a request of its own goes into reading certificates."""
    return httpx2.Client(trust_env=False, timeout=60)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES)
def test_whatever_is_sent_the_answer_is_verdicts_or_one_message(served, body):
    answer = client().post(f"{served[0]}/verify", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400, 422)
    assert answer.json().keys() <= {"id", "verdicts"} if answer.status_code == 200 else answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "options", "code", "message"),
    [
        ("GET", "/verify", {}, 405, "Method Not Allowed"),
        ("GET", "/reward", {}, 405, "Method Not Allowed"),
        ("POST", "/health", {}, 405, "Method Not Allowed"),
        ("GET", "/", {}, 404, "POST /verify, POST /reward and GET /health"),
        ("POST", "/verify", {"content": b"{}"}, 415, "application/json"),
        ("POST", "/verify", {"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 415, "application/json"),
        ("POST", "/verify", {"json": {}, "headers": {"Host": "evil.example"}}, 403, "localhost only"),
        ("GET", "/health", {"headers": {"Host": "evil.example:80"}}, 403, "localhost only"),
    ],
)
def test_other_requests_get_one_message(served, method, path, options, code, message):
    answer = httpx2.request(method, served[0] + path, trust_env=False, **options)
    assert answer.status_code == code
    assert message in answer.json()["error"]


def test_limits_of_one_request(gated):
    url, service, _, pool = gated
    pool.gate.set()
    many = post(url, {"tasks": [MATH] * 11})
    assert (many.status_code, many.json()["error"]) == (413, "11 tasks in one request; this server takes 10: send "
                                                             "them in parts")  # fmt: skip
    long = post(url, {"tasks": [{**MATH, "response": "x" * 20_000}]})
    assert (long.status_code, "longer than this server's 20000 bytes" in long.json()["error"]) == (413, True)

    def unannounced():  # chunked: its length shows only while it is read
        yield from [b" " * 1000] * 100

    streamed = post(url, content=unannounced(), headers={"Content-Type": "application/json"})
    assert streamed.status_code == 413
    assert post(url, {"tasks": [{**MATH, "budget_s": 31}]}).status_code == 422
    until(lambda: service.held_bytes == 0)


def test_a_body_that_does_not_arrive(gated):
    url, service, _, _ = gated
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as slow:
        head = (
            f"POST /verify HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
        )
        slow.sendall(head.encode())
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")
    until(lambda: service.held_bytes == 0)


def test_a_full_queue_refuses_whole_requests_and_says_when_to_come_back(gated):
    url, service, _, pool = gated
    until(lambda: service.problems is not None)
    with ThreadPoolExecutor(8) as threads:
        admitted = threads.submit(post, url, {"tasks": [MATH] * 10}, headers={"preppo-client": "a"})
        until(lambda: service.waiting["a"] == 10)
        refused = post(url, {"tasks": [MATH]}, headers={"preppo-client": "a"})
        assert refused.status_code == 429
        assert "the queue is full: 10 of 20 tasks wait" in refused.json()["error"]
        assert 1 <= int(refused.headers["retry-after"]) <= 30
        other = threads.submit(post, url, {"tasks": [MATH] * 5}, headers={"preppo-client": "b"})
        until(lambda: service.waiting["b"] == 5)  # one client cannot take the whole queue
        pool.gate.set()
        assert (admitted.result().status_code, other.result().status_code) == (200, 200)
    until(lambda: not service.waiting)


def test_bytes_that_wait_are_bounded_too(gated):
    url, service, _, pool = gated
    long = {"tasks": [{**MATH, "prompt": "x" * 15_000}]}
    with ThreadPoolExecutor(8) as threads:
        two = [threads.submit(post, url, long) for _ in range(2)]
        until(lambda: service.held_bytes > 30_000)
        refused = post(url, long)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        pool.gate.set()
        assert [answer.result().status_code for answer in two] == [200, 200]
    until(lambda: service.held_bytes == 0)


def test_a_client_that_goes_away_leaves_nothing(gated):
    url, service, _, pool = gated
    until(lambda: service.problems is not None)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(post, url, {"tasks": [MATH]})
        until(lambda: pool.batches)
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(f"{url}/verify", json={"tasks": [MATH] * 7}, timeout=0.5, trust_env=False)
        until(lambda: service.waiting.total() == 1)
        assert not any(len(lane.queue) for lane in service.lanes.values())
        pool.gate.set()
        assert first.result().status_code == 200
    until(lambda: not service.waiting and service.held_bytes == 0)
    assert len(pool.batches) == 1


def test_one_client_does_not_make_another_wait(gated, monkeypatch):
    url, service, _, pool = gated
    monkeypatch.setattr("verifiers.dispatch.BATCH_TASKS", 4)
    until(lambda: service.problems is not None)
    with ThreadPoolExecutor(4) as threads:
        blocker = threads.submit(post, url, {"tasks": [MATH]})
        until(lambda: pool.batches)
        many = threads.submit(post, url, {"tasks": [MATH] * 9}, headers={"preppo-client": "many"})
        until(lambda: service.waiting["many"] == 9)
        few = threads.submit(post, url, {"tasks": [{**MATH, "prompt": "few"}] * 2}, headers={"preppo-client": "few"})
        until(lambda: service.waiting["few"] == 2)
        pool.gate.set()
        assert [answer.result().status_code for answer in (blocker, many, few)] == [200, 200, 200]
    assert sum(task.prompt == "few" for task in pool.batches[1]) == 2  # half of the first batch, though it came last


def test_what_needs_no_worker_does_not_wait_for_what_does(gated):
    url, service, _, pool = gated
    until(lambda: service.problems is not None)
    with ThreadPoolExecutor() as threads:
        heavy = threads.submit(post, url, {"tasks": [MATH]})
        until(lambda: pool.batches)
        light = {"verifier": "exact", "response": "Paris", "ground_truth": '"Paris"'}
        assert post(url, {"tasks": [light]}).json()["verdicts"][0]["score"] == 1.0
        pool.gate.set()
        heavy.result()


class BrokenPool(GatedPool):
    """Fails on a whole batch for one task in it."""

    def verify(self, tasks):
        if any(task.response == "poison" for task in tasks):
            raise MemoryError("too much")
        return [verdict(task, Status.correct) for task in tasks]


def test_a_task_that_breaks_the_pool_costs_itself_only(caplog):
    with running(BrokenPool()) as (url, service, _):
        rows = post(url, {"tasks": [MATH, {**MATH, "response": "poison"}, MATH]}).json()["verdicts"]
        assert [(row["status"], row["score"]) for row in rows] == [("correct", 1.0), ("error", None), ("correct", 1.0)]
        assert "MemoryError" in rows[1]["detail"]
        assert service.status()[0] == "ok"


def test_a_long_answer_shows_signs_of_life(gated, monkeypatch):
    url, _, _, pool = gated
    monkeypatch.setattr("verifiers.endpoints.HEARTBEAT_S", 0.05)
    with httpx2.stream("POST", f"{url}/verify", json={"tasks": [MATH]}, trust_env=False, timeout=30) as answer:
        parts = answer.iter_bytes()
        assert [next(parts) for _ in range(3)] == [b" "] * 3
        pool.gate.set()
        assert json.loads(b"".join(parts))["verdicts"][0]["score"] == 1.0


def test_ending_finishes_what_was_admitted_and_takes_nothing_new(gated):
    url, service, server, pool = gated
    with ThreadPoolExecutor() as threads:
        admitted = threads.submit(post, url, {"tasks": [MATH] * 3})
        until(lambda: pool.batches)
        server.end()
        until(lambda: _refuses(url))
        assert service.status()[0] == "draining"
        assert not pool.closed
        pool.gate.set()
        assert [row["score"] for row in admitted.result().json()["verdicts"]] == [1.0] * 3
    until(lambda: pool.closed)


def _refuses(url):
    try:
        return httpx2.get(f"{url}/health", trust_env=False).status_code == 503
    except httpx2.ConnectError:
        return True


def test_the_token_is_demanded_and_not_told(caplog, capfd):
    with running(GatedPool(), token=TOKEN) as (url, service, _):
        until(lambda: service.problems is not None)
        light = {"tasks": [{"verifier": "exact", "response": "a", "ground_truth": '"a"'}]}
        for header in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"},
                       {"Authorization": "Bearer \xff".encode("latin-1")}):  # fmt: skip
            answer = post(url, light, headers=header)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert TOKEN not in answer.text
        assert post(url, light, headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200
        probe = httpx2.get(f"{url}/health", trust_env=False)
        assert (probe.status_code, probe.json()) == (200, {"status": "ok"})
        full = httpx2.get(f"{url}/health", trust_env=False, headers={"Authorization": f"Bearer {TOKEN}"})
        assert full.json()["verifiers"] == available()
        assert TOKEN not in full.text
    assert TOKEN not in caplog.text + "".join(capfd.readouterr())


def test_only_loopback_without_a_token():
    for host in ("0.0.0.0", "", "::"):
        with pytest.raises(ServiceError, match="set PREPPO_REWARD_TOKEN"):
            open_socket(host, 0, None)
    open_socket("0.0.0.0", 0, TOKEN).close()
    with open_socket("localhost", 0, None) as taken, pytest.raises(ListenError, match="cannot listen on"):
        open_socket(taken.getsockname()[0], taken.getsockname()[1], None)
    with pytest.raises(ListenError, match="no address"):
        open_socket("no such host", 0, None)
    assert check_token("") is None
    for token in ("short", "with blanks in the middle", "x" * 20 + "\n"):
        with pytest.raises(ServiceError) as failure:
            check_token(token)
        assert token not in str(failure.value)


def test_many_clients_at_once_each_get_their_own(served):
    url, service = served

    def client(number):
        rows = [
            {"verifier": "math", "response": f"#### {n}", "ground_truth": json.dumps(str(number))} for n in range(40)
        ]
        found = []
        with httpx2.Client(trust_env=False, timeout=60) as session:
            for _ in range(5):
                answer = session.post(f"{url}/verify", json={"tasks": rows}, headers={"preppo-client": str(number)})
                found.append([row["score"] for row in answer.json()["verdicts"]])
        return found == [[float(n == number) for n in range(40)]] * 5

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(client, range(12)))
    until(lambda: not service.waiting and service.held_bytes == 0)


def test_connections_that_break_in_the_middle_leave_nothing(served):
    url, service = served
    host, port = url.removeprefix("http://").split(":")
    before = threading.active_count()
    for cut in (10, 80, 130, 400):
        body = json.dumps({"tasks": [MATH] * 20})
        head = f"POST /verify HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        whole = f"{head}Content-Length: {len(body)}\r\n\r\n{body}"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(whole.encode()[:cut])
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"\x00\x01 this is no HTTP\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    until(lambda: not service.waiting and service.held_bytes == 0)
    assert post(url, {"tasks": [MATH]}).status_code == 200
    assert threading.active_count() <= before + 1


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30)), min_size=1, max_size=20),
    st.integers(1, 7),
    st.data(),
)
def test_a_fair_queue_loses_nothing_and_keeps_the_order_of_each_client(requests, most, data):
    queue = FairQueue()
    expected = {name: [] for name in "abc"}
    for number, (name, size) in enumerate(requests):
        queue.put(name, number, [(name, number, at) for at in range(size)])
        expected[name] += [(name, number, at) for at in range(size)]
    victims = {number for number in range(len(requests)) if data.draw(st.booleans())}
    for number in victims:
        assert queue.drop(requests[number][0], number) == requests[number][1]
    found = []
    while len(queue):
        batch = queue.take(lambda _: 1.0, 1e9, 1, most)
        assert 1 <= len(batch) <= most
        found += batch
        for name in data.draw(st.lists(st.sampled_from("abc"), max_size=2)):
            queue.charge(name, data.draw(st.floats(-0.5, 5)))
        queue.forgive()
    for name in "abc":
        assert [item for item in found if item[0] == name] == [i for i in expected[name] if i[1] not in victims]


def test_time_is_shared_and_not_tasks():
    queue = FairQueue()
    cost = {"slow": 1.0, "fast": 0.1}
    for name in cost:
        queue.put(name, 0, [name] * 1000)
    taken = queue.take(cost.__getitem__, 100.0, 1, 10_000)
    assert abs(taken.count("slow") - 50) <= 1
    assert abs(taken.count("fast") - 500) <= 10
    assert len(queue.take(cost.__getitem__, 0.1, 6, 10_000)) == 6
    queue.charge("slow", 20.0)  # its tasks took longer than expected
    assert set(queue.take(cost.__getitem__, 9.0, 1, 10_000)) == {"fast"}


def test_the_limits_must_fit_together():
    with pytest.raises(ValueError, match="request_tasks <= queue_tasks"):
        Limits(queue_tasks=5, request_tasks=6)


def test_nothing_is_left_when_a_server_has_ended():
    before = threading.active_count()
    with running(VerifierPool(1)) as (url, _, _):
        assert post(url, {"tasks": [{**MATH, "response": "\\boxed{1 + x}", "ground_truth": '"x + 1"'}]}).json()
    gc.collect()
    until(lambda: threading.active_count() <= before)
