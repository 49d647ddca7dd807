"""A budget of tokens or money for generating: what may still be asked for. Pure arithmetic, no clock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from warehouse.settings import BudgetSettings

_MILLION = 1_000_000


class Tokens(NamedTuple):
    """Tokens of prompts, and tokens of responses."""

    prompt: int = 0
    response: int = 0

    def plus(self, other: Tokens) -> Tokens:
        """Return the sum."""
        return Tokens(self.prompt + other.prompt, self.response + other.response)

    def minus(self, other: Tokens) -> Tokens:
        """Return the difference."""
        return Tokens(self.prompt - other.prompt, self.response - other.response)

    @property
    def total(self) -> int:
        """Return both together."""
        return self.prompt + self.response


def cost(budget: BudgetSettings, prompt_tokens: float, response_tokens: float) -> float:
    """Return what some tokens cost, in the currency of the prices."""
    return (prompt_tokens * budget.price_prompt + response_tokens * budget.price_response) / _MILLION


class Meter:
    """Counts what generating has taken, and lets no request through that could exceed the budget.

    A request on its way is reckoned with the most that it can take; what it did not take is free again once it has
    come back. So the budget holds whatever the responses are, as long as none takes more than was reckoned. Engines
    may take their requests in a thread of their own.

    Args:
        budget: limits and prices.
        before: what the run has spent already.

    Attributes:
        stopped: why the last request was not let through, for people; None where it was.
    """

    def __init__(self, budget: BudgetSettings, before: Tokens = Tokens()) -> None:  # noqa: B008 (immutable)
        self._budget = budget
        self._on_their_way = Tokens()
        self._lock = threading.Lock()
        self.spent = before
        self.stopped: str | None = None

    def allows(self, most: Tokens) -> bool:
        """Tell whether one more request may be sent that takes `most` at most."""
        with self._lock:
            self.stopped = self._over(most)
            return self.stopped is None

    def take(self, most: Tokens) -> bool:
        """Tell whether one more request may be sent; if so, it is on its way."""
        with self._lock:
            self.stopped = self._over(most)
            if self.stopped is None:
                self._on_their_way = self._on_their_way.plus(most)
            return self.stopped is None

    def settle(self, most: Tokens, took: Tokens) -> None:
        """Count a request that has come back, for what it took instead of for the most that it could."""
        with self._lock:
            self._on_their_way = self._on_their_way.minus(most)
            self.spent = self.spent.plus(took)

    def _over(self, most: Tokens) -> str | None:
        limit, spent = self._budget, self.spent
        whole = spent.plus(self._on_their_way).plus(most)
        if limit.max_tokens is not None and whole.total > limit.max_tokens:
            return (
                f"budget.max_tokens = {limit.max_tokens:,}: {spent.total:,} are spent, and one more sample may take "
                f"{most.total:,}"
            )
        if limit.max_cost is not None and cost(limit, *whole) > limit.max_cost:
            return (
                f"budget.max_cost = {limit.max_cost:g}: {cost(limit, *spent):.4g} is spent for {spent.total:,} tokens, "
                f"and one more sample may cost {cost(limit, *most):.4g}"
            )
        return None
