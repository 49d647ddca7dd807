"""Differences between releases name every prompt that changed, and why."""

import json
from dataclasses import replace

import polars as pl
import pytest
from rich.console import Console

from tests.warehouse import release_home as small
from warehouse.diff import as_json, diff
from warehouse.releases import release_inputs, write_release
from warehouse.render import render_diff


def release(store, arm="main"):
    given = release_inputs(
        store.snapshot(), arm, policy={}, policy_hash="settings-1", inputs={}, code_version="code-1",
        policy_ids=(small.POLICY,),
    )  # fmt: skip
    return write_release(store.home.releases, given)


def by_text(text):
    return next(p for p in small.PROMPTS if p.text == text)


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    """One prompt leaves, one enters, a late batch brings another, and the code prompt stays in one phase only."""
    store = small.make(tmp_path_factory.mktemp("diff") / "home")
    before = release(store)
    now = list(small.PROMPTS)
    now[0] = replace(now[0], selected=False, reason="above_cut", mean=0.9)
    now[2] = replace(now[2], selected=True, reason="floor")
    late = small.Prompt("A late prompt", selected=True, reason="pre_ppo", mean=0.0)
    small.fill(store, [late], batch="000002-bbbbbbbb")
    small.choose(store, [*now, late], version="2", cut=0.8)
    curriculum = small.curriculum_rows([*now, late], "main")
    curriculum = curriculum.filter(curriculum["phase"] == "mixture").with_columns(occurrence=pl.lit(0, pl.Int64))
    small.put(store, "curriculum", "corpus", {"curriculum": curriculum}, variant="main", version="3")
    return before, release(store), late


def test_who_entered_left_and_moved(releases):
    before, after, late = releases
    found = diff(before, after)
    assert found.totals == {"entered": 2, "left": 1, "moved": 1, "stayed": 2}
    assert set(found.of("entered").get_column("prompt_id")) == {by_text("What is 4 + 4?").id, late.id}
    assert found.of("left").get_column("prompt_id").to_list() == [by_text("What is 2 + 2?").id]
    moved = found.of("moved").row(0, named=True)
    assert (moved["phases_before"], moved["phases_after"]) == (["code", "mixture"], ["mixture"])


def test_why(releases):
    before, after, late = releases
    rows = {r["prompt_id"]: r for r in diff(before, after).prompts.to_dicts()}
    left = rows[by_text("What is 2 + 2?").id]
    assert (left["reason_before"], left["value_before"], left["threshold_before"]) == ("pre_ppo", 0.0, 0.3)
    assert (left["reason_after"], left["value_after"], left["threshold_after"]) == ("above_cut", 0.9, 0.8)
    assert left["domain"] == "math"
    assert rows[late.id]["reason_before"] == "no decision"


def test_counts_by_domain_and_reason(releases):
    before, after, _ = releases
    counts = diff(before, after).counts.to_dicts()
    assert {
        "change": "left",
        "domain": "math",
        "reason_before": "pre_ppo",
        "reason_after": "above_cut",
        "prompts": 1,
    } in counts
    assert sum(c["prompts"] for c in counts) == 4


def test_backwards_is_the_mirror_image(releases):
    before, after, _ = releases
    there, back = diff(before, after), diff(after, before)
    assert there.of("entered").get_column("prompt_id").to_list() == back.of("left").get_column("prompt_id").to_list()
    assert (there.totals["left"], there.totals["moved"]) == (back.totals["entered"], back.totals["moved"])


def test_a_release_does_not_differ_from_itself(releases):
    same = diff(releases[0], releases[0])
    assert same.totals == {"entered": 0, "left": 0, "moved": 0, "stayed": 4}
    assert same.prompts.is_empty()


def test_json_and_text(releases):
    before, after, late = releases
    found = diff(before, after)
    told = json.loads(as_json(found))
    assert {p["prompt_id"] for p in told["prompts"]} >= {late.id}
    assert told["totals"] == found.totals
    console = Console(width=250, color_system=None)
    with console.capture() as capture:
        console.print(render_diff(found, most=1))
    text = capture.get()
    assert after.release_id in text
    assert "Entered (the first 1; 1 more with --json)" in text
    assert "above_cut" in text
