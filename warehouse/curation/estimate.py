"""What generating will take: tokens, hours, disk and money, as expected and at most. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.curation.budget import cost

if TYPE_CHECKING:
    from warehouse.settings import BudgetSettings

CHARS_PER_TOKEN = 4.0  # rough; only where nothing was measured
# Of a sample over all tables, besides the text of its response; and of a character of text, compressed. Rough, too: a
# home that has rollouts goes by its own files.
BYTES_PER_SAMPLE, BYTES_PER_CHAR = 150.0, 0.4


@dataclass(frozen=True)
class Measured:
    """What is known of a policy from what it generated. Zero or None: nothing.

    Attributes:
        samples: that the means are of.
        prompt_tokens: mean of a sample.
        response_tokens: mean of a sample.
        response_tokens_p95: the 95th percentile.
        tokens_per_second: response tokens by the wall clock, over all chunks.
        bytes_per_sample: on disk, in all tables.
    """

    samples: int = 0
    prompt_tokens: float = 0.0
    response_tokens: float = 0.0
    response_tokens_p95: float = 0.0
    tokens_per_second: float | None = None
    bytes_per_sample: float | None = None


@dataclass(frozen=True)
class Work:
    """Samples that are still to be generated: of which batch or source, of how many prompts, with how much text."""

    what: str
    prompts: int
    samples: int
    chars: int  # of the prompts of all samples together


@dataclass(frozen=True)
class Estimate:
    """What some work takes, under one assumption of how long responses are."""

    prompt_tokens: int
    response_tokens: int
    hours: float | None
    disk: int
    cost: float
    stops_at: float | None  # the share of the samples after which the budget stops a run; None: it lasts
    stopped_by: str | None = None

    @property
    def tokens(self) -> int:
        """Return all tokens."""
        return self.prompt_tokens + self.response_tokens


def prompt_tokens(work: Work, measured: Measured) -> int:
    """Return the prompt tokens of some work: the mean where there is one, else by characters."""
    if measured.samples:
        return round(work.samples * measured.prompt_tokens)
    return round(work.chars / CHARS_PER_TOKEN)


def estimate(work: list[Work], measured: Measured, response_tokens: float, budget: BudgetSettings) -> Estimate:
    """Return what all the work takes if a response has so many tokens.

    Hours are at the rate of the settings, else at the measured one. A run that the budget stops goes on with the next.
    """
    samples = sum(w.samples for w in work)
    prompt = sum(prompt_tokens(w, measured) for w in work)
    response = round(samples * response_tokens)
    rate = budget.tokens_per_second or measured.tokens_per_second
    text = response_tokens * CHARS_PER_TOKEN * BYTES_PER_CHAR
    # Bytes grow with the text: a sample that is twice as long as the mean takes more than the mean sample.
    longer = max(0.0, response_tokens - measured.response_tokens) * CHARS_PER_TOKEN * BYTES_PER_CHAR
    known = measured.bytes_per_sample
    each = BYTES_PER_SAMPLE + text if known is None else known + longer
    money = cost(budget, prompt, response)
    shares = {}
    if budget.max_tokens is not None and prompt + response > budget.max_tokens:
        shares["budget.max_tokens"] = budget.max_tokens / (prompt + response)
    if budget.max_cost is not None and money > budget.max_cost:
        shares["budget.max_cost"] = budget.max_cost / money
    first = min(shares, key=lambda name: shares[name], default=None)
    return Estimate(
        prompt_tokens=prompt,
        response_tokens=response,
        hours=None if rate is None else response / rate / 3600,
        disk=round(samples * each),
        cost=money,
        stops_at=None if first is None else shares[first],
        stopped_by=first,
    )
