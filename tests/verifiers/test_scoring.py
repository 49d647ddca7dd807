"""`POST /reward` over sources written by hand: what is admitted, scored together, refused, and never a score."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.verifiers.service_harness import GatedPool, post, running, until
from verifiers import scoring
from verifiers.admission import Limits
from verifiers.hybrid import GENRM_GROUND_TRUTH, REWARD_MODEL, HybridReward, Reward, Scorable
from verifiers.scoring import Scoring

TALK = {"prompt_id": "t", "messages": [["user", "Hello"]], "response": "Hi"}
GOLD = {**TALK, "prompt_id": "g", "ground_truth": '"7"', "response": "7"}
RULE = {**GOLD, "prompt_id": "r", "verifier": "math", "response": "#### 5"}
MAKERS = {GENRM_GROUND_TRUTH: "judge-1", REWARD_MODEL: "models-1"}


class Fooled(RuntimeError):
    """Says that a source is not to be used."""


class Away(RuntimeError):
    """Says that a source cannot be asked."""


class Hand:
    """A source: longer responses get more; it waits at its gate, and raises what it is told to."""

    def __init__(self, name):
        self.name, self.batches, self.gate, self.error = name, [], threading.Event(), None
        self.gate.set()

    def __call__(self, items):
        self.batches.append([item.response for item in items])
        assert self.gate.wait(30)
        met = any((i.response or "").startswith("bad") for i in items)
        if self.error is not None and (self.error.args == ("all",) or met):
            raise self.error
        return [
            Reward(i.prompt_id, i.sample, len(i.response or "") / 100, self.name, "hand@1", "scored") for i in items
        ]


@pytest.fixture
def sources():
    return {name: Hand(name) for name in MAKERS}


@pytest.fixture
def served(sources):
    """Yield a function that serves the two sources, as (url, service)."""
    pool, opened = GatedPool(), []
    pool.gate.set()

    def serve(queue_tasks=100, **options):
        scoring = Scoring(sources, MAKERS, queue_tasks, unusable=(Fooled,), away=(Away,))
        opened.append(running(pool, scoring=scoring, **options))
        url, service, server = opened[0].__enter__()
        until(lambda: service.problems is not None)
        return url, service, server

    yield serve
    for source in sources.values():
        source.gate.set()
    opened[0].__exit__(None, None, None)


def reward(url, *tasks, **more):
    return post(url, {"tasks": list(tasks), **more}, "reward")


def test_each_task_has_its_source_and_the_order_is_kept(served):
    url, _, _ = served()
    answer = reward(url, TALK, RULE, GOLD, {**RULE, "response": None}, {**TALK, "split": "heldout"}, id="7").json()
    assert answer["id"] == "7"
    told = [(one["source"], one["reward"], one["status"]) for one in answer["rewards"]]
    assert told == [
        (REWARD_MODEL, 0.02, "scored"), ("rtv", 1.0, "correct"), (GENRM_GROUND_TRUTH, 0.01, "scored"),
        ("rtv", None, "no_response"), (REWARD_MODEL, 0.02, "scored"),
    ]  # fmt: skip
    assert answer["rewards"][1]["reward_id"].startswith("math@")
    assert set(answer["rewards"][0]) == {"reward", "source", "reward_id", "status", "detail", "worst"}
    assert reward(url).json() == {"rewards": []}


def test_health_says_who_makes_rewards(served):
    found = httpx2.get(f"{served()[0]}/health", trust_env=False).json()
    assert (found["sources"], found["makers"]) == (["rtv", *MAKERS], MAKERS)
    assert found["score_queue"] == {"waiting": 0, "running": 0, "limit": 100}


def test_a_server_of_rules_rewards_by_rules_alone():
    with running(GatedPool()) as (url, service, _):
        service.pool.gate.set()
        found = reward(url, RULE, TALK).json()["rewards"]
        refused = reward(url, TALK, makers={REWARD_MODEL: None})
    assert [(one["source"], one["reward"], one["status"]) for one in found] == [
        ("rtv", 1.0, "correct"), (None, None, "no_source"),
    ]  # fmt: skip
    assert found[1]["detail"].startswith("no_source: the prompt names no verifier")
    assert refused.status_code == 409
    assert "reward_model is wanted, and this server serves the rule verifiers alone" in refused.json()["error"]


@pytest.mark.parametrize(
    ("makers", "message"),
    [
        (MAKERS | {REWARD_MODEL: "models-2"}, "reward_model is made by models-1 here, and models-2 is wanted"),
        (MAKERS | {"genrm_rubric": None}, "genrm_rubric is wanted, and this server serves the rule verifiers, genrm_g"),
        ({REWARD_MODEL: "models-1"}, "genrm_ground_truth is served here and not wanted"),
        (MAKERS, None),
        (dict.fromkeys(MAKERS), None),
    ],
)
def test_other_makers_than_the_releases_are_refused(served, sources, makers, message):
    answer = reward(served()[0], TALK, makers=makers)
    assert answer.status_code == (200 if message is None else 409)
    assert message is None or message in answer.json()["error"]
    assert len(sources[REWARD_MODEL].batches) == (message is None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt_id": 3}, "tasks[1].prompt_id: must be text, not a number"),
        ({"response": 3}, "tasks[1].response: must be text or null, not a number"),
        ({"messages": "Hello"}, "tasks[1].messages: must be a list of [role, content]"),
        ({"messages": [["user"]]}, "tasks[1].messages: must be a list of [role, content]"),
        ({"messages": [["user", None]]}, "tasks[1].messages: must be a list of [role, content]"),
        ({"ground_truth": 7}, "tasks[1].ground_truth: must be text or null, not a number"),
        ({"finish_reason": "eos"}, "tasks[1].finish_reason: must be one of stop, length, error"),
        ({"sample": 1}, "tasks[1].sample: unknown; allowed: prompt_id, messages, response"),
    ],
)
def test_a_wrong_field_is_named_with_its_task(served, change, message):
    answer = reward(served()[0], TALK, {**TALK, **change})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(message)


def test_bodies_that_are_no_request(served):
    url, _, _ = served(limits=Limits(request_tasks=2))
    assert reward(url, {"prompt_id": "t", "messages": []}).json()["error"] == "tasks[0].response: missing"
    assert reward(url, 7).json()["error"] == "tasks[0]: must be an object, not a number"
    assert reward(url, *[TALK] * 3).status_code == 413
    assert reward(url, TALK, makers=["x"]).json()["error"].startswith("makers must be an object")
    assert reward(url, TALK, other=1).json()["error"].endswith('an optional "id" and "makers" and nothing else')
    broken = httpx2.post(f"{url}/reward", content=b"{", headers={"Content-Type": "application/json"}, trust_env=False)
    assert (broken.status_code, broken.json()["error"].startswith("the body is not JSON")) == (400, True)


def test_what_waits_is_scored_together_and_equal_responses_once(served, sources):
    url, service, _ = served()
    source = sources[REWARD_MODEL]
    source.gate.clear()
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(reward, url, TALK)
        until(lambda: source.batches)
        texts = ["a", "bb", "a", "ccc", "a", "bb", "dddd", "a"]
        others = [threads.submit(reward, url, {**TALK, "response": text}) for text in texts]
        until(lambda: httpx2.get(f"{url}/health", trust_env=False).json()["score_queue"]["waiting"] == 8)
        source.gate.set()
        assert first.result().json()["rewards"][0]["reward"] == 0.02
        assert [one.result().json()["rewards"][0]["reward"] for one in others] == [len(text) / 100 for text in texts]
    assert len(source.batches) == 2
    assert sorted(source.batches[1]) == ["a", "bb", "ccc", "dddd"]
    assert not service.waiting


def test_rules_do_not_wait_for_models(served, sources):
    url, _, _ = served()
    sources[REWARD_MODEL].gate.clear()
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(reward, url, TALK)
        until(lambda: sources[REWARD_MODEL].batches)
        assert reward(url, RULE).json()["rewards"][0]["reward"] == 1.0
        assert not slow.done()
        sources[REWARD_MODEL].gate.set()


def test_a_full_queue_refuses_whole_requests(served, sources):
    url, service, _ = served(queue_tasks=4)
    sources[REWARD_MODEL].gate.clear()
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(reward, url, TALK, TALK, TALK)
        until(lambda: sources[REWARD_MODEL].batches)
        full = reward(url, TALK, TALK, RULE)
        assert (full.status_code, full.headers["Retry-After"]) == (429, "1")
        assert "3 of 4 tasks wait" in full.json()["error"]
        assert not service.waiting  # the rule's task was given back
        sources[REWARD_MODEL].gate.set()
        assert len(slow.result().json()["rewards"]) == 3
    assert reward(url, TALK).status_code == 200


def test_a_client_that_goes_away_leaves_nothing(served, sources):
    url, _, server = served()
    sources[REWARD_MODEL].gate.clear()
    scoring = server.config.app.state.scoring
    for _ in range(2):
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(f"{url}/reward", json={"tasks": [TALK]}, trust_env=False, timeout=0.3)
    until(lambda: scoring.room.waiting.total() == 1 and not len(scoring.queue))
    sources[REWARD_MODEL].gate.set()
    until(lambda: not scoring.room.waiting)
    assert len(sources[REWARD_MODEL].batches) == 1


def test_a_source_that_is_fooled_is_asked_no_more(served, sources):
    url, _, _ = served()
    judge = sources[GENRM_GROUND_TRUTH]
    judge.error = Fooled("all")
    found = reward(url, GOLD, TALK, RULE).json()["rewards"]
    assert [(one["status"], one["reward"]) for one in found] == [("unusable", None), ("scored", 0.02), ("correct", 1.0)]
    assert found[0]["detail"] == "all"
    refused = reward(url, GOLD)
    assert (refused.status_code, refused.json()["error"]) == (409, "genrm_ground_truth is not to be used: all")
    assert reward(url, TALK).status_code == 200
    assert len(judge.batches) == 1
    health = httpx2.get(f"{url}/health", trust_env=False)
    assert (health.status_code, health.json()["problems"]) == (503, {GENRM_GROUND_TRUTH: "all"})


def test_a_source_that_is_away_may_come_back(served, sources):
    url, _, _ = served()
    sources[GENRM_GROUND_TRUTH].error = Away("all")
    assert reward(url, GOLD).json()["rewards"][0]["status"] == "unavailable"
    assert httpx2.get(f"{url}/health", trust_env=False).json()["problems"] == {GENRM_GROUND_TRUTH: "all"}
    sources[GENRM_GROUND_TRUTH].error = None
    assert reward(url, GOLD).json()["rewards"][0]["reward"] == 0.01
    assert httpx2.get(f"{url}/health", trust_env=False).status_code == 200


def test_a_defect_costs_the_response_that_meets_it(served, sources):
    url, _, _ = served()
    sources[REWARD_MODEL].error = MemoryError("too long")
    found = reward(url, *({**TALK, "response": text} for text in ("a", "bb", "bad", "cccc"))).json()["rewards"]
    assert [one["reward"] for one in found] == [0.01, 0.02, None, 0.04]
    assert (found[2]["status"], found[2]["detail"]) == ("error", "error: MemoryError: too long")


def test_a_source_that_fails_on_everything_is_away(served, sources):
    url, _, _ = served()
    sources[REWARD_MODEL].error = RuntimeError("the GPU is lost")
    found = reward(url, *({**TALK, "response": f"bad {n}"} for n in range(8))).json()["rewards"]
    assert {one["status"] for one in found} == {"unavailable"}
    assert "the GPU is lost" in httpx2.get(f"{url}/health", trust_env=False).json()["problems"][REWARD_MODEL]


def test_being_woken_for_nothing_costs_nothing(monkeypatch):
    """A request of rules alone has no response for models, and thousands of them come."""
    monkeypatch.setattr(scoring, "GATHER_S", 0)

    async def woken() -> int:
        made = scoring.Scoring({}, {}, 8)
        waiting = asyncio.ensure_future(made._next_batch())
        for _ in range(3000):
            made._awake.set()
            await asyncio.sleep(0)
        made.submit("c", [Scorable("a" * 32, 0, (("user", "?"),), "!")])
        return len(await asyncio.wait_for(waiting, 5))

    assert asyncio.run(woken()) == 1


def test_a_reward_that_is_none_is_no_score(served):
    url, _, _ = served()
    found = reward(url, {**TALK, "response": "x" * 101}).json()["rewards"][0]
    assert (found["reward"], found["status"], found["detail"]) == (None, "error", "the source failed: a reward of 1.01")


def test_ending_finishes_what_is_being_scored_and_takes_nothing_new(served, sources):
    url, _, server = served()
    sources[REWARD_MODEL].gate.clear()
    with ThreadPoolExecutor(1) as threads, httpx2.Client(trust_env=False) as held:
        held.get(f"{url}/health")
        slow = threads.submit(reward, url, TALK)
        until(lambda: sources[REWARD_MODEL].batches)
        server._service.draining = True
        refused = held.post(f"{url}/reward", json={"tasks": [TALK]})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        server.end()
        sources[REWARD_MODEL].gate.set()
        assert slow.result().json()["rewards"][0]["reward"] == 0.02


def test_the_token_is_demanded(served):
    url, _, _ = served(token="0123456789abcdef-secret")
    assert reward(url, TALK).status_code == 401
    answer = httpx2.get(f"{url}/health", trust_env=False)
    assert answer.json() == {"status": "ok"}


def test_a_long_answer_shows_signs_of_life(served, sources, monkeypatch):
    monkeypatch.setattr("verifiers.endpoints.HEARTBEAT_S", 0.05)
    url, _, _ = served()
    sources[REWARD_MODEL].gate.clear()
    with httpx2.stream("POST", f"{url}/reward", json={"tasks": [TALK]}, trust_env=False) as answer:
        parts = answer.iter_bytes()
        assert next(parts).strip() == b""
        sources[REWARD_MODEL].gate.set()
        assert b'"reward": 0.02' in b"".join(parts)


def test_a_reward_depends_on_task_and_response_alone():
    """`sample`, place and company do not count; equal responses are scored once; what differs anywhere is apart."""
    asked = []

    def source(items):
        asked.extend(items)
        return [Reward(i.prompt_id, i.sample, (i.sample % 97) / 97, REWARD_MODEL) for i in items]

    hybrid = HybridReward({REWARD_MODEL: source})
    one = Scorable(prompt_id="p", sample=3, messages=(("user", "\ud800?"),), response="x")
    same = Scorable(prompt_id="p", sample=9, messages=(("user", "\ud800?"),), response="x")
    other = Scorable(prompt_id="p", sample=3, messages=(("user", "\ud800?"),), response="x", reference="y")
    alone = hybrid.score_by_content([one])[0].reward
    assert [r.reward for r in hybrid.score_by_content([other, same, one])][1:] == [alone, alone]
    assert len(asked) == 3
    assert len({item.sample for item in asked}) == 2
