"""Judgements as rows of the table `judgements`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import polars as pl

from warehouse.schemas import JUDGEMENTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from verifiers.genrm.contract import Judgement

COLUMNS = pl.Schema({name: kind for name, kind in JUDGEMENTS.columns.items() if name != "task_id"})


def judgement_frame(judgements: Iterable[Judgement]) -> pl.DataFrame:
    """Return one row a judgement, sorted by prompt_id and sample: the table's columns, but for task_id."""
    rows = [{**asdict(j), "status": j.status.value} for j in judgements]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("prompt_id", "sample")
