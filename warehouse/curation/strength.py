"""Preference strength: what an ensemble of reward models thinks of each label (arXiv 2401.06080, section 3).

For a pair and member m, d_m = r_m(chosen) - r_m(rejected). The strength is the mean of d_m over the members; its spread
the population standard deviation; its votes how many members have d_m > 0. Pairs of negative strength are likely to be
labelled wrongly, those near zero say little, and the strongest are learnt by heart.

The paper gives ten buckets by strength and, by experiments on HH, what the lowest two, the next two and the top one are
worth. It gives no rule: `treatment` is ours, and follows what it found.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from warehouse.curation.quantise import exact_mean, exact_variance, quantise

BUCKETS = 10


@dataclass(frozen=True)
class Rule:
    """Which treatment weak and strong pairs get.

    Attributes:
        weakest: share of the pairs, by strength, that are treated as labelled wrongly.
        weakest_treatment: flip, smooth or drop.
        votes: of those, only where at most this share of the members votes for the label.
        strongest: share of the pairs, from the top, whose labels are smoothed; they are overfitted first.
    """

    weakest: float = 0.10
    weakest_treatment: str = "flip"
    votes: float = 0.5
    strongest: float = 0.0


def strength_beside(differences: pl.DataFrame, rule: Rule, trusted: pl.Series) -> pl.DataFrame:
    """Return `strength` of all pairs, where some are never treated: the rule's shares are of the others.

    Args:
        differences: see `strength`.
        rule: see `strength`.
        trusted: pair_id of the pairs whose labels outrank the votes.
    """
    inside = pl.col("pair_id").is_in(trusted.to_list())
    everything = strength(differences, Rule(weakest=0.0, strongest=0.0))
    told = strength(differences.filter(~inside), rule).select("pair_id", "treatment", "margin")
    kept = everything.filter(inside).select("pair_id", "treatment", "margin")
    return (
        everything.drop("treatment", "margin")
        .join(pl.concat([told, kept]), on="pair_id", how="left", maintain_order="left")
        .select(everything.columns)
    )


def strength(differences: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    """Return the columns of `preference_strength`, one row a pair, sorted by pair_id.

    Args:
        differences: pair_id, member, difference; null or not finite where the member could not score both responses,
            which is no vote.
        rule: what becomes of weak and strong pairs.

    A pair without a vote has nulls, bucket null and treatment `keep`: nothing is known against it. Ties in strength go
    by pair_id. `margin` is the strength, for the adaptive margin; of a flipped pair its negative.
    """
    units = pl.col.units
    squares = units.cast(pl.Int128) * units.cast(pl.Int128)
    votes = (
        differences.lazy()
        .with_columns(units=quantise(pl.col.difference))
        .group_by("pair_id")
        .agg(
            total=units.sum(),
            squares=squares.sum(),
            votes=units.count().cast(pl.Int64),
            votes_for=(units > 0).sum().cast(pl.Int64),
        )
        .with_columns(
            strength_mean=exact_mean(pl.col.total, pl.col.votes),
            strength_std=exact_variance(pl.col.total, pl.col.squares, pl.col.votes).sqrt(),
        )
        .sort("strength_mean", "pair_id", nulls_last=True)
        .with_row_index("place")
        .collect()
    )
    known = votes.height - votes["strength_mean"].null_count()
    place, voted = pl.col.place, pl.col.strength_mean.is_not_null()
    weak = voted & (place < round(rule.weakest * known)) & (pl.col.votes_for <= rule.votes * pl.col.votes)
    strong = voted & (place >= known - round(rule.strongest * known))
    treatment = (
        pl.when(weak).then(pl.lit(rule.weakest_treatment)).when(strong).then(pl.lit("smooth")).otherwise(pl.lit("keep"))
    )
    return (
        votes.with_columns(
            bucket=pl.when(voted).then((place * BUCKETS // max(1, known)).cast(pl.Int64)), treatment=treatment
        )
        .with_columns(margin=pl.when(pl.col.treatment == "flip").then(-pl.col.strength_mean).otherwise("strength_mean"))
        .select("pair_id", "strength_mean", "strength_std", "votes_for", "votes", "bucket", "treatment", "margin")
        .sort("pair_id")
    )
