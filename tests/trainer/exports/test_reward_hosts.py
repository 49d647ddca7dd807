"""The reward file on hosts where verifiers have not what they need: it stops there, and for no response's sake."""

import json
import shutil

import pytest

from tests.trainer.exports.conftest import CALLS, RIGHT, tasks_of
from tests.verifiers.service_harness import FaultyServer, http, running
from verifiers import Task, VerifierPool
from verifiers.code_limits import Limits
from verifiers.code_programs import run_programs
from verifiers.remote import RemoteVerifier


@pytest.fixture
def without_sandbox(monkeypatch, tmp_path):
    """Take bubblewrap away from workers that start from now on."""
    monkeypatch.setenv("PATH", str(tmp_path))


def test_code_without_a_sandbox_ends_the_training(without_sandbox, way, exported, reward_of):
    """Or every response that holds code would get the fixed value, and nobody would know."""
    module = reward_of.load(exported("jsonl"))
    maths, code = tasks_of(exported)
    right = [RIGHT["math"], RIGHT["code"]]
    assert [one.reward for one in module.score([maths, code], right, ["stop", "length"])] == [1.0, None]
    with pytest.raises(module.RewardError, match=r"the verifier code cannot decide .*: refused: .*bubblewrap") as told:
        module.score([maths, code], right)
    assert ("set PREPPO_REWARD_URL" in str(told.value)) == (way == "in process")
    parts = [{"verifier": "math", "ground_truth": "4"}, {"verifier": "code", "ground_truth": json.loads(CALLS)}]
    both = json.dumps({**json.loads(code), "verifier": "all", "ground_truth": json.dumps(parts)})
    with pytest.raises(module.RewardError, match=r"the verifier all cannot decide .*: code: refused: .*bubblewrap"):
        module.score([both], ["#### 4\n" + RIGHT["code"]])


def verdicts_of(module, told):
    """Return an answer of `FaultyServer`: a verdict of the verifier for maths after another, from (status, detail)."""
    given = iter(told)

    def answer(connection, body, _):
        found = []
        for _ in json.loads(body)["tasks"]:
            status, detail = next(given)
            score = {"correct": 1.0, "unparsed": 0.0}.get(status)
            version = module._about()["verifiers"]["math"]
            found.append({"verifier": "math", "version": version, "score": score, "status": status, "detail": detail})
        http(connection, 200, json.dumps({"verdicts": found}).encode())

    return answer


@pytest.fixture
def lacking(monkeypatch):
    """Return details of verdicts that say what a host lacks, as verifiers give them."""
    task = Task("math", "\\boxed{1 + x}", '"x + 1"')
    with RemoteVerifier("http://127.0.0.1:1", retries=0) as away:
        found = [away.verify([task])[0].detail]
    with FaultyServer(lambda connection, *_: http(connection, 401)) as server, RemoteVerifier(server.url) as refusing:
        found.append(refusing.verify([task])[0].detail)
    with VerifierPool(1) as pool, running(pool) as (url, _, _), RemoteVerifier(url, versions={"math": "0"}) as other:
        found.append(other.verify([task])[0].detail)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    found.append(run_programs("", {"language": "cpp"}, Limits(1.0, 1.0, 64), 0.0).detail)
    return [*found, "no worker starts: ModuleNotFoundError: No module named 'sympy'"]


def test_a_verifier_that_lacks_what_it_needs_ends_the_training(lacking, exported, reward_of, monkeypatch):
    module = reward_of.load(exported("jsonl"))
    maths = tasks_of(exported)[0]
    for detail in lacking:
        lost, more = [("error", detail)] * 3, [("unparsed", "no answer found"), ("timeout", "no decision within 5 s")]
        told = [*lost, ("correct", "boxed"), *lost, *more, ("error", detail)]
        with FaultyServer(verdicts_of(module, told)) as server:
            monkeypatch.setenv("PREPPO_REWARD_URL", server.url)
            found = module.score([maths] * 9, ["x"] * 9)
            assert [one.detail for one in found] == [why for _, why in told[:-1]]
            with pytest.raises(module.RewardError, match="the verifier math cannot decide anything where rewards are"):
                module.score([maths], ["x"])
        module._state.clear()


HARMLESS = [
    "the verifier failed: ValueError: refused: no code is run",
    "math: the verifier failed: KeyError: refused: x",
    "the verifier pool failed: RuntimeError: refused: x",
    "the worker died twice on this task (signal 9)",
    "the sandbox ended twice: it has ended",
    "the solution was killed from outside: is there enough memory?",
    "the reward server at http://host:1 refused the task: response: must be text",
    "the reward server at http://host:1 refused: 413 too long",
    "x" * 100_000 + ": refused: ",
]


def test_errors_that_responses_cause_never_end_a_training(exported, reward_of, monkeypatch):
    module = reward_of.load(exported("jsonl"))
    told = [("error", detail) for detail in HARMLESS for _ in range(6)] + [("correct", "boxed")]
    with FaultyServer(verdicts_of(module, told)) as server:
        monkeypatch.setenv("PREPPO_REWARD_URL", server.url)
        found = module.score(tasks_of(exported)[:1] * len(told), ["x"] * len(told))
    assert [one.reward for one in found] == [None] * (len(told) - 1) + [1.0]
    logged = [one["detail"] for one in reward_of.signals()]
    assert logged == [detail[: module.SHOWN] for _, detail in told[:-1]] + [None]
