"""`preppo reward serve` with the shipped judge and reward model: over HTTP rewards are those in process."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import httpx2
import pytest

from pipeline.reward import open_scoring
from tests.pipeline.test_reward_command import refused, started
from tests.trainer.exports.conftest import MATHS, release, row
from tests.verifiers.service_harness import until
from trainer.exports.contract import Options
from trainer.exports.export import export_release
from trainer.hybrid import hybrid_reward, makers
from trainer.nursery.gold_cases import gold_of, problems
from verifiers.hybrid import Scorable
from warehouse.settings import Settings

pytestmark = pytest.mark.usefixtures("one_thread")
TOKEN = "0123456789abcdef-secret"
JUDGE = {"model": "nursery-judge", "gold_template": "nursery-gold", "against": ["ground_truth"], "canaries": 2,
         "device": "cpu", "dtype": "float32"}  # fmt: skip
MODELS = {"models": ["nursery-reward"], "device": "cpu", "dtype": "float32"}
SUN = "Tell me about the sun in one sentence."


def toml(**sections):
    lines = ["[verifiers]", "workers = 1"]
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def listening(process):
    """Return the address of a server that says so."""
    line = process.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+", line)
    assert found, line + process.stderr.read()
    return found[0], line


@pytest.fixture(scope="module")
def word_problems():
    return list(islice({t.prompt: t for t in islice(problems(78, held_out=True), 200)}.values(), 24))


@pytest.fixture(scope="module")
def exported(tmp_path_factory, word_problems):
    """Return the folder of an export with a rule's prompt, those of a judge, and one of a reward model."""
    folder = tmp_path_factory.mktemp("served")
    judged = [row([("user", t.prompt)], "mixture", None, json.dumps(gold_of(t)), reward_source="genrm_ground_truth")
              for t in word_problems]  # fmt: skip
    open_one = row([("user", SUN)], "mixture", None, None, reference="The sun is hot.", reference_kind="best_of_n")
    found = release(
        folder / "release", [row(MATHS, "mixture"), *judged, open_one], [], judge=JUDGE, reward_model=MODELS
    )
    return export_release(found, "jsonl", folder / "out", Options(with_models=True)).folder


@pytest.fixture(scope="module")
def asked(exported, word_problems):
    """Return (task, response) of every prompt: what is right, what is wrong, and what is no answer."""
    tasks = [json.loads(line)["task"] for line in (exported / "train.jsonl").read_text().splitlines()]
    pairs = [(tasks[0], "#### 4"), (tasks[0], "#### 5"), (tasks[-1], "The sun is hot."), (tasks[-1], "The sun is big.")]
    for task, problem in zip(tasks[1:], word_problems, strict=False):
        gold = gold_of(problem)
        pairs += [(task, f"The answer is {gold}."), (task, f"The answer is {int(gold) + 1}."), (task, "")]
    return pairs


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Yield (process, address) of a server with judge and reward model; it has ended well afterwards."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "preppo.toml").write_text(toml(judge=JUDGE, reward_model=MODELS))
    process = started(folder, "--port", "0", PREPPO_REWARD_TOKEN=TOKEN, OMP_NUM_THREADS="1")
    try:
        url, line = listening(process)
        assert line.startswith(f"verifiers, genrm_ground_truth, reward_model on {url} (1 workers, bubblewrap, with a")
        yield process, url
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "")
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def served(server):
    return server[1]


@pytest.fixture(scope="module")
def in_process(exported, asked):
    """Return what `HybridReward` gives in this process, by the settings that travel with the export."""
    settings = Settings.model_validate(json.loads((exported / "export.json").read_text())["reward_settings"])
    items = [
        Scorable(
            prompt_id=task["prompt_id"], sample=n, messages=tuple(map(tuple, task["messages"])), response=response,
            verifier=task.get("verifier"), ground_truth=task.get("ground_truth"), reference=task.get("reference"),
        )
        for n, (task, response) in enumerate((json.loads(text), response) for text, response in asked)
    ]  # fmt: skip
    with hybrid_reward(settings, 1) as hybrid:
        return [(one.source, one.status, one.reward) for one in hybrid.score_by_content(items)]


@pytest.fixture
def reward(exported, served, monkeypatch):
    """Return the reward file of the export, imported by path, and told where the server is."""
    monkeypatch.setenv("PREPPO_REWARD_URL", served)
    monkeypatch.setenv("PREPPO_REWARD_TOKEN", TOKEN)
    monkeypatch.setenv("PREPPO_SIGNALS", "off")
    spec = importlib.util.spec_from_file_location("preppo_reward", exported / "preppo_reward.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "preppo_reward", module)
    spec.loader.exec_module(module)
    return module


def same(found, wanted):
    assert [(one[1], one[2]) for one in found] == [one[:2] for one in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one[0] == (None if other[2] is None else pytest.approx(other[2], abs=1e-4))


def test_the_export_names_the_makers(exported, served):
    told = json.loads((exported / "export.json").read_text())
    settings = Settings.model_validate({"judge": JUDGE, "reward_model": MODELS})
    assert (told["with_models"], told["makers"]) == (True, makers(settings))
    health = httpx2.get(f"{served}/health", headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False).json()
    assert health["makers"] == told["makers"]
    assert httpx2.post(f"{served}/reward", json={"tasks": []}, trust_env=False).status_code == 401


def test_a_file_with_the_standard_library_alone_gets_the_same_rewards(exported, asked, served, in_process, tmp_path):
    tasks, responses = zip(*asked, strict=True)
    (tmp_path / "asked.json").write_text(json.dumps([tasks, responses]))
    program = "import json, sys, preppo_reward as p; print(json.dumps(p.score(*json.load(open(sys.argv[1])))))"
    environment = {"PATH": os.environ["PATH"], "PREPPO_REWARD_URL": served, "PREPPO_REWARD_TOKEN": TOKEN,
                   "PREPPO_SIGNALS": "off"}  # fmt: skip
    command = [sys.executable, "-S", "-c", program, str(tmp_path / "asked.json")]
    done = subprocess.run(command, cwd=exported, env=environment, capture_output=True, text=True, check=True)
    same(json.loads(done.stdout), in_process)
    rewards = [one[2] for one in in_process]
    assert rewards[:2] == [1.0, 0.0]
    assert rewards[2] == pytest.approx(0.5), "as good as the reference, which it is"
    assert {one[0] for one in in_process} == {"rtv", "genrm_ground_truth", "reward_model"}
    right, wrong, empty = (rewards[4 + n :: 3] for n in range(3))
    assert min(right) > 0.4
    assert sum(score < 0.25 for score in wrong) >= 0.9 * len(wrong)
    assert set(empty) == {0.0}  # not_an_answer


def test_many_at_once_one_by_one_get_the_same(reward, asked, in_process):
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda one: reward.score([one[0]], [one[1]])[0], asked))
    same(found, in_process)


def test_another_judge_than_the_releases_is_told(reward, asked, monkeypatch):
    reward._about()["makers"]["genrm_ground_truth"] = "ab" * 16
    with pytest.raises(
        reward.RewardError, match=r"409.*genrm_ground_truth is made by \w{12} here, and abababababab is"
    ):
        reward.score([asked[0][0]], ["#### 4"])
    monkeypatch.setenv("PREPPO_REWARD_MAKERS", "any")
    assert reward.score([asked[0][0]], ["#### 4"])[0].reward == 1.0


def judged(settings, word_problems):
    """Return what a judge of these settings comes to, and what is wrong with it."""
    items = [
        Scorable(prompt_id=str(n), sample=0, messages=(("user", t.prompt),), response=f"It is {gold_of(t)}.",
                 ground_truth=json.dumps(gold_of(t)))
        for n, t in enumerate(word_problems)
    ]  # fmt: skip
    with open_scoring(Settings.model_validate({"judge": settings}), 100, rules_only=False) as scoring:
        return scoring.score(items), scoring.problems()


def test_a_judge_that_its_canaries_fool_rewards_nothing(word_problems):
    """It was trained for another template, so that it gives no verdict on them."""
    strange = {"gold_template": "pairwise-gold", "canaries": 4, "retries": 0, "max_tokens": 8}
    found, problems = judged(JUDGE | strange, word_problems[:6])
    assert {(one.status, one.reward) for one in found} == {("unusable", None)}
    assert "its scores are not to be used" in problems["genrm_ground_truth"]


def test_a_judge_whose_server_is_gone_rewards_nothing(word_problems):
    serving = {"base_urls": ["http://127.0.0.1:1/v1"], "retries": 0}
    found, problems = judged(JUDGE | {"engine": "openai", "serving": serving}, word_problems)
    assert {(one.status, one.reward) for one in found} == {("unavailable", None)}
    assert "the judge cannot be asked" in problems["genrm_ground_truth"]


def test_rules_alone_need_no_torch(tmp_path):
    (tmp_path / "preppo.toml").write_text(toml(judge=JUDGE, reward_model=MODELS))
    process = started(tmp_path, "--port", "0", "--rules-only")
    try:
        url, line = listening(process)
        assert line.startswith("verifiers on http")
        found = httpx2.get(f"{url}/health", trust_env=False).json()
        assert (found["sources"], found["makers"]) == (["rtv"], {})
        assert "torch" not in Path(f"/proc/{process.pid}/maps").read_text()
    finally:
        process.kill()
        process.communicate()


def test_a_model_that_is_not_there_is_told_at_once(tmp_path):
    (tmp_path / "preppo.toml").write_text(toml(judge=JUDGE | {"model": "./nowhere"}))
    code, said = refused(tmp_path, "--port", "0")
    assert (code, said) == (2, "preppo: judge.model = './nowhere': no such folder: nowhere")


def test_a_judge_that_cannot_be_started_is_told_at_once(tmp_path):
    (tmp_path / "preppo.toml").write_text(toml(judge=JUDGE | {"gold_template": "rubric"}))
    code, said = refused(tmp_path, "--port", "0")
    assert code == 2
    assert said.startswith("preppo: judge.gold_template = 'rubric'")


def test_told_to_end_while_it_judges_it_finishes(server, word_problems):
    process, url = server
    asked = {"trust_env": False, "headers": {"Authorization": f"Bearer {TOKEN}"}, "timeout": 60}
    tasks = [
        {"prompt_id": str(n), "messages": [["user", t.prompt]], "ground_truth": json.dumps(gold_of(t)),
         "response": f"It is {gold_of(t)}."}
        for n, t in enumerate(word_problems)
    ]  # fmt: skip
    with ThreadPoolExecutor(1) as threads:
        slow = threads.submit(httpx2.post, f"{url}/reward", json={"tasks": tasks}, **asked)
        until(lambda: httpx2.get(f"{url}/health", **asked).json()["score_queue"]["running"] == len(tasks))
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert process.poll() is None
        rewards = [one["reward"] for one in slow.result().json()["rewards"]]
    assert len(rewards) == len(tasks) and min(rewards) > 0.4
    assert process.wait(60) == 0
