"""The demo, curated: every kind of prompt is rewarded by its own source, and the judge agrees with the verifier."""

import json

import polars as pl
import pytest

from assets.project import open_project
from tests.pipeline import harness
from verifiers import Status, Task, verify

pytestmark = pytest.mark.usefixtures("one_thread")
DOMAINS = {
    "rtv": {"math", "code", "instruction", "general"},
    "genrm_ground_truth": {"free_form"},
    "reward_model": {"general"},
}


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    home = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        harness.leave_out_what_is_for_people(patch)
        patch.chdir(home)  # no settings here: the demo's
        patch.delenv("PREPPO_CONFIG", raising=False)
        patch.setenv("PREPPO_HOME", str(home / "home"))
        said = harness.preppo("run")
        assert "released" in said
        yield open_project(None, home / "home").store.snapshot()


def test_each_prompt_has_the_source_that_its_kind_has(view):
    rewards = view.scan("rewards").join(view.scan("prompts").select("prompt_id", "domain"), on="prompt_id").collect()
    found = {s: set(rewards.filter(pl.col("source") == s)["domain"]) for s in rewards["source"].unique()}
    assert found == DOMAINS
    assert rewards.filter(pl.col("source") == "genrm_ground_truth")["prompt_id"].n_unique() >= 20


def test_the_judge_rewards_what_the_rule_verifier_would(view):
    rows = (
        view.scan("judgements")
        .join(view.scan("prompts").select("prompt_id", "ground_truth", "messages"), on="prompt_id")
        .join(view.scan("rollouts").filter(pl.col("role") == "scored"), on=["prompt_id", "sample"])
        .collect()
        .to_dicts()
    )
    tasks = [Task("math", r["response"], r["ground_truth"], r["messages"][-1]["content"]) for r in rows]
    verdicts = verify(tasks, workers=1)
    decided = [(r, v.status is Status.correct) for r, v in zip(rows, verdicts, strict=True) if r["status"] == "judged"]
    assert len(decided) > 150
    assert {right for _, right in decided} == {True, False}
    assert sum((r["score"] >= 0.25) == right for r, right in decided) >= 0.95 * len(decided)
    assert all(json.loads(r["ground_truth"]).isdecimal() for r in rows)


def test_free_form_prompts_are_selected_among(view):
    chosen = view.scan("selection").join(view.scan("prompts").select("prompt_id", "domain"), on="prompt_id").collect()
    free = chosen.filter((pl.col("domain") == "free_form") & (pl.col("arm") == "main"))
    assert set(free["reason"]) >= {"pre_ppo", "above_cut"}
