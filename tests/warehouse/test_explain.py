"""The story of a prompt is whole, whichever way it is asked for."""

import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from tests.warehouse import release_home as small
from warehouse.curation.identity import prompt_id
from warehouse.explain import PromptNotFoundError, as_json, explain
from warehouse.ledger import CORPUS
from warehouse.releases import release_inputs, write_release
from warehouse.render import render_story

SUM = small.PROMPTS[0]


def release(store, arm="main", **policy):
    given = release_inputs(
        store.snapshot(), arm, policy=policy, policy_hash="settings-1", inputs={}, code_version="code-1",
        policy_ids=(small.POLICY,),
    )  # fmt: skip
    return write_release(store.home.releases, given)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    made = small.make(tmp_path_factory.mktemp("explain") / "home")
    release(made)
    return made


def tell(store, who):
    return explain(store.snapshot(), store.home.releases, who)


def text_of(story):
    console = Console(width=250, record=True, file=None, quiet=False, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(render_story(story))
    return capture.get()


@pytest.mark.parametrize("who", [SUM.id, SUM.id[:9], SUM.text, f"  {SUM.text}\n", "key-0", "2 + 2?", "What is 2"])
def test_a_prompt_is_found_by_id_text_key_or_piece(store, who):
    story = tell(store, who)
    assert story.prompt_id == SUM.id
    assert story.prompt["messages"][0]["content"] == SUM.text


def test_the_story_is_whole(store):
    story = tell(store, SUM.id)
    assert (story.prompt["batch"], story.prompt["source_row"]) == (small.BATCH, "file:0")
    assert [(r["sample"], r["rewards"][0]["reward"], r["verdicts"][0]["status"]) for r in story.rollouts] == [
        (0, 1.0, "correct"), (1, None, "timeout"),
    ]  # fmt: skip
    assert story.difficulty[0]["samples"] == 8
    assert story.references[0]["text"] == "four"
    assert [(c["position"], c["phase"]) for c in story.curriculum] == [(1, "mixture")]
    chosen = story.selection[0]
    assert (chosen["reason"], chosen["value"], chosen["threshold"], chosen["outcome"]) == ("pre_ppo", 0.0, 0.3, "keep")
    assert [r["outcome"] for r in story.rejected] == ["duplicate", "near_duplicate"]
    decision = story.decisions[-1]
    assert (decision["policy_hash"], decision["run_id"], decision["current"]) == ("settings-1", "run-selection", True)
    assert decision["committed_at"].year >= 2024
    told = story.releases[0]
    assert (told["part"], told["places"][0]["position"], told["selection"]["reason"]) == ("train", 1, "pre_ppo")


def test_a_prompt_that_recurs_has_all_its_places(store):
    story = tell(store, "Write f(x) = x.")
    assert [c["position"] for c in story.curriculum] == [0, 3]
    assert [p["phase"] for p in story.releases[0]["places"]] == ["code", "mixture"]


def test_why_a_prompt_was_left_out(store):
    story = tell(store, "What is 5 + 5?")
    assert story.selection[0]["reason"] == "above_cut"
    assert story.curriculum == []
    assert (story.releases[0]["part"], story.releases[0]["places"]) == (None, [])
    assert story.releases[0]["selection"]["outcome"] == "drop"


def test_held_out_and_contaminated_prompts(store):
    held = tell(store, "Held out")
    assert held.releases[0]["part"] == "heldout"
    exam = tell(store, "From the exam")
    assert [(c["eval_set"], c["item"]) for c in exam.contamination] == [("exam", "7")]


def test_a_rejected_text_says_why_and_what_it_matched(store):
    text = "What is 2 + 2 ?!"
    for who in (text, prompt_id([("user", text)])):
        story = tell(store, who)
        assert story.prompt is None
        assert [(r["outcome"], r["matched_prompt_id"]) for r in story.rejected] == [("near_duplicate", SUM.id)]
    broken = tell(store, "{oops")
    assert (broken.prompt_id, broken.rejected[0]["outcome"]) == ("", "quarantined")
    assert "line 92 is not JSON" in text_of(broken)


def test_several_matches_are_listed(store):
    with pytest.raises(PromptNotFoundError, match="several prompts match 'What is'") as error:
        tell(store, "What is")
    assert {c["prompt_id"] for c in error.value.candidates} == {p.id for p in small.PROMPTS[:4]}
    assert str(error.value).count("\n") == 4


@pytest.mark.parametrize("who", ["f" * 32, "no such text", "", "ab", "'; DROP VIEW prompts; --", "%"])
def test_nothing_found_is_said(store, who):
    with pytest.raises(PromptNotFoundError, match="no prompt has the id, text or key"):
        tell(store, who)


def test_ids_that_start_alike_are_listed(tmp_path):
    texts, seen = [], {}
    for i in range(3000):
        start = prompt_id([("user", f"text {i}")])[:4]
        if start in seen:
            texts = [seen[start], f"text {i}"]
            break
        seen[start] = f"text {i}"
    store = small.make(tmp_path / "home", [small.Prompt(t) for t in texts])
    with pytest.raises(PromptNotFoundError, match="several prompts have an id that starts"):
        tell(store, start)


def test_decisions_that_were_replaced_stay_in_the_story(tmp_path):
    store = small.make(tmp_path / "home")
    release(store)
    now = [replace(SUM, selected=False, reason="ceiling")]
    rows = small.selection_decision_rows(now, "main", 0.7)
    changed = [*now, *small.PROMPTS[1:]]
    frames = {"selection": small.selection_rows(changed, "main"), "decisions": rows}
    small.put(store, "selection", CORPUS, frames, variant="main", version="2", extends=True)
    small.put(
        store, "curriculum", CORPUS, {"curriculum": small.curriculum_rows(changed, "main")}, variant="main", version="2"
    )
    release(store)
    story = tell(store, SUM.id)
    assert [(d["outcome"], d["current"]) for d in story.decisions] == [("keep", False), ("drop", True)]
    assert (story.selection[0]["reason"], story.selection[0]["threshold"]) == ("ceiling", 0.7)
    assert [(r["part"], r["selection"]["reason"]) for r in story.releases] == [("train", "pre_ppo"), (None, "ceiling")]


def test_the_json_has_everything(store):
    told = json.loads(as_json(tell(store, SUM.id)))
    assert told["rollouts"][1]["verdicts"][0]["status"] == "timeout"
    assert told["prompt"]["ingested_at"] == "2026-01-01T00:00:00+00:00"
    assert re.fullmatch(r"[0-9a-f]{32}", told["decisions"][0]["decision_id"])


def test_the_rendered_story_says_what_matters(store):
    text = text_of(tell(store, SUM.id))
    for part in (
        SUM.id,
        SUM.text,
        "file:0",
        "pre_ppo",
        "timeout",
        "settings-1",
        "run-sele",
        "Releases",
        "(mixture)",
    ):
        assert part in text


def test_a_home_without_anything_says_not_found(tmp_path):
    store = small.Store(small.Home(tmp_path / "home"))
    with pytest.raises(PromptNotFoundError):
        tell(store, "anything")
