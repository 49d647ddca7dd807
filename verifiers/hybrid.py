"""Which source rewards a prompt, fixed per prompt before anything is scored (arXiv 2503.22230, section 3.1).

A rule verdict beats a judge and a judge beats a reward model; a null score never falls through to a weaker
source, which is why the choice looks at the prompt and never at a score.
"""

from verifiers.registry import REGISTRY


def route(
    verifier: str | None,
    ground_truth: str | None,
    has_recorded_score: bool,  # noqa: FBT001
    has_reward_model: bool = False,  # noqa: FBT001
) -> str | None:
    """Return the reward source of one prompt.

    `rtv` where a registered rule verifier and a ground truth exist; else `recorded` where the user's imported
    rollouts bring scores; else `reward_model` where one is configured; else None, and the prompt stays unscored. The
    generative judge takes its place before the reward model (`genrm_ground_truth` where a ground truth exists without
    a rule verifier, then `genrm_best_of_n`).
    """
    if verifier in REGISTRY and ground_truth is not None:
        return "rtv"
    if has_recorded_score:
        return "recorded"
    return "reward_model" if has_reward_model else None
