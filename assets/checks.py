"""The checks of the stages: invariants that block a commit, and drift that is only told.

Each looks at what the stage has written and not yet committed, beside what is committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.stages import Check, Finding
from warehouse.ledger import CORPUS

if TYPE_CHECKING:
    from assets.stages import Run, Written
    from warehouse.ledger import Commit
    from warehouse.store import Snapshot, StageWriter

MOST_TRUNCATED = 0.05  # of a domain's samples; where more are cut, the limit decides what counts as hard
UNDECIDED = ("truncated", "timeout", "bad_gold", "error")


def compared_prompts(view: Snapshot) -> list[Commit]:
    """Return the commits of prompts that may be selected from: compared with evaluation sets, their golds checked.

    A batch can be half way: another run is at it, or the last one failed there.
    """
    compared = {c.batch: c.inputs["prompts"] for c in view.of_stage("contamination")}
    checked = {c.batch for c in view.of_stage("gold_checks")}
    ready = view.of_stage("prompts")
    return [c for c in ready if compared.get(c.batch) == c.data_version and c.batch in checked]


def _rows(scan: pl.LazyFrame) -> int:
    return int(scan.select(pl.len()).collect().item())


def _none(found: int, what: str) -> Finding:
    return Finding(found == 0, found, 0, f"{found} {what}" if found else "")


def _share(part: int, whole: int, limit: float, what: str) -> Finding:
    share = part / whole if whole else 0.0
    return Finding(share <= limit, share, limit, f"{part} of {whole} {what}")


def _rows_accounted(_run: Run, written: Written, writer: StageWriter) -> Finding:
    counts = written.counts
    kept, rejected = _rows(writer.written("prompts")), _rows(writer.written("rejected_prompts"))
    off = abs(counts["rows_read"] - kept - rejected) + abs(counts["prompts"] - kept)
    return Finding(
        off == 0, off, 0, f"{counts['rows_read']} rows read, {kept} prompts + {rejected} rejected rows written"
    )


def _signatures_complete(_run: Run, _written: Written, writer: StageWriter) -> Finding:
    return _none(
        abs(_rows(writer.written("prompts")) - _rows(writer.written("signatures"))), "prompts without a signature"
    )


def _quarantine_share(_run: Run, written: Written, _writer: StageWriter) -> Finding:
    return _share(written.counts.get("quarantined", 0), written.counts["rows_read"], 0.05, "rows quarantined")


def _truncation_share(_run: Run, written: Written, writer: StageWriter) -> Finding:
    if not written.counts["truncated"]:
        return Finding(passed=True, observed=0, threshold=MOST_TRUNCATED)
    view, build = writer.view, writer.build
    domains = view.scan_builds("prompts", [view.live["prompts", build.batch, ""]]).select("prompt_id", "domain")
    shares = (
        writer.written("rollouts")
        .filter(pl.col("role") == "scored")
        .join(domains, on="prompt_id")
        .group_by("domain")
        .agg(pl.len().alias("samples"), (pl.col("finish_reason") == "length").mean().alias("share"))
        .sort("share", "domain", descending=[True, False])
        .collect()
    )
    limit = build.inputs.get("max_tokens")
    told = [f"{d}: {s:.1%} of {n:,} samples" for d, n, s in shares.iter_rows() if s > MOST_TRUNCATED]
    by = f"policy.max_tokens = {limit}" if limit else "the token limit of the recorded rollouts"
    detail = f"cut by {by}: {'; '.join(told)}" if told else ""
    return Finding(not told, shares["share"].max() or 0.0, MOST_TRUNCATED, detail)  # type: ignore[arg-type]  # a float


def _failure_is_no_score(_run: Run, _written: Written, writer: StageWriter) -> Finding:
    scored = pl.col("status").is_in(UNDECIDED) & pl.col("score").is_not_null()
    return _none(_rows(writer.written("verdicts").filter(scored)), "undecided verdicts carry a score")


def _error_share(_run: Run, written: Written, _writer: StageWriter) -> Finding:
    failed = written.counts.get("status_error", 0) + written.counts.get("status_timeout", 0)
    return _share(failed, written.counts["rows"], 0.01, "verdicts failed on our side")


def _code_is_run(_run: Run, _written: Written, writer: StageWriter) -> Finding:
    refused = (pl.col("status") == "error") & pl.col("detail").str.contains("refused: ", literal=True)
    found = writer.written("verdicts").filter(refused).select("detail")
    count, told = found.select(pl.len(), pl.col("detail").first()).collect().row(0)
    return Finding(count == 0, count, 0, f"{count} responses with code: {told}" if count else "")


def _one_reward_each(_run: Run, _written: Written, writer: StageWriter) -> Finding:
    view = writer.view
    commit = view.live["rollouts", writer.build.batch, writer.build.variant]
    scored = view.scan_builds("rollouts", [commit]).filter(pl.col("role") == "scored").select("prompt_id", "sample")
    have = writer.written("rewards").select("prompt_id", "sample")
    return _none(abs(_rows(scored) - _rows(have)) + _rows(scored.join(have, on=["prompt_id", "sample"], how="anti")),
                 "rollouts without exactly one reward")  # fmt: skip


def _rewards_named(_run: Run, _written: Written, writer: StageWriter) -> Finding:
    nameless = pl.col("reward").is_not_null() & (pl.col("source").is_null() | pl.col("reward_id").is_null())
    return _none(_rows(writer.written("rewards").filter(nameless)), "rewards do not name their source")


def _unscored_share(_run: Run, written: Written, _writer: StageWriter) -> Finding:
    return _share(written.counts["unscored"], written.counts["prompts"], 0.2, "rolled-out prompts have no score")


def _suspect_share(_run: Run, written: Written, _writer: StageWriter) -> Finding:
    return _share(written.counts["suspect_golds"], written.counts["prompts"], 0.05, "golds are suspect")


def _every_prompt_once(_run: Run, _written: Written, writer: StageWriter) -> Finding:
    view = writer.view
    prompts = view.scan_builds("prompts", compared_prompts(view)).select("prompt_id")
    decided = writer.written("selection").select("prompt_id")
    off = abs(_rows(prompts) - _rows(decided)) + _rows(prompts.join(decided, on="prompt_id", how="anti"))
    return _none(off, "prompts without exactly one row in the selection")


def _nothing_held_out(_run: Run, _written: Written, writer: StageWriter) -> Finding:
    view = writer.view
    barred = view.scan("prompts").filter(pl.col("pool") == "eval").select("prompt_id")
    dirty = view.scan("contamination").select("prompt_id")
    chosen = writer.written("selection").filter(pl.col("selected") & (pl.col("reason") != "override"))
    bad = chosen.join(pl.concat([barred, dirty]).unique(), on="prompt_id", how="semi")
    return _none(_rows(bad), "selected prompts are evaluation prompts or contaminated")


def _unscored_not_hard(_run: Run, _written: Written, writer: StageWriter) -> Finding:
    free = ("original", "override", "all", "random")
    hard = pl.col("selected") & pl.col("score").is_null() & ~pl.col("reason").is_in(free)
    return _none(_rows(writer.written("selection").filter(hard)), "unscored prompts were selected as if hard")


def _something_selected(_run: Run, written: Written, _writer: StageWriter) -> Finding:
    chosen = written.counts["selected"]
    return Finding(chosen > 0, chosen, 1, "" if chosen else "no prompt was selected")


def _only_selected(_run: Run, _written: Written, writer: StageWriter) -> Finding:
    view = writer.view
    commit = view.live["selection", CORPUS, writer.build.variant]
    chosen = view.scan_builds("selection", [commit]).filter("selected").select("prompt_id")
    return _none(
        _rows(writer.written("curriculum").join(chosen, on="prompt_id", how="anti")), "rows are of unselected prompts"
    )


def _positions_dense(_run: Run, _written: Written, writer: StageWriter) -> Finding:
    seen = writer.written("curriculum").select(
        pl.len().alias("n"), pl.col("position").n_unique().alias("distinct"), pl.col("position").max().alias("last")
    )
    n, distinct, last = seen.collect().row(0)
    gaps = 0 if n == 0 else abs(n - distinct) + abs(n - 1 - last)
    return _none(int(gaps), "gaps or repeats among the positions")


def _bad_gold_share(_run: Run, written: Written, _writer: StageWriter) -> Finding:
    return _share(written.counts["bad_golds"], written.counts["golds"], 0.05, "golds cannot be used by their verifier")


GOLD_CHECKS = (Check("bad_gold_share", "Verifiers can use nearly every gold", _bad_gold_share, blocking=False),)
PROMPT_CHECKS = (
    Check("rows_accounted", "Rows read = prompts + rejected rows, recounted from what was written", _rows_accounted),
    Check("signatures_complete", "Every prompt has a signature for later batches", _signatures_complete),
    Check("quarantine_share", "Few rows are unreadable", _quarantine_share, blocking=False),
)
ROLLOUT_CHECKS = (
    Check("truncation_share", "The token limit cuts few samples of any domain", _truncation_share, blocking=False),
)
VERDICT_CHECKS = (
    Check("failure_is_no_score", "What could not be decided has no score", _failure_is_no_score),
    Check("code_is_run", "Code of responses can be run in isolation", _code_is_run, blocking=False),
    Check("error_share", "The verifiers themselves rarely fail", _error_share, blocking=False),
)
REWARD_CHECKS = (
    Check("one_reward_each", "Every scored rollout has exactly one reward row", _one_reward_each),
    Check("rewards_named", "Every reward names its source", _rewards_named),
)
DIFFICULTY_CHECKS = (
    Check("unscored_share", "Most rolled-out prompts have a score", _unscored_share, blocking=False),
    Check("suspect_gold_share", "Few golds are suspect", _suspect_share, blocking=False),
)
SELECTION_CHECKS = (
    Check("every_prompt_once", "Every prompt is decided exactly once", _every_prompt_once),
    Check("nothing_held_out", "No evaluation or contaminated prompt is selected", _nothing_held_out),
    Check("unscored_not_hard", "No unscored prompt is selected as hard", _unscored_not_hard),
    Check("something_selected", "The arm selects something", _something_selected, blocking=False),
)
CURRICULUM_CHECKS = (
    Check("only_selected", "The curriculum holds selected prompts only", _only_selected),
    Check("positions_dense", "Positions count up from 0 without gaps", _positions_dense),
)
