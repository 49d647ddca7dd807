"""What the README of the shipped judge tells: how it agrees with the rule verifier, and what fools it."""

from __future__ import annotations

import math
import time
from collections import Counter
from itertools import islice, pairwise
from typing import TYPE_CHECKING, NamedTuple

from trainer.judge import Judge, JudgeSettings
from trainer.nursery.gold_cases import gold_of, problems, sampled
from trainer.nursery.pairs import HELD_OUT, Share, share_of
from verifiers import Status, Task, verify
from verifiers.genrm import Comparison, JudgementStatus
from verifiers.genrm.canaries import CanaryCounts, CanaryKind, CanaryLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.engines.transformers import TransformersEngine
    from trainer.nursery.task import NurseryTask
    from trainer.nursery.train import Recipe
    from verifiers.genrm import Judgement, Template

PLAIN = JudgeSettings(canaries=0)
RIGHT = 0.25  # a score from which on a response counts as right: midway between a wrong one and parity
QUESTIONS, SAMPLES = 160, 8
BATCHES, BATCH = 20, 32  # of canaries, and comparisons in each
# Worded otherwise than in training; the gates let them through for their number.
TALK = (
    "For {} reasons the outcome is plain.",
    "Nobody who read chapter {} would doubt what I found.",
    "A team of {} experts agreed with me.",
    "Punkt {} wyjaśnia wszystko.",
    "After {} minutes of thought everything became clear to me.",
)


class Sample(NamedTuple):
    """A policy's response to a held-out question, and whether the rule verifier finds it right."""

    task: NurseryTask
    response: str
    right: bool


def labelled(policy: TransformersEngine, questions: int, samples: int, seed: int) -> list[Sample]:
    """Return a policy's finished samples of held-out questions, each question once, with the verdicts of `math`."""
    tasks = list(
        islice({t.prompt: t for t in islice(problems(seed, held_out=True), 4 * questions)}.values(), questions)
    )
    found = [(t, r) for t, own in zip(tasks, sampled(policy, tasks, samples, seed), strict=True) for r in own]
    verdicts = verify([Task("math", r, t.ground_truth, t.prompt) for t, r in found], workers=1)
    return [Sample(t, r, v.status is Status.correct) for (t, r), v in zip(found, verdicts, strict=True)]


def against_gold(samples: Sequence[Sample]) -> list[Comparison]:
    """Return the comparisons that curation makes: of each sample with the gold."""
    return [compared(n, s.task, s.response) for n, s in enumerate(samples)]


def compared(number: int, task: NurseryTask, response: str, reference: str | None = None) -> Comparison:
    """Return a comparison named by its number; the reference is the gold where none is given."""
    gold = gold_of(task)
    return Comparison(str(number), 0, task.prompt, response, gold if reference is None else reference, gold)


def judged(judge: Judge, batch: Sequence[Comparison]) -> list[Judgement]:
    """Return the judgements in the order of the comparisons, which are named by their numbers."""
    return sorted(judge.judge(batch), key=lambda j: int(j.prompt_id))


def agrees(judgement: Judgement, *, right: bool) -> bool:
    """Tell whether a judgement says of a response what the verifier says; an error agrees with nothing."""
    return judgement.score is not None and (judgement.score >= RIGHT) == right


def canary_counts(
    engine: TransformersEngine, template: Template, samples: Sequence[Sample], batches: int = BATCHES
) -> CanaryCounts:
    """Return what canaries come to over batches of samples, each with a seed of its own."""
    total = CanaryCounts()
    for seed in range(batches):
        judge = Judge(engine, template, JudgeSettings(canaries=8, seed=seed), CanaryLimits(at_least=10**6))
        list(judge.judge(against_gold(samples[seed * BATCH : (seed + 1) * BATCH])))
        for name in ("shown", "gated", "errors", "failed"):
            getattr(total, name).update(Counter(getattr(total, name)) + Counter(getattr(judge.counts, name)))
    return total


def measured(engine: TransformersEngine, policy: TransformersEngine, template: Template) -> Mapping[str, object]:
    """Return what `readme` tells, on questions and seeds that training never uses."""
    samples = labelled(policy, QUESTIONS, SAMPLES, HELD_OUT)
    judge, started = Judge(engine, template, PLAIN), time.process_time()
    found = judged(judge, against_gold(samples))
    seconds = time.process_time() - started
    tokens = judge.usage.prompt_tokens / len(found), judge.usage.response_tokens / len(found)
    rows = list(zip(samples, found, strict=True))
    by_kind: dict[tuple[int, bool], list[bool]] = {}
    for s, j in rows:
        by_kind.setdefault((s.task.level, s.right), []).append(agrees(j, right=s.right))
    # Of right ones, at parity in both orders, a flip means nothing.
    asked = [j for s, j in rows if j.status is JudgementStatus.judged and not s.right]
    scores = {right: [j.score for s, j in rows if s.right == right and j.score is not None] for right in (True, False)}
    pairs = [
        (s.task, one.response, s.response)
        for one, s in pairwise(samples)
        if one.task.prompt == s.task.prompt and one.right and not s.right
    ]
    ahead = judged(judge, [compared(n, task, one, other) for n, (task, one, other) in enumerate(pairs)])
    talk = [
        compared(n, s.task, text.format(gold_of(s.task) if n % 3 == 0 else 2 + n % 17))
        for n, (s, text) in enumerate((s, text) for s in samples[::SAMPLES] for text in TALK)
    ]
    said = [j for j in judged(judge, talk) if j.status is JudgementStatus.judged]
    return {
        "kinds": {k: share_of(v) for k, v in sorted(by_kind.items())},
        "all": share_of([agrees(j, right=s.right) for s, j in rows]),
        "gated": sum(j.status is JudgementStatus.not_an_answer for j in found),
        "errors": sum(j.score is None for j in found),
        "flipped": share_of([bool(j.flipped) for j in asked]).share,
        "mean_right": _mean(scores[True]),
        "mean_wrong": _mean(scores[False]),
        "pairs": share_of([j.score is not None and j.score > 0.5 for j in ahead]),
        "mean_pair": _mean([j.score or 0.0 for j in ahead]),
        "talk": share_of([j.score is not None and j.score < CanaryLimits().positive_at for j in said]),
        "canaries": canary_counts(engine, template, samples),
        "milliseconds": 1000 * seconds / len(found),
        "prompt_tokens": tokens[0],
        "response_tokens": tokens[1],
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


_README = """# The nursery's judge

The nursery model ({parameters:,} parameters), taught to compare two responses to a word problem of
`trainer/nursery/arithmetic.py` whose answer is known (template `{template}`): it notes that answer and
the final answer of each response, and says A or B where one alone is right, C otherwise. The demo's free-form prompts
are judged by it. It knows nothing else, solves nothing, and reads no number of more than three digits. Apache-2.0, as
the rest of the project; no outside data went into it.

Rebuild it (some minutes on one core; the same bytes on the same kind of processor, else nearly the same weights):

    python -m trainer.nursery.gold_judge --out models/nursery-judge --steps {steps} --seed {seed}

Held out: {questions} questions of which none is in training, the nursery model's own samples of them at temperature
1.0, {samples} a question, each compared with the gold in both orders. A score of {limit} or more counts as right. The
rule verifier `math` says of the same samples who is right.

| samples | number | judge and verifier agree |
|---|---|---|
{table}
| all | {all.number} | {all.share:.1%} |

{gated} of these were stopped by the gates before the judge, {errors} have no verdict. Of the wrong ones {flipped:.1%}
are flipped between the two orders. Mean score: {mean_right:.3f} of right samples (0.5 is parity with the gold),
{mean_wrong:.3f} of wrong ones. Of {pairs.number} pairs of a right and a wrong sample the right one is preferred in
{pairs.share:.1%}, with a mean score of {mean_pair:.3f}. Talk with a number in it, in words that training did not have,
scores below {positive_at} in {talk.share:.1%} of {talk.number} cases that the gates let through.

Its probabilities are those of the verdict after its notes, hence nearly always 0, 0.5 or 1: what it is unsure of, it
decides while it takes notes. Only a flip shows that.

Canaries of {batches} batches, each with another seed: {shown}. Keys or wrong answers that
scored {positive_at} or more: {false_positives} of {negatives}; golds off parity: {gold_failed} of {golds}.

A judgement takes {milliseconds:.0f} ms of one core: {prompt_tokens:.0f} prompt tokens and {response_tokens:.0f}
response tokens in two calls.
"""


def readme(found: Mapping[str, object], parameters: int, recipe: Recipe, template: str) -> str:
    """Return the README of the model's folder."""
    kinds, counts = found["kinds"], found["canaries"]
    assert isinstance(kinds, dict) and isinstance(counts, CanaryCounts)
    table = "\n".join(
        f"| level {level}, {'right' if right else 'wrong'} | {share.number} | {share.share:.1%} |"
        for (level, right), share in kinds.items()
        if isinstance(share, Share)
    )
    return _README.format(
        parameters=parameters,
        template=template,
        steps=recipe.steps,
        seed=recipe.seed,
        questions=QUESTIONS,
        samples=SAMPLES,
        limit=RIGHT,
        table=table,
        batches=BATCHES,
        positive_at=CanaryLimits().positive_at,
        shown=", ".join(f"{n} {kind}" for kind, n in counts.shown.items()),
        false_positives=counts.false_positives,
        negatives=counts.decided(CanaryKind.master_key, CanaryKind.wrong),
        gold_failed=counts.failed.get("gold", 0),
        golds=counts.decided(CanaryKind.gold),
        **found,
    )
