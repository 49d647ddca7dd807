"""SkyRL with the environment `preppo`: `python main_skyrl.py data.train_data=... trainer.policy.model.path=...`."""

import sys

import ray
from skyrl.train.config import SkyRLTrainConfig
from skyrl.train.entrypoints.main_base import BasePPOExp
from skyrl.train.utils import initialize_ray, validate_cfg
from skyrl_gym.envs import register


@ray.remote(num_cpus=1)
def entry(config: SkyRLTrainConfig) -> None:
    """Register the environment where the training runs, and train."""
    register(id="preppo", entry_point="skyrl_env:PreppoEnv")
    BasePPOExp(config).run()


def main() -> None:
    """Read the command line and start."""
    config = SkyRLTrainConfig.from_cli_overrides(sys.argv[1:])
    validate_cfg(config)
    initialize_ray(config)
    ray.get(entry.remote(config))


if __name__ == "__main__":
    main()
