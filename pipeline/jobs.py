"""The jobs: batches, which add what is new; the corpus, which looks at everything and releases; training."""

import dagster as dg

BATCH_STAGES = (
    "prompts",
    "contamination",
    "gold_checks",
    "rollouts",
    "verdicts",
    "model_rewards",
    "references",
    "judgements",
    "rewards",
    "difficulty",
    "preference_pairs",
)
CORPUS_STAGES = ("preferences", "pair_rewards", "preference_strength", "selection", "curriculum", "release")

curate_batch = dg.define_asset_job(
    "curate_batch",
    selection=dg.AssetSelection.assets("recorded_rollouts", *BATCH_STAGES),
    description="Bring batches up to date: ingest, roll out, verify, measure. Costs what is new.",
    executor_def=dg.in_process_executor,
)
curate_corpus = dg.define_asset_job(
    "curate_corpus",
    selection=dg.AssetSelection.assets(*CORPUS_STAGES),
    description="Select, order and release over all batches. Runs in seconds: every score is materialised.",
    executor_def=dg.in_process_executor,
)
train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.assets("ppo_policy", "training_signals"),
    description="PPO on the latest release of the main arm; what it saw decides which prompts rest in the next one.",
    executor_def=dg.in_process_executor,
)
JOBS = [curate_batch, curate_corpus, train]
