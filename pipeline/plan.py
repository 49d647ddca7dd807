"""`preppo plan`: what the next runs would generate, and what that takes, before anything is spent."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from assets.forecast import measured, outstanding, unread_files, unread_imports
from assets.policies import own_policy_id
from assets.progress import duration
from pipeline.check import estimated_work
from warehouse.curation.estimate import Estimate, Measured, Work, estimate
from warehouse.queries import query

if TYPE_CHECKING:
    from assets.project import Project

_KIB = 1024


@dataclass
class Plan:
    """What is to be generated.

    Attributes:
        model, engine, max_tokens: of the policy.
        work: samples to generate, by batch; by source where files are not prompts yet.
        measured: what this home knows of the policy.
        rate: response tokens a second that hours are reckoned with, and where it comes from.
        expected, at_most: what all of it takes, by the mean response (or else the longest), and by the longest.
        truncation: domains in which the token limit cut samples of this policy.
        notes: what the numbers leave out.
    """

    model: str
    engine: str
    max_tokens: int
    priced: bool
    work: list[Work] = field(default_factory=list)
    measured: Measured = field(default_factory=Measured)
    rate: float | None = None
    rate_from: str = ""
    expected: Estimate | None = None
    at_most: Estimate | None = None
    truncation: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make_plan(project: Project, rows: int = 200) -> Plan:
    """Look at settings, files and tables. No model is loaded, and no table is written.

    Args:
        project: settings and home.
        rows: to look at in each file that no run has read.

    Raises:
        InputError: a source has no files, or one cannot be read.
        ModelError: the model cannot be had.
    """
    policy, budget = project.settings.policy, project.settings.budget
    plan = Plan(policy.model, policy.engine, policy.max_tokens, bool(budget.price_prompt or budget.price_response))
    own = own_policy_id(policy)
    if own is None:
        plan.notes.append("policy.engine = 'recorded': nothing is generated")
        return plan
    view = project.store.snapshot() if (project.home.tables / "commits").is_dir() else None
    if view is not None:
        found = [outstanding(project, view, b.key) for b in project.live_batches()]
        plan.work += [w for w in found if w is not None]
        plan.measured = measured(project, view)
        cut = "FROM truncation WHERE policy_id = $own AND truncated > 0"
        plan.truncation = query(view, cut, {"own": own}).drop("policy_id").to_dicts()
    new = unread_files(project, view)
    plan.work += estimated_work(project, new, rows)
    _note(project, plan, [f.dataset for f in new if f.dataset is not None])
    plan.rate = budget.tokens_per_second or plan.measured.tokens_per_second
    plan.rate_from = "budget.tokens_per_second" if budget.tokens_per_second else "measured in this home"
    known = plan.measured
    expected = known.response_tokens if known.samples else float(policy.max_tokens)
    plan.expected = estimate(plan.work, known, expected, budget)
    plan.at_most = estimate(plan.work, known, float(policy.max_tokens), budget)
    return plan


def _note(project: Project, plan: Plan, datasets: list[str]) -> None:
    policy, unread = project.settings.policy, unread_imports(project)
    if any(w.what.startswith("source ") for w in plan.work):
        plan.notes.append(
            "files that no run has read are reckoned by their first rows: duplicates and bad golds will need nothing"
        )
    if project.settings.adaptive.arm is not None and plan.work:
        plan.notes.append(
            f"samples are drawn adaptively (adaptive.arm = {project.settings.adaptive.arm!r}): of prompts that compete "
            f"at most {project.settings.adaptive.budget_share:.0%}, and fewer where selection is certain before"
        )
    if unread and policy.when == "missing":
        plan.notes.append(f"prompts in {len(unread)} unread files of recorded rollouts will need nothing")
    if datasets:
        plan.notes.append(
            f"how many rows these data sets have is not known before they are read: {', '.join(datasets)}"
        )


def as_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data."""
    found = asdict(plan)
    for name in ("expected", "at_most"):
        part = getattr(plan, name)
        if part is not None:
            found[name]["tokens"] = part.tokens
    return found


def render(plan: Plan) -> Group:
    """Return a plan for a terminal."""
    notes = [Text(f"note: {n}") for n in plan.notes]
    if plan.expected is None or plan.at_most is None:
        return Group(*notes)
    if not plan.work:
        return Group("nothing to generate: every sample that the settings ask for is there", *notes)
    work = _table("To generate", "of", "prompts", "samples")
    for w in plan.work:
        work.add_row(w.what, f"{w.prompts:,}", f"{w.samples:,}")
    if len(plan.work) > 1:
        work.add_row("all", f"{sum(w.prompts for w in plan.work):,}", f"{sum(w.samples for w in plan.work):,}")
    takes = _table("Which takes", "", "expected", "at most")
    both = (plan.expected, plan.at_most)
    takes.add_row("prompt tokens", *(f"{e.prompt_tokens:,}" for e in both))
    takes.add_row("response tokens", *(f"{e.response_tokens:,}" for e in both))
    takes.add_row("time", *("not known" if e.hours is None else duration(e.hours * 3600) for e in both))
    takes.add_row("disk", *(size(e.disk) for e in both))
    if plan.priced:
        takes.add_row("cost", *(f"{e.cost:,.2f}" if e.cost >= 1 else f"{e.cost:.4g}" for e in both))
    takes.add_row("budget", *(_lasts(e) for e in both))
    return Group(f"policy {plan.model} ({plan.engine})", "", work, "", takes, "", *_reckoned(plan), *notes)


def _lasts(e: Estimate) -> str:
    return "lasts" if e.stops_at is None else f"{e.stopped_by} stops a run after {e.stops_at:.0%}"


def _reckoned(plan: Plan) -> list[Text]:
    known, lines = plan.measured, []
    if known.samples:
        lines.append(
            f"a response has {known.response_tokens:,.1f} tokens on average, one in twenty "
            f"{known.response_tokens_p95:,.0f} or more (of {known.samples:,} samples in this home), and "
            f"{plan.max_tokens:,} at most (policy.max_tokens)"
        )
    else:
        lines.append(
            f"nothing was generated with this policy yet: every response is reckoned with policy.max_tokens = "
            f"{plan.max_tokens:,}, and 4 characters of a prompt with a token"
        )
    if plan.rate is not None:
        lines.append(f"time is reckoned with {plan.rate:,.0f} response tokens a second ({plan.rate_from})")
    else:
        lines.append(
            "no rate is known: give budget.tokens_per_second, or measure it with a small part of the work, which is "
            "kept: PREPPO__BUDGET__MAX_TOKENS=100000 preppo run"
        )
    lines += [
        f"the token limit of {row['token_limit']:,} cut {row['share']:.1%} of the {row['samples']:,} samples of "
        f"domain {row['domain']}: they have no score"
        for row in plan.truncation
    ]
    return [Text(line) for line in lines]


def size(amount: float) -> str:
    """Return some bytes as people say them."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < _KIB:
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= _KIB
    return f"{amount:.1f} TiB"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table
