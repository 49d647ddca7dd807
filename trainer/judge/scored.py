"""The judge as a source of the hybrid reward: responses in, rewards out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verifiers.genrm.contract import Comparison
from verifiers.genrm.references import question_text, reference_text
from verifiers.hybrid import GENRM_BEST_OF_N, GENRM_GROUND_TRUTH, Reward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.judge.judge import Judge
    from verifiers.genrm.contract import Judgement
    from verifiers.hybrid import Scorable


def comparison(item: Scorable, source: str) -> Comparison:
    """Return what the judge is to compare a response with, by the source of its prompt."""
    gold = reference_text(item.ground_truth or "") if source == GENRM_GROUND_TRUTH else None
    reference = item.reference or "" if source == GENRM_BEST_OF_N else gold or ""
    question = question_text(item.messages, item.raw_text)
    return Comparison(item.prompt_id, item.sample, question, item.response, reference, gold, item.finish_reason)


def reward_id(judge: str, template: str) -> str:
    """Return who made a reward, from the judge's id and the template's."""
    return f"genrm@{judge[:12]}:{template}"


class JudgeSource:
    """Rewards by a judge.

    Args:
        judge: that is asked.
        source: whose prompts these are.
    """

    def __init__(self, judge: Judge, source: str) -> None:
        self._judge, self._source = judge, source

    def __call__(self, items: Sequence[Scorable]) -> list[Reward]:
        """Return one reward a response, in any order.

        Raises:
            JudgeError: the judge cannot be asked.
            CanaryError: the judge is fooled too often.
        """
        lost = [i for i in items if self._source == GENRM_BEST_OF_N and i.reference is None]
        told = [i for i in items if i not in lost] if lost else items
        found = [self._reward(j) for j in self._judge.judge([comparison(item, self._source) for item in told])]
        return found + [_without_reference(i, self._source) for i in lost]

    def _reward(self, judgement: Judgement) -> Reward:
        by = reward_id(judgement.judge, judgement.template)
        where = (judgement.prompt_id, judgement.sample)
        status, detail = judgement.status.value, judgement.detail
        return Reward(*where, judgement.score, self._source, by, status, detail, judgement.score)


def _without_reference(item: Scorable, source: str) -> Reward:
    detail = "no_reference: no best of N could be chosen among the reference samples"
    return Reward(item.prompt_id, item.sample, None, source, None, "no_reference", detail)
