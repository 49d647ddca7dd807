"""A budget of tokens or money for generating: what may still be asked for. Pure arithmetic, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from warehouse.settings import BudgetSettings

_MILLION = 1_000_000


def cost(budget: BudgetSettings, prompt_tokens: float, response_tokens: float) -> float:
    """Return what some tokens cost, in the currency of the prices."""
    return (prompt_tokens * budget.price_prompt + response_tokens * budget.price_response) / _MILLION


class Meter:
    """Counts what generating has cost, and lets no request through that could exceed the budget.

    A request on its way is reckoned with what its kind took on average so far in this run; before anything was
    counted, with the worst case. So a budget is missed only by how much the last requests differ from the average.

    Args:
        budget: limits and prices.
        before: samples, prompt tokens and response tokens that the run has spent already.

    Attributes:
        stopped: why nothing more is let through, for people; None while something may be.
    """

    def __init__(self, budget: BudgetSettings, before: tuple[int, int, int] = (0, 0, 0)) -> None:
        self._budget = budget
        self._samples, self._prompt, self._response = before
        self._on_their_way = 0
        self.stopped: str | None = None

    def take(self, prompt_tokens: int, max_tokens: int) -> bool:
        """Tell whether one more request may be sent; if so, it is on its way.

        Args:
            prompt_tokens: of the request, roughly.
            max_tokens: of its response, at most.
        """
        waiting = self._on_their_way + 1
        if self._samples:
            prompt, response = self._prompt / self._samples, self._response / self._samples
        else:
            prompt, response = float(prompt_tokens), float(max_tokens)
        self.stopped = self._over(self._prompt + waiting * prompt, self._response + waiting * response)
        if self.stopped is None:
            self._on_their_way = waiting
        return self.stopped is None

    def spend(self, prompt_tokens: int | None, response_tokens: int | None) -> None:
        """Count a request that came back; an error may have no tokens."""
        self._on_their_way -= 1
        self._samples += 1
        self._prompt += prompt_tokens or 0
        self._response += response_tokens or 0

    def _over(self, prompt: float, response: float) -> str | None:
        limit = self._budget
        tokens, money = prompt + response, cost(limit, prompt, response)
        spent = f"{self._prompt + self._response:,} tokens"
        if limit.max_tokens is not None and tokens > limit.max_tokens:
            return f"budget.max_tokens = {limit.max_tokens:,} is spent ({spent})"
        if limit.max_cost is not None and money > limit.max_cost:
            price = cost(limit, self._prompt, self._response)
            return f"budget.max_cost = {limit.max_cost:g} is spent ({price:.4g} for {spent})"
        return None
