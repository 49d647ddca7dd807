"""The reward file of an export, imported by path as trainers do: right and wrong answers, in process and over HTTP."""

import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import datasets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.exports.conftest import CODE, MATHS, RIGHT, UNSCORED, WRONG, release, rows, tasks_of
from tests.verifiers.service_harness import FaultyServer, http, running
from trainer.exports.contract import Options
from trainer.exports.export import export_release
from trainer.exports.preppo_reward import _after
from verifiers import VerifierPool
from warehouse.curation.identity import prompt_id
from warehouse.signal_lines import read_signals


def test_right_and_wrong(way, exported, reward_of):
    module = reward_of.load(exported("jsonl"))
    maths, code = tasks_of(exported)
    found = module.score(
        [maths, maths, code, code], [RIGHT["math"], WRONG["math"], RIGHT["code"], WRONG["code"]], step=3
    )
    assert [one.reward for one in found] == [1.0, 0.0, 1.0, 0.0]
    assert {one.source for one in found} == {"rtv"}
    cut, missing = module.score([maths, maths], ["#### 4", None], ["length", "stop"])
    assert [(one.reward, one.status) for one in (cut, missing)] == [(None, "truncated"), (None, "no_response")]
    logged = reward_of.signals()
    assert [(one["step"], one["sample"], one["reward"]) for one in logged[:4]] == [
        (3, 0, 1.0), (3, 1, 0.0), (3, 0, 1.0), (3, 1, 0.0),
    ]  # fmt: skip
    assert [one["prompt_id"] for one in logged[:3:2]] == [prompt_id(MATHS), prompt_id(CODE)]
    assert {(one["training_run_id"], one["release_id"]) for one in logged} == {("training-1", "ab" * 16)}
    assert [(one["step"], one["reward"], one["status"]) for one in logged[4:]] == [
        (None, None, "truncated"), (None, None, "no_response"),
    ]  # fmt: skip


def test_trl_gets_none(exported, reward_of):
    module = reward_of.load(exported("trl"))
    data = datasets.load_dataset("parquet", data_files=str(exported("trl") / "train.parquet"), split="train")
    maths = data[0]["task"]
    completions = [[{"role": "assistant", "content": text}] for text in ("#### 4", "#### 5", "#### 4")]
    shares = []
    reward = module.max_tokens_reward(4, [7])
    given = {"completions": completions, "completion_ids": [[1, 7], [1, 1, 1, 7], [1, 1, 1, 1]], "task": [maths] * 3,
             "log_metric": lambda name, value: shares.append((name, value))}  # fmt: skip
    assert reward(**given, prompts=[], prompt_id=["x"] * 3) == [1.0, 0.0, None]
    assert shares == [("preppo_undecided", 1 / 3)]
    assert [one["response_tokens"] for one in reward_of.signals()] == [2, 4, 4]
    assert module.trl_reward(["#### 4"], [maths]) == [1.0]  # prompts that are text have completions that are text


def test_verl_gets_the_fixed_value(exported, reward_of):
    module = reward_of.load(exported("verl"))
    data = datasets.load_dataset("parquet", data_files=str(exported("verl") / "train.parquet"), split="train")
    row = data[0]
    asked = row["data_source"], RIGHT["math"], row["reward_model"]["ground_truth"]
    assert module.compute_score(*asked, row["extra_info"]) == {"score": 1.0, "acc": 1.0, "preppo_undecided": 0.0}
    with pytest.raises(ValueError, match="no `task`"):
        module.compute_score(*asked, {})
    broken = {"task": row["extra_info"]["task"].replace('"math"', '"no such verifier"')}
    assert module.compute_score(*asked, broken) == {"score": 0.25, "acc": 0.25, "preppo_undecided": 1.0}
    assert module.compute_score(*asked, broken, null_reward=0.5)["score"] == 0.5


def test_openrlhf_gets_tensors(exported, reward_of):
    module = reward_of.load(exported("openrlhf"))
    line = json.loads((exported("openrlhf") / "train-01-warm-up.jsonl").read_text().splitlines()[0])
    prompt = "<|user|>What is 2 + 2?<|end|><|assistant|>"
    queries = [prompt + "#### 4<|end|>", prompt + "#### 5</s>", "another prompt #### 4"]
    found = module.reward_func(queries, [prompt] * 3, [line["label"]] * 3)
    assert found["rewards"].tolist() == [1.0, 0.0, 0.0]
    assert found["extra_logs"]["preppo_undecided"].tolist() == [0.0, 0.0, 1.0]
    assert isinstance(found["scores"], torch.Tensor)
    assert [one["status"] for one in reward_of.signals()] == ["correct", "incorrect", "no_response"]


@pytest.mark.parametrize(
    ("prompt", "query", "response"),
    [
        ("<s>[INST] 2 + 2? [/INST]", "<s> [INST] 2 + 2? [/INST] #### 4</s>", " #### 4"),
        ("What is it ?\n\n", "<pad><s> What is it?\n\n  indented\n<|end|>", "  indented"),
        ("def f(x):\n", "<s>  def f(x):\n    return x", "    return x"),
        ("def f(x):\n", "def  f(x):     return x</s>", "     return x"),
        ("a b", "b a  b a b", " a b"),
        ("\u00a0a\u2003b", "ab", ""),
        ("", "29</s>", "29"),
        ("  ", "29", "29"),
        ("a b", "a c", None),
        ("a b c", "a b", None),
        ("a b", "", None),
    ],
)
def test_a_response_is_told_from_its_prompt(exported, reward_of, prompt, query, response):
    assert reward_of.load(exported("openrlhf"))._after(prompt, query) == response


BLANKS = st.text(" \n\t\u00a0", max_size=2)


@given(st.lists(st.tuples(st.sampled_from("ab?"), BLANKS, BLANKS), min_size=1), st.text("cd \n"))
def test_blanks_in_prompts_do_not_count(signs, response):
    prompt, decoded = ("".join(sign + one[n] for sign, *one in signs) for n in (0, 1))
    found = _after(prompt, f"<s>{decoded}{response}</s>")
    assert found is not None
    assert found.strip() == response.strip()


def test_openrlhf_ends_where_prompts_are_never_found(exported, reward_of):
    module = reward_of.load(exported("openrlhf"))
    labels = tasks_of(exported)[:1]
    for _ in range(2):
        module.reward_func(["x"] * (module.LOST - 1), ["y"] * (module.LOST - 1), labels * (module.LOST - 1))
        module.reward_func(["y #### 4"], ["y"], labels)
    for _ in range(module.LOST - 1):
        assert module.reward_func(["x"], ["y"], labels)["extra_logs"]["preppo_undecided"].tolist() == [1.0]
    for _ in range(2):  # also where a trainer asks again
        with pytest.raises(module.RewardError, match=r"64 queries on end .*prompt is 'y' and its query 'x'"):
            module.reward_func(["x"], ["y"], labels)


def test_reward_models_in_process(tmp_path, reward_of, one_thread):
    found = release(tmp_path / "release", [*rows(), UNSCORED], [])
    folder = export_release(found, "jsonl", tmp_path / "out", Options(with_models=True)).folder
    module = reward_of.load(folder)
    task = json.loads((folder / "train.jsonl").read_text().splitlines()[5])["task"]
    one = module.score([task], ["Roses are red."])[0]
    assert (one.source, one.reward) == ("reward_model", 0.5)  # as good as the reference, which it is


def test_other_models_than_those_of_the_export_are_refused(tmp_path, reward_of, monkeypatch):
    found = release(tmp_path / "release", [*rows(), UNSCORED], [])
    folder = export_release(found, "jsonl", tmp_path / "out", Options(with_models=True)).folder
    about = json.loads((folder / "export.json").read_text())
    assert about["makers"]["reward_model"]
    about["makers"]["reward_model"] = "another"
    (folder / "export.json").write_text(json.dumps(about))
    module = reward_of.load(folder)
    task = json.loads((folder / "train.jsonl").read_text().splitlines()[5])["task"]
    with pytest.raises(module.RewardError, match="reward_model: the judge or the reward models here are not those of"):
        module.score([task], ["Roses are red."])
    monkeypatch.setenv("PREPPO_REWARD_MAKERS", "any")
    assert module.score([task], ["Roses are red."])[0].source == "reward_model"


def test_many_threads_at_a_time(way, exported, reward_of):
    """OpenRLHF and verl call from threads, a response at a time."""
    module = reward_of.load(exported("jsonl"))
    maths, code = tasks_of(exported)
    asked = [(maths, RIGHT["math"]), (maths, WRONG["math"]), (code, RIGHT["code"]), (code, WRONG["code"])] * 8
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda one: module.score([one[0]], [one[1]])[0].reward, asked))
    assert found == [1.0, 0.0] * 16
    keys = [(one["prompt_id"], one["sample"]) for one in reward_of.signals()]
    assert sorted(keys) == sorted({(one, n) for one in {key[0] for key in keys} for n in range(16)})


def test_heldout_prompts_leave_no_line(exported, reward_of):
    module = reward_of.load(exported("jsonl"))
    task = json.loads((exported("jsonl") / "heldout.jsonl").read_text())["task"]
    assert module.score([task], ["#### 4"])[0].reward == 1.0
    with pytest.raises(FileNotFoundError):
        reward_of.signals()


def test_prompts_that_nobody_scores_over_http(exported, reward_of, monkeypatch):
    module = reward_of.load(exported("jsonl"))
    monkeypatch.setenv("PREPPO_REWARD_URL", "http://127.0.0.1:1")  # nothing is asked
    task = json.dumps({"prompt_id": "0" * 32, "messages": []})
    assert module.score([task], ["x"])[0] == (None, None, "no_source", None, None)


def test_verifiers_of_another_version_are_refused(exported, reward_of, tmp_path, monkeypatch):
    module = reward_of.load(exported("jsonl"))
    module._about()["verifiers"]["math"] = "0"
    with pytest.raises(module.RewardError, match=r"verifier math is .* and was 0 when the release was exported"):
        module.score(tasks_of(exported)[:1], ["#### 4"])
    monkeypatch.setenv("PREPPO_VERIFIER_VERSIONS", "any")
    assert module.score(tasks_of(exported)[:1], ["#### 4"])[0].reward == 1.0


def test_a_server_that_is_gone_or_refuses(exported, reward_of, monkeypatch):
    module = reward_of.load(exported("jsonl"))
    monkeypatch.setenv("PREPPO_REWARD_PATIENCE_S", "0.5")
    monkeypatch.setenv("PREPPO_REWARD_URL", "http://127.0.0.1:1")
    with pytest.raises(module.RewardError, match="gives no verdicts"):
        module.score(tasks_of(exported)[:1], ["#### 4"])
    with FaultyServer(lambda connection, _, __: http(connection, 401, b"a token is needed")) as server:
        monkeypatch.setenv("PREPPO_REWARD_URL", server.url)
        with pytest.raises(module.RewardError, match="refused: 401: a token is needed"):
            module.score(tasks_of(exported)[:1], ["#### 4"])


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:8400", "localhost:8400", "file:///etc/hostname", "http://", "http://me:secret@host:1", "http://host:x",
     "http://host?a=b", "http://a host", "http://[::1"],
)  # fmt: skip
def test_a_url_that_names_no_server_is_refused_at_once(exported, reward_of, monkeypatch, url):
    module = reward_of.load(exported("jsonl"))
    monkeypatch.setattr(module.time, "sleep", lambda _: pytest.fail("nothing is to be waited for"))
    monkeypatch.setenv("PREPPO_REWARD_URL", url)
    with pytest.raises(module.RewardError, match=r"PREPPO_REWARD_URL=.*must be like http://127.0.0.1:8400"):
        module.score(tasks_of(exported)[:1], ["#### 4"])


def test_the_token_is_a_setting_like_the_others(exported, reward_of):
    module = reward_of.load(exported("verl"))
    task = {"task": tasks_of(exported)[0]}
    with VerifierPool(1) as pool, running(pool, token="s" * 32) as (url, _, _):
        settings = {"reward_url": url, "reward_token": "s" * 32}
        assert module.compute_score("preppo", "#### 4", "", task, **settings)["score"] == 1.0


@pytest.mark.parametrize("name", ["jsonl", "trl", "prime-rl"])
def test_the_fixed_value_of_exports_that_name_none(exported, reward_of, monkeypatch, name):
    folder = exported(name)
    module = reward_of.load(next(folder.rglob("preppo_reward.py")).parent)
    assert module._about()["null_reward"] is None
    undecided = module.Scored(None, "rtv", "timeout")
    assert (module.without_null(undecided), module.without_null(module.Scored(0.5, "rtv", "partial"))) == (0.0, 0.5)
    monkeypatch.setenv("PREPPO_NULL_REWARD", "0.5")
    assert module.without_null(undecided) == 0.5


def test_a_server_that_is_full_is_waited_for(exported, reward_of, monkeypatch):
    module = reward_of.load(exported("jsonl"))
    verdict = {"verifier": "math", "version": module._about()["verifiers"]["math"], "score": 1.0, "status": "correct"}

    def answer(connection, body, count):
        rows = json.loads(body)["tasks"]
        if count == 1:
            http(connection, 429, b"full")
        elif len(rows) > 1:
            http(connection, 413, b"too long")
        else:
            http(connection, 200, json.dumps({"verdicts": [verdict]}).encode())

    with FaultyServer(answer) as server:
        monkeypatch.setenv("PREPPO_REWARD_URL", server.url)
        assert [one.reward for one in module.score(tasks_of(exported)[:1] * 3, ["#### 4"] * 3)] == [1.0] * 3


def test_a_server_that_goes_away_in_its_answer_is_asked_again(exported, reward_of, monkeypatch):
    module = reward_of.load(exported("jsonl"))
    verdict = {"verifier": "math", "version": module._about()["verifiers"]["math"], "score": 1.0, "status": "correct"}
    begun = b"HTTP/1.1 %s X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n \r\n"

    def answer(connection, _, count):
        if count < 3:
            connection.sendall(begun % (b"200", b"503")[count - 1])
        elif count == 3:
            http(connection, 200, b"[]")  # no server of preppo, yet
        else:
            http(connection, 200, json.dumps({"verdicts": [verdict]}).encode())

    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    with FaultyServer(answer) as server:
        monkeypatch.setenv("PREPPO_REWARD_URL", server.url)
        assert module.score(tasks_of(exported)[:1], ["#### 4"])[0].reward == 1.0
    monkeypatch.setenv("PREPPO_REWARD_PATIENCE_S", "0.1")
    with FaultyServer(lambda connection, *_: connection.sendall(begun % b"200")) as server:
        monkeypatch.setenv("PREPPO_REWARD_URL", server.url)
        with pytest.raises(module.RewardError, match="gives no verdicts: IncompleteRead"):
            module.score(tasks_of(exported)[:1], ["#### 4"])


def rewards_of(tmp_path, reward_of):
    """Return the reward file of an export in which models count, and the task of its open prompt."""
    found = release(tmp_path / "release", [*rows(), UNSCORED], [])
    folder = export_release(found, "jsonl", tmp_path / "out", Options(with_models=True)).folder
    return reward_of.load(folder), json.loads((folder / "train.jsonl").read_text().splitlines()[5])["task"]


def answers(*statuses):
    """Return a body of `POST /reward`."""
    found = [{"reward": 0.75 if s == "scored" else None, "source": "reward_model", "reward_id": "nominal@1:mean",
              "status": s, "detail": "why", "worst": None} for s in statuses]  # fmt: skip
    return json.dumps({"rewards": found}).encode()


def test_models_on_a_server_are_asked_with_who_they_must_be(tmp_path, reward_of, monkeypatch):
    module, task = rewards_of(tmp_path, reward_of)
    with FaultyServer(lambda connection, *_: http(connection, 200, answers("scored", "truncated"))) as server:
        monkeypatch.setenv("PREPPO_REWARD_URL", server.url)
        heldout = json.dumps({**json.loads(task), "split": "heldout"})
        found = module.score([heldout, task], ["x", "y"], ["stop", "length"])
        assert [one.reward for one in found] == [0.75, None]
        monkeypatch.setenv("PREPPO_REWARD_MAKERS", "any")
        module.score([task, task], ["x", "y"])
    first, second = (json.loads(body) for body in server.requests)
    assert first["makers"] == module._about()["makers"]
    assert list(first["makers"]) == ["reward_model"]
    assert first["tasks"][1] == {**json.loads(task), "response": "y", "finish_reason": "length"}
    assert "split" not in first["tasks"][0]
    assert "makers" not in second
    assert [one["reward"] for one in reward_of.signals()] == [None, 0.75, None]


def test_a_model_that_is_away_is_waited_for_and_only_what_is_missing_asked_again(tmp_path, reward_of, monkeypatch):
    module, task = rewards_of(tmp_path, reward_of)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)

    def answer(connection, _, count):
        http(connection, 200, answers("scored", "unavailable") if count == 1 else answers("scored"))

    with FaultyServer(answer) as server:
        monkeypatch.setenv("PREPPO_REWARD_URL", server.url)
        assert [one.reward for one in module.score([task, task], ["x", "y"])] == [0.75, 0.75]
    assert [one["response"] for one in json.loads(server.requests[1])["tasks"]] == ["y"]
    monkeypatch.setenv("PREPPO_REWARD_PATIENCE_S", "0.5")
    with FaultyServer(lambda connection, *_: http(connection, 200, answers("unavailable"))) as server:
        monkeypatch.setenv("PREPPO_REWARD_URL", server.url)
        with pytest.raises(module.RewardError, match="cannot ask reward_model: why"):
            module.score([task], ["x"])


def test_a_source_that_is_not_to_be_used_ends_the_training(tmp_path, reward_of, monkeypatch):
    module, task = rewards_of(tmp_path, reward_of)
    with FaultyServer(lambda connection, *_: http(connection, 200, answers("scored", "unusable"))) as server:
        monkeypatch.setenv("PREPPO_REWARD_URL", server.url)
        with pytest.raises(module.RewardError, match=r"reward_model of the reward server at .* is not to be used: why"):
            module.score([task, task], ["x", "y"])
    with pytest.raises(FileNotFoundError):
        reward_of.signals()


def test_an_export_whose_models_are_not_here_names_no_makers(tmp_path):
    found = release(tmp_path / "release", [*rows(), UNSCORED], [], reward_model={"models": ["./nowhere"]})
    assert export_release(found, "jsonl", tmp_path / "out", Options(with_models=True)).manifest["makers"] == {
        "reward_model": None
    }


def test_without_preppo_it_says_what_to_do(exported, tmp_path):
    """In an environment that holds nothing: the standard library alone, and another package named `verifiers`."""
    (tmp_path / "verifiers").mkdir()
    (tmp_path / "verifiers" / "__init__.py").touch()
    environment = {"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"], "PREPPO_SIGNALS": "off"}
    command = [sys.executable, "-S", str(exported("jsonl") / "preppo_reward.py"), tasks_of(exported)[0], "#### 4"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "RewardError: preppo cannot be imported here" in done.stderr
    with VerifierPool(1) as pool, running(pool) as (url, _, _):
        environment["PREPPO_REWARD_URL"] = url
        done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.startswith("Scored(reward=1.0, source='rtv', status='correct'")


def test_signals_that_cannot_be_written(exported, reward_of, monkeypatch, tmp_path):
    module = reward_of.load(exported("jsonl"))
    monkeypatch.setenv("PREPPO_SIGNALS", str(tmp_path / "no" / "folder"))
    with pytest.raises(module.RewardError, match="name another file in PREPPO_SIGNALS"):
        module.score(tasks_of(exported)[:1], ["#### 4"])


def test_a_training_without_a_usable_name(exported, reward_of, monkeypatch):
    module = reward_of.load(exported("jsonl"))
    monkeypatch.setenv("PREPPO_TRAINING_RUN_ID", "my/run")
    with pytest.raises(module.RewardError, match="PREPPO_TRAINING_RUN_ID='my/run': use letters"):
        module.score(tasks_of(exported)[:1], ["#### 4"])
    monkeypatch.delenv("PREPPO_TRAINING_RUN_ID")
    module.score(tasks_of(exported)[:1], ["#### 4"])
    assert reward_of.signals()[0]["training_run_id"] == os.environ["PREPPO_TRAINING_RUN_ID"]


NOBODYS = json.dumps({"prompt_id": "0" * 32, "messages": []})


@pytest.fixture
def unasked(exported, reward_of, monkeypatch):
    """Return the reward file where no source has to be asked, so that scoring is logging."""
    monkeypatch.setenv("PREPPO_REWARD_URL", "http://127.0.0.1:1")
    return reward_of.load(exported("jsonl"))


def test_a_name_is_made_up_once_and_said(unasked, reward_of, monkeypatch, capsys):
    monkeypatch.delenv("PREPPO_TRAINING_RUN_ID")
    unasked.score([json.dumps({**json.loads(NOBODYS), "split": "heldout"})], ["x"])
    assert "PREPPO_TRAINING_RUN_ID" not in os.environ, "what leaves no line needs no name"
    unasked._worker()
    made = unasked.uuid.uuid4

    def slow():
        time.sleep(0.05)
        return made()

    monkeypatch.setattr(unasked, "uuid", SimpleNamespace(uuid4=slow))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: unasked.score([NOBODYS], ["x"]), range(8)))
    assert {one["training_run_id"] for one in reward_of.signals()} == {os.environ["PREPPO_TRAINING_RUN_ID"]}
    said = capsys.readouterr().err
    assert said.count("PREPPO_TRAINING_RUN_ID is not set") == 1
    assert os.environ["PREPPO_TRAINING_RUN_ID"] in said


def test_counts_of_old_steps_are_not_kept(unasked, reward_of):
    for step in [*range(unasked.KEPT_STEPS + 5), 6]:
        unasked.score([NOBODYS] * 2, ["x"] * 2, step=step)
    unasked.score([NOBODYS], ["x"])
    assert len(unasked._state["samples"]) == unasked.KEPT_STEPS
    assert [(one["step"], one["sample"]) for one in reward_of.signals()[-5:]] == [
        (unasked.KEPT_STEPS + 4, 0), (unasked.KEPT_STEPS + 4, 1), (6, 2), (6, 3), (None, 0),
    ]  # fmt: skip


@contextmanager
def longest_file(size):
    """Let this process write no file beyond a size, as a quota would: a write that goes further is cut short."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_is_torn_ends_the_training_and_is_not_glued_to_the_next(unasked, tmp_path):
    file = tmp_path / "signals.jsonl"
    unasked.score([NOBODYS], ["x"])
    with longest_file(1000), pytest.raises(unasked.RewardError, match=r"only \d+ of \d+ bytes could be written"):
        unasked.score([NOBODYS] * 8, ["x"] * 8)
    assert file.stat().st_size == 1000
    with longest_file(1000), pytest.raises(unasked.RewardError, match="name another file in PREPPO_SIGNALS"):
        unasked.score([NOBODYS], ["x"])
    whole = file.read_text().count("\n")
    unasked.score([NOBODYS] * 2, ["x"] * 2)
    found = read_signals([file])
    assert (found.rejected, found.frame.height) == ({"not_json": 1}, whole + 2)


def test_each_process_may_have_a_file_of_its_own(unasked, monkeypatch, tmp_path):
    monkeypatch.setenv("PREPPO_SIGNALS", str(tmp_path / "of-{worker}.jsonl"))
    for _ in range(2):
        unasked.score([NOBODYS], ["x"])
        unasked._state.clear()  # another process
    files = sorted(tmp_path.glob("of-*.jsonl"))
    lines = [json.loads(file.read_text()) for file in files]
    assert [file.name for file in files] == [f"of-{one['worker']}.jsonl" for one in lines]
    assert read_signals(files).frame["sample"].to_list() == [0, 1]


def test_what_is_no_task(exported, reward_of):
    module = reward_of.load(exported("jsonl"))
    for bad in ("", "4", "{}", '{"prompt_id": 3, "messages": []}'):
        with pytest.raises(ValueError, match="not a task of a preppo export"):
            module.score([bad], ["x"])
    with pytest.raises(ValueError, match="1 tasks, 2 responses"):
        module.score(tasks_of(exported)[:1], ["x", "y"])
