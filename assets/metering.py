"""An engine whose calls count against the budget of a run, with an account of what they took."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import polars as pl

from assets.chunks import took
from assets.requests import Asked
from warehouse.curation.budget import Tokens
from warehouse.schemas import GENERATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trainer.engines import Completion, Engine, Request
    from warehouse.curation.budget import Meter


class BudgetSpentError(RuntimeError):
    """The `[budget]` of a run is spent; what was generated is kept, and a later run goes on from there."""


class MeteredEngine:
    """Asks another engine as far as the budget lasts.

    Args:
        engine: that answers.
        meter: what may still be asked for.
    """

    def __init__(self, engine: Engine, meter: Meter) -> None:
        self._engine, self._meter = engine, meter
        self.fingerprint = engine.fingerprint
        self.name = getattr(engine, "name", None)
        self.prompts = getattr(engine, "prompts", None)
        self._begin()

    def _begin(self) -> None:
        self._spent, self._calls, self._errors = Tokens(), 0, 0
        self._seconds, self._at = 0.0, datetime.now(UTC)
        self._by = ""

    def generate(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield completions in any order.

        Raises:
            BudgetSpentError: there is more to ask for than the budget allows; what could be asked was yielded.
            EngineError: the engine cannot go on.
        """
        asked = Asked(iter(requests), self._meter)
        started = time.monotonic()
        while asked.next_round():
            for completion in self._engine.generate(asked):
                asked.answered(completion)
                self._count(completion, time.monotonic() - started)
                yield completion
                started = time.monotonic()
        if self._meter.stopped is not None:
            raise BudgetSpentError(self._meter.stopped)

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

    def _count(self, completion: Completion, seconds: float) -> None:
        self._spent = self._spent.plus(took(completion))
        self._calls += 1
        self._errors += completion.finish_reason == "error"
        self._seconds += seconds
        self._by = completion.engine

    def account(self, chunk: int, stage: str, run_id: str) -> pl.DataFrame:
        """Return what was asked since the last account, as one row of `generation`; none where nothing was."""
        row = (chunk, self._by, self._calls, self._errors, *self._spent, self._seconds, self._at, run_id, stage)
        rows = [row] if self._calls else []
        self._begin()
        return pl.DataFrame(rows, schema=GENERATION.columns, orient="row")
