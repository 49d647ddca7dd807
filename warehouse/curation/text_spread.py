"""Measures that read the responses themselves: how far apart they are, and how long the worst one is.

Reading text costs far more than reading scores, so these columns are apart and can be switched off
(`reward.text_columns`).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist

from warehouse.curation.quantise import quantise, sample_of, worst_key
from warehouse.curation.slices import in_slices

MAX_RESPONSES = 5  # arXiv 2503.22230, section 4, bins prompts by the largest distance among 5 responses
MAX_CHARS = 1_000  # of a response; the cost of one pair grows with the square
SLICE_ROWS = 100_000  # responses read at a time
TEXT_SCHEMA = pl.Schema({"prompt_id": pl.String, "max_edit_distance": pl.Float64, "worst_response_chars": pl.Int64})


def text_spread(rewards: pl.LazyFrame, rollouts: pl.LazyFrame) -> pl.LazyFrame:
    """Return prompt_id, max_edit_distance (0 to 1), worst_response_chars for prompts with scored-role responses.

    `max_edit_distance` is the largest Levenshtein distance over the longer length, over all pairs of the first
    MAX_RESPONSES responses of a prompt, each cut to MAX_CHARS; null with fewer than two. `worst_response_chars` is the
    length of the response with the lowest reward (ties: the lowest sample); null where nothing was scored.
    """
    return in_slices([rollouts, rewards], lambda frames: spread_of(*frames), TEXT_SCHEMA, SLICE_ROWS)


def spread_of(rollouts: pl.LazyFrame, rewards: pl.LazyFrame) -> pl.DataFrame:
    """Return `text_spread` of frames that fit in memory."""
    responses = rollouts.filter(pl.col.role == "scored", pl.col.response.is_not_null())
    worst = (
        rewards.with_columns(units=quantise(pl.col.reward))
        .group_by("prompt_id")
        .agg(worst=sample_of(worst_key(pl.col.units, pl.col.sample).min()))
    )
    chars = (
        responses.select("prompt_id", "sample", chars=pl.col.response.str.len_chars().cast(pl.Int64))
        .join(worst, left_on=("prompt_id", "sample"), right_on=("prompt_id", "worst"), how="semi")
        .select("prompt_id", worst_response_chars="chars")
    )
    first = (
        responses.select("prompt_id", "sample", response=pl.col.response.str.head(MAX_CHARS))
        .group_by("prompt_id")
        .agg(pl.col.response.sort_by("sample").head(MAX_RESPONSES))
    )
    both = first.join(chars, on="prompt_id", how="left").sort("prompt_id").collect()
    return both.select("prompt_id", _widest(both["response"]).alias("max_edit_distance"), "worst_response_chars")


def _widest(responses: pl.Series) -> pl.Series:
    """Return the largest pairwise distance of each list of texts; null where there are fewer than two."""
    texts = [responses.list.get(i, null_on_oob=True) for i in range(MAX_RESPONSES)]
    widest = np.full(len(responses), np.nan)
    for i, j in combinations(range(MAX_RESPONSES), 2):
        both = texts[j].is_not_null()  # lists have no nulls, so the i-th is there as well
        rows = np.flatnonzero(both.to_numpy())
        a, b = texts[i].filter(both).to_list(), texts[j].filter(both).to_list()
        distance = cpdist(a, b, scorer=Levenshtein.normalized_distance, dtype=np.float64, workers=-1)
        widest[rows] = np.fmax(widest[rows], distance)
    return pl.Series(widest, nan_to_null=True)
