"""Which source rewards a prompt, fixed per prompt before anything is scored (arXiv 2503.22230, section 3.1).

A rule verdict beats a judge and a judge beats a reward model; a null score never falls through to a weaker
source, which is why the choice looks at the prompt and never at a score.
"""

from verifiers.registry import REGISTRY


def route(verifier: str | None, ground_truth: str | None, has_recorded_score: bool) -> str | None:  # noqa: FBT001
    """Return the reward source of one prompt.

    `rtv` where a registered rule verifier and a ground truth exist; else `recorded` where the user's imported
    rollouts bring scores; else None, and the prompt stays unscored. The generative judge takes its place
    between the two (`genrm_ground_truth` where a ground truth exists without a rule verifier, then
    `genrm_best_of_n`), and the reward model (`reward_model`) comes last.
    """
    if verifier in REGISTRY and ground_truth is not None:
        return "rtv"
    return "recorded" if has_recorded_score else None
