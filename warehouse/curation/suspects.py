"""When the answers say that the gold is wrong rather than the prompt hard."""

from __future__ import annotations

import polars as pl

MIN_ANSWERS = 4  # fewer samples agree by chance
DECIDED = ("correct", "incorrect", "partial", "unparsed")  # statuses of a response that could be judged
WITHOUT_GOLD = ("genrm_best_of_n", "reward_model")  # reward sources that know no gold


def agreement(verdicts: pl.LazyFrame) -> pl.LazyFrame:
    """Return prompt_id, distinct_answers, majority_agreement from the extracted answers of scored-role verdicts.

    Only responses that could be judged count: one cut off or timed out has no say. `majority_agreement` is the share of
    them that gave the most common answer; a response without an answer agrees with nobody. Both are null where
    nothing could be judged, and `majority_agreement` is null where nobody gave an answer.
    """
    # Answers are told apart by a 64-bit hash, much faster than by text: among 16 answers, two that differ have the same
    # hash in one of 10^17 prompts.
    answer = pl.when(pl.col.extracted.is_not_null()).then(pl.col.extracted.hash())
    return (
        verdicts.filter(pl.col.role == "scored", pl.col.status.is_in(DECIDED))
        .select("prompt_id", answer=answer)
        .group_by("prompt_id")
        .agg(votes=pl.col.answer.drop_nulls().unique_counts(), judged=pl.len())
        .select(
            "prompt_id",
            distinct_answers=pl.col.votes.list.len().cast(pl.Int64),
            majority_agreement=pl.col.votes.list.max() / pl.col.judged,
        )
    )


def suspect_gold(least_agreement: float) -> pl.Expr:
    """Return whether the answers of a prompt speak against its gold (needs the columns of `difficulty`).

    So they do where the gold's verifier passed none of at least MIN_ANSWERS scored responses, and at least
    `least_agreement` of those gave one and the same other answer. Alone this is a flag: a strong policy may
    be wrong in one voice. Never null.
    """
    return (
        (pl.col.pass_rate == 0)
        & (pl.col.scored >= MIN_ANSWERS)
        & (pl.col.majority_agreement >= least_agreement)
        & pl.col.source.is_in(WITHOUT_GOLD).not_()
    ).fill_null(value=False)
