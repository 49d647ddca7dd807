"""What is still to be generated in a home, and what is known of how long it takes. Reads only; loads no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets import rollouts
from assets.adaptive import competing, rule_of
from assets.generation import targets
from assets.policies import own_policy_id
from assets.recorded import imports
from assets.requests import KEY, spelled_out, whole
from trainer.engines import SCORED, TOO_LONG
from warehouse.curation.estimate import Measured, Work
from warehouse.sweep import policy_bytes

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.batches import BatchFile
    from warehouse.store import Snapshot


def unread_imports(project: Project) -> list[str]:
    """Return the files of recorded rollouts that no run has read yet: nobody knows which prompts they are of."""
    return [str(i.path) for i in imports(project) if not (i.folder / "counts.json").is_file()]


def unread_files(project: Project, view: Snapshot | None) -> list[BatchFile]:
    """Return the source files that have not become prompts yet, those of registered batches included."""
    live = {b.key for b in project.live_batches()} if view is not None else set()
    done = [
        b for b in project.batches.all() if view is not None and (b.key not in live or view.commit("prompts", b.key))
    ]
    known = {(f.source, f.file_hash) for b in done for f in b.files}
    return [f for f in project.source_files() if (f.source, f.file_hash) not in known]


def outstanding(project: Project, view: Snapshot, batch: str) -> Work | None:
    """Return what a batch whose prompts are there still lacks of the own policy's samples; None where nothing."""
    policy = project.settings.policy
    own = own_policy_id(policy)
    commit = view.commit("prompts", batch)
    if own is None or commit is None:
        return None
    unread = bool(unread_imports(project))
    wanted = targets(project, view, batch, only_read=unread)
    if wanted.is_empty():
        return None
    # Which build will be written is known only where its inputs can be told, that is, where all files were read.
    build = None if unread else next((b for b in rollouts.builds(project, view, batch) if b.variant == own), None)
    if build is not None and view.is_current(build):
        return None
    have = project.store.stored("rollouts").filter(pl.col("batch") == batch, pl.col("policy_id") == own)
    have = have.filter(pl.col("detail").is_null() | pl.col("detail").str.starts_with(TOO_LONG))
    missing = _missing(project, wanted, have)
    if project.settings.adaptive.arm is not None:
        mine = have.filter(pl.col("build_id").str.starts_with(build.build_id if build is not None else "none"))
        missing = _at_most(project, missing, competing(project, view, batch, wanted), mine)
    system = len(policy.system_prompt or "")
    chars = pl.coalesce(
        pl.col("raw_text").str.len_chars(),
        pl.col("messages").list.eval(pl.element().struct.field("content").str.len_chars()).list.sum() + system,
    )
    texts = view.scan_builds("prompts", [commit]).select("prompt_id", chars.cast(pl.Int64).alias("chars"))
    sums = (
        texts.join(missing.lazy(), on="prompt_id")
        .select(
            pl.col("prompt_id").n_unique().alias("prompts"),
            pl.col("samples").sum(),
            (pl.col("samples") * pl.col("chars")).sum().alias("text"),
        )
        .collect()
        .row(0)
    )
    prompts, count, text = (round(n or 0) for n in sums)
    return Work(f"batch {batch}", prompts, count, text) if count else None


def _missing(project: Project, wanted: pl.DataFrame, have: pl.LazyFrame) -> pl.DataFrame:
    """Return prompt_id, role, samples (how many are missing of all that the policy has)."""
    policy = project.settings.policy
    there, plan = have.select(*KEY, "seed").collect(), whole(wanted, policy)
    if there.is_empty():
        return plan.select("prompt_id", "role", samples=pl.col("extra").cast(pl.Float64))
    left = [
        part.join(there, on=[*KEY, "seed"], how="anti").group_by("prompt_id", "role").agg(samples=pl.len())
        for part in spelled_out(plan, policy)
    ]
    return pl.concat(left).group_by("prompt_id", "role").agg(pl.col("samples").sum().cast(pl.Float64))


def _at_most(
    project: Project, missing: pl.DataFrame, compete: pl.DataFrame, drawn_before: pl.LazyFrame
) -> pl.DataFrame:
    """Return what is missing at most where samples are drawn adaptively: the budget, even over those that compete.

    What this very build has drawn before it was broken off is no longer asked for. What other builds have may be: their
    samples need not be those that its rounds ask for.
    """
    scored = missing.filter(pl.col("role") == SCORED).join(compete, on="prompt_id", how="semi")
    samples = compete.height * project.settings.policy.samples
    mine = drawn_before.filter(pl.col("role") == SCORED).join(compete.lazy(), on="prompt_id", how="semi")
    there = int(mine.select(pl.len()).collect().item())
    budget = rule_of(project).budget(compete.height, samples) if compete.height else 0
    left = min(max(0, budget - there), int(scored["samples"].sum()))
    drawn = scored.with_columns(samples=pl.lit(left / max(1, scored.height), pl.Float64)) if left else scored.clear()
    return pl.concat([missing.join(scored, on=["prompt_id", "role"], how="anti"), drawn])


def measured(project: Project, view: Snapshot) -> Measured:
    """Return what the own policy's samples in this home tell, those of unfinished builds included."""
    own = own_policy_id(project.settings.policy)
    store = project.store
    mine = pl.col("policy_id") == own
    rows = store.stored("rollouts").filter(mine, ~pl.col("recorded"))
    answered = pl.col("finish_reason") != "error"
    count, every, prompt, response, high = (
        rows.select(
            answered.sum().alias("answered"),
            pl.len().alias("all"),
            pl.col("prompt_tokens").filter(answered).mean(),
            pl.col("response_tokens").filter(answered).mean(),
            pl.col("response_tokens").filter(answered).quantile(0.95, "higher").alias("p95"),
        )
        .collect()
        .row(0)
    )
    tokens, seconds = (
        store.stored("generation")
        .filter(mine, pl.col("stage").fill_null("rollouts") == "rollouts")
        .select(pl.col("response_tokens", "seconds").sum())
        .collect()
        .row(0)
    )
    return Measured(
        samples=int(count or 0),
        prompt_tokens=float(prompt or 0),
        response_tokens=float(response or 0),
        response_tokens_p95=float(high or 0),
        tokens_per_second=tokens / seconds if tokens and seconds else None,
        bytes_per_sample=policy_bytes(view.home, str(own)) / every if every else None,
    )
