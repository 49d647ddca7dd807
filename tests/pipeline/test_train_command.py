"""`preppo train` from outside: a small release of the nursery, two steps, the files, and what it says of mistakes."""

import json
from dataclasses import replace

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner
from transformers import LlamaConfig, LlamaForCausalLM

from assets.policy_asset import train_on_release
from assets.project import open_project
from assets.resources import PreppoResource
from assets.training import folder_of_settings
from pipeline.cli import main
from trainer.engines import EngineError
from trainer.judge import CanaryError
from trainer.nursery.practice import write_practice
from verifiers.hybrid import HybridReward
from warehouse.home import Home
from warehouse.releases import load_release
from warehouse.schemas import TRAINING_SIGNALS
from warehouse.store import Store

PPO = """[ppo]
steps = 4
prompts = 4
samples = 2
minibatches = 2
evaluate_every = 2
checkpoint_every = 2
evaluate_prompts = 8
device = "cpu"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    settings = write_practice(folder, prompts=90)
    text = settings.read_text().split("[ppo]")[0]
    settings.write_text(text.replace("samples = 4", "samples = 2") + PPO)
    call(folder, "run")
    return folder


def call(folder, *arguments, code=0):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREPPO_CONFIG", "undone afterwards, as the command sets it for Dagster")
        patch.setenv("PREPPO_HOME", "likewise")
        options = ["--config", str(folder / "preppo.toml"), "--home", str(folder / "home")]
        done = CliRunner().invoke(main, [*options, *arguments], catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def trained(place):
    said = call(place, "train")
    release = load_release(place / "home" / "releases")
    return said, place / "home" / "training" / release.release_id[:12], release


def test_it_tells_every_step_and_what_came_of_it(trained):
    said, folder, _ = trained
    assert "step 1/4 code: score " in said
    assert "step 4/4 mixture: score " in said
    assert "held out after step 0: score " in said
    assert f"trained 4 steps: {folder}" in said
    assert "held-out score " in said


def test_everything_is_in_one_folder(trained):
    _, folder, release = trained
    names = {p.name for p in folder.iterdir()}
    assert names >= {"run.json", "metrics.jsonl", "signals.parquet", "training.png", "policy", "best", "timing.jsonl"}
    assert json.loads((folder / "run.json").read_text())["release"] == release.release_id
    signals = pl.read_parquet(folder / "signals.parquet")
    assert signals.columns == list(TRAINING_SIGNALS.columns)
    assert signals["release_id"].unique().to_list() == [release.release_id]
    assert set(signals["prompt_id"]) <= set(release.train().collect()["prompt_id"])


def test_a_training_that_is_there_is_not_overwritten(place, trained):
    assert "holds a training, 4 steps far: --resume goes on with it" in call(place, "train", code=2)


def test_it_goes_on_where_it_was_and_refuses_other_settings(place, trained):
    before = (trained[1] / "metrics.jsonl").read_bytes()
    assert "trained 4 steps" in call(place, "train", "--resume")
    assert (trained[1] / "metrics.jsonl").read_bytes() == before
    said = call(place, "train", "--resume", "--steps", "5", code=1)
    assert "holds a training with other settings, model or release, 4 steps far" in said
    assert json.loads((trained[1] / "run.json").read_text())["ppo"]["steps"] == 4, "what is there was trained so"


@pytest.mark.parametrize("error", [EngineError("no server answers"), CanaryError("the judge is fooled", None, (), ())])
def test_a_judge_that_cannot_be_asked_or_is_fooled_is_one_line(place, trained, tmp_path, monkeypatch, error):
    def score(*_):
        raise error

    monkeypatch.setattr(HybridReward, "score", score)
    said = call(place, "train", "--out", str(tmp_path / "x"), code=1)
    assert f"preppo: {error}; what was saved before is in {tmp_path / 'x'}" in said


def test_a_release_of_another_version_and_one_that_is_not_there(place, trained, tmp_path):
    *_, release = trained
    manifest = release.folder / "manifest.json"
    text = manifest.read_text()
    manifest.chmod(0o644)
    try:
        manifest.write_text(text.replace('"format": 1', '"format": 2'))
        said = call(place, "train", "--out", str(tmp_path / "x"), code=1)
    finally:
        manifest.write_text(text)
    assert "has format 2, and this preppo trains on format 1: make it anew" in said
    assert "no release starts with 'zz'" in call(place, "train", "zz", code=3)


def test_what_the_training_saw_is_in_the_home_and_the_next_selection_looks_at_it(place, trained):
    _, folder, release = trained
    seen = pl.read_parquet(folder / "signals.parquet")
    told = call(place, "sql", "--format", "json", "select count(*) n, any_value(release_id) r from training_signals")
    assert json.loads(told)[0] == {"n": seen.height, "r": release.release_id}
    before = Store(Home(place / "home")).snapshot()
    call(place, "run")
    after = Store(Home(place / "home")).snapshot()
    [selection] = after.of_stage("selection")
    assert "signals" in selection.inputs and "signals" not in before.of_stage("selection")[0].inputs
    rested = after.scan("selection").filter(pl.col("reason").is_in(["rested_learnt", "rested_stuck"])).collect()
    assert set(rested["prompt_id"]) <= set(seen["prompt_id"])
    still = seen.filter(pl.col("reward").is_not_null()).group_by("step", "prompt_id").agg(pl.col("reward").n_unique())
    moved = set(still.filter(pl.col("reward") > 1)["prompt_id"])
    new = set(after.scan("prompts").filter(pl.col("pool") == "new").collect()["prompt_id"])
    settled = set(seen["prompt_id"]) & new - moved
    assert settled == set(rested["prompt_id"]), "each was visited once: right or wrong throughout, it rests"


def test_the_policy_is_an_asset_of_dagster_too(place, trained, monkeypatch):
    monkeypatch.setenv("PREPPO_CONFIG", str(place / "preppo.toml"))
    monkeypatch.setenv("PREPPO_HOME", str(place / "home"))
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize([train_on_release], instance=instance, resources={"preppo": PreppoResource()})
        assert done.success
        found = {
            e.asset_key.to_user_string(): e.materialization.metadata for e in done.get_asset_materialization_events()
        }
    assert found["ppo_policy"]["steps"].value == 4
    assert found["ppo_policy"]["training"].value.startswith("![plot](data:image/png;base64,")
    assert found["training_signals"]["dagster/row_count"].value > 0


def test_a_folder_that_holds_something_else_is_left_alone(place, trained, tmp_path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "notes.txt").write_text("mine")
    said = call(place, "train", "--out", str(tmp_path), code=1)
    assert f"--out {tmp_path} holds policy, and no training of preppo: that would be lost; name another folder" in said
    assert (tmp_path / "policy" / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    assert "name a folder that can be made" in call(place, "train", "--out", str(tmp_path / "file"), code=1)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("DEVICE", "gpu", "device = 'gpu' cannot be used here"),
        ("DEVICE", "cuda:7", "device = 'cuda:7' cannot be used here"),
        ("CRITIC_MODEL", "small", "the critic reads the tokens of the policy"),
    ],
)
def test_what_cannot_be_used_is_one_line(place, trained, tmp_path, monkeypatch, setting, value, said):
    if value == "small":
        config = LlamaConfig(vocab_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
        LlamaForCausalLM(config).save_pretrained(tmp_path / "small")
        value = str(tmp_path / "small")
    monkeypatch.setenv(f"PREPPO__PPO__{setting}", value)
    told = call(place, "train", "--out", str(tmp_path / "x"), code=2 if setting == "DEVICE" else 1)
    assert said in told and "Traceback" not in told


def test_other_settings_have_a_folder_of_their_own_in_dagster(place, trained):
    _, folder, release = trained
    project = open_project(place / "preppo.toml", place / "home")
    assert folder_of_settings(project, release) == folder
    changed = project.settings.ppo.model_copy(update={"rate": 1e-5})
    other = replace(project, settings=project.settings.model_copy(update={"ppo": changed}))
    assert folder_of_settings(other, release).name.startswith(f"{folder.name}-")


def test_signals_name_the_policy_as_rollouts_do(place, trained):
    told = call(place, "sql", "--format", "json", "select distinct policy_id from training_signals "
                "where policy_id in (select policy_id from rollouts)")  # fmt: skip
    assert len(json.loads(told)) == 1
