"""What every export format says of itself, and the one form in which a task travels with its prompt."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from verifiers.hybrid import GENRM_BEST_OF_N, compared_with, route

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import pyarrow as pa

Unscored = Literal["refuse", "skip", "keep"]
Raw = Literal["refuse", "skip", "chat"]
SPLITS = ("train", "heldout")
CUT_IS_SCORED = """\
A response that was cut at its token limit is scored as it stands, for the reward is not told; so are its lines in the
signals. Where many are cut, prompts look harder than they are to the selection that reads what `preppo signals import`
takes in, and those whose responses are all cut are retired in the end. Watch the share of cut responses, and train with
a higher limit where it is large."""
"""What the README of a trainer says that tells a reward nothing of how a response ended."""


@dataclass(frozen=True)
class Options:
    """What the user says of rows that do not fit.

    Attributes:
        with_models: the judge and the reward models of the release count as sources, too: where the trainer imports
            preppo, or on a server that has them; else only the rule verifiers do.
        unscored: rows that no such source rewards: refuse the export, skip them, or keep them with a null reward.
        raw: exact prefixes for completion where the format holds messages only, or both kinds are there: refuse, skip
            them, or send them as one user turn.
        null_reward: what a trainer that knows no null gets where nothing could be decided.
    """

    with_models: bool = False
    unscored: Unscored = "refuse"
    raw: Raw = "refuse"
    null_reward: float = 0.0


@dataclass(frozen=True, slots=True)
class Record:
    """One row on its way out.

    Attributes:
        split: `train` or `heldout`.
        index: place within its split, from 0, in the order of the release.
        prompt: the messages, or the exact prefix where `raw_prompts` of the format says so.
        task: JSON text with all that rewarding a response needs; see `task_json`.
        row: all columns of the release, as they are.
    """

    split: str
    index: int
    prompt: list[dict[str, str]] | str
    task: str
    row: Mapping[str, Any]

    @property
    def messages(self) -> list[dict[str, str]]:
        """Return the prompt as messages."""
        return [{"role": "user", "content": self.prompt}] if isinstance(self.prompt, str) else self.prompt


@dataclass(frozen=True)
class About:
    """What the files beside the rows are written from.

    Attributes:
        release_id: 32 hex characters.
        train: names of the training files, in order.
        heldout: name of the file of held-out rows, or None where there are none.
        options: what the user said.
        max_tokens: of a response in the release's own rollouts.
        model: that was rolled out.
        raw: whether prompts are exact prefixes.
    """

    release_id: str
    train: list[str]
    heldout: str | None
    options: Options
    max_tokens: int
    model: str
    raw: bool


@dataclass(frozen=True)
class Format:
    """A format: how a row looks, and what lies beside the rows.

    Attributes:
        name: as the command takes it.
        suffix: `parquet` or `jsonl`.
        row: what is written of a row.
        schema: of the Parquet file, given whether prompts are text; None for JSON lines.
        shuffles: the trainer permutes the rows of a file, so that every phase is a file of its own.
        raw_prompts: exact prefixes can be prompts.
        knows_null: the trainer leaves a sample without a reward out.
        order: settings of the trainer that keep the order.
        files: the other files: name -> text.
        templates: files of `templates/` to copy: name there -> name in the export.
        reward_at: folder in the export for `preppo_reward.py`, beside which it finds `export.json`.
        rows_at: folder in the export for the rows.
        how: what to read first: the command, in Markdown.
    """

    name: str
    suffix: Literal["parquet", "jsonl"]
    row: Callable[[Record], dict[str, Any]]
    how: Callable[[About], str]
    schema: Callable[[bool], pa.Schema] | None = None
    shuffles: bool = False
    raw_prompts: bool = False
    knows_null: bool = False
    order: Mapping[str, Any] = field(default_factory=dict)
    files: Callable[[About], dict[str, str]] = lambda _: {}
    templates: Mapping[str, str] = field(default_factory=dict)
    reward_at: str = "."
    rows_at: str = "."


def task_json(row: Mapping[str, Any], split: str) -> str:
    """Return the task of a prompt as JSON text: what `preppo_reward.score` takes, in every format.

    `prompt_id` first, so that signals can be told apart by eye; what is null is left out. `split` is there for held-out
    prompts, whose scores are no training signals.
    """
    task: dict[str, Any] = {"prompt_id": row["prompt_id"]}
    reference, wanted = compared_with(row["reference"], row["reference_kind"])
    told = {k: row[k] for k in ("verifier", "ground_truth", "raw_text")} | {"reference": reference}
    task |= {k: v for k, v in told.items() if v is not None}
    if wanted and reference is None:
        task["reference_wanted"] = True
    task["messages"] = [[turn["role"], turn["content"]] for turn in row["messages"] or []]
    if split != "train":
        task["split"] = split
    return compact(task)


def source_of(row: Mapping[str, Any], available: Collection[str]) -> str | None:
    """Return the source that rewards responses to a row's prompt, or None: also where it has nothing to compare with.

    Args:
        row: with verifier, ground_truth (any text or null), reference_kind.
        available: the sources that can be asked.
    """
    _, wanted = compared_with(None, row["reference_kind"])
    found = route(row["verifier"], row["ground_truth"], has_reference=wanted, available=available)
    return None if found == GENRM_BEST_OF_N and row["reference_kind"] == "none_chosen" else found


def compact(value: Any) -> str:
    """Return JSON text on one line, the same for the same value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
