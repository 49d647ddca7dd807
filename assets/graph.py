"""The asset graph: every stage as a Dagster asset, with its checks, metadata and place among the others."""

import warnings
from collections.abc import Iterator

import dagster as dg

from assets import (
    contamination,
    curriculum,
    difficulty,
    gold_checks,
    judgements,
    model_rewards,
    pair_rewards,
    preference_pairs,
    preference_strength,
    preferences,
    prompts,
    recorded,
    references,
    releases,
    rewards,
    rollouts,
    selection,
    verdicts,
)
from assets.metadata import outcome_metadata
from assets.owners import OWNERS
from assets.partitions import ALL_BATCHES, ASKED_TAG, BATCHES
from assets.policy_asset import train_on_release
from assets.progress import Lines, listening
from assets.resources import PreppoResource
from assets.stages import Outcome, Stage, StageFailedError, materialise
from warehouse.ledger import CORPUS

# `backfill_policy` is marked as beta; that one notice is known and accepted.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)

POLARS, MODEL = {"polars", "deltalake"}, {"huggingface", "deltalake"}
Results = Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]


def _check_specs(stage: Stage) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(c.name, asset=stage.name, description=c.description, blocking=c.blocking)
        for c in stage.checks
    ]


def batch_asset(stage: Stage, *, deps: list[str], group: str, kinds: set[str], about: str) -> dg.AssetsDefinition:
    """Return the asset of a stage that is done batch by batch."""

    @dg.asset(
        name=stage.name,
        deps=deps,
        group_name=group,
        kinds=kinds,
        description=about,
        owners=OWNERS,
        partitions_def=BATCHES,
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version=stage.code_version,
        check_specs=_check_specs(stage),
        output_required=False,
    )
    def _asset(context: dg.AssetExecutionContext, preppo: PreppoResource) -> Results:
        run = preppo.run(context)
        asked = _asked(context)
        done: dict[str, list[Outcome]] = {}
        failed: dict[str, str] = {}
        with listening(Lines(context.log.info)):
            for batch in asked:
                try:
                    done[batch] = materialise(stage, batch, run)
                except StageFailedError as error:  # a batch that fails is not committed, its siblings are
                    failed[batch] = str(error)
                    context.log.error(str(error))
        for batch, outcomes in done.items():
            context.add_asset_metadata(outcome_metadata(stage, outcomes, run.project), partition_key=batch)
        yield from _check_results(stage, [o for outcomes in done.values() for o in outcomes], failed)
        if failed:
            raise dg.Failure("\n".join(failed.values()), allow_retries=False)
        yield dg.MaterializeResult(asset_key=stage.name)

    return _asset


def corpus_asset(
    stage: Stage, *, deps: list[dg.AssetDep | str], group: str, kinds: set[str], about: str
) -> dg.AssetsDefinition:
    """Return the asset of a stage that looks at all batches together."""

    @dg.asset(
        name=stage.name,
        deps=deps,
        group_name=group,
        kinds=kinds,
        description=about,
        owners=OWNERS,
        code_version=stage.code_version,
        check_specs=_check_specs(stage),
        output_required=False,
    )
    def _asset(context: dg.AssetExecutionContext, preppo: PreppoResource) -> Results:
        run = preppo.run(context)
        try:
            with listening(Lines(context.log.info)):
                outcomes = materialise(stage, CORPUS, run)
        except StageFailedError as error:
            yield from _check_results(stage, [], {CORPUS: str(error)})
            raise dg.Failure(str(error), allow_retries=False) from None
        yield from _check_results(stage, outcomes, {})
        yield dg.MaterializeResult(
            asset_key=stage.name,
            metadata=outcome_metadata(stage, outcomes, run.project),
            data_version=dg.DataVersion("-".join(o.commit.data_version for o in outcomes) or "none"),
        )

    return _asset


def _asked(context: dg.AssetExecutionContext) -> list[str]:
    """Return the batches of this run, in order; refuse any other than those it was asked for."""
    keys = sorted(context.partition_keys)
    tag = context.run.tags.get(ASKED_TAG)
    if tag is not None and sorted(tag.split(",")) != keys:
        msg = f"the run was asked for {tag} but Dagster gives it {','.join(keys)}; run the batches one by one"
        raise dg.Failure(msg, allow_retries=False)
    return keys


def _check_results(stage: Stage, outcomes: list[Outcome], failed: dict[str, str]) -> Iterator[dg.AssetCheckResult]:
    for check in stage.checks:
        severity = dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN
        mine = {b: text for b, text in failed.items() if f"check {check.name} failed" in text}
        found = [(o.build, o.commit.checks[check.name]) for o in outcomes if check.name in o.commit.checks]
        bad = [f"{b.batch} {b.variant}: {f['detail']}" for b, f in found if not f["passed"]]
        metadata = {
            "observed": max((float(f["observed"]) for _, f in found), default=0.0),
            "threshold": max((float(f["threshold"]) for _, f in found), default=0.0),
            "looked_at": len(found),
        }
        text = "; ".join([*bad, *mine.values()])
        yield dg.AssetCheckResult(
            asset_key=stage.name,
            check_name=check.name,
            passed=not text,
            severity=severity,
            metadata=metadata,
            description=text or None,
        )


def _all(name: str) -> dg.AssetDep:
    return dg.AssetDep(name, partition_mapping=ALL_BATCHES)


ASSETS: list[dg.AssetsDefinition] = [
    batch_asset(
        prompts.STAGE,
        deps=[],
        group="ingest",
        kinds=POLARS,
        about="Canonical prompts: normalised, duplicates out, bad rows quarantined, every row accounted for.",
    ),
    batch_asset(
        contamination.STAGE,
        deps=["prompts"],
        group="ingest",
        kinds=POLARS,
        about="Prompts that overlap with an evaluation set, with the item they overlap with.",
    ),
    batch_asset(
        gold_checks.STAGE,
        deps=["prompts"],
        group="ingest",
        kinds={"python", "deltalake"},
        about="Golds that their verifier cannot use, with the reason: their prompts are not rolled out.",
    ),
    corpus_asset(
        recorded.STAGE,
        deps=[],
        group="rollout",
        kinds=POLARS,
        about="Rollouts that the user already has, read once a file; bad rows rejected with their reason.",
    ),
    batch_asset(
        rollouts.STAGE,
        deps=["prompts", "gold_checks", "recorded_rollouts"],
        group="rollout",
        kinds=MODEL,
        about="Samples of every policy: generated here, or imported from what the user already has.",
    ),
    batch_asset(
        verdicts.STAGE,
        deps=["rollouts"],
        group="reward",
        kinds={"python", "deltalake"},
        about="What the rule verifiers say of each rollout. What could not be decided has a status and no score.",
    ),
    batch_asset(
        model_rewards.STAGE,
        deps=["rollouts"],
        group="reward",
        kinds=MODEL,
        about="What every head of every reward model says of a rollout, with its standard deviation where it has one.",
    ),
    batch_asset(
        references.STAGE,
        deps=["rollouts", "model_rewards"],
        group="reward",
        kinds=POLARS,
        about="What a judge compares with: the ground truth, or the best of the reference samples.",
    ),
    batch_asset(
        judgements.STAGE,
        deps=["rollouts", "references"],
        group="reward",
        kinds=MODEL,
        about="What the judge says of a response against the ground truth or the best of N, in both orders.",
    ),
    batch_asset(
        rewards.STAGE,
        deps=["verdicts", "model_rewards", "references", "judgements"],
        group="reward",
        kinds=POLARS,
        about="The hybrid reward: one a rollout, from the source fixed for its prompt beforehand.",
    ),
    batch_asset(
        difficulty.STAGE,
        deps=["rewards", "model_rewards"],
        group="signal",
        kinds=POLARS,
        about="Pass rate with its interval, reward variance, agreement of answers, suspect golds.",
    ),
    batch_asset(
        preference_pairs.STAGE,
        deps=["contamination", "rewards"],
        group="preference",
        kinds=POLARS,
        about="Best and worst of a prompt's own rollouts, as preference pairs.",
    ),
    corpus_asset(
        preferences.STAGE,
        deps=[],
        group="preference",
        kinds=POLARS,
        about="Preference pairs that the user has, read once a file; bad rows rejected with their reason.",
    ),
    corpus_asset(
        pair_rewards.STAGE,
        deps=["preferences", _all("preference_pairs")],
        group="preference",
        kinds=MODEL,
        about="What the reward models say of both responses of every pair.",
    ),
    corpus_asset(
        preference_strength.STAGE,
        deps=["pair_rewards", _all("preference_pairs")],  # own rollouts bear labels out
        group="preference",
        kinds=POLARS,
        about="Strength of every label by the votes of the models: buckets, and which labels are flipped or smoothed.",
    ),
    corpus_asset(
        selection.STAGE,
        deps=[_all("prompts"), _all("contamination"), _all("gold_checks"), _all("difficulty")],
        group="curate",
        kinds=POLARS,
        about="Every prompt kept or dropped by each arm, with rule, value and threshold.",
    ),
    corpus_asset(
        curriculum.STAGE,
        deps=["selection"],
        group="curate",
        kinds=POLARS,
        about="The selected prompts in training order: phases of domain weights, deterministically interleaved.",
    ),
    corpus_asset(
        releases.STAGE,
        deps=["curriculum", _all("references")],
        group="curate",
        kinds={"parquet"},
        about="The immutable release: train and held-out Parquet, every decision, manifest and data set card.",
    ),
    train_on_release,
]
