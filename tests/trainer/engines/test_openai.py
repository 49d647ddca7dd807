"""The `openai` engine against servers that do wrong: no sample is lost, doubled or falsely scored."""

import _thread
import gc
import logging
import os
import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.engines.fault_server import RIGHT, WRONG, FaultServer, reply_text, seeded
from trainer.engines import (
    EngineError,
    Request,
    Sampling,
    http_link,
    load_engine,
    sample_seed,
    server_pool,
)
from trainer.engines.http_link import HttpxLink, PlainLink
from trainer.engines.openai import OpenAIEngine
from warehouse.settings import EngineSettings, PolicySettings

KEY = "sk-quite-a-secret-0123456789"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses are short, and no key or proxy of this machine gets in."""
    monkeypatch.setattr(server_pool, "FIRST_PAUSE_S", 0.004)
    monkeypatch.setattr(server_pool, "LONGEST_PAUSE_S", 0.05)
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while left := [t for t in threading.enumerate() if t not in before and t.name.startswith("preppo-openai")]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def request(name, sample=0, *, raw=False, **sampling):
    seed = sample_seed(0, name, "scored", sample)
    text = f"{name}/{sample}"
    return Request(name, "scored", sample, (("user", text),), text if raw else None, seed, Sampling(**sampling))


def requests(count, **sampling):
    return [request(f"p{i // 4}", i % 4, raw=i % 3 == 0, **sampling) for i in range(count)]


def engine(*servers, **options):
    options = {"concurrency": 16, "timeout_s": 20.0, "retries": 30} | options
    urls = [s if isinstance(s, str) else s.url for s in servers]
    return OpenAIEngine("m", base_urls=urls, **options)


def check(asked, completions, *servers):
    """Each sample exactly once, with its own text, or without any where the server last said that it gives none."""
    assert Counter((c.prompt_id, c.sample) for c in completions) == Counter((r.prompt_id, r.sample) for r in asked)
    by_name = {(r.prompt_id, r.sample): r for r in asked}
    for c in completions:
        r = by_name[c.prompt_id, c.sample]
        text = f"{r.prompt_id}/{r.sample}"
        assert (c.role, c.seed, c.engine, c.recorded, c.recorded_score) == ("scored", r.seed, "openai", False, None)
        if c.finish_reason == "error":
            assert c.response is None and c.detail.startswith("refused: ")
            assert any("filter" in s.gave.get(text, []) for s in servers)
        else:
            assert (c.response, c.finish_reason, c.detail) == (reply_text(text, r.seed), "stop", None)


def test_every_request_gets_its_own_answer():
    asked = requests(200)
    with FaultServer() as server:
        check(asked, list(engine(server).generate(iter(asked))), server)
    assert Counter(server.tries.values()) == {1: 200}
    assert {b["n"] for b in server.asked} == {1}


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_nothing_is_lost_doubled_or_mixed_up_whatever_the_server_does(share):
    asked = requests(240)
    script = seeded(1, share, (*WRONG, "429", "hang") if share < 0.2 else (*WRONG, "429"), rare=("filter",))
    with FaultServer(script) as one, FaultServer(seeded(2, share, rare=("filter",))) as two:
        check(asked, list(engine(one, two, timeout_s=1.0).generate(iter(asked))), one, two)
    kinds = Counter(k for s in (one, two) for gave in s.gave.values() for k in gave)
    assert share < 0.5 or set(WRONG) | set(RIGHT) <= set(kinds)


@settings(max_examples=12)
@given(st.lists(st.lists(st.sampled_from([*WRONG, *RIGHT, "429"]), max_size=5), min_size=1, max_size=25))
def test_any_script_of_faults_ends_with_the_right_texts(scripts):
    asked = [request(f"p{i}", raw=i % 2 == 0) for i in range(len(scripts))]
    script = {f"p{i}/0": s for i, s in enumerate(scripts)}
    with FaultServer(lambda text, n: script[text][n] if n < len(script[text]) else "ok") as server:
        check(asked, list(engine(server).generate(iter(asked))), server)


def test_the_other_link_bears_the_same_faults(monkeypatch):
    monkeypatch.setattr(http_link, "PlainLink", lambda url, headers: HttpxLink(url, headers, trust_env=False))
    asked = requests(120)
    # httpx2 takes the second of two answers for that of the next request; behind TLS and proxies nobody answers twice.
    right = [kind for kind in RIGHT if kind != "twice"]
    with FaultServer(seeded(3, 0.3, (*WRONG, "429"), right=right)) as server:
        check(asked, list(engine(server).generate(iter(asked))), server)
    assert server.connections < sum(server.tries.values())


@pytest.fixture
def certified(tmp_path):
    """Return an SSL context of 127.0.0.1, and the file of whom to trust for it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=preppo"
    named = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([openssl, *made.split(), *named], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def test_over_tls_it_is_the_same(certified, monkeypatch):
    context, trusted = certified
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asked = requests(120)
    right = [kind for kind in RIGHT if kind != "twice"]  # see above
    script = seeded(4, 0.3, (*WRONG, "429"), rare=("filter",), right=right)
    with FaultServer(script, tls=context, key=KEY) as server:
        check(asked, list(engine(server).generate(iter(asked))), server)
        assert server.connections < len(server.asked), "connections are used again"


def test_a_certificate_that_nobody_trusts_is_one_clear_message(certified):
    context, _ = certified
    with FaultServer(tls=context) as server, pytest.raises(EngineError, match="certificate verify failed"):
        list(engine(server, retries=2).generate(iter(requests(8))))


def test_a_server_elsewhere_is_reached_through_the_proxy_of_the_machine(monkeypatch):
    asked = requests(40)
    with FaultServer() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        check(asked, list(engine("http://models.example:8000/v1").generate(iter(asked))), proxy)
        assert all(" http://models.example:8000/v1/" in head.split("\r\n")[0] for head in proxy.headers)


def test_a_server_that_dies_is_replaced_by_the_others():
    asked = requests(300)
    with FaultServer(delay=0.01) as one, FaultServer(delay=0.01) as two:
        found = []
        for completion in engine(one, two, retries=3).generate(iter(asked)):
            found.append(completion)
            if len(found) == 60:
                one.stop()
        check(asked, found, one, two)
    assert sum(two.tries.values()) > 150


def test_a_server_that_comes_back_is_used_again(monkeypatch):
    down = threading.Event()
    with FaultServer(lambda *_: "503" if down.is_set() else "ok", delay=0.005) as one, FaultServer(delay=0.01) as two:
        found, asked = [], requests(800)
        for completion in engine(one, two).generate(iter(asked)):
            found.append(completion)
            if len(found) == 100:
                down.set()
            if len(found) == 200:
                down.clear()
                before = len(one.asked)
        check(asked, found, one, two)
        assert len(one.asked) > before + 5


def test_where_no_server_is_left_one_message_comes_after_what_is_finished():
    asked = requests(300)
    with FaultServer(delay=0.01) as one, FaultServer(delay=0.01) as two:
        found = []
        with pytest.raises(EngineError) as error:
            for completion in engine(one, two, retries=2).generate(iter(asked)):
                found.append(completion)
                if len(found) == 60:
                    one.stop()
                    two.stop()
    assert 60 <= len(found) < 300
    assert len({(c.prompt_id, c.sample) for c in found}) == len(found)
    assert all(c.finish_reason == "stop" for c in found)
    message = str(error.value)
    assert "no server answers, after 2 retries" in message and "what was generated is kept" in message
    assert one.url in message and two.url in message and "\n" not in message


@pytest.mark.parametrize("kind", ["html", "500", "none", "torn", "garbage", "model", "429", "null", "hang"])
def test_a_server_that_answers_nonsense_is_one_clear_message(kind):
    with FaultServer(lambda *_: kind) as server, pytest.raises(EngineError, match="no server answers") as error:
        list(engine(server, retries=3, concurrency=4, timeout_s=0.1 if kind == "hang" else 9).generate(requests(50)))
    words = {"html": "no JSON", "none": "0 choices", "model": "'another'", "garbage": "HTTP", "429": "429: not now"}
    assert words.get(kind, "") in str(error.value)


@pytest.mark.parametrize("kind", ["500", "null", "torn"])
def test_a_request_that_breaks_every_server_is_an_error_and_the_others_are_not(kind):
    asked = requests(40)
    bad = ("p3/1", "p9/3")
    with FaultServer(lambda text, _n: kind if text in bad else "ok") as server:
        found = list(engine(server, retries=3).generate(iter(asked)))
    failed = {f"{c.prompt_id}/{c.sample}": c for c in found if c.finish_reason == "error"}
    assert set(failed) == set(bad) and len(found) == 40
    assert all(c.detail.startswith("failed: 4 times, last: ") and c.response is None for c in failed.values())


def test_the_last_request_that_breaks_the_server_does_not_take_the_run_with_it():
    with FaultServer(lambda text, _n: "500" if text == "p0/0" else "ok") as server:
        (found,) = engine(server, retries=3).generate([request("p0")])
    assert found.detail == "failed: 4 times, last: answers 500: not now"
    assert server.asked[-1]["messages"] == [{"role": "user", "content": "Hello"}]


def test_full_servers_are_asked_less_and_nothing_is_given_up():
    with FaultServer(delay=0.01) as server:
        server.script = lambda *_: "429" if server.now > 4 else "ok"
        asked = requests(150)
        check(asked, list(engine(server, retries=2).generate(iter(asked))), server)
    refused = sum(gave.count("429") for gave in server.gave.values())
    assert 0 < refused < 150


def test_retry_after_is_waited_for():
    with FaultServer(lambda _t, n: (429, {"error": {"message": "slow"}}) if n == 0 else "ok") as server:
        send = server._send

        async def with_wait(writer, status, content, shape="ok", **extra):
            await send(writer, status, content, shape, **({"Retry-After": "1"} if status == 429 else extra))

        server._send = with_wait
        started = time.monotonic()
        assert len(list(engine(server).generate([request("a")]))) == 1
    assert 1.0 <= time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("error", "detail", "tokens"),
    [
        ({"message": "This model's maximum context length is 8 tokens. However, your prompt contains 9 input tokens"},
         "prompt_too_long: This model's maximum", 9),
        ({"message": "too much", "code": "context_length_exceeded"}, "prompt_too_long: too much", None),
        ({"message": "The input (99 tokens) is longer than the model's context length (8 tokens)."},
         "prompt_too_long: The input", None),
        ({"message": "flagged by the content\n policy"}, "refused: flagged by the content policy", None),
    ],
)  # fmt: skip
def test_what_a_server_refuses_for_a_request_is_its_reason(error, detail, tokens):
    with FaultServer(lambda text, _n: (400, {"error": error}) if text == "bad/0" else "ok") as server:
        found = {c.prompt_id: c for c in engine(server).generate([request("bad"), request("good")])}
    assert found["good"].finish_reason == "stop"
    assert found["bad"].detail.startswith(detail) and found["bad"].response is None
    assert (found["bad"].prompt_tokens, server.tries["bad/0"]) == (tokens, 1)


def test_a_server_that_refuses_everything_stops_the_run():
    words = "refuses every request, last: temperature must be 1"
    refuse = (400, {"error": {"message": "temperature must be 1"}})
    with FaultServer(lambda *_: refuse) as server, pytest.raises(EngineError, match=words):
        list(engine(server).generate(requests(50)))


def test_a_prompt_that_fits_gets_what_is_left_of_the_context():
    message = "maximum context length is 100 tokens. However, you requested 164 tokens (90 in the messages, 64 in the"
    with FaultServer() as server:
        server.script = lambda *_: (400, {"message": message}) if server.asked[-1]["max_tokens"] > 10 else "ok"
        (found,) = engine(server).generate([request("a", max_tokens=64)])
    assert found.finish_reason == "stop"
    assert [b["max_tokens"] for b in server.asked] == [64, 10]


def test_what_a_server_does_not_know_is_left_out_from_then_on():
    def script(_text, _n):
        body = server.asked[-1]
        if "logprobs" in body:
            return 400, {"error": {"message": "This model does not support logprobs.", "param": "logprobs"}}
        if "top_k" in body:
            return 400, {"error": {"message": "Unknown parameter: 'top_k'.", "param": "top_k"}}
        if body["seed"] >= 2**31:
            return 422, {"detail": [{"loc": ["body", "seed"], "msg": "Input should be less than 2147483648"}]}
        if "max_tokens" in body:
            return 400, {"error": {"message": "'max_tokens' is not supported. Use 'max_completion_tokens' instead."}}
        return "ok"

    with FaultServer(script) as server:
        one = engine(server, concurrency=1)
        first, second = one.generate([request("a"), request("b")])
        (third,) = one.generate([request("c")])
    assert all(c.finish_reason == "stop" and c.logprob_sum is None for c in (first, second, third))
    assert [len(g) for g in server.gave.values()] == [5, 1, 1]
    assert server.asked[-1]["max_completion_tokens"] == 256
    assert server.asked[-1]["seed"] == sample_seed(0, "c", "scored", 0) % 2**31
    assert third.seed == sample_seed(0, "c", "scored", 0)


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "policy.model = 'm', and the server has: theirs, alias"), (403, "OPENAI_API_KEY"), (307, "answers 307")],
)
def test_a_server_that_lets_nobody_in_is_one_clear_message_at_once(status, words):
    refuse = (status, {"error": {"message": "no"}})
    with FaultServer(lambda *_: refuse, model="theirs") as server, pytest.raises(EngineError) as error:
        list(engine(server).generate(requests(50)))
    assert words in str(error.value) and server.url in str(error.value)
    assert sum(server.tries.values()) <= 16


def test_an_answer_under_another_name_of_the_same_weights_is_taken():
    with FaultServer(model="m") as server:
        complete = server.completion
        server.completion = lambda body, text: complete(body, text) | {"model": "alias"}
        assert [c.finish_reason for c in engine(server).generate([request("a"), request("b")])] == ["stop"] * 2


def test_the_key_is_sent_and_never_shown(monkeypatch, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("THE_KEY", KEY)
    with FaultServer(seeded(4, 0.3), key=KEY) as server:
        good = engine(server, api_key_env="THE_KEY")
        asked = requests(60)
        found = list(good.generate(iter(asked)))
        check(asked, found, server)
        assert all(f"Bearer {KEY}" in head for head in server.headers)
        server.key = "another"
        with pytest.raises(EngineError) as error:  # this server quotes the key that it was given
            list(good.generate(asked))
        monkeypatch.delenv("THE_KEY")
        monkeypatch.setenv("THE_KEY_TOO", KEY)
        with pytest.raises(EngineError, match=r"THE_KEY .*which is not set"):
            list(engine(server, api_key_env="THE_KEY").generate(asked))
    refuse = (400, {"error": {"message": f"you sent {KEY}"}})
    with FaultServer(lambda *_: refuse) as server, pytest.raises(EngineError, match=r"you sent \*\*\*") as other:
        list(engine(server, api_key_env="THE_KEY_TOO").generate(asked))
    shown = [str(error.value), repr(error.value), str(other.value), repr(good), repr(vars(good)), repr(found)]
    shown += [caplog.text, *capfd.readouterr()]
    assert not [text for text in shown if KEY[3:12] in text]
    assert "THE_KEY" in shown[0]


def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(monkeypatch):
    monkeypatch.setenv("THE_KEY", "sk-secret\nX: y")
    with pytest.raises(EngineError, match="THE_KEY") as error:
        engine("http://127.0.0.1:1/v1", api_key_env="THE_KEY")
    assert "secret" not in str(error.value)


def test_no_proxy_stands_between_here_and_loopback(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    with FaultServer() as server:
        assert len(list(engine(server).generate(requests(5)))) == 5
    assert isinstance(http_link.open_link("http://10.0.0.5:8000/v1", {}), HttpxLink)
    monkeypatch.setenv("no_proxy", "10.0.0.5")
    assert isinstance(http_link.open_link("http://10.0.0.5:8000/v1", {}), PlainLink)
    assert isinstance(http_link.open_link("https://10.0.0.5:8000/v1", {}), HttpxLink)


def test_concurrency_is_bounded_and_connections_are_used_again():
    with FaultServer(delay=0.005) as one, FaultServer(delay=0.005) as two:
        found = list(engine(one, two, concurrency=8).generate(requests(400)))
    assert len(found) == 400
    assert one.most == two.most == 8
    assert one.connections <= 8 and two.connections <= 8


def test_requests_are_taken_in_while_completions_come_out_and_not_too_many():
    taken = 0

    def source():
        nonlocal taken
        for r in requests(10_000):
            taken += 1
            yield r

    with FaultServer() as server:
        stream = engine(server, concurrency=4).generate(source())
        for i in range(50):
            next(stream)
            assert taken <= i + 2 * 4 + 4096 + 2
        stream.close()
        time.sleep(0.05)
        asked = len(server.asked)
        time.sleep(0.1)
        assert len(server.asked) == asked <= 50 + 2 * 4 + 4096


def test_a_slow_source_holds_nothing_up():
    gate = threading.Event()

    def source():
        yield request("a")
        gate.wait(10)
        yield request("b")

    with FaultServer() as server:
        stream = engine(server).generate(source())
        assert next(stream).prompt_id == "a"
        gate.set()
        assert [c.prompt_id for c in stream] == ["b"]


def test_what_the_source_raises_comes_after_what_it_gave():
    def source():
        yield from requests(20)
        raise LookupError("the table is gone")

    found = []
    with FaultServer() as server, pytest.raises(LookupError, match="the table is gone"):
        found.extend(engine(server).generate(source()))
    # `extend` keeps what came before the error
    assert len(found) == 20


@pytest.mark.parametrize("how", ["close", "forget", "engine"])
def test_whoever_leaves_in_the_middle_leaves_nothing_behind(how):
    with FaultServer(lambda text, _n: "ok" if text == "p0/0" else "hang") as server:
        one = engine(server)
        stream = one.generate(requests(100))
        assert next(stream).prompt_id == "p0"
        started = time.monotonic()
        if how == "close":
            stream.close()
        elif how == "forget":
            del stream
            gc.collect()
        else:
            one.close()
            with pytest.raises(EngineError, match="closed"):
                next(stream)
        one.close()
        assert time.monotonic() - started < 10
        while server.now:  # the server sees that nobody waits any more
            assert time.monotonic() - started < 20
            time.sleep(0.01)


@pytest.mark.parametrize("interrupt", [lambda: os.kill(os.getpid(), signal.SIGINT), _thread.interrupt_main])
def test_an_interrupt_ends_the_call_at_once(interrupt):
    with FaultServer(lambda *_: "hang") as server:
        stream = engine(server).generate(requests(10))
        threading.Timer(0.2, interrupt).start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            next(stream)
        assert time.monotonic() - started < 20


def test_it_is_loaded_by_its_settings(monkeypatch):
    with pytest.raises(EngineError, match=r"needs engine\.base_urls"):
        load_engine(PolicySettings(engine="openai", model="m"), EngineSettings())
    with FaultServer() as server:
        machine = EngineSettings(base_urls=[server.url], concurrency=3, timeout_s=5, retries=2)
        loaded = load_engine(PolicySettings(engine="openai", model="m", revision="r1"), machine)
        assert loaded.fingerprint == "served:m:r1"
        assert [c.response for c in loaded.generate([request("a")])] == [reply_text("a/0", request("a").seed)]
        loaded.close()
        loaded.close()
