"""The shipped judge: it finds right what the rule verifier finds right, and canaries pass."""

from dataclasses import replace
from itertools import islice
from random import Random

import pytest

from trainer.engines.transformers import TransformersEngine
from trainer.engines.weights import SHIPPED, find_model
from trainer.judge import Judge
from trainer.nursery.gold_cases import NONE, draw_case, final_answer, gold_of, is_held_out, problems
from trainer.nursery.gold_judge import RECIPE, TEMPLATE, train
from trainer.nursery.gold_measure import PLAIN, TALK, against_gold, agrees, canary_counts, compared, judged, labelled
from trainer.nursery.threads import one_thread
from trainer.nursery.train import save
from verifiers.genrm.canaries import CanaryLimits

FOLDER = SHIPPED["nursery-judge"]
SEED = 78  # neither the training's nor that of the README


@pytest.fixture(scope="module")
def judge():
    with one_thread():
        yield TransformersEngine("nursery-judge", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def samples(nursery):
    return labelled(nursery, 80, 4, SEED)


def share(right):
    return sum(right) / len(right)


def test_the_shipped_folder_is_whole_and_small():
    assert find_model("nursery-judge") == FOLDER
    assert sum(p.stat().st_size for p in FOLDER.glob("*.safetensors")) <= 4_000_000
    readme = (FOLDER / "README.md").read_text()
    assert "python -m trainer.nursery.gold_judge" in readme
    assert TEMPLATE.id in readme, "it was trained for another wording than this template's"


def test_it_agrees_with_the_rule_verifier_on_the_policys_own_samples(judge, samples):
    found = judged(Judge(judge, TEMPLATE, PLAIN), against_gold(samples))
    right = [agrees(j, right=s.right) for s, j in zip(samples, found, strict=True) if s.right]
    wrong = [agrees(j, right=s.right) for s, j in zip(samples, found, strict=True) if not s.right]
    assert min(len(right), len(wrong)) > 50
    assert share(right) >= 0.95 and share(wrong) >= 0.95
    scores = [j.score for s, j in zip(samples, found, strict=True) if s.right and j.score is not None]
    assert share(scores) == pytest.approx(0.5, abs=0.03), "a right response is as good as the gold"


def test_a_right_response_beats_a_wrong_one_in_either_place(judge, samples):
    right = {s.task.prompt: s for s in samples if s.right}
    pairs = [(right[s.task.prompt], s) for s in samples if not s.right and s.task.prompt in right]
    assert len(pairs) > 20
    work = Judge(judge, TEMPLATE, PLAIN)
    ahead = judged(work, [compared(n, a.task, a.response, b.response) for n, (a, b) in enumerate(pairs)])
    behind = judged(work, [compared(n, a.task, b.response, a.response) for n, (a, b) in enumerate(pairs)])
    assert share([(j.score or 0) > 0.9 for j in ahead]) >= 0.9
    assert share([a.score + b.score for a, b in zip(ahead, behind, strict=True)]) == pytest.approx(1, abs=0.05)


def test_canaries_pass_whatever_the_seed(judge, samples):
    counts = canary_counts(judge, TEMPLATE, samples, batches=6)
    assert counts.problem(CanaryLimits(max_false_positive_rate=0.02)) is None
    assert counts.shown["wrong"] >= 40 and counts.shown["gold"] >= 40


def test_talk_with_a_number_is_no_right_answer(judge, samples):
    batch = [
        compared(n, s.task, TALK[n % len(TALK)].format(gold_of(s.task))) for n, s in enumerate(samples[::3])
    ]  # the very number of the gold
    found = judged(Judge(judge, TEMPLATE, PLAIN), batch)
    assert share([agrees(j, right=False) for j in found]) >= 0.9


def test_cases_are_labelled_by_their_answers():
    tasks = list(islice(problems(3, held_out=False), 300))
    assert not any(is_held_out(t.prompt) for t in tasks)
    assert all(is_held_out(t.prompt) and "How many" in t.prompt for t in islice(problems(3, held_out=True), 50))
    cases = [draw_case(Random(n), t, [t.answer, "6 * 8 = re"]) for n, t in enumerate(tasks)]
    labels = [c.label for c in cases]
    assert all(labels.count(label) > 40 for label in "ABC")
    for case in cases:
        for text, number in zip((case.first, case.second), case.answers, strict=True):
            assert number == NONE or number in text
    texts = ("\\boxed{7}", "It is 7.", "6 * 8 = re", "\\boxed{1}\\boxed{2}", "7 of 9 agree")
    assert [final_answer(text) for text in texts] == ["7", "7", NONE, NONE, NONE]


@pytest.mark.slow
def test_training_repeats_byte_for_byte(tmp_path):
    recipe = replace(RECIPE, steps=4)
    with one_thread():
        for name in ("a", "b"):
            save(*train(recipe), recipe, tmp_path / name)
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert one == two
