"""Quality of answers to open questions: what counts, how much, and that spoilt answers are worse than right ones."""

from itertools import islice, permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.nursery.answers import PROMPTS, asked, empty_answer, right_answer, spoilt_answer
from trainer.nursery.knowledge import ABOUT
from trainer.nursery.quality import credits_of, open_question, quality
from trainer.nursery.tasks import stream_tasks
from verifiers.genrm.canaries import UNLISTED

ONE, TWO, THREE = (f"Tell me about the sun in {n}." for n in ("one sentence", "two sentences", "three sentences"))


def test_every_open_question_is_known_and_nothing_else_is():
    tasks = list(islice(stream_tasks(5), 2000))
    assert {t.prompt for t in tasks if open_question(t.prompt)} == {t.prompt for t in tasks if t.verifier is None}
    assert len(set(PROMPTS)) == 6 * len(ABOUT)
    for prompt in ("Tell me about the moon in one sentence.", "Tell me about the sun in four sentences.", ""):
        with pytest.raises(ValueError, match="no open nursery question"):
            quality(prompt, "The sun is a star.")


def test_the_answers_that_are_taught_are_right():
    taught = [t for t in islice(stream_tasks(6), 2000) if t.verifier is None]
    assert len(taught) > 50
    assert {quality(t.prompt, t.answer) for t in taught} == {1.0}


@pytest.mark.parametrize(
    ("prompt", "response", "expected"),
    [
        (ONE, "The sun is a star.", 1.0),
        (ONE, "  The sun is a star.\n", 1.0),
        (TWO, "The sun is a star. The sun is very hot.", 1.0),
        (TWO, "The sun is a star.\nIt is very hot.", 1.0),
        (ONE, "The sun is a star", 0.5),  # no full stop
        (ONE, "It is a star.", 0.5),  # of what?
        (ONE, "the sun is a star.", 0.5),
        (ONE, "The sun likes milk.", 0.0),
        (ONE, "A cat is a star.", 0.0),
        (ONE, "The sun is a sttar.", 0.0),
        (ONE, "The sun is a star. It is very hot.", 0.5),  # one too many
        (ONE, "The sun likes milk. It is very hot.", 0.0),
        (TWO, "The sun is a star.", 0.5),
        (TWO, "The sun is a star. It is a star.", 0.5),
        (TWO, "The sun is a star. It likes milk.", 0.5),
        (TWO, "It is a star. It is very hot.", 0.75),
        (THREE, "The sun is a star. It is very hot.", 2 / 3),
        (THREE, "The sun is a star. It is a star. It is very hot.", 2 / 3),
        (THREE, "", 0.0),
        (THREE, ". . .", 0.0),
    ],
)
def test_what_counts(prompt, response, expected):
    assert quality(prompt, response) == pytest.approx(expected)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_any_order_of_facts_is_right_and_credits_name_the_wrong_sentence(prompt):
    question = asked(prompt)
    facts = permutations(ABOUT[question.subject], question.wanted)
    start = question.subject[0].upper() + question.subject[1:]
    for some in facts:
        text = " ".join(f"{'It' if n else start} {fact}." for n, fact in enumerate(some))
        assert quality(prompt, text) == 1.0
        spoilt = text.replace(some[-1], "is nothing")
        assert credits_of(question, spoilt) == [2] * (question.wanted - 1) + [0]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**9), st.text(max_size=60))
def test_it_is_a_share_and_nothing_beats_a_right_answer(seed, noise):
    rng = Random(seed)
    prompt = rng.choice(PROMPTS)
    right, spoilt = right_answer(rng, asked(prompt)), spoilt_answer(rng, asked(prompt))
    assert quality(prompt, right) == 1.0
    for text in (spoilt, noise, right + noise, noise + right):
        assert 0.0 <= quality(prompt, text) <= 1.0
    assert quality(prompt, f"{right} It is nothing.") < 1.0


def test_spoilt_answers_are_worse_and_empty_ones_worth_nothing():
    rng = Random(2)
    drawn = [(prompt, spoilt_answer(rng, asked(prompt))) for prompt in PROMPTS for _ in range(40)]
    values = [quality(prompt, text) for prompt, text in drawn]
    assert sum(v == 1.0 for v in values) < 0.03 * len(values)  # a repeated fact that was drawn again
    assert len({round(v, 2) for v in values}) > 8
    empty = [empty_answer(rng) for _ in range(300)]
    assert {quality(prompt, text) for prompt in PROMPTS for text in empty} == {0.0}
    assert not [text for text in empty if any(canary in text for canary in UNLISTED)]
