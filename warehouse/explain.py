"""The whole story of one prompt: where it comes from, how it scored, and what every stage decided about it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from warehouse.curation.identity import prompt_id
from warehouse.decisions import WITHDRAWN
from warehouse.output import dump_json
from warehouse.queries import connect, select
from warehouse.releases import list_releases

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import duckdb

    from warehouse.releases import Release
    from warehouse.store import Snapshot

Rows = list[dict[str, Any]]

_TABLES = (
    "prompts", "rejected_prompts", "contamination", "rollouts", "verdicts", "model_rewards", "references", "judgements",
    "rewards", "difficulty", "selection", "curriculum", "decisions",
)  # fmt: skip
_MOST_CANDIDATES = 10
_SHOWN_CHARS = 90


@dataclass(frozen=True)
class Story:
    """Everything the home knows about a prompt. Rows are plain dicts with the columns of their table.

    Attributes:
        prompt_id: its id; empty for a rejected row that never became a prompt.
        prompt: its row in `prompts`, or None where it was rejected.
        rejected: rows that were rejected with this id, or for being (nearly) the same as it.
        contamination: evaluation sets that contain it.
        rollouts: each with its `verdicts`, `rewards`, `judgements` and `model_rewards`.
        references: what its rollouts are compared with, by policy.
        difficulty: what was measured, by policy.
        selection: by arm, with the decision's value, threshold and detail.
        curriculum: by arm, its places.
        releases: each release that holds it or decided about it: part, places, and the selection's decision then.
        decisions: every decision in the order it was made; `current` is false where a later one replaced it,
            or where it was withdrawn.
        policies: policy id -> the name of the model, or of the recorded policy.
    """

    prompt_id: str
    prompt: dict[str, Any] | None = None
    rejected: Rows = field(default_factory=list)
    contamination: Rows = field(default_factory=list)
    rollouts: Rows = field(default_factory=list)
    references: Rows = field(default_factory=list)
    difficulty: Rows = field(default_factory=list)
    selection: Rows = field(default_factory=list)
    curriculum: Rows = field(default_factory=list)
    releases: Rows = field(default_factory=list)
    decisions: Rows = field(default_factory=list)
    policies: dict[str, str] = field(default_factory=dict)


class PromptNotFoundError(LookupError):
    """No prompt, or more than one, is what was asked for.

    Attributes:
        candidates: prompt_id (or None), where (source and row, or reason of rejection), text of what might be meant.
    """

    def __init__(self, message: str, candidates: Sequence[dict[str, Any]] = ()) -> None:
        lines = [f"  {c['prompt_id'] or '-'}  {c['place']}  {_short(c['text'])}" for c in candidates]
        super().__init__("\n".join([message, *lines]))
        self.candidates = list(candidates)


def explain(snapshot: Snapshot, releases_folder: Path, who: str) -> Story:
    """Return the story of the prompt that `who` names.

    Args:
        snapshot: with all tables.
        releases_folder: the home's `releases`.
        who: a prompt id or an unambiguous start of one (4 characters or more), a prompt's exact text, the key that its
            source gave it, or a piece of its text that no other prompt has. Tried in this order; only the last two read
            more than a few row groups.

    Raises:
        PromptNotFoundError: nothing matches, or several prompts do; it lists them.
    """
    with connect(snapshot, _TABLES) as con:
        found, row = _find(con, who)
        if not found:
            return Story("", rejected=[row])
        story = _tell(con, found)
    names = {c.variant: c.inputs.get("policy", c.variant) for c in snapshot.of_stage("rollouts")}
    return replace(story, releases=_in_releases(list_releases(releases_folder), found), policies=names)


def as_json(story: Story) -> str:
    """Return a story as JSON text."""
    return dump_json(asdict(story), indent=1) + "\n"


def _find(con: duckdb.DuckDBPyConnection, who: str) -> tuple[str, dict[str, Any]]:
    """Return the id of the one prompt that is meant, and its row; the id is empty for a rejected row without one."""
    if re.fullmatch(r"[0-9a-f]{4,32}", who):
        above = f"{who}g"  # sorts after every id that starts so
        found = _candidates(con, f"prompt_id >= '{who}' AND prompt_id < '{above}'")
        if found:
            return _only(found, f"several prompts have an id that starts with {who!r}")
    own = prompt_id([("user", who)])
    found = _candidates(con, f"prompt_id = '{own}'")
    if not found and who:
        found = _candidates(con, '"key" = $who', {"who": who}, rejected=False)
    if not found and len(who) > 2:
        raw = json.dumps(who, ensure_ascii=False)[1:-1]
        found = _candidates(con, "contains(text, $who) OR contains(text, $raw)", {"who": who, "raw": raw})
    if not found:
        msg = f"no prompt has the id, text or key {_short(who)!r}, and none contains it"
        raise PromptNotFoundError(msg)
    return _only(found, f"several prompts match {_short(who)!r}; name one by its id")


def _only(found: Rows, message: str) -> tuple[str, dict[str, Any]]:
    ids = {r["prompt_id"] for r in found}
    if len(ids) > 1 or (None in ids and len(found) > 1):
        raise PromptNotFoundError(message, found)
    return found[0]["prompt_id"] or "", found[0]


def _candidates(
    con: duckdb.DuckDBPyConnection, where: str, parameters: dict[str, Any] | None = None, *, rejected: bool = True
) -> Rows:
    """Return up to ten prompts, or else rejected rows, that fulfil a condition on prompt_id, key or text."""
    sql = f"""
        SELECT prompt_id, text, source || ' ' || source_row AS place
        FROM (
            SELECT *, coalesce(raw_text, list_filter(messages, lambda m: m.role = 'user')[-1].content) AS text
            FROM prompts
        )
        WHERE {where}
        LIMIT {_MOST_CANDIDATES}
    """
    found = select(con, sql, parameters).to_dicts()
    if found or not rejected:
        return found
    sql = f"""
        SELECT *, source || ' ' || source_row || ' ' || outcome || ': ' || reason AS place
        FROM (SELECT *, raw AS text FROM rejected_prompts)
        WHERE {where}
        LIMIT {_MOST_CANDIDATES}
    """
    return select(con, sql, parameters).to_dicts()


def _tell(con: duckdb.DuckDBPyConnection, found: str) -> Story:
    """Return the story of an id. Conditions are written out, so that DuckDB skips row groups by their statistics."""

    def of(table: str, order: str) -> Rows:
        return select(con, f"SELECT * FROM {table} WHERE prompt_id = '{found}' ORDER BY {order}").to_dicts()

    prompts = of("prompts", "batch")
    rejected = select(
        con,
        f"SELECT * FROM rejected_prompts WHERE prompt_id = '{found}' OR matched_prompt_id = '{found}' "
        "ORDER BY batch, source, source_row",
    ).to_dicts()
    decisions = _mark_current(of("decision_history", "seq, stage, arm, rule"))
    return Story(
        prompt_id=found,
        prompt=prompts[0] if prompts else None,
        rejected=rejected,
        contamination=of("contamination", "eval_set"),
        rollouts=_with_scores(
            of("rollouts", "policy_id, role DESC, sample"),
            {
                "verdicts": of("verdicts", "policy_id, role, sample, verifier"),
                "rewards": of("rewards", "policy_id, sample"),
                "judgements": of("judgements", "policy_id, sample, judge"),
                "model_rewards": of("model_rewards", "policy_id, role, sample, reward_model, head"),
            },
        ),
        references=of('"references"', "policy_id"),
        difficulty=of("difficulty", "policy_id"),
        selection=_with_decision(of("selection", "arm"), decisions),
        curriculum=of("curriculum", "arm, position"),
        decisions=decisions,
    )


def _with_scores(rollouts: Rows, scores: dict[str, Rows]) -> Rows:
    """Return rollouts with the scores that belong to each; rewards and judgements are of the role `scored`."""
    told = []
    for rollout in rollouts:
        own = {
            name: [r for r in rows if _same_rollout(rollout, r)]
            for name, rows in scores.items()
        }  # fmt: skip
        told.append(rollout | own)
    return told


def _same_rollout(rollout: dict[str, Any], row: dict[str, Any]) -> bool:
    mine = (rollout["policy_id"], rollout["role"], rollout["sample"])
    return mine == (row["policy_id"], row.get("role", "scored"), row["sample"])


def _with_decision(selection: Rows, decisions: Rows) -> Rows:
    wanted = ("outcome", "value", "threshold", "detail", "decision_id")
    last = {d["arm"]: d for d in decisions if d["stage"] == "selection" and d["current"]}
    return [row | {c: last.get(row["arm"], {}).get(c) for c in wanted} for row in selection]


def _mark_current(decisions: Rows) -> Rows:
    """Return the decisions with `current`: whether no later build of its stage replaced or withdrew it."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[c] for c in ("stage", "arm", "batch", "variant", "rule"))

    newest = {key(d): d["seq"] for d in decisions}  # in order of seq, so the last one stays
    return [d | {"current": newest[key(d)] == d["seq"] and d["outcome"] != WITHDRAWN} for d in decisions]


def _in_releases(releases: Sequence[Release], found: str) -> Rows:
    """Return what each release says of a prompt, oldest first; releases that never heard of it are left out.

    `decisions.parquet` is sorted by id and read first; the rows for training, which are not, are searched only where it
    does not say that the prompt was left out.
    """
    mine = pl.col("prompt_id") == found
    choices = pl.collect_all([r.decisions().filter(mine, pl.col("stage") == "selection") for r in releases])
    decided = [c.select("outcome", "rule", "value", "threshold", "detail", "reason").to_dicts() for c in choices]
    maybe = [i for i, rows in enumerate(decided) if all(d["outcome"] != "drop" for d in rows)]
    places = pl.collect_all([releases[i].train().filter(mine).select("position", "phase", "occurrence") for i in maybe])
    held = pl.collect_all([r.heldout().filter(mine).select(pl.len()) for r in releases])
    trained = dict(zip(maybe, places, strict=True))
    told = []
    for i, release in enumerate(releases):
        rows = trained[i].sort("position").to_dicts() if i in trained else []
        part = "train" if rows else "heldout" if held[i].item() else None
        if part or decided[i]:
            told.append(
                {
                    "release_id": release.release_id,
                    "arm": release.arm,
                    "created_at": release.manifest["created_at"],
                    "part": part,
                    "places": rows,
                    "selection": decided[i][0] if decided[i] else None,
                }
            )
    return told


def _short(text: str | None, chars: int = _SHOWN_CHARS) -> str:
    flat = re.sub(r"\s+", " ", text or "")
    return flat if len(flat) <= chars else flat[: chars - 1] + "…"
