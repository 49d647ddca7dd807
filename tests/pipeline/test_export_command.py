"""`preppo export`, `preppo push` and `preppo signals import`, on a real home; the hub is a stand-in on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from tests.trainer.exports.hub_stand_in import hub
from tests.warehouse.release_home import make, without_pictures
from warehouse.release_inputs import release_inputs
from warehouse.releases import write_release

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "hf_0123456789"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a home with a release of 5 rows."""
    root = tmp_path_factory.mktemp("export") / "home"
    store = make(root)
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        policy = {"policy": {"max_tokens": 48, "model": "nursery"}}
        inputs = release_inputs(
            store.snapshot(), "main", policy=policy, policy_hash="settings-1", inputs={"prompts": "1"}, code_version="1"
        )
        write_release(store.home.releases, inputs)
    return root


@pytest.fixture(scope="module")
def preppo(home):
    def call(*arguments, code=0, **variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREPPO", "HF_"))}
        environment |= {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "HF_HUB_DISABLE_XET": "1", **variables}
        command = [sys.executable, "-c", "from pipeline.cli import main; main()", "--home", str(home), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return " ".join((done.stdout if code == 0 else done.stderr).split())

    return call


def test_export(preppo, home, tmp_path):
    said = preppo("export", "latest", "--format", "verl", "--out", str(tmp_path / "out"))
    assert "a response that cannot be decided counts 0.0 there" in said
    assert f"how to train on it: {tmp_path / 'out' / 'README.md'}" in said
    assert preppo("export", "--format", "verl", "--out", str(tmp_path / "out"), code=2).startswith("preppo: --out")
    inside = str(tmp_path / "out" / "README.md" / "x")
    assert preppo("export", "--format", "verl", "--out", inside, code=2).startswith(
        f"preppo: --out {inside}: File exists ("
    )
    assert "there is no format 'x'; there are verl, openrlhf" in preppo("export", "--format", "x", code=2)
    assert "no release starts with 'ffffffffffff'" in preppo("export", "ffffffffffff", "--format", "trl", code=3)
    preppo("export", "--format", "jsonl")
    assert [path.name.split("-")[1] for path in (home / "exports").iterdir()] == ["jsonl"]


def test_push(preppo, home, tmp_path, request):
    release = next(path for path in (home / "releases").iterdir() if path.is_dir())
    ours = {str(path.relative_to(release)): path.read_bytes() for path in release.rglob("*") if path.is_file()}
    foreign = [release / name for name in (".env", "notes.parquet", "plots/holiday.png")]
    for path in foreign:  # somebody's own files, which a verified release does not vouch for
        path.write_text("SECRET=1")
        request.addfinalizer(path.unlink)
    with hub(TOKEN) as server:
        said = preppo("push", "--repo", "me/prompts", HF_ENDPOINT=server.url, HF_TOKEN=TOKEN)
        assert said == f"{server.url}/datasets/me/prompts/commit/{'1' * 40}"
        assert preppo("push", "--repo", "me/prompts", HF_ENDPOINT=server.url, HF_TOKEN="wrong", code=1).endswith(
            "A token that may write is needed: HF_TOKEN, or `hf auth login`"
        )
        assert "--repo 'a/b/c'" in preppo("push", "--repo", "a/b/c", HF_ENDPOINT=server.url, HF_TOKEN=TOKEN, code=1)
    assert server.created[0]["visibility"] == "private"
    assert server.messages == [f"preppo release {release.name[:12]}"]
    assert server.files == ours
    for name, content in server.files.items():  # what the hub has loads as a data set, by its card
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clone" / name).write_bytes(content)
    loaded = datasets.load_dataset(str(tmp_path / "clone"), cache_dir=str(tmp_path / "cache"))
    assert (loaded["train"].num_rows, loaded["heldout"].num_rows) == (5, 1)


def test_push_without_a_hub(preppo):
    said = preppo("push", "--repo", "me/prompts", HF_ENDPOINT="http://127.0.0.1:1", HF_TOKEN=TOKEN, code=1)
    assert said.startswith("preppo: http://127.0.0.1:1 does not take me/prompts: ")


def test_a_training_elsewhere_feeds_the_loop(preppo, home, tmp_path):
    """Export, score with the exported file as a trainer would, import what it logged, and ask the table."""
    out = tmp_path / "out"
    preppo("export", "--format", "jsonl", "--out", str(out))
    rows = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    program = (
        "import json, preppo_reward as p; t = json.load(open('tasks')); p.score(t, ['4'] * len(t), step=2); p.close()"
    )
    (out / "tasks").write_text(json.dumps([row["task"] for row in rows]))
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "PREPPO_TRAINING_RUN_ID": "t1"}
    subprocess.run([sys.executable, "-c", program], cwd=out, env=environment, check=True)
    with (out / "signals.jsonl").open("a") as file:
        file.write("{oops\n")
    said = preppo("signals", "import", str(out / "signals.jsonl"))
    assert said.startswith(f"training t1: {len(rows)} rows rejected: 1 not_json")
    answer = preppo("sql", "select count(*) n, sum(reward) r, min(step) s, count(release_id) i from training_signals",
                    "--format", "csv")  # fmt: skip
    assert answer == f"n,r,s,i {len(rows)},{len(rows)}.0,2,{len(rows)}"
    assert "training_signals" in preppo("status", "--json")
    assert "No such file" in preppo("signals", "import", str(tmp_path / "missing"), code=2)
    alone = {"training_run_id": "t1", "release_id": "c" * 32, "prompt_id": json.loads(rows[0]["task"])["prompt_id"],
             "step": 2, "sample": 0, "reward": 0.0, "source": "rtv", "worker": "another"}  # fmt: skip
    (tmp_path / "alone").write_text(json.dumps(alone))
    assert "Give all files of a training together" in preppo("signals", "import", str(tmp_path / "alone"), code=2)
    (tmp_path / "elsewhere").write_text(json.dumps(alone | {"training_run_id": "t2"}))
    said = preppo("signals", "import", str(tmp_path / "elsewhere"))
    assert said == "training t2: 1 rows; its release cccccccccccc is none of this home"
