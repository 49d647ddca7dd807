"""Completions, written chunk by chunk with an account of what each chunk took."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING

import polars as pl

from trainer.engines import TOO_LONG
from warehouse.curation.budget import Tokens
from warehouse.schemas import GENERATION, ROLLOUTS

if TYPE_CHECKING:
    from trainer.engines import Completion
    from warehouse.store import StageWriter

_row = attrgetter(*ROLLOUTS.columns)  # forty times as fast as `astuple`, which copies


def took(completion: Completion) -> Tokens:
    """Return what a request took. A prompt that does not fit was counted, and sent nowhere."""
    if (completion.detail or "").startswith(TOO_LONG):
        return Tokens()
    return Tokens(completion.prompt_tokens or 0, completion.response_tokens or 0)


class Chunks:
    """Collects completions and writes them, with what they took, as soon as a chunk is full."""

    def __init__(self, run_id: str, writer: StageWriter, rows: int) -> None:
        self._run_id, self._writer, self._rows = run_id, writer, rows
        self._waiting: list[Completion] = []
        self._number = int(writer.written("generation").select(pl.len()).collect().item())
        self.samples = self.response_tokens = 0
        self._told = False  # the account of the chunk is written, its rows are not
        self.begin()

    def begin(self) -> None:
        """Start the clock of the next chunk."""
        self._started, self._at = time.monotonic(), datetime.now(UTC)

    def add(self, completion: Completion) -> None:
        self._waiting.append(completion)
        self.samples += 1
        self.response_tokens += completion.response_tokens or 0
        if len(self._waiting) >= self._rows:
            self.write()

    def write(self) -> None:
        if not self._waiting:
            return
        seconds, began = time.monotonic() - self._started, self._at
        self.begin()  # the engine goes on while this is written
        rows = pl.DataFrame([_row(c) for c in self._waiting], schema=ROLLOUTS.columns, orient="row")
        spent = [took(c) for c in self._waiting]
        account = rows.select(
            pl.lit(self._number, pl.Int64).alias("chunk"),
            pl.col("engine").first(),
            pl.len().cast(pl.Int64).alias("samples"),
            (pl.col("finish_reason") == "error").sum().cast(pl.Int64).alias("errors"),
            pl.lit(sum(t.prompt for t in spent), pl.Int64).alias("prompt_tokens"),
            pl.lit(sum(t.response for t in spent), pl.Int64).alias("response_tokens"),
            pl.lit(seconds).alias("seconds"),
            pl.lit(began).alias("started_at"),
            pl.lit(self._run_id).alias("run_id"),
            pl.lit("rollouts").alias("stage"),
        )
        # What was spent is written first: a kill between the two loses samples, and the account still tells of them.
        if not self._told:
            self._writer.append("generation", account.cast(pl.Schema(GENERATION.columns)))
            self._told = True
        self._writer.append("rollouts", rows)
        self._told = False
        self._number += 1
        self._waiting = []
