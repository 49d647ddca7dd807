"""Stage `pair_rewards`: what the reward models of `[reward_model]` say of both responses of every preference pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from assets.model_rewards import load_member, members, response_task
from assets.progress import report
from assets.stages import Run, Stage, Written
from warehouse.hashing import json_hash
from warehouse.ledger import CORPUS, Build
from warehouse.schemas import PAIR_REWARDS
from warehouse.settings import outcome_hash

if TYPE_CHECKING:
    from assets.project import Project
    from trainer.reward_models.about import Member
    from trainer.reward_models.model import RewardModel
    from warehouse.store import Snapshot, StageWriter

KEY = ["pair_id", "side"]
TOLD = {n: PAIR_REWARDS.columns[n] for n in ("task_id", "reward_model", "head", "mean", "std", "detail")}
_SIDES = ("chosen", "rejected")


def builds(project: Project, view: Snapshot, batch: str = CORPUS) -> list[Build]:
    """Return one build over all pairs, where there are any and a reward model is configured."""
    chosen = project.settings.reward_model
    told = {"/".join(c.key): c.data_version for s in ("preferences", "preference_pairs") for c in view.of_stage(s)}
    if not chosen.models or not told:
        return []
    inputs = {"pairs": json_hash(told), "models": json_hash([m.fingerprint for m in members(project)])}
    return [Build("pair_rewards", batch, inputs, STAGE.code_version, outcome_hash([chosen.dtype, chosen.max_length]))]


def write(run: Run, view: Snapshot, _build: Build, writer: StageWriter) -> Written:
    """Score member by member, chunk by chunk; what is known of the very same text is taken over."""
    project = run.project
    pairs = view.scan("preferences").select("pair_id").unique().sort("pair_id").collect()
    for number, one in enumerate(members(project)):
        _Scoring(project, view, writer, one).score(pairs, number)
    rows = writer.written("pair_rewards")
    counts = rows.select(rows=pl.len(), unscored=pl.col("mean").is_null().sum()).collect().row(0, named=True)
    failed = rows.filter(pl.col("mean").is_null()).group_by(pl.col("detail").str.extract("^([^:]*)")).len().collect()
    problems = {f"problem_{r}": n for r, n in sorted(failed.iter_rows())}
    return Written({"pairs": pairs.height} | {k: int(v or 0) for k, v in counts.items()} | problems)


class _Scoring:
    """What one member says."""

    def __init__(self, project: Project, view: Snapshot, writer: StageWriter, one: Member) -> None:
        self._project, self._view, self._writer, self._one = project, view, writer, one
        self._chosen = project.settings.reward_model
        self._loaded: RewardModel | None = None

    def score(self, pairs: pl.DataFrame, number: int) -> None:
        mine = pl.col("reward_model") == self._one.fingerprint
        done = self._writer.written("pair_rewards").filter(mine).select("pair_id").unique().collect()
        left = pairs.join(done, on="pair_id", how="anti", maintain_order="left")
        total = pairs.height * len(self._chosen.models)
        finished = number * pairs.height + pairs.height - left.height
        for some in left.iter_slices(max(1, self._chosen.chunk_rows // 2)):
            texts = self._texts(some)
            told = self._known(texts)
            once = texts.unique("task_id", keep="first", maintain_order=True)
            new = once.join(told, on="task_id", how="anti", maintain_order="left")
            told = pl.concat([told, self._scored(new)]) if new.height else told
            rows = texts.select(*KEY, "task_id").join(told, on="task_id").select(list(PAIR_REWARDS.columns))
            self._writer.append("pair_rewards", rows.sort(*KEY, "head"))
            finished += some.height
            report("pair rewards", finished, total)

    def _texts(self, some: pl.DataFrame) -> pl.DataFrame:
        """Return KEY, messages, response, task_id, which names all that decides a reward."""
        ids = some["pair_id"]
        near = pl.col("pair_id").is_between(pl.lit(ids[0]), pl.lit(ids[-1]))
        pairs = self._view.scan("preferences").filter(near).join(some.lazy(), on="pair_id", how="semi")
        rows = pairs.unique("pair_id", keep="any").collect()
        sides = [
            rows.select("pair_id", "prompt_id", "messages", side=pl.lit(side), response=pl.col(side)) for side in _SIDES
        ]
        long = pl.concat(sides).sort(KEY)
        tasks = [
            response_task(self._one, self._chosen, prompt, response)
            for prompt, response in long.select("prompt_id", "response").iter_rows()
        ]
        return long.with_columns(pl.Series("task_id", tasks, pl.String))

    def _known(self, texts: pl.DataFrame) -> pl.DataFrame:
        """Return what is there of the very same tasks, in earlier chunks, other builds or the stage `model_rewards`."""
        mine = (pl.col("reward_model") == self._one.fingerprint) & pl.col("task_id").is_in(texts["task_id"].implode())
        tables = (
            self._writer.written("pair_rewards"),
            self._writer.of_others("pair_rewards"),
            self._view.scan("model_rewards"),
        )
        # Of several rows the first counts, in an order that does not depend on how tables are read.
        parts = [t.filter(mine).select(*TOLD).sort("task_id", "head", "mean", maintain_order=True) for t in tables]
        return pl.concat(parts).unique(["task_id", "head"], keep="first", maintain_order=True).collect()

    def _scored(self, texts: pl.DataFrame) -> pl.DataFrame:
        """Return `TOLD` of texts: a row a head; one without a reward, and the reason, where there is none."""
        if self._loaded is None:
            self._loaded = load_member(self._one, self._chosen)
        conversations = (
            (tuple((m["role"], m["content"]) for m in messages), response)
            for messages, response in texts.select("messages", "response").iter_rows()
        )
        found = zip(texts["task_id"], self._loaded.score(conversations), strict=True)
        rows = [
            (task, self._one.fingerprint, head, mean, None if s.std is None or mean is None else s.std[head], s.problem)
            for task, s in found
            for head, mean in enumerate([None] if s.mean is None else s.mean)
        ]
        return pl.DataFrame(rows, schema=TOLD, orient="row")


STAGE = Stage("pair_rewards", "pair_rewards", builds, write, __name__)
