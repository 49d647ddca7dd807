"""The ground truths of a batch as they count: from the sources, and what people overruled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from warehouse.curation.overrides import OVERRIDES, apply_overrides, read_overrides
from warehouse.hashing import frame_hash, json_hash

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.store import Snapshot

GOLD_FIELDS = ("ground_truth", "verifier")


@dataclass(frozen=True)
class Golds:
    """`frame`: prompt_id, verifier, ground_truth, prompt (text of the last message). `version` names its content."""

    frame: pl.LazyFrame
    version: str


def overrides(project: Project) -> pl.DataFrame:
    """Return what people overruled, empty where nobody did."""
    path = project.overrides_path()
    return pl.DataFrame(schema=OVERRIDES) if path is None else read_overrides(path)


def overruled(frame: pl.LazyFrame, said: pl.DataFrame) -> pl.LazyFrame:
    """Return a frame of prompts with the overrides in place; only the few prompts they are about are looked up."""
    about = pl.col("prompt_id").is_in(said["prompt_id"].unique().to_list())
    touched = apply_overrides(frame.filter(about).collect(), said)
    rest = frame.filter(~about).with_columns(pl.lit(None, pl.Boolean).alias("override_selected"))
    return pl.concat([rest.select(touched.columns), touched.lazy()])


def golds(project: Project, view: Snapshot, batch: str) -> Golds:
    """Return the golds of one batch. Overrides of other prompts do not change the version."""
    commit = view.live["prompts", batch, ""]
    prompts = view.scan_builds("prompts", [commit])
    said = overrides(project).filter(pl.col("field").is_in(GOLD_FIELDS))
    if said.is_empty():
        return Golds(_columns(prompts), commit.data_version)
    ids = prompts.select("prompt_id").filter(pl.col("prompt_id").is_in(said["prompt_id"].to_list())).collect()
    mine = said.join(ids, on="prompt_id", how="semi").sort("prompt_id", "field")
    version = json_hash([commit.data_version, frame_hash(mine)]) if mine.height else commit.data_version
    return Golds(_columns(overruled(prompts, mine)), version)


def _columns(prompts: pl.LazyFrame) -> pl.LazyFrame:
    text = pl.col("messages").list.last().struct.field("content")
    return prompts.select("prompt_id", "verifier", "ground_truth", text.alias("prompt"))


def unusable(view: Snapshot, batch: str) -> pl.LazyFrame:
    """Return the prompts of a batch whose gold cannot be used: prompt_id."""
    return view.scan_builds("gold_checks", view.of_stage("gold_checks", batch)).select("prompt_id")
