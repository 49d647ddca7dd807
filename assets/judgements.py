"""Stage `judgements`: what the generative judge says of every scored rollout that it is asked about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl

from assets.code_version import code_version
from assets.generation import spent_before
from assets.golds import golds
from assets.keys import inside
from assets.metering import BudgetSpentError, MeteredEngine
from assets.policies import engine_for
from assets.progress import report
from assets.routing import configured, routes
from assets.stages import Run, Stage, StageFailedError, Written
from trainer.engines import EngineError
from trainer.judge import CanaryError, Judge, judgement_frame
from trainer.judge.scored import comparison
from trainer.judge.settings import identity, judge_for, judge_policy, judged_sources
from verifiers import available
from verifiers.hybrid import GENRM_BEST_OF_N, Scorable
from warehouse.curation.budget import Meter
from warehouse.hashing import json_hash, text_hash
from warehouse.ledger import Build
from warehouse.schemas import JUDGEMENTS
from warehouse.settings import outcome_hash
from warehouse.usage import spent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assets.project import Project
    from verifiers.genrm import Comparison, Judgement
    from warehouse.store import Snapshot, StageWriter

KEY = ["prompt_id", "sample"]


def builds(project: Project, view: Snapshot, batch: str) -> list[Build]:
    """Return one build a policy whose references are chosen, where a judge is configured."""
    chosen = project.settings.judge
    sources = judged_sources(chosen)
    if not sources or view.commit("prompts", batch) is None:
        return []
    asked = {
        **{source: identity(chosen, source) for source in sources},
        "golds": golds(project, view, batch).version,
        "verifiers": json_hash(sorted(available())),
    }
    found = []
    for references in view.of_stage("references", batch):
        rollouts = view.live["rollouts", batch, references.variant]
        inputs = {"rollouts": rollouts.data_version, "references": references.data_version, **asked}
        policy = outcome_hash([list(configured(project))])
        found.append(Build("judgements", batch, inputs, STAGE.code_version, policy, variant=references.variant))
    return found


def write(run: Run, view: Snapshot, build: Build, writer: StageWriter) -> Written:
    """Judge source by source, chunk by chunk; a killed run goes on with the chunk that it was at."""
    known = routes(run.project, view, build.batch, build.variant)
    bench = _Bench(run, view, build, writer)
    for source in judged_sources(run.project.settings.judge):
        bench.judge(source, known.filter(pl.col("source") == source).select("prompt_id"))
    rows = writer.written("judgements")
    statuses = rows.group_by("status").len().sort("status").collect()
    counts = rows.select(rows=pl.len(), unscored=pl.col("score").null_count(), flipped=pl.col("flipped").sum())
    return Written(
        {k: int(v or 0) for k, v in counts.collect().row(0, named=True).items()}
        | {f"status_{s}": n for s, n in statuses.iter_rows()}
        | spent(writer.written("generation").collect())
    )


class _Bench:
    """Brings responses before the judge, and keeps what it said of a chunk once its canaries are looked at."""

    def __init__(self, run: Run, view: Snapshot, build: Build, writer: StageWriter) -> None:
        self._run, self._view, self._build, self._writer = run, view, build, writer
        self._chosen = run.project.settings.judge
        self._meter = Meter(run.project.settings.budget, spent_before(run))
        self._engine: MeteredEngine | None = None
        self._accounts = int(writer.written("generation").select(pl.len()).collect().item())

    def judge(self, source: str, prompts: pl.DataFrame) -> None:
        asked = self._asked(source, prompts)
        done = self._writer.written("judgements").select(KEY).collect()
        left = asked.join(done, on=KEY, how="anti", maintain_order="left")
        finished, judge = asked.height - left.height, None
        by = identity(self._chosen, source)
        for keys in left.iter_slices(self._chosen.chunk_rows):
            tasks = self._tasks(source, keys, by)
            known = self._known(tasks)
            new = tasks.join(known, on=KEY, how="anti", maintain_order="left")
            if new.height and judge is None:
                judge = self._judge(source)
            fresh = [] if judge is None or new.is_empty() else [self._judged(judge, source, new)]
            self._writer.append("judgements", pl.concat([known, *fresh]).sort(KEY))
            finished += keys.height
            report("judgements", finished, asked.height)

    def _rows(self, table: str) -> pl.LazyFrame:
        variant = "" if table == "prompts" else self._build.variant
        return self._view.scan_builds(table, [self._view.live[table, self._build.batch, variant]])

    def _asked(self, source: str, prompts: pl.DataFrame) -> pl.DataFrame:
        """Return the keys of the responses to judge. Where no best of N could be chosen there is nothing to ask."""
        rollouts = self._rows("rollouts").filter(pl.col("role") == "scored")
        keys = rollouts.join(prompts.lazy(), on="prompt_id", how="semi").select(KEY)
        if source == GENRM_BEST_OF_N:
            chosen = self._rows("references").filter(pl.col("kind") == "best_of_n")
            keys = keys.join(chosen.select("prompt_id"), on="prompt_id", how="semi")
        return keys.collect().sort(KEY)

    def _tasks(self, source: str, keys: pl.DataFrame, by: str) -> pl.DataFrame:
        """Return KEY, what the judge is told of each response, and task_id, which names all that decides its answer."""
        mine = inside(keys)
        prompts = self._rows("prompts").filter(mine).select("prompt_id", "messages", "raw_text")
        gold = golds(self._run.project, self._view, self._build.batch).frame.filter(mine)
        chosen = self._rows("references").filter(mine & (pl.col("kind") == "best_of_n"))
        rows = (
            self._rows("rollouts")
            .filter(mine & (pl.col("role") == "scored"))
            .join(keys.lazy(), on=KEY, how="semi")
            .select(*KEY, "response", "finish_reason")
            .join(prompts, on="prompt_id")
            .join(gold.select("prompt_id", "ground_truth"), on="prompt_id")
            .join(chosen.select("prompt_id", reference="text"), on="prompt_id", how="left")
            .collect()
            .sort(KEY)
        )
        code = code_version("trainer.judge.judge")
        ids = [
            text_hash(code, by, c.question, json.dumps(c.response), c.finish_reason, c.reference, c.gold or "")
            for c in _comparisons(rows, source)
        ]
        return rows.with_columns(pl.Series("task_id", ids, pl.String))

    def _known(self, tasks: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that other builds have of the very same tasks; what failed may go better this time."""
        old = self._writer.of_others("judgements").filter(inside(tasks) & (pl.col("status") != "judge_error"))
        rows = old.join(tasks.lazy().select(*KEY, "task_id"), on=[*KEY, "task_id"], how="semi").sort("build_id")
        return rows.unique(KEY, keep="first").select(list(JUDGEMENTS.columns)).collect()

    def _judge(self, source: str) -> Judge:
        if self._engine is None:
            settings = self._run.project.settings
            engine = engine_for(judge_policy(self._chosen), self._chosen.serving or settings.engine)
            self._engine = MeteredEngine(engine, self._meter)
        return judge_for(self._chosen, source, self._engine)

    def _judged(self, judge: Judge, source: str, tasks: pl.DataFrame) -> pl.DataFrame:
        """Return the judgements of a chunk.

        Raises:
            StageFailedError: the judge cannot be asked, or is fooled by canaries; nothing of the chunk is kept.
            BudgetSpentError: the budget does not last for the chunk; what was judged of it is kept,
                unless canaries speak against the judge.
        """
        found: list[Judgement] = []
        try:
            for judgement in judge.judge(_comparisons(tasks, source)):
                found.append(judgement)  # noqa: PERF402 (what came before an error stays)
        except BudgetSpentError as error:
            if judge.counts.problem(judge.limits) is None:
                self._writer.append("judgements", _with_tasks(found, tasks))
            else:
                found = []
            left = tasks.height - len(found)
            msg = f"{error}; {len(found):,} judgements of this chunk are kept, {left:,} of it are left for a later run"
            raise BudgetSpentError(msg) from None
        except (CanaryError, EngineError) as error:
            where = f"judgements of {self._build.batch} {self._build.variant}"
            msg = f"{where}: {error}; what was judged before this chunk is kept"
            raise StageFailedError(msg) from error
        finally:
            self._account()
        return _with_tasks(found, tasks)

    def _account(self) -> None:
        if self._engine is not None:
            account = self._engine.account(self._accounts, "judgements", self._run.run_id)
            self._writer.append("generation", account)
            self._accounts += account.height


def _comparisons(rows: pl.DataFrame, source: str) -> Sequence[Comparison]:
    names = ("response", "finish_reason", "ground_truth", "reference", "raw_text", "messages")
    found = []
    for prompt, sample, response, finish, gold, reference, raw, messages in rows.select(*KEY, *names).iter_rows():
        turns = tuple((m["role"], m["content"]) for m in messages)
        item = Scorable(prompt, sample, turns, response, finish or "stop", None, gold, reference, raw)
        found.append(comparison(item, source))
    return found


def _with_tasks(found: Sequence[Judgement], tasks: pl.DataFrame) -> pl.DataFrame:
    rows = judgement_frame(found).join(tasks.select(*KEY, "task_id"), on=KEY, how="left", maintain_order="left")
    return rows.select(list(JUDGEMENTS.columns))


STAGE = Stage("judgements", "judgements", builds, write, __name__)
