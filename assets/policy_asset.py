"""PPO on the latest release, as Dagster assets: the policy, and what the training saw."""

from collections.abc import Iterator

import dagster as dg

from assets.metadata import policy_metadata
from assets.owners import OWNERS
from assets.resources import PreppoResource
from assets.training import Told, folder_of_settings, train_policy, training_line
from warehouse.releases import load_release


@dg.multi_asset(
    name="train_on_release",
    specs=[
        dg.AssetSpec(
            "ppo_policy",
            deps=["release"],
            group_name="train",
            kinds={"pytorch", "huggingface"},
            owners=OWNERS,
            description="The policy after PPO on the latest release, and the best one on the held-out prompts.",
        ),
        dg.AssetSpec(
            "training_signals",
            deps=["release"],
            group_name="train",
            kinds={"polars", "deltalake"},
            owners=OWNERS,
            description="What the training saw of every prompt. The next selection looks at it, without an edge.",
        ),
    ],
)
def train_on_release(context: dg.AssetExecutionContext, preppo: PreppoResource) -> Iterator[dg.MaterializeResult[None]]:
    """Train as `[ppo]` says; a training that was broken off goes on, and other settings have a folder of their own."""
    project = preppo.project()
    release = load_release(project.home.releases, "latest", project.settings.selection.name)
    told = Told(line=lambda line: context.log.info(training_line(line, project.settings.ppo.steps)))
    done, plots = train_policy(project, release, folder_of_settings(project, release), project.settings.ppo, told)
    yield dg.MaterializeResult(asset_key="ppo_policy", metadata=policy_metadata(done, plots))
    signals = project.store.snapshot().of_stage("training_signals")
    mine = next(c for c in signals if c.variant == done.run_id)
    yield dg.MaterializeResult(
        asset_key="training_signals",
        metadata={
            "dagster/row_count": mine.counts["rows"],
            "prompts": mine.counts["prompts"],
            "release": release.release_id,
        },
        data_version=dg.DataVersion(mine.data_version),
    )
