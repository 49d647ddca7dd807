"""Stage `recorded_rollouts`: each file of rollouts that the user has, read once; bad rows rejected with their reason.

What was read is kept under `work/`, sorted by prompt, and can be made again from the file; which batches a file has
rollouts for is worked out from its keys alone, so that a new file makes only those batches stale.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from assets.code_version import code_version
from assets.files import content_hash
from assets.progress import report
from assets.stages import Run, Stage, Written
from trainer.engines.recorded import REJECTED, ROWS, join_by_key, settle_numbers, split_references, stream_recorded
from warehouse.hashing import json_hash
from warehouse.home import write_atomically
from warehouse.ingest.readers import expand
from warehouse.ledger import CORPUS, Build
from warehouse.settings import RolloutsSettings, outcome_hash

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter


@dataclass(frozen=True)
class Import:
    """One file of recorded rollouts under one `[[rollouts]]` section."""

    section: RolloutsSettings
    path: Path
    file_hash: str
    folder: Path

    @property
    def key(self) -> str:
        """Return the name of what reading this file gives: file content, mapping, and the code that reads."""
        return self.folder.name

    def rows(self) -> pl.LazyFrame:
        """Return what was read, schema `trainer.engines.recorded.ROWS`."""
        return pl.scan_parquet(self.folder / "rows.parquet")


def imports(project: Project) -> list[Import]:
    """Return the files that the `[[rollouts]]` sections name now, in their order."""
    code = code_version("trainer.engines.recorded")
    found = []
    for section in project.settings.rollouts:
        for path in expand(section.path, project.base):
            digest = content_hash(path)
            name = json_hash([digest, outcome_hash(section), code])
            found.append(Import(section, path, digest, project.home.work / "recorded" / name))
    return found


def builds(project: Project, _view: Snapshot, batch: str = CORPUS) -> list[Build]:
    """Return one build a file."""
    return [
        Build("recorded_rollouts", batch, {"file": i.file_hash}, STAGE.code_version, outcome_hash(i.section), i.key)
        for i in imports(project)
    ]


def write(run: Run, _view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Read one file."""
    chosen = next(i for i in imports(run.project) if i.key == build.variant)
    _ensure(run.project, chosen)
    counts = json.loads((chosen.folder / "counts.json").read_text(encoding="utf-8"))
    rejected = pl.read_parquet(chosen.folder / "rejected.parquet").select(
        pl.format("{}:{}", pl.lit(chosen.file_hash), "row").alias("source_row"),
        pl.col("file").alias("path"),
        pl.lit("quarantined").alias("outcome"),
        "reason_code",
        "reason",
        "raw",
    )
    writer.write("rejected_rollouts", rejected)
    return Written(counts)


def _read(chosen: Import) -> None:
    """Read a file into its folder, whole or not at all."""
    partial = chosen.folder.with_name(f"{chosen.folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    counts = {"rows_read": 0, "filtered": 0, "quarantined": 0, "samples": 0}
    rejected = []
    for number, part in enumerate(stream_recorded(chosen.section, [chosen.path])):
        part.rows.write_parquet(partial / f"part-{number:06d}.parquet")
        rejected.append(part.rejected)
        counts["rows_read"] += part.read
        counts["filtered"] += part.filtered
        counts["quarantined"] += part.rejected.height
        counts["samples"] += part.rows.height
        report("recorded rows read", counts["rows_read"], None)
    parts = pl.scan_parquet(partial / "part-*.parquet") if counts["rows_read"] else pl.LazyFrame(schema=ROWS)
    parts.sort("prompt_id", "key", "file", "row", "sample").sink_parquet(partial / "rows.parquet")
    parts.select("policy", "prompt_id", "key").unique().sort("policy", "prompt_id", "key").sink_parquet(
        partial / "keys.parquet"
    )
    pl.concat([pl.DataFrame(schema=REJECTED), *rejected]).write_parquet(partial / "rejected.parquet")
    (partial / "counts.json").write_text(json.dumps(counts), encoding="utf-8")
    for part_file in partial.glob("part-*.parquet"):
        part_file.unlink()
    shutil.rmtree(chosen.folder, ignore_errors=True)
    partial.rename(chosen.folder)


def _ensure(project: Project, chosen: Import) -> None:
    if not (chosen.folder / "counts.json").is_file():
        with project.home.lock(f"recorded-{chosen.key}"):
            if not (chosen.folder / "counts.json").is_file():
                _read(chosen)


def matches(project: Project, view: Snapshot, batch: str) -> dict[str, list[Import]]:
    """Return policy name -> the files that have rollouts for prompts of a batch, both in the order of the settings."""
    found: dict[str, list[Import]] = {}
    commit = view.live["prompts", batch, ""]
    for chosen in imports(project):
        _ensure(project, chosen)
        remembered = chosen.folder / f"match-{commit.data_version}-{batch}.json"
        if remembered.is_file():
            policies = json.loads(remembered.read_text(encoding="utf-8"))
        else:
            keys = pl.scan_parquet(chosen.folder / "keys.parquet")
            prompts = view.scan_builds("prompts", [commit])
            mine = pl.concat(_joined(keys, prompts, chosen.section))
            policies = mine.select("policy").unique().sort("policy").collect()["policy"].to_list()
            write_atomically(remembered, json.dumps(policies))
        for policy in policies:
            found.setdefault(policy, []).append(chosen)
    return found


def _joined(rows: pl.LazyFrame, prompts: pl.LazyFrame, section: RolloutsSettings) -> list[pl.LazyFrame]:
    """Return the rows of prompts that are in a batch, by prompt and by the key of their source."""
    if section.key is None:
        return [rows.join(prompts.select("prompt_id"), on="prompt_id", how="semi")]
    keyed = prompts.filter((pl.col("source") == section.source) & pl.col("key").is_not_null())
    return [rows.join(keyed.select("key"), on="key", how="semi")]


def unmatched(project: Project, view: Snapshot) -> dict[str, tuple[int, str]]:
    """Return file -> (how many of its prompts no batch has, one of their names), for files that have such.

    A file may come before its prompts. But a prompt template that is a little off shows here, too.
    """
    prompts = view.scan("prompts")
    found: dict[str, tuple[int, str]] = {}
    for chosen in imports(project):
        _ensure(project, chosen)
        keys = pl.scan_parquet(chosen.folder / "keys.parquet").select("prompt_id", "key").unique()
        if chosen.section.key is None:
            lost = keys.join(prompts.select("prompt_id"), on="prompt_id", how="anti")
        else:
            own = prompts.filter(pl.col("source") == chosen.section.source).select("key")
            lost = keys.join(own, on="key", how="anti")
        rows = lost.select(pl.coalesce("key", "prompt_id").sort().alias("name")).collect()["name"]
        if len(rows):
            found[str(chosen.path)] = (len(rows), str(rows[0]))
    return found


def recorded_prompts(project: Project, view: Snapshot, batch: str, *, only_read: bool = False) -> pl.DataFrame:
    """Return the prompts of a batch that have recorded rollouts of some policy: prompt_id.

    With `only_read`, files that were not read yet are left alone, and nothing is written.
    """
    prompts = view.scan_builds("prompts", [view.live["prompts", batch, ""]])
    found = [pl.LazyFrame(schema={"prompt_id": pl.String})]
    if only_read:
        files = [i for i in imports(project) if (i.folder / "counts.json").is_file()]
    else:
        files = list({i.key: i for files in matches(project, view, batch).values() for i in files}.values())
    for chosen in files:
        keys = pl.scan_parquet(chosen.folder / "keys.parquet")
        if chosen.section.key is None:
            found.append(keys.select("prompt_id"))
        else:
            keyed = prompts.filter(pl.col("source") == chosen.section.source)
            found.append(keyed.join(keys, on="key", how="semi").select("prompt_id"))
    return pl.concat(found).unique().collect()


def recorded_rows(project: Project, view: Snapshot, batch: str, policy: str) -> pl.DataFrame:
    """Return one policy's recorded samples of a batch: `ROWS` with every prompt_id, and the column `role`."""
    prompts = view.scan_builds("prompts", [view.live["prompts", batch, ""]])
    parts = list(_parts(project, view, batch, policy, prompts))
    settled = settle_numbers(pl.concat([p for p, _ in parts]))
    return split_references(settled, max(n for _, n in parts))


def _parts(
    project: Project, view: Snapshot, batch: str, policy: str, prompts: pl.LazyFrame
) -> Iterator[tuple[pl.DataFrame, int]]:
    for position, chosen in enumerate(matches(project, view, batch)[policy]):
        rows = pl.concat(_joined(chosen.rows().filter(pl.col("policy") == policy), prompts, chosen.section)).collect()
        if chosen.section.key is not None:
            keyed = prompts.filter(pl.col("source") == chosen.section.source).select("key", "prompt_id").collect()
            rows, _ = join_by_key(rows, keyed)
        # Numbers settle by file: the place of the file in the settings counts, not where it lies on this machine.
        yield rows.with_columns(pl.lit(f"{position:06d}").alias("file")), chosen.section.reference_samples


STAGE = Stage("recorded_rollouts", "rejected_rollouts", builds, write, __name__)
