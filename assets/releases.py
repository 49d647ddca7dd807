"""Stage `release`: the immutable folder that trainers read, one an arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from assets.files import content_hash
from assets.golds import overrides
from assets.policies import own_policy_id, policy_order, recorded_policy_id
from assets.recorded import imports, matches
from assets.stages import Run, Stage, Written
from warehouse.hashing import frame_hash, json_hash
from warehouse.ingest.readers import expand
from warehouse.ledger import CORPUS, Build
from warehouse.releases import release_inputs, write_release
from warehouse.settings import deciding, outcome_hash

if TYPE_CHECKING:
    from assets.project import Project
    from warehouse.store import Snapshot, StageWriter

SHOWN = ("prompts", "contamination", "difficulty", "references")


def builds(project: Project, view: Snapshot, batch: str = CORPUS) -> list[Build]:
    """Return one build an arm that has a curriculum; the main arm comes last, so that it is the latest release."""
    arms = [a.name for a in project.settings.selection.all_arms()]
    shown = json_hash({"/".join(c.key): c.data_version for stage in SHOWN for c in view.of_stage(stage)})
    found = []
    for arm in reversed(arms):
        curriculum = view.commit("curriculum", CORPUS, arm)
        if curriculum is not None:
            inputs = {
                "curriculum": curriculum.data_version,
                "selection": view.live["selection", CORPUS, arm].data_version,
                "shown": shown,
                "outside": json_hash(outside(project)),
                "overrides": frame_hash(overrides(project)),
            }
            policy = outcome_hash(project.settings)
            found.append(Build("release", batch, inputs, STAGE.code_version, policy, variant=arm))
    return found


def outside(project: Project) -> dict[str, str]:
    """Return the hash of everything that came from outside: sources, rollouts, evaluation sets, overrides."""
    found = {f"source:{f.source}:{f.file_hash}": b.key for b in project.live_batches() for f in b.files}
    found |= {f"rollouts:{i.section.name}:{n}": i.file_hash for n, i in enumerate(imports(project))}
    for chosen in project.settings.ingest.evaluation_sets:
        if chosen.path is not None:
            hashes = [content_hash(p) for p in expand(chosen.path, project.base)]
            found[f"evaluation_set:{chosen.name}"] = json_hash(hashes)
    path = project.overrides_path()
    if path is not None:
        found["overrides"] = content_hash(path)
    return found


def _models(project: Project, view: Snapshot) -> list[dict[str, Any]]:
    policy = project.settings.policy
    own = own_policy_id(policy)
    found: list[dict[str, Any]] = []
    if own is not None:
        found.append({"policy_id": own, "name": policy.model, "engine": policy.engine, "sampling": deciding(policy)})
    names = {n for c in view.of_stage("prompts") for n in matches(project, view, c.batch)}
    found += [{"policy_id": recorded_policy_id(n), "name": n, "engine": "recorded"} for n in sorted(names)]
    return found


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Write the release folder, and the row that names it."""
    project = run.project
    inputs = release_inputs(
        view,
        build.variant,
        policy=deciding(project.settings),
        policy_hash=build.policy_hash,
        inputs=outside(project),
        code_version=build.code_version,
        policy_ids=policy_order(project, view),
        models=_models(project, view),
        run_id=run.run_id,
        overrides=overrides(project),
    )
    release = write_release(project.home.releases, inputs)
    counts = release.counts
    row = {
        "arm": build.variant,
        "release_id": release.release_id,
        "rows": counts["train_rows"],
        "prompts": counts["train_prompts"],
        "heldout": counts["heldout"],
        "policy_hash": build.policy_hash,
    }
    writer.write("releases", pl.DataFrame([row]))
    return Written({k: v for k, v in counts.items() if isinstance(v, int)})


STAGE = Stage("release", "releases", builds, write, __name__)
