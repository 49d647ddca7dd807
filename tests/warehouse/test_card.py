"""The data set card loads with `datasets`, and says what it must."""

from dataclasses import replace

import datasets
import polars as pl
import pytest

from tests.warehouse import release_home as small
from warehouse.releases import release_inputs, write_release


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def release_of(root, prompts=None):
    store = small.make(root, prompts)
    given = release_inputs(
        store.snapshot(), "main", policy={"a": 1}, policy_hash="settings-1", inputs={"gsm8k": "aa"},
        code_version="code-1", policy_ids=(small.POLICY,), models=[{"name": "nursery"}],
    )  # fmt: skip
    return write_release(store.home.releases, given)


@pytest.mark.filterwarnings("default")
def test_load_dataset_gives_both_splits_in_order(tmp_path):
    release = release_of(tmp_path / "home")
    loaded = datasets.load_dataset(str(release.folder), cache_dir=str(tmp_path / "hf"))
    assert sorted(loaded) == ["heldout", "train"]
    assert loaded["train"]["position"] == [0, 1, 2, 3, 4]
    assert loaded["train"][1]["messages"] == [{"role": "user", "content": "What is 2 + 2?"}]
    assert loaded["heldout"]["prompt_id"] == release.heldout().collect().get_column("prompt_id").to_list()
    assert loaded["train"].features == loaded["heldout"].features


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("empty", ["heldout", "train"])
def test_load_dataset_works_where_a_split_is_empty(tmp_path, empty):
    split = {"train": "heldout"} if empty == "train" else {"heldout": "train"}
    prompts = [
        replace(p, split=split.get(p.split, p.split), selected=p.selected and empty == "heldout") for p in small.PROMPTS
    ]
    release = release_of(tmp_path / "home", prompts)
    loaded = datasets.load_dataset(str(release.folder), cache_dir=str(tmp_path / "hf"))
    assert {k: len(v) for k, v in loaded.items()} == ({"train": 5} if empty == "heldout" else {"heldout": 9})
    assert (release.folder / f"{empty}.parquet").is_file()


def test_the_card_shows_funnel_plots_and_licences(tmp_path):
    release = release_of(tmp_path / "home")
    text = (release.folder / "README.md").read_text("utf-8")
    assert release.release_id in text
    assert "| code | 1 |\n| mixture | 4 |" in text, "phases in the order of the curriculum"
    assert "| read | rows read | 15 |" in text
    assert "| select | left out: heldout | 2 |" in text
    assert "| gsm8k | MIT | 2 | 1 |" in text
    assert "| gsm8k | not stated | 1 | 0 |" in text
    assert "| mbpp | CC BY 4.0 | 2 | 0 |" in text
    for name in ("plots/funnel.png", "plots/mean_reward.png"):
        assert f"({name})" in text
        assert (release.folder / name).read_bytes().startswith(b"\x89PNG")


def test_the_card_tells_what_the_token_limit_cut(tmp_path, monkeypatch):
    assert "token limit cut" not in (release_of(tmp_path / "none").folder / "README.md").read_text("utf-8").partition(
        "## Columns")[0]  # fmt: skip
    rows = small.difficulty_rows
    cut = pl.when(pl.col("prompt_id") == small.PROMPTS[0].id).then(6).otherwise(0).cast(pl.Int64)
    monkeypatch.setattr(small, "difficulty_rows", lambda p: rows(p).with_columns(truncated=cut))
    small._prepared.cache_clear()
    release = release_of(tmp_path / "some")
    small._prepared.cache_clear()
    text = (release.folder / "README.md").read_text("utf-8")
    assert "## Samples that the token limit cut" in text
    assert "| math | 16 | 6 | 37.5% |" in text, "a prompt that occurs twice counts once"


def test_the_code_on_the_card_runs(tmp_path, monkeypatch, capsys):
    release = release_of(tmp_path / "home")
    text = (release.folder / "README.md").read_text("utf-8")
    code = text.partition("## Provenance")[2].partition("```python\n")[2].partition("```")[0]
    monkeypatch.setenv("PREPPO_HOME", str(tmp_path / "home"))
    exec(compile(code, "README.md", "exec"), {})
    verified, rebuilt = capsys.readouterr().out.splitlines()
    assert verified == "[]"
    assert rebuilt.count("True") == 3


def test_cells_cannot_break_the_tables(tmp_path):
    prompts = [replace(p, source="a|b", licence="two\nlines") for p in small.PROMPTS]
    text = (release_of(tmp_path / "home", prompts).folder / "README.md").read_text("utf-8")
    assert "| a\\|b | two lines | 5 | 1 |" in text
