"""`preppo reward serve` as a process: it starts or says why not, serves, and ends well; and its settings."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from verifiers import Task, verify
from verifiers.remote import RemoteVerifier
from warehouse.settings import Settings, SettingsError, load_settings, outcome_hash

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "0123456789abcdef-secret"
COMMAND = [sys.executable, "-c", "from pipeline.cli import main; main()"]


def started(folder, *options, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREPPO")}
    environment |= {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", **variables}
    return subprocess.Popen(
        [*COMMAND, "reward", "serve", *options], cwd=folder, env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def refused(folder, *options, **variables):
    process = started(folder, *options, **variables)
    _, said = process.communicate(timeout=60)
    return process.returncode, " ".join(said.split())


def test_it_serves_what_it_says_and_ends_when_told(tmp_path):
    (tmp_path / "preppo.toml").write_text("[verifiers]\nworkers = 1\n")
    process = started(tmp_path, "--port", "0", PREPPO_REWARD_TOKEN=TOKEN)
    try:
        line = process.stderr.readline()
        assert "(1 workers, bubblewrap, with a token; SIGTERM ends)" in line
        url = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
        tasks = [Task("math", "5", '"5"'), Task("math", "\\boxed{x+1}", '"1+x"')]
        with RemoteVerifier(url, TOKEN) as client:
            assert [v.score for v in client.verify(tasks)] == [v.score for v in verify(tasks)]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        health = httpx2.get(f"{url}/health", headers=headers, trust_env=False)
        assert health.json()["workers"] == 1
        assert httpx2.post(f"{url}/verify", json={"tasks": []}, trust_env=False).status_code == 401
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert TOKEN not in line + out + err
    assert not (tmp_path / ".preppo").exists()  # it needs no home


def test_an_interrupt_ends_it_well_too(tmp_path):
    process = started(tmp_path, "--port", "0", "--workers", "1")
    url = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())[0]
    with RemoteVerifier(url) as client:
        assert client.verify([Task("math", "5", '"5"')])[0].score == 1.0
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (0, False)


def test_no_token_no_other_machines(tmp_path):
    code, said = refused(tmp_path, "--host", "0.0.0.0", "--port", "0")
    assert code == 2
    assert "0.0.0.0 can be reached from other machines, so clients must show a token: set PREPPO_REWARD_TOKEN" in said


def test_a_token_that_is_none(tmp_path):
    code, said = refused(tmp_path, PREPPO_REWARD_TOKEN="hunter2")
    assert code == 2
    assert "PREPPO_REWARD_TOKEN must be at least 16 printable ASCII characters" in said
    assert "hunter2" not in said


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = refused(tmp_path, "--port", str(taken.getsockname()[1]))
    assert (code, said.startswith("preppo: cannot listen on 127.0.0.1:")) == (1, True)


def test_a_server_asks_no_other_server(tmp_path):
    (tmp_path / "preppo.toml").write_text('[verifiers]\nsandbox = "http"\nurl = "http://127.0.0.1:1"\n')
    code, said = refused(tmp_path)
    assert code == 2
    assert "give --sandbox bubblewrap to be one" in said


def test_limits_that_contradict_each_other(tmp_path):
    code, said = refused(tmp_path, "--max-queue", "5", "--max-tasks", "6")
    assert (code, "--max-tasks 6 is above --max-queue 5" in said) == (2, True)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('sandbox = "http"', 'sandbox = "http" needs `url`'),
        ('sandbox = "docker"', "`verifiers.sandbox` = "),
        ('sandbox = "http"\nurl = "127.0.0.1:8400"', 'must be like "http://10.0.0.5:8400"'),
        ('sandbox = "http"\nurl = "ftp://x"', 'must be like "http://10.0.0.5:8400"'),
        ('sandbox = "http"\nurl = "http://:token@x"', "a token belongs into the environment"),
        ('sandbox = "http"\nurl = "http://x/?token=1"', "a token belongs into the environment"),
        ("workers = 0", "`verifiers.workers` = 0"),
        ('token = "x"', "unknown key `verifiers.token`"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path, toml, message):
    file = tmp_path / "preppo.toml"
    file.write_text(f"[verifiers]\n{toml}\n")
    with pytest.raises(SettingsError, match=re.escape(message)):
        load_settings(file, {})


def test_where_code_runs_decides_no_outcome():
    here = Settings()
    there = Settings.model_validate({"verifiers": {"sandbox": "http", "url": "https://rewards.example/", "workers": 3}})
    assert there.verifiers.url == "https://rewards.example"
    assert outcome_hash(here) == outcome_hash(there)


def test_the_example_names_every_key():
    section = (ROOT / "examples" / "preppo.toml").read_text().split("\n[verifiers]\n")[1].split("\n[")[0]
    assert set(re.findall(r"^#? ?(\w+) = ", section, re.MULTILINE)) == set(type(Settings().verifiers).model_fields)
