"""SkyRL with the environment `preppo`: `python main_skyrl.py data.train_data=... trainer.policy.model.path=...`."""

import os
import sys
import time

import ray
from skyrl.train.config import SkyRLTrainConfig
from skyrl.train.entrypoints.main_base import BasePPOExp
from skyrl.train.utils import initialize_ray, validate_cfg
from skyrl_gym.envs import register


@ray.remote(num_cpus=1)
def entry(config: SkyRLTrainConfig, settings: dict[str, str]) -> None:
    """Register the environment where the training runs, and train.

    Args:
        config: of SkyRL.
        settings: the driver's variables for the reward, which a cluster that ran before has not.
    """
    os.environ.update(settings)
    register(id="preppo", entry_point="skyrl_env:PreppoEnv")
    BasePPOExp(config).run()


def main() -> None:
    """Read the command line and start."""
    os.environ.setdefault("PREPPO_TRAINING_RUN_ID", time.strftime("skyrl-%Y%m%dT%H%M%S", time.gmtime()))
    config = SkyRLTrainConfig.from_cli_overrides(sys.argv[1:])
    validate_cfg(config)
    initialize_ray(config)
    ray.get(entry.remote(config, {name: told for name, told in os.environ.items() if name.startswith("PREPPO_")}))


if __name__ == "__main__":
    main()
