"""Judgements as rows of the table `judgements`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import polars as pl

from warehouse.schemas import JUDGEMENTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verifiers.genrm.contract import Judgement

COLUMNS = pl.Schema({**JUDGEMENTS.columns, "detail": pl.String})


def judgement_frame(judgements: Iterable[Judgement], *, detail: bool = "detail" in JUDGEMENTS.columns) -> pl.DataFrame:
    """Return one row a judgement, sorted by prompt_id and sample, with the columns of the table `judgements`.

    Args:
        judgements: in any order.
        detail: with the column `detail`, which says why there is no score; default: as the table has it.
    """
    rows = [{**asdict(j), "status": j.status.value} for j in judgements]
    frame = pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("prompt_id", "sample")
    return frame if detail else frame.select(pl.Schema(JUDGEMENTS.columns).names())
