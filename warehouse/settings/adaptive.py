"""Settings of adaptive sampling."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from warehouse.settings.section import Section


class AdaptiveSettings(Section):
    """`[adaptive]`: draw few samples of a prompt, and more only while its selection is open.

    See `warehouse.curation.adaptive` for what the numbers mean.
    """

    arm: str | None = None  # whose selection samples are spent for; left out: every prompt gets all of them
    budget_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.20  # of all samples, over the prompts that compete
    first: Annotated[int, Field(ge=1)] = 3
    step: Annotated[int, Field(ge=1)] = 4
    confidence: Annotated[float, Field(gt=0.0, le=1.0)] = 0.99
    tolerance: Annotated[float, Field(gt=0.0, le=1.0)] = 0.02
