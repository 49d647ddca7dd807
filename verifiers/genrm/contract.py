"""What goes into the judge and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JudgementStatus(StrEnum):
    """How a judgement ended.

    `judged` and `not_an_answer` are about the response and carry a score; the latter is the response's own fault, found
    by a gate before the judge is asked, and scores 0. Nothing could be decided where it is `truncated` (the response
    was cut), `no_response` (generating it failed) or `judge_error`: the score is null.
    """

    judged = "judged"
    not_an_answer = "not_an_answer"
    truncated = "truncated"
    no_response = "no_response"
    judge_error = "judge_error"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One response to judge.

    Attributes:
        prompt_id: of the prompt.
        sample: number of the response.
        question: the prompt as text (`references.question_text`).
        response: the text after any reasoning, or None where generating it failed.
        reference: what it is compared with (`references.reference_text`, or the text of a best-of-N response); ignored
            by a pointwise template.
        gold: the verified final answer, told to the judge by templates for ground truth; None elsewhere.
        finish_reason: how generation ended: `stop`, `length` or `error`.
    """

    prompt_id: str
    sample: int
    question: str
    response: str | None
    reference: str = ""
    gold: str | None = None
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the judge says of one response: a row of the table `judgements`, and a reason.

    Attributes:
        prompt_id: of the prompt.
        sample: number of the response.
        status: see `JudgementStatus`.
        score: in [0, 1], 0.5 = as good as the reference (pointwise: the rubric's scale, mapped to [0, 1]); None where
            nothing could be decided.
        p_first: probability that the response is better, as read where it stands first; None where it is not known.
        p_second: the same where it stands second; None for a pointwise template.
        flipped: the two orders prefer different responses; None unless both are known.
        judge: identity of the model, its sampling and all that is said to it around the texts.
        template: name and version.
        detail: "code: what happened", or how the verdict was read (`logprobs`, `line`).
    """

    prompt_id: str
    sample: int
    status: JudgementStatus
    score: float | None
    p_first: float | None
    p_second: float | None
    flipped: bool | None
    judge: str
    template: str
    detail: str
