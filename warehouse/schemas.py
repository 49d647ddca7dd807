"""The schema of every table, in one place; checked at every write.

Types are Polars types. Ids are 32 lower-case hex characters. `batch`, `policy_id`, `build_id` partition: they
are in the path of a file, not in it. `build_id` names the build (inputs, code version, settings) that a row belongs
to; readers see rows of committed builds only, and never the column.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
TIME = pl.Datetime("us", "UTC")


Columns = dict[str, pl.DataType | type[pl.DataType]]


@dataclass(frozen=True)
class Table:
    """A table: columns, key, how it is laid out on disk, and which columns never enter a hash."""

    name: str
    columns: Columns
    key: tuple[str, ...]
    partitions: tuple[str, ...]
    row_group_rows: int = 50_000
    volatile: tuple[str, ...] = ()

    @property
    def schema(self) -> pl.Schema:
        """Return the columns as users see them, partition columns (without `build_id`) included."""
        front: Columns = dict.fromkeys(self.partitions[:-1], S)
        return pl.Schema(front | self.columns)

    @property
    def stored(self) -> pl.Schema:
        """Return the columns as they are stored, `build_id` included."""
        columns: Columns = {**self.schema}
        columns["build_id"] = S
        return pl.Schema(columns)


S, I, F, B = pl.String, pl.Int64, pl.Float64, pl.Boolean  # noqa: E741 (one letter a type keeps the tables readable)


def _columns(**columns: pl.DataType | type[pl.DataType]) -> Columns:
    return columns


def _table(
    name: str, key: str, columns: Columns, *, policy: bool = False, rows: int = 50_000, volatile: tuple[str, ...] = ()
) -> Table:
    partitions = ("batch", "policy_id", "build_id") if policy else ("batch", "build_id")
    return Table(name, columns, tuple(key.split()), partitions, rows, volatile)


# fmt: off
PROMPTS = _table("prompts", "prompt_id", _columns(
    prompt_id=S, source=S, source_row=S, pool=S, split=S, domain=S, messages=MESSAGES, raw_text=S, verifier=S,
    ground_truth=S, gold_conflict=B, tools=S, extra=S, key=S, licence=S, ingested_at=TIME,
), rows=10_000, volatile=("ingested_at",))
REJECTED_PROMPTS = _table("rejected_prompts", "source source_row", _columns(
    source=S, source_row=S, outcome=S, reason_code=S, reason=S, prompt_id=S, matched_prompt_id=S, raw=S,
), rows=10_000)
SIGNATURES = _table("signatures", "prompt_id", _columns(
    prompt_id=S, split=S, gold_hash=S, bands=pl.List(I), signature=pl.Binary,
))
CONTAMINATION = _table("contamination", "prompt_id eval_set", _columns(
    prompt_id=S, eval_set=S, item=S, overlap=S, matched=S,
))
GOLD_CHECKS = _table("gold_checks", "prompt_id", _columns(
    prompt_id=S, verifier=S, verifier_version=S, problem=S,
))
ROLLOUTS = _table("rollouts", "prompt_id role sample", _columns(
    prompt_id=S, role=S, sample=I, response=S, reasoning=S, finish_reason=S, prompt_tokens=I, response_tokens=I,
    logprob_sum=F, seed=I, engine=S, recorded=B, recorded_score=F, detail=S,
), policy=True, rows=10_000)
GENERATION = _table("generation", "chunk", _columns(
    chunk=I, engine=S, samples=I, errors=I, prompt_tokens=I, response_tokens=I, seconds=F, started_at=TIME, run_id=S,
    stage=S,
), policy=True, volatile=("seconds", "started_at", "run_id"))
REJECTED_ROLLOUTS = _table("rejected_rollouts", "source_row", _columns(
    source_row=S, path=S, outcome=S, reason_code=S, reason=S, raw=S,
), rows=10_000)
VERDICTS = _table("verdicts", "prompt_id role sample", _columns(
    prompt_id=S, role=S, sample=I, verifier=S, verifier_version=S, status=S, score=F, parts=S, extracted=S, detail=S,
    task_id=S, elapsed_ms=F,
), policy=True, volatile=("elapsed_ms",))
MODEL_REWARDS = _table("model_rewards", "prompt_id role sample reward_model head", _columns(
    prompt_id=S, role=S, sample=I, reward_model=S, head=I, mean=F, std=F, detail=S, task_id=S,
), policy=True)
REFERENCES = _table("references", "prompt_id", _columns(
    prompt_id=S, kind=S, sample=I, text=S, score=F, margin_to_second=F,
), policy=True, rows=10_000)
JUDGEMENTS = _table("judgements", "prompt_id sample", _columns(
    prompt_id=S, sample=I, status=S, score=F, p_first=F, p_second=F, flipped=B, judge=S, template=S, detail=S,
    task_id=S,
), policy=True)
REWARDS = _table("rewards", "prompt_id sample", _columns(
    prompt_id=S, sample=I, reward=F, source=S, reward_id=S, status=S,
), policy=True)
PREFERENCES = _table("preferences", "pair_id", _columns(
    prompt_id=S, pair_id=S, messages=MESSAGES, chosen=S, rejected=S, origin=S,
))
REJECTED_PREFERENCES = _table("rejected_preferences", "source_row", _columns(
    source_row=S, path=S, outcome=S, reason_code=S, reason=S, raw=S,
), rows=10_000)
PAIR_REWARDS = _table("pair_rewards", "pair_id side reward_model head", _columns(
    pair_id=S, side=S, reward_model=S, head=I, mean=F, std=F, detail=S, task_id=S,
))
PREFERENCE_STRENGTH = _table("preference_strength", "pair_id", _columns(
    pair_id=S, strength_mean=F, strength_std=F, votes_for=I, votes=I, bucket=I, treatment=S, margin=F,
))
DIFFICULTY = _table("difficulty", "prompt_id", _columns(
    prompt_id=S, source=S, samples=I, scored=I, truncated=I, binary=B, mean=F, variance=F, pass_rate=F,
    pass_rate_low=F, pass_rate_high=F, learnability=F, distinct_answers=I, majority_agreement=F,
    reward_model_uncertainty=F, source_disagreement=F, response_tokens_mean=F, max_edit_distance=F, reward_min=F,
    reward_max=F, worst_response_chars=I, suspect_gold=B,
), policy=True)
SELECTION = _table("selection", "arm prompt_id", _columns(
    arm=S, prompt_id=S, policy_id=S, rule=S, score=F, group=S, percentile=F, tie_size=I, selected=B, reason=S,
))
CURRICULUM = _table("curriculum", "arm position", _columns(arm=S, position=I, phase=S, prompt_id=S, occurrence=I))
RELEASES = _table("releases", "release_id", _columns(
    arm=S, release_id=S, rows=I, prompts=I, heldout=I, policy_hash=S,
))
TRAINING_SIGNALS = _table("training_signals", "training_run_id step prompt_id sample", _columns(
    training_run_id=S, step=I, prompt_id=S, sample=I, release_id=S, policy_id=S, reward=F, source=S, kl=F,
    response_tokens=I, advantage_mean=F,
))
DECISIONS = _table("decisions", "stage arm batch prompt_id rule", _columns(
    stage=S, arm=S, prompt_id=S, rule=S, outcome=S, value=F, threshold=F, detail=S, policy_hash=S,
))
# fmt: on

TABLES: dict[str, Table] = {
    t.name: t
    for t in (
        PROMPTS,
        REJECTED_PROMPTS,
        SIGNATURES,
        CONTAMINATION,
        GOLD_CHECKS,
        ROLLOUTS,
        GENERATION,
        REJECTED_ROLLOUTS,
        VERDICTS,
        MODEL_REWARDS,
        REFERENCES,
        JUDGEMENTS,
        REWARDS,
        PREFERENCES,
        REJECTED_PREFERENCES,
        PAIR_REWARDS,
        PREFERENCE_STRENGTH,
        DIFFICULTY,
        SELECTION,
        CURRICULUM,
        RELEASES,
        TRAINING_SIGNALS,
        DECISIONS,
    )
}

STATUSES = ("correct", "incorrect", "partial", "unparsed", "truncated", "timeout", "bad_gold", "error")
OUTCOMES = ("keep", "drop", "quarantine", "flag", "carry", "withdrawn")


class SchemaError(ValueError):
    """A frame does not have the columns that its table asks for."""


def conform(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the frame with exactly the table's own columns, in order.

    Raises:
        SchemaError: names the missing, unknown and wrongly typed columns.
    """
    want = pl.Schema(table.columns)
    have = frame.schema
    missing = [c for c in want if c not in have]
    unknown = [c for c in have if c not in want and c not in table.partitions]
    wrong = [f"{c} is {have[c]}, should be {want[c]}" for c in want if c in have and have[c] not in (want[c], pl.Null)]
    if missing or unknown or wrong:
        msg = f"table {table.name}: missing {missing}, unknown {unknown}, wrong types {wrong}"
        raise SchemaError(msg)
    return frame.select([pl.col(c).cast(want[c]) if have[c] == pl.Null else pl.col(c) for c in want])
