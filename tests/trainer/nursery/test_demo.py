"""The demo's inputs hold exactly the dirt that the docstring names."""

import json
from collections import Counter

import pytest

from trainer.nursery import demo
from warehouse.curation.identity import canonical_text


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    demo.write_demo(folder)
    return {name: (folder / f"{name}.jsonl").read_text().splitlines() for name in ("original", "new", "eval")}


def rows(lines):
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            found.append(None)
    return found


def words(text):
    return demo._words(text)


def overlap(a, b):
    x, y = demo._runs(a, 3), demo._runs(b, 3)
    return len(x & y) / len(x | y)


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    demo.write_demo(tmp_path / "a", seed=3)
    demo.write_demo(tmp_path / "b", seed=3)
    demo.write_demo(tmp_path / "c", seed=4)
    for name in ("original", "new", "eval"):
        one, two, other = ((tmp_path / f / f"{name}.jsonl").read_bytes() for f in "abc")
        assert one == two
        assert one != other


@pytest.mark.parametrize("seed", range(6))
def test_counts(tmp_path, seed):
    demo.write_demo(tmp_path, seed)
    original, new, evaluation = (
        rows((tmp_path / f"{n}.jsonl").read_text().splitlines()) for n in ("original", "new", "eval")
    )
    assert len(original) == demo.ORIGINAL_PROMPTS
    assert len(new) == demo.NEW_ROWS
    assert len(evaluation) == demo.EVAL_PROMPTS
    assert new.count(None) == demo.BROKEN_LINES
    good = [r for r in new if r is not None]
    assert sum(r["question"] is None for r in good) == demo.NULL_PROMPTS
    assert sum(r["question"] is not None and not r["question"].strip() for r in good) == demo.EMPTY_PROMPTS
    golds = {}
    for r in [*original, *good]:
        if r["question"] and r["question"].strip():
            golds.setdefault(canonical_text(r["question"]), []).append(r["answer"])
    again = [g for g in golds.values() if len(g) > 1]
    assert all(len(g) == 2 for g in again)
    assert sum(len(set(g)) == 1 for g in again) == demo.EXACT_DUPLICATES
    assert sum(len(set(g)) == 2 for g in again) == demo.GOLD_CONFLICTS
    planted = demo.NEAR_DUPLICATES + demo.CONTAMINATED
    assert len(golds) == demo.ORIGINAL_PROMPTS + demo.NEW_PROMPTS + planted


def test_near_duplicates_are_near_and_nothing_else_is(files):
    asked = [r for r in rows(files["original"] + files["new"]) if r and r["question"]]
    found = {canonical_text(r["question"]): r["answer"] for r in asked}
    texts = [t for t in found if t]
    pairs = [(a, b) for i, a in enumerate(texts) for b in texts[:i] if found[a] == found[b]]
    overlaps = [overlap(a, b) for a, b in pairs]
    assert sum(o > 0.9 for o in overlaps) == demo.NEAR_DUPLICATES
    assert not [o for o in overlaps if 0.6 < o <= 0.9]


def test_only_the_planted_prompts_are_contaminated(files):
    evaluation = [r["question"] for r in rows(files["eval"])]
    runs = {run for q in evaluation for run in demo._runs(q, 13)}
    assert all(len(words(q)) >= 13 for q in evaluation)
    found = {r["question"] for r in rows(files["original"] + files["new"]) if r and r["question"]}
    hit = [q for q in found if demo._runs(q, 13) & runs]
    assert len(hit) == demo.CONTAMINATED
    assert all(any(e in q and overlap(e, q) < 0.7 for e in evaluation) for q in hit)


def test_five_domains_and_five_levels(files):
    found = rows(files["original"] + files["new"])
    domains = Counter(r["domain"] for r in found if r)
    assert set(domains) == {"math", "code", "instruction", "general", "free_form"}
    assert 20 <= domains.pop("free_form") <= 32
    assert min(domains.values()) >= 30
    assert {r["level"] for r in found if r} == {1, 2, 3, 4, 5}
    assert {r["verifier"] for r in found if r} == {"math", "code", "exact", "choice", None}


def test_free_form_prompts_have_a_gold_and_no_verifier(files):
    found = [r for r in rows(files["original"] + files["new"]) if r and r["domain"] == "free_form"]
    assert all(r["verifier"] is None and json.loads(r["answer"]).isdecimal() for r in found)
    assert {r["level"] for r in found} >= {1, 3}
