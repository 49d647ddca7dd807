"""Which source rewards every prompt of a batch, by one policy's rollouts: fixed before anything is scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from assets.golds import golds
from trainer.judge.settings import judged_sources
from verifiers import available
from verifiers.hybrid import RECORDED, REWARD_MODEL, RTV, route
from warehouse.curation.rewards import facts

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.store import Snapshot


class _Case(NamedTuple):
    """What decides the source of a prompt; columns of `curation.rewards.facts`."""

    verifier: str | None
    has_gold: bool
    has_text: bool
    has_recorded_score: bool
    has_reference: bool


_CASE = list(_Case._fields)


def configured(project: Project) -> tuple[str, ...]:
    """Return the sources that the settings leave open."""
    settings = project.settings
    models = (REWARD_MODEL,) if settings.reward_model.models else ()
    return (RTV, RECORDED, *judged_sources(settings.judge), *models)


def routes(project: Project, view: Snapshot, batch: str, policy: str) -> pl.DataFrame:
    """Return prompt_id, source (null where none applies), no_source (why not), by the rollouts of a policy."""
    rollouts = view.scan_builds("rollouts", [view.live["rollouts", batch, policy]])
    known = facts(golds(project, view, batch).frame, rollouts).collect()
    cases = known.select(_CASE).unique()
    rows = [(*case, *_routed(configured(project), _Case(*case))) for case in cases.iter_rows()]
    schema: dict[str, pl.DataType | type[pl.DataType]] = {**cases.schema, "source": pl.String, "no_source": pl.String}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return known.join(table, on=_CASE, how="left", nulls_equal=True).select("prompt_id", "source", "no_source")


def _routed(sources: tuple[str, ...], case: _Case) -> tuple[str | None, str]:
    """Ask the router for one case; what has no text can have no other score than a recorded one."""
    source = route(
        case.verifier,
        "" if case.has_gold else None,
        has_reference=case.has_reference,
        has_recorded_score=case.has_recorded_score,
        available=sources if case.has_text else (RECORDED,),
    )
    return source, _why_none(case)


def _why_none(case: _Case) -> str:
    if case.verifier is None:
        return "no_source"
    if case.verifier not in available():
        return "no_verifier"
    return "no_response" if case.has_gold else "no_gold"
