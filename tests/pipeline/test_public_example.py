"""The public example, end to end, against what the files themselves say; and the commented settings file."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import tomllib
import unicodedata
from collections import defaultdict
from pathlib import Path

import datasets
import polars as pl
import pytest
from pydantic import BaseModel

from verifiers import available
from warehouse.home import Home
from warehouse.queries import query
from warehouse.releases import load_release
from warehouse.settings import RolloutsSettings, Settings, SourceSettings
from warehouse.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples" / "public"
PROGRAMS = ("codex_pot_fewshot", "codex_pot_zeroshot")

# source -> file, and how a row becomes a prompt: said here a second time, apart from preppo.toml.
SOURCES = {
    "gsm8k-train": ("gsm8k_train", "{question}"),
    "math-train": ("math_train_rllm", "{problem}"),
    "mbpp-train": ("mbpp_train_val_prompt", "{text}\nYour code should pass these tests: {test_list}"),
    "ifeval": ("ifeval_even", "{prompt}"),
    "knights-and-knaves": ("kk_logic_train", "{quiz}"),
    "alpaca-dolly": ("openended_alpaca_dolly", "{instruction}\n{input}"),
    "gsm8k-test": ("rollouts_gsm8k_test", "{question}"),
    "gsm8k-robust": ("rollouts_gsm8k_robust", "{question}"),
    "math-test": ("rollouts_math_qwen_cot100x8", "{question}"),
    "humaneval": ("humaneval_even", "{prompt}"),
    "mbpp-gpt4": ("rollouts_mbpp_gpt4", "{prompt}"),
    "game24": (
        "rollouts_game24_gpt4",
        "Use the numbers {puzzle} and basic arithmetic operations (+ - * /), each number once, to obtain 24.",
    ),
    "dsr-sub": ("difficulty_dsr_sub_acc500", "{prompt}"),
    "planted": ("bbh", "A friend asked me this at dinner, what would you say? {input} Think it over."),
    "bbh": ("bbh", "{input}"),
}


def rows(folder, name):
    with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def canonical(text):
    return unicodedata.normalize("NFC", text).strip()


def means(pairs):
    """Return key -> mean, exact up to one rounding."""
    found = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return {key: sum(values) / len(values) for key, values in found.items()}


@pytest.fixture(scope="module")
def home(shared_data, tmp_path_factory):
    """Return a home in which the example was run by the installed command."""
    folder = tmp_path_factory.mktemp("public") / "home"
    command = [Path(sys.executable).parent / "preppo", "--config", EXAMPLE / "preppo.toml", "--home", folder, "run"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREPPO_", "DAGSTER_"))}
    done = subprocess.run(command, cwd=REPOSITORY, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def ask(home):
    view = Store(Home(home)).snapshot()
    return lambda sql: query(view, sql)


@pytest.fixture(scope="module")
def texts(ask):
    """Return prompt_id -> canonical text."""
    return {i: canonical(t) for i, t in ask("SELECT prompt_id, text FROM prompt_texts").iter_rows()}


@pytest.fixture(scope="module")
def measured(ask, texts):
    """Return (policy, source) -> text -> row of `difficulty`."""
    found = defaultdict(dict)
    sql = """
        SELECT c.inputs ->> 'policy' AS policy, p.source AS origin, p."key", d.* FROM difficulty AS d
        JOIN prompts AS p ON d.prompt_id = p.prompt_id
        JOIN commits AS c ON c.variant = d.policy_id AND c.stage = 'rollouts' AND c.live
    """
    for row in ask(sql).iter_rows(named=True):
        found[row["policy"], row["origin"]][texts[row["prompt_id"]]] = row
    return found


@pytest.mark.slow
def test_every_row_of_every_file_is_accounted_for(shared_data, ask):
    kept = dict(ask("SELECT source, count(*) FROM prompts GROUP BY 1").iter_rows())
    rejected = ask("SELECT source, outcome, count(*) AS n FROM rejected_prompts GROUP BY ALL")
    lost = dict(rejected.group_by("source").agg(pl.col("n").sum()).iter_rows())
    files = {source: rows(shared_data, name) for source, (name, _) in SOURCES.items()}
    assert {s: kept.get(s, 0) + lost.get(s, 0) for s in files} == {s: len(found) for s, found in files.items()}
    assert set(kept) | set(lost) == set(files)

    files["planted"] = [r for r in files["planted"] if r["task"] == "date_understanding" and r["i"] == 2]
    prompts = [canonical(SOURCES[s][1].format(**r)) for s, found in files.items() for r in found]
    fates = dict(rejected.group_by("outcome").agg(pl.col("n").sum()).iter_rows())
    assert fates["filtered"] == len(rows(shared_data, "bbh")) - 1
    assert fates["duplicate"] == len(prompts) - len(set(prompts))
    assert sum(kept.values()) + fates["near_duplicate"] == len(set(prompts))
    assert set(fates) == {"duplicate", "near_duplicate", "filtered"}


@pytest.mark.slow
def test_every_prompt_ends_in_the_release_or_has_a_reason(home, ask):
    ends = dict(ask("SELECT selected, count(*) FROM selection WHERE arm = 'main' GROUP BY 1").iter_rows())
    prompts = ask("SELECT count(*) FROM prompts").item()
    release = load_release(Home(home).releases, "latest", arm="main")
    train = release.train().select("prompt_id").collect()["prompt_id"]
    assert ends[True] == train.n_unique()
    assert sum(ends.values()) == prompts
    assert ask("SELECT count(*) FROM selection WHERE reason IS NULL").item() == 0
    held = release.heldout().select("prompt_id").collect()["prompt_id"]
    assert set(held) == set(ask("SELECT prompt_id FROM prompts WHERE split = 'heldout'")["prompt_id"])
    assert not set(held) & set(train)


@pytest.mark.slow
def test_gsm8k_pass_rates_are_those_of_the_labels_where_the_verdicts_agree_with_them(shared_data, ask, texts, measured):
    recorded = [r for r in rows(shared_data, "rollouts_gsm8k_test") if r["model"] not in PROGRAMS]
    recorded += rows(shared_data, "rollouts_gsm8k_robust")
    labels = means((canonical(r["question"]), r["correct"]) for r in recorded if r["correct"] is not None)
    unlabelled = {canonical(r["question"]) for r in recorded if r["correct"] is None}

    by_response = {}
    for r in recorded:
        by_response.setdefault((canonical(r["question"]), r["response"]), set()).add(r["correct"])
    sql = """
        SELECT o.prompt_id, o.response, v.score FROM rollouts AS o
        JOIN verdicts AS v ON o.prompt_id = v.prompt_id AND o.policy_id = v.policy_id AND o.sample = v.sample
        JOIN prompts AS p ON o.prompt_id = p.prompt_id WHERE p.source IN ('gsm8k-test', 'gsm8k-robust')
    """
    verdicts = list(ask(sql).iter_rows())
    disagree = {
        texts[i]
        for i, response, score in verdicts
        if not by_response[texts[i], response] <= {None, score == 1.0} and texts[i] not in unlabelled
    }

    mine = measured["gsm8k-mixed", "gsm8k-test"] | measured["gsm8k-mixed", "gsm8k-robust"]
    comparable = {t: row for t, row in mine.items() if t not in unlabelled}
    assert len(mine) - len(comparable) == len(unlabelled) == 100  # their sample of a hundred has no label of the answer
    assert len(disagree) <= 3
    differ = {t for t, row in comparable.items() if row["pass_rate"] != pytest.approx(labels[t], abs=1e-12)}
    assert differ == disagree
    assert len(comparable) > 1_000
    counted = defaultdict(int)
    for r in recorded:
        counted[canonical(r["question"])] += 1
    assert all(row["samples"] == row["scored"] == counted[t] for t, row in mine.items())


@pytest.mark.slow
def test_math_pass_rates_are_those_of_the_labels_where_the_verdicts_agree_with_them(shared_data, measured):
    recorded = rows(shared_data, "rollouts_math_qwen_cot100x8")
    labels = means((canonical(r["question"]), r["correct"]) for r in recorded)
    mine = measured["qwen2.5-math-cot", "math-test"]
    assert set(mine) == set(labels)
    differ = {t for t, row in mine.items() if row["pass_rate"] != pytest.approx(labels[t], abs=1e-12)}
    assert len(differ) <= 1  # see benchmarks/results/math_agreement.md


@pytest.mark.slow
def test_recorded_scores_are_the_labels(shared_data, ask, texts, measured):
    simple = ("gpt4_simple", "gpt4_simple_run2")
    mbpp = rows(shared_data, "rollouts_mbpp_gpt4")
    expected = {
        ("codegen-16b", "humaneval", "code"): means(
            (r["task_id"], r["base_pass"]) for r in rows(shared_data, "rollouts_humaneval_codegen16b")
        ),
        ("gpt4-cot", "game24", "countdown"): means(
            (str(r["puzzle_idx"]), r["reward"]) for r in rows(shared_data, "rollouts_game24_gpt4")
        ),
        ("gpt4", "mbpp-gpt4", "code"): means((str(r["task_id"]), r["correct"]) for r in mbpp if r["model"] in simple),
        ("gpt4-reflexion", "mbpp-gpt4", "code"): means(
            (str(r["task_id"]), r["correct"]) for r in mbpp if r["model"] not in simple
        ),
    }
    imported = means(
        ((policy, source, key), score)
        for policy, source, key, score in ask("""
            SELECT c.inputs ->> 'policy', p.source, p."key", o.recorded_score FROM rollouts AS o
            JOIN prompts AS p ON o.prompt_id = p.prompt_id
            JOIN commits AS c ON c.variant = o.policy_id AND c.stage = 'rollouts' AND c.live
            WHERE p."key" IS NOT NULL AND o.recorded_score IS NOT NULL
        """).iter_rows()
    )
    for (policy, source, verifier), labels in expected.items():
        assert {k: imported[policy, source, k] for k in labels} == pytest.approx(labels, abs=1e-12), policy
        found = measured[policy, source].values()
        assert {row["source"] for row in found} == {"rtv" if verifier in available() else "recorded"}, policy
        if verifier not in available():  # else our own verdict counts, and the recorded score does not
            assert {row["key"]: row["mean"] for row in found} == pytest.approx(labels, abs=1e-12), policy


@pytest.mark.slow
def test_dsr_sub_means_are_the_recorded_accuracies(shared_data, measured):
    recorded = {canonical(r["prompt"]): r for r in rows(shared_data, "difficulty_dsr_sub_acc500")}
    mine = measured["qwen2.5-math-1.5b-grpo", "dsr-sub"]
    assert len(mine) > 500
    for text, row in mine.items():
        assert row["mean"] == pytest.approx(recorded[text]["mean_acc"], abs=1e-9)
        assert row["samples"] == row["scored"] == 8 * len(recorded[text]["acc_by_step"])


@pytest.mark.slow
def test_the_planted_contamination_is_found_and_never_selected(shared_data, home, ask, texts):
    item = next(r for r in rows(shared_data, "bbh") if r["task"] == "date_understanding" and r["i"] == 2)
    found = ask("""
        SELECT c.prompt_id, c.eval_set, c.item, p.source FROM contamination AS c
        JOIN prompts AS p ON c.prompt_id = p.prompt_id
    """)
    assert found["source"].to_list() == ["planted"]
    planted = found.row(0, named=True)
    assert planted["eval_set"] == "bbh"
    assert texts[planted["item"]] == canonical(item["input"])
    assert texts[planted["item"]] in texts[planted["prompt_id"]]
    where = f"WHERE prompt_id = '{planted['prompt_id']}'"
    assert ask(f"SELECT DISTINCT selected, reason FROM selection {where}").rows() == [(False, "contaminated")]
    for folder in Home(home).releases.glob("*/"):
        for part in ("train", "heldout"):
            assert planted["prompt_id"] not in pl.read_parquet(folder / f"{part}.parquet")["prompt_id"]


@pytest.mark.slow
def test_what_nothing_could_score_is_unscored_and_never_hard(ask):
    blind = {"code", "instructions", "knights_and_knaves", "countdown"} - set(available())
    if not blind:
        pytest.skip("every verifier that the example names is there")
    named = ", ".join(f"'{v}'" for v in sorted(blind))
    scoreless = f"""
        SELECT p.prompt_id, p.verifier, p.pool FROM prompts AS p WHERE p.verifier IN ({named}) AND p.prompt_id NOT IN (
            SELECT prompt_id FROM rollouts WHERE recorded_score IS NOT NULL
        )
    """
    assert set(ask(scoreless)["verifier"]) == blind - {"countdown"}
    assert ask(f"SELECT count(*) FROM difficulty WHERE prompt_id IN (SELECT prompt_id FROM ({scoreless}))").item() > 0
    unscored = f"SELECT * FROM difficulty WHERE prompt_id IN (SELECT prompt_id FROM ({scoreless}))"
    assert ask(f"SELECT count(*) FROM ({unscored}) WHERE scored > 0 OR mean IS NOT NULL").item() == 0
    reasons = ask(f"SELECT DISTINCT reason FROM selection WHERE prompt_id IN (SELECT prompt_id FROM ({scoreless}))")
    assert set(reasons["reason"]) == {"original", "heldout"}
    hard = "SELECT count(*) FROM candidates WHERE pool = 'new' AND selected AND coalesce(scored, 0) = 0"
    assert ask(hard).item() == 0


@pytest.mark.slow
def test_the_release_loads_with_datasets(home, tmp_path):
    release = load_release(Home(home).releases, "latest", arm="main")
    loaded = datasets.load_dataset(str(release.folder), cache_dir=str(tmp_path))
    train = release.train().select("prompt_id").collect()["prompt_id"].to_list()
    assert loaded["train"]["prompt_id"][:] == train
    assert len(loaded["heldout"]) == release.manifest["counts"]["heldout"]
    assert set(loaded["train"]["pool"][:]) == {"original", "new"}


@pytest.mark.slow
def test_the_page_is_written_from_the_home_twice_the_same(home, tmp_path):
    script = [sys.executable, EXAMPLE / "report.py", "--home", home, "--out"]
    for out in (tmp_path / "a", tmp_path / "b"):
        done = subprocess.run([*script, out], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in "ab")
    assert first == second
    assert set(first) == {"README.md", "pass_rates.png", "funnel.png"}
    page = first["README.md"].decode()
    assert page.count("**As it should be:**") == 5
    assert "Not as it should be" not in page


def test_a_page_of_an_empty_home_says_what_to_do(tmp_path):
    command = [sys.executable, EXAMPLE / "report.py", "--home", tmp_path / "none", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "holds nothing yet; first: preppo --config" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def settings_file():
    return (REPOSITORY / "examples" / "preppo.toml").read_text(encoding="utf-8")


def test_the_commented_settings_file_holds_the_defaults():
    data = tomllib.loads(settings_file())
    assert [s["name"] for s in data.pop("source")] == ["gsm8k"]
    assert "rollouts" not in data
    written = Settings.model_validate(data)
    for name, value in data.items():
        assert name in Settings.model_fields
        for key in value:
            assert getattr(getattr(written, name), key) == getattr(getattr(Settings(), name), key), f"{name}.{key}"
    assert written == Settings()


def test_the_commented_settings_file_names_every_setting():
    for model, header in ((SourceSettings, "[[source]]"), (RolloutsSettings, "[[rollouts]]")):
        named = set(re.findall(r"(\w+) = ", settings_file()))
        missing = set(model.model_fields) - named
        assert not missing, f"{header} in examples/preppo.toml does not name {missing}"
    sections = {s.split("]")[0].strip("[ #"): s for s in settings_file().replace("\n# [[", "\n[[").split("\n[")[1:]}
    for name, field in Settings.model_fields.items():
        model = field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        missing = [k for k in model.model_fields if f"{k} =" not in sections[name] and k != "arms"]
        assert not missing, f"[{name}] in examples/preppo.toml does not name {missing}"
