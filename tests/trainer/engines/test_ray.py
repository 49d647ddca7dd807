"""The `ray` engine: on a real cluster of two nodes where Ray is installed, and its parts everywhere."""

import asyncio
import contextlib
import logging
import os
import shutil
import sys
import threading
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from trainer.engines import Completion, EngineError, load_engine, plan_requests
from trainer.engines.ray_worker import Answer, Desk, Worker
from trainer.engines.weights import NURSERY
from warehouse.settings import EngineSettings, PolicySettings

POLICY = PolicySettings(
    model="nursery", engine="ray", batch_size=8, samples=4, reference_samples=1, max_tokens=24, device="cpu"
)
MACHINE = EngineSettings(ray_actors=2)


def asked(prompts, policy=POLICY):
    """Return mixed requests: chats of different lengths, exact prefixes, and prompts that do not fit."""
    found = []
    for i in range(prompts):
        text = f"What is {i} + {i % 7}?" * (400 if i % 10 == 9 else 1 + i % 3)
        found += plan_requests(f"p{i}", [("user", text)], text if i % 5 == 4 else None, policy)
    return found


def by_name(completions):
    found = {(c.prompt_id, c.role, c.sample): c for c in completions}
    assert len(found) == len(completions), "a sample came twice"
    return found


def said(completions):
    """Return what two engines must agree on."""
    return {
        name: (c.response, c.reasoning, c.finish_reason, c.prompt_tokens, c.response_tokens, c.detail)
        for name, c in by_name(completions).items()
    }


def wait_until(true, timeout=120.0):
    limit = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.1)


# --- the desk and the worker, without a cluster ----------------------------------------------------------------------


def test_a_piece_is_answered_once_and_fetched_once():
    async def story():
        desk = Desk()
        await desk.put(1, b"work")
        assert await desk.take(0) == (1, b"work")
        assert await desk.begin(1, "first", "node")
        assert not await desk.begin(1, "second", "node"), "another actor is at it"
        await desk.answer(1, b"answer")
        await desk.answer(1, b"again")
        assert await desk.take(0) == (1, b""), "a source that starts anew sends nothing that is done"
        assert not await desk.begin(1, "first", "node")
        assert await desk.fetch(1) == b"answer"
        assert await desk.fetch(1) is None

    asyncio.run(story())


def test_what_a_dead_node_had_is_handed_out_again():
    async def story():
        desk = Desk()
        for number in (1, 2, 3):
            await desk.put(number, b"work %d" % number)
        assert await desk.begin(1, "first", "dies")
        assert await desk.begin(2, "second", "lives")
        assert await desk.hand_out_again(["dies"]) == 2
        assert [(await desk.take(place))[0] for place in (3, 4)] == [1, 3]
        assert not await desk.begin(2, "third", "lives")
        assert await desk.fetch(2) is None, "whoever passes a piece over is done with it before its answer is there"
        assert not await desk.begin(2, "third", "lives")
        assert await desk.begin(1, "third", "lives")
        assert not await desk.begin(1, "first", "lives"), "the actor that was started again comes too late"

    asyncio.run(story())


def test_an_actor_that_was_started_again_does_its_piece_again():
    async def story():
        desk = Desk()
        await desk.put(1, b"work")
        assert await desk.begin(1, "first", "node")
        assert await desk.begin(1, "first", "node")

    asyncio.run(story())


def test_the_source_waits_for_work_and_ends_with_the_desk():
    async def story():
        desk = Desk()
        taken = asyncio.create_task(desk.take(0))
        await asyncio.sleep(0.01)
        assert not taken.done()
        await desk.put(7, b"work")
        assert await taken == (7, b"work")
        waiting = asyncio.create_task(desk.take(1))
        await asyncio.sleep(0.01)
        await desk.register("name", "handle")
        assert await desk.close() == ["handle"]
        assert await waiting is None

    asyncio.run(story())


class Scripted:
    """An engine that answers in reverse as soon as `together` requests are there, and fails where it is told to."""

    fingerprint = "weights"

    def __init__(self, together=1, fails=None):
        self.together, self.fails, self.calls = together, fails, 0

    def generate(self, requests):
        self.calls += 1
        held = []
        for request in requests:
            if request.prompt_id == self.fails:
                raise EngineError("no more")
            held.append(request)
            if len(held) == self.together:
                while held:
                    yield Completion.failed(held.pop(), "scripted", "nothing: said")


def a_worker(engine, *, streaming, fingerprint="weights"):
    return Worker(POLICY, MACHINE, fingerprint, streaming=streaming, load=lambda *_: engine)


def test_pieces_share_one_stream_of_an_engine_that_streams():
    engine = Scripted(together=15)
    worker = a_worker(engine, streaming=True)
    pieces = [asked(1), asked(3)[5:10], asked(1)]  # the first and the last name the same samples
    answers = [None] * 3

    def ask(i):
        answers[i] = worker.answer(pieces[i])

    threads = [threading.Thread(target=ask, args=(i,), daemon=True) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    for piece, answer in zip(pieces, answers, strict=True):
        assert answer.problem is None
        assert set(by_name(answer.completions)) == {(r.prompt_id, r.role, r.sample) for r in piece}
    assert engine.calls == 1


@pytest.mark.parametrize("streaming", [False, True])
def test_a_problem_is_an_answer_with_what_was_finished(streaming):
    worker = a_worker(Scripted(fails="p1"), streaming=streaming)
    answer = worker.answer(asked(2))
    assert len(answer.completions) == 5
    assert answer.problem == "no more"
    assert worker.answer(asked(1)).problem is None, "the next piece is tried again"


def test_other_weights_under_the_same_name_are_not_used():
    answer = a_worker(Scripted(), streaming=False, fingerprint="others").answer(asked(1))
    assert answer == Answer([], "policy.model = 'nursery': its files differ from those where preppo runs")


def test_without_ray_the_extra_is_named(monkeypatch):
    engine = load_engine(POLICY, MACHINE)
    monkeypatch.setattr("trainer.engines.ray._library", lambda: __import__("no_such_ray"))
    with pytest.raises(EngineError, match=r"pip install 'preppo\[ray\]'"):
        list(engine.generate(asked(1)))
    assert list(engine.generate([])) == [], "nothing is started for nothing"
    engine.close()


# Stands in for the interpreter of vLLM's environment: answers 40 requests together, or what is there after a while.
VLLM = """
import json, select, sys
sys.stdin.readline()
print(json.dumps({"ready": 400}), flush=True)
held = []
while True:
    ready = select.select([sys.stdin.buffer.raw], [], [], 0.5)[0]
    if ready and not (line := sys.stdin.buffer.raw.readline()):
        break
    if ready:
        held.append(json.loads(line))
    if len(held) == 40 or not ready:
        for request in reversed(held):
            answer = {"number": request["number"], "text": str(request["seed"]), "finish": "stop", "prompt_tokens": 1}
            print(json.dumps(answer | {"tokens": 1, "logprob": 0.0}), flush=True)
        held = []
"""

# --- on a cluster ----------------------------------------------------------------------------------------------------

on_ray = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),  # Ray's own
]


def of_ray(root):
    """Return the processes of Ray below a process, as (number, start): a number may be used again."""
    parents, found = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            line = (folder / "cmdline").read_bytes()
            parents[int(folder.name)] = int(stat[1])
            if any(word in line for word in (b"ray::", b"raylet", b"gcs_server", b"/ray/_private/")):
                found[int(folder.name)] = stat[19]

    def below(pid):
        while pid and pid != root:
            pid = parents.get(pid, 0)
        return pid == root

    return {(pid, start) for pid, start in found.items() if below(pid)}


def alive(processes):
    """Return those that have not ended."""
    found = set()
    for pid, start in processes:
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            if stat[0] != "Z" and stat[19] == start:
                found.add((pid, start))
    return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    # Ray's processes inherit these. Actors are the work of this test: on a busy machine they would starve at Ray's 15.
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_worker_niceness="0")
    from ray.cluster_utils import Cluster

    # Room for one actor each: what dies with a node cannot simply start again elsewhere.
    node = {"num_cpus": 1, "object_store_memory": 100 << 20}
    found = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    found.a_node = lambda: found.add_node(**node)
    yield found
    found.shutdown()


@pytest.fixture
def engine(cluster):
    """Return an engine on two nodes, one of them ready to be killed."""
    while len(cluster.list_all_nodes()) < 2:
        cluster.a_node()
    cluster.wait_for_nodes()
    found = load_engine(POLICY, MACHINE.model_copy(update={"ray_address": cluster.address}))
    yield found
    found.close()


def living_actors():
    """Return how many actors of the pool are ready, by node."""
    from ray._private.state import actors

    return Counter(
        a["Address"]["NodeID"]
        for a in actors().values()
        if a["State"] == "ALIVE" and "MapWorker" in a["ActorClassName"]
    )


class TestOnTwoNodes:
    pytestmark = on_ray

    def test_it_gives_the_texts_of_the_engine_inside(self, engine, nursery):
        requests = asked(24)
        taken = []
        first = None
        found = []
        for completion in engine.generate(taken.append(r) or r for r in requests):
            first = first or len(taken)
            found.append(completion)
        assert first < len(requests), "nothing came out before everything was taken in"
        assert engine.fingerprint == nursery.fingerprint
        assert {c.engine for c in found} == {"ray+transformers"}
        assert said(found) == said(list(nursery.generate(requests)))
        # A second call is answered by the same actors; one that has been slow to start may have come to them.
        before = living_actors()
        assert said(list(engine.generate(requests[:20]))) == said(list(nursery.generate(requests[:20])))
        assert living_actors() >= before

    def test_a_node_dies_in_the_middle(self, cluster, engine, nursery, caplog):
        requests = asked(60)
        stream = engine.generate(iter(requests))
        found = [next(stream)]
        wait_until(lambda: len(living_actors()) == 2)
        found += [next(stream) for _ in range(99)]
        victim = cluster.list_all_nodes()[-1]
        assert not victim.head
        with caplog.at_level(logging.WARNING):
            cluster.remove_node(victim, allow_graceful=False)  # SIGKILL
            found += list(stream)
        assert len(living_actors()) == 1
        assert "died" in caplog.text
        assert said(found) == said(list(nursery.generate(requests)))

    def test_a_problem_of_the_model_is_one_line(self, cluster, tmp_path):
        bare = tmp_path / "bare"
        shutil.copytree(NURSERY, bare, ignore=shutil.ignore_patterns("chat_template.jinja"))
        policy = POLICY.model_copy(update={"model": str(bare)})
        engine = load_engine(policy, EngineSettings(ray_address=cluster.address))
        with pytest.raises(EngineError) as raised:
            list(engine.generate(asked(2)))
        engine.close()
        assert str(raised.value).startswith(f"policy.engine = 'ray': model '{bare}' has no chat template: ")
        assert len(str(raised.value).splitlines()) == 1

    @pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
    def test_a_missing_engine_is_one_line(self, cluster):
        engine = load_engine(POLICY, EngineSettings(ray_address=cluster.address, ray_engine="vllm"))
        with pytest.raises(EngineError, match=r"vLLM is not installed for .*; install the extra `vllm`"):
            list(engine.generate(asked(2)))
        engine.close()

    def test_an_engine_that_streams_serves_many_pieces_at_once(self, cluster, engine, tmp_path):
        del engine  # two nodes are there
        python = tmp_path / "python"
        python.write_text(f"#!{sys.executable}\n{VLLM}", encoding="utf-8")
        python.chmod(0o755)
        machine = MACHINE.model_copy(
            update={"ray_address": cluster.address, "ray_engine": "vllm", "vllm_python": str(python)}
        )
        streaming = load_engine(POLICY, machine)
        requests = asked(300)
        found = list(streaming.generate(iter(requests)))
        streaming.close()
        assert {c.engine for c in found} == {"ray+vllm"}
        seeds = {(r.prompt_id, r.role, r.sample): str(r.seed) for r in requests}
        assert {name: c.response for name, c in by_name(found).items()} == seeds

    def test_an_actor_that_no_node_can_hold_is_told_at_once(self, cluster):
        engine = load_engine(POLICY, EngineSettings(ray_address=cluster.address, ray_cpus=64, ray_gpus=2))
        with pytest.raises(EngineError, match=r"an actor needs 64 CPUs and 2 GPUs .* nodes have 1 and 0"):
            list(engine.generate(asked(2)))
        engine.close()

    def test_a_caller_that_goes_away_leaves_nothing_running(self, engine):
        stream = engine.generate(iter(asked(60)))
        next(stream)
        assert living_actors()
        stream.close()
        wait_until(lambda: not living_actors())
        assert len(list(engine.generate(asked(2)))) == 10, "and it can be asked again"


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_cluster_that_was_started_here_ends_here(nursery):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[ray]'")
    before = of_ray(os.getpid())
    engine = load_engine(POLICY, EngineSettings())
    stream = engine.generate(iter(asked(30)))
    found = [next(stream) for _ in range(20)]  # and the rest is still on its way
    started = of_ray(os.getpid()) - before
    assert len(started) >= 4
    engine.close()
    assert not ray.is_initialized()
    wait_until(lambda: not alive(started))  # on a busy machine helpers of Ray's own take a minute to notice
    expected = said(list(nursery.generate(asked(30))))
    assert said(found).items() <= expected.items()
    engine.close()
