"""The prompts that PPO is shown on: repeatable, distinct, and each with a gold that its verifier reads."""

import re

from trainer.nursery.practice import practice, write_practice
from verifiers import Task, check_gold
from warehouse.settings import load_settings


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_practice(tmp_path / name, prompts=50)
    for name in ("original.jsonl", "new.jsonl", "preppo.toml"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_prompts_are_distinct_and_every_gold_can_be_read():
    tasks = practice()
    assert len({t.prompt for t in tasks}) == len(tasks)
    assert {t.domain for t in tasks} == {"math", "code", "instruction", "general"}
    assert [check_gold(Task(t.verifier, t.answer, t.ground_truth, t.prompt)) for t in tasks] == [None] * len(tasks)


def test_every_sum_occurs_in_several_wordings():
    facts = {}
    for task in practice():
        if task.domain == "math":
            fact = re.search(r"\d+ [-+] \d", task.prompt)[0]
            facts.setdefault(fact, []).append(task.prompt)
    assert sum(len(wordings) > 1 for wordings in facts.values()) > 0.95 * len(facts)


def test_its_settings_can_be_used(tmp_path):
    settings = load_settings(write_practice(tmp_path, prompts=50)).settings
    assert settings.ppo.dynamic_sampling
    assert {s.pool for s in settings.source} == {"original", "new"}
