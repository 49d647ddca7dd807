"""SkyRL's environment for an export of preppo: one turn, rewarded by the hybrid reward."""

from typing import Any

from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

from preppo_reward import score, without_null


class PreppoEnv(BaseTextEnv):
    """A prompt and its response."""

    def __init__(self, env_config: Any = None, extras: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.task = (extras or {})["reward_spec"]["ground_truth"]
        self.metrics: dict[str, float] = {}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Reward the response; it is the end."""
        one = score([self.task], [action])[0]
        self.metrics = {"preppo_undecided": float(one.reward is None)}
        told = {**self.metrics, "preppo_status": one.status}
        return BaseTextEnvStepOutput(observations=[], reward=without_null(one), done=True, metadata=told)

    def get_metrics(self) -> dict[str, float]:
        """Return what SkyRL averages over responses; nothing where there was none."""
        return self.metrics
