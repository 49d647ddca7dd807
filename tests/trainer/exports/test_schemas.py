"""What each format writes: names, types, order, phases, prompt ids; read by `datasets` and by Arrow."""

import hashlib
import json
import re

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.trainer.exports.conftest import CODE, HELDOUT, MATHS, RAW, TALK, UNSCORED, release, rows
from trainer.exports.contract import Options, source_of, task_json
from trainer.exports.errors import ExportError
from trainer.exports.export import FORMATS, export_release
from verifiers.hybrid import GENRM_BEST_OF_N, REWARD_MODEL
from warehouse.curation.identity import prompt_id

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
IDS = [one["prompt_id"] for one in rows()]
TALK_TURNS = [{"role": role, "content": content} for role, content in TALK]


def load(folder, name, tmp_path):
    kind = "parquet" if name.endswith(".parquet") else "json"
    return datasets.load_dataset(kind, data_files=str(folder / name), split="train", cache_dir=str(tmp_path))


def ids_of(folder, name, tmp_path):
    return [prompt_id_of(one) for one in load(folder, name, tmp_path)]


def prompt_id_of(one):
    if "extra_info" in one:
        return one["extra_info"]["prompt_id"]
    return one.get("prompt_id") or one["id"]


@pytest.mark.parametrize(("form", "place"), [("verl", "."), ("trl", "."), ("nemo-gym", "."), ("jsonl", ".")])
def test_one_file_keeps_the_order(exported, tmp_path, form, place):
    folder = exported(form)
    name = f"train.{FORMATS[form].suffix}"
    assert ids_of(folder, name, tmp_path) == IDS
    assert ids_of(folder, f"heldout.{FORMATS[form].suffix}", tmp_path) == [HELDOUT["prompt_id"]]


@pytest.mark.parametrize("form", ["openrlhf", "open-instruct", "prime-rl", "skyrl"])
def test_a_trainer_that_shuffles_gets_a_file_a_phase(exported, tmp_path, form):
    folder, suffix = exported(form) / FORMATS[form].rows_at, FORMATS[form].suffix
    names = [f"train-01-warm-up.{suffix}", f"train-02-mixture.{suffix}"]
    assert sorted(path.name for path in folder.glob("train-*")) == names
    assert [ids_of(folder, name, tmp_path) for name in names] == [IDS[:2], IDS[2:]]


def test_verl(exported, tmp_path):
    folder = exported("verl")
    schema = pq.read_schema(folder / "train.parquet")
    assert schema.names == ["data_source", "prompt", "ability", "reward_model", "extra_info"]
    assert schema.field("prompt").type == MESSAGES
    assert schema.field("reward_model").type == pa.struct([("style", pa.string()), ("ground_truth", pa.string())])
    assert schema.field("extra_info").type.field("index").type == pa.int64()
    both = [load(folder, f"{name}.parquet", tmp_path) for name in ("train", "heldout")]
    assert both[0].features == both[1].features  # verl concatenates its files
    first, talk = both[0][0], both[0][2]
    assert first["data_source"] == "preppo/hand"
    assert first["prompt"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": MATHS[1][1]}]
    assert first["reward_model"] == {"style": "rule", "ground_truth": '"4"'}
    assert (first["extra_info"]["split"], first["extra_info"]["index"], first["extra_info"]["phase"]) == (
        "train", 0, "warm up",
    )  # fmt: skip
    assert talk["prompt"] == TALK_TURNS
    assert both[1][0]["extra_info"]["split"] == "test"
    config = yaml.safe_load((folder / "preppo_verl.yaml").read_text())
    assert config["data"]["shuffle"] is False
    assert config["reward"]["custom_reward_function"]["reward_kwargs"]["null_reward"] == 0.25
    asked = set(re.findall(r"\$\{[^}]*\}", (folder / "preppo_verl.yaml").read_text()))
    assert asked == {"${preppo.folder}"}, (
        "verl resolves it in a worker that knows neither the shell's variables nor `now`"
    )


def test_openrlhf(exported, tmp_path):
    one = load(exported("openrlhf"), "train-01-warm-up.jsonl", tmp_path)[1]
    assert isinstance(one["label"], str)
    assert json.loads(one["label"])["prompt_id"] == prompt_id(CODE)
    assert one["prompt"] == [{"role": "user", "content": CODE[0][1]}]
    assert one["datasource"] == "preppo/hand"
    script = (exported("openrlhf") / "openrlhf.sh").read_text()
    assert "for phase in train-01-warm-up.jsonl train-02-mixture.jsonl; do" in script


def test_trl(exported, tmp_path):
    schema = pq.read_schema(exported("trl") / "train.parquet")
    assert schema.field("prompt").type == MESSAGES
    assert all(field.type == pa.string() for field in schema if field.name != "prompt")
    assert json.loads(load(exported("trl"), "train.parquet", tmp_path)[2]["tools_json"])[0]["function"]["name"] == "add"


def test_open_instruct(exported, tmp_path):
    one = load(exported("open-instruct"), "train-02-mixture.jsonl", tmp_path)[0]
    assert (one["messages"], one["dataset"]) == (TALK_TURNS, "preppo")
    assert json.loads(one["ground_truth"])["verifier"] == "exact"


def test_nemo_gym(exported):
    folder = exported("nemo-gym")
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    asked = lines[2]["responses_create_params"]
    assert asked["input"] == TALK_TURNS
    assert asked["tools"] == [{"type": "function", "name": "add", "parameters": {"type": "object"}}]
    assert lines[0]["agent_ref"] == {"type": "responses_api_agents", "name": "preppo_simple_agent"}
    assert (lines[0]["expected_answer"], lines[0]["question"], lines[0]["id"]) == ('"4"', MATHS[1][1], IDS[0])
    config = yaml.safe_load((folder / "resources_servers/preppo/configs/preppo.yaml").read_text())
    assert config["preppo_simple_agent"]["responses_api_agents"]["simple_agent"]["resources_server"]["name"] == "preppo"
    sets = config["preppo_simple_agent"]["responses_api_agents"]["simple_agent"]["datasets"]
    assert [(one["type"], one["license"]) for one in sets] == [("train", "TBD"), ("validation", "TBD")]
    assert yaml.safe_load((folder / "nemo_rl.yaml").read_text()) == {"data": {"shuffle": False}}


def test_prime_rl(exported, tmp_path):
    folder = exported("prime-rl") / "preppo_release"
    one = load(folder, "train-01-warm-up.jsonl", tmp_path)[0]
    assert isinstance(one["answer"], str)
    assert json.loads(one["info"])["prompt_id"] == one["prompt_id"]
    for file in ("taskset.py", "preppo_reward.py", "__init__.py"):
        compile((folder / file).read_text(), file, "exec")


def test_skyrl(exported):
    schema = pq.read_schema(exported("skyrl") / "train-01-warm-up.parquet")
    assert schema.names == ["data_source", "prompt", "env_class", "reward_spec", "extra_info"]
    assert schema.field("reward_spec").type == pa.struct([("method", pa.string()), ("ground_truth", pa.string())])


def test_jsonl_has_every_column_of_the_release(exported, small):
    first = json.loads((exported("jsonl") / "train.jsonl").read_text().splitlines()[0])
    assert set(first) == {"prompt", "task", *small.train().collect_schema().names()}


@pytest.mark.parametrize("form", list(FORMATS))
def test_the_same_release_gives_the_same_bytes(small, exported, tmp_path, form):
    options = Options(null_reward=0.25) if form == "verl" else None
    again = export_release(small, form, tmp_path / "again", options).folder
    hashes = [
        {str(p.relative_to(f)): hashlib.sha256(p.read_bytes()).hexdigest() for p in f.rglob("*") if p.is_file()}
        for f in (again, exported(form))
    ]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("form", list(FORMATS))
def test_the_manifest_tells_what_is_there(exported, form):
    folder = exported(form)
    told = json.loads((folder / "export.json").read_text())
    assert (told["release_id"], told["format"]) == ("ab" * 16, form)
    assert sum(file["rows"] for name, file in told["files"].items() if "train" in name) == 5
    assert all((folder / name).is_file() for name in told["files"])
    assert (told["null_reward"] is None) == FORMATS[form].knows_null
    assert told["rows_with_tools"] == 1
    compile((folder / FORMATS[form].reward_at / "preppo_reward.py").read_text(), "preppo_reward.py", "exec")
    readme = (folder / "README.md").read_text()
    assert "PREPPO_REWARD_URL" in readme
    assert "PREPPO_TRAINING_RUN_ID" in readme[: readme.index("## The reward")], "each process would be a run of its own"
    assert max(map(len, readme.splitlines())) < 1000


@pytest.mark.parametrize("form", ["verl", "openrlhf", "open-instruct", "skyrl"])
def test_a_trainer_that_scores_cut_responses_says_what_this_does(exported, form):
    readme = (exported(form) / "README.md").read_text()
    assert "A response that was cut at its token limit is scored as it stands" in readme
    assert "`preppo signals import`" in readme


def test_skyrl_is_told_the_lengths_and_what_to_evaluate_on(exported, tmp_path):
    """Without rows of ours it would look for GSM8K in the home folder."""
    readme = (exported("skyrl") / "README.md").read_text()
    assert "generator.sampling_params.max_generate_length=48 trainer.max_prompt_length=2048" in readme
    assert "data.val_data=\"['$PWD/heldout.parquet']\"" in readme
    assert "eval_interval" not in readme
    alone = export_release(release(tmp_path / "release", rows(), []), "skyrl", tmp_path / "out").folder
    assert "trainer.eval_interval=-1" in (alone / "README.md").read_text()
    assert "val_data" not in (alone / "README.md").read_text()


def test_prime_says_what_becomes_of_prompts_that_occur_again(exported):
    assert "and a prompt that occurs again comes once" in (exported("prime-rl") / "README.md").read_text()


def test_rows_without_a_reward_are_refused_unless_said_otherwise(tmp_path):
    found = release(tmp_path / "release", [*rows(), UNSCORED], [])
    with pytest.raises(ExportError, match=r"1 of 6 rows have no reward .*\(rtv\): train: 1 rewarded by reward_model"):
        export_release(found, "trl", tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    skipped = export_release(found, "trl", tmp_path / "skipped", Options(unscored="skip")).manifest
    assert (skipped["files"]["train.parquet"]["rows"], skipped["rows_left_out"]["unscored"]) == (5, 1)
    kept = export_release(found, "trl", tmp_path / "kept", Options(unscored="keep")).manifest
    assert (kept["files"]["train.parquet"]["rows"], kept["rows_left_out"]["unscored"]) == (6, 0)
    inside = export_release(found, "trl", tmp_path / "inside", Options(with_models=True)).manifest
    assert (inside["files"]["train.parquet"]["rows"], inside["sources"]) == (6, ["rtv", "reward_model"])
    assert inside["reward_settings"]["reward_model"] == {"models": ["nursery-reward"]}


def test_a_judge_needs_a_best_of_n_to_compare_with():
    sources = [GENRM_BEST_OF_N, REWARD_MODEL]
    lost = UNSCORED | {"reference": None, "reference_kind": "none_chosen"}
    assert [source_of(one, sources) for one in (UNSCORED, lost)] == [GENRM_BEST_OF_N, None]
    assert source_of(lost, [REWARD_MODEL]) == REWARD_MODEL
    assert json.loads(task_json(lost, "train"))["reference_wanted"] is True
    assert "reference_wanted" not in json.loads(task_json(UNSCORED, "train"))
    gold = UNSCORED | {"ground_truth": '"4"', "reference": '"4"', "reference_kind": "ground_truth"}
    assert "reference" not in json.loads(task_json(gold, "train")), "a gold is compared with as a gold"


def test_exact_prefixes(tmp_path):
    mixed = release(tmp_path / "mixed", [*rows(), RAW], [])
    with pytest.raises(ExportError, match=r"1 rows are exact prefixes .* and 5 chats"):
        export_release(mixed, "trl", tmp_path / "a")
    with pytest.raises(ExportError, match="which the format cannot hold: --raw skip"):
        export_release(mixed, "verl", tmp_path / "b")
    skipped = export_release(mixed, "verl", tmp_path / "c", Options(raw="skip")).manifest
    assert (skipped["files"]["train.parquet"]["rows"], skipped["rows_left_out"]["raw"]) == (5, 1)
    chat = export_release(mixed, "verl", tmp_path / "d", Options(raw="chat")).folder
    assert pq.read_table(chat / "train.parquet")["prompt"][5].as_py() == [{"role": "user", "content": "def f(x):\n"}]
    alone = release(tmp_path / "alone", [RAW], [])
    text = export_release(alone, "trl", tmp_path / "e").folder
    assert pq.read_table(text / "train.parquet")["prompt"].to_pylist() == ["def f(x):\n"]
    assert (
        "--data.apply_chat_template"
        not in (export_release(alone, "openrlhf", tmp_path / "f").folder / "openrlhf.sh").read_text()
    )


def test_what_cannot_be_written(small, tmp_path):
    with pytest.raises(ExportError, match="there is no format 'roll'; there are verl, openrlhf, trl"):
        export_release(small, "roll", tmp_path / "x")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    with pytest.raises(ExportError, match="there is something already"):
        export_release(small, "trl", tmp_path / "taken")
    with pytest.raises(ExportError, match="no training row"):
        export_release(release(tmp_path / "none", [UNSCORED], []), "trl", tmp_path / "y", Options(unscored="skip"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["none", "taken"]


@pytest.mark.parametrize("place", ["file/x", "file/x/y", "file", "/proc/x"])
def test_what_the_system_refuses_names_the_folder_and_a_way_out(small, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match=r"--out .*/(x|y|file): .*; name a") as found:
        export_release(small, "trl", tmp_path / place)
    assert str(tmp_path / place) in str(found.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
