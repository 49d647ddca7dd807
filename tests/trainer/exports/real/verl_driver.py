"""In verl's environment: its command as `verl.sh` gives it, up to where it hands its configuration to Ray.

What Ray would carry is written to the file that VERL_CONFIG names: pickled, with nothing resolved.
"""

import os
import sys
from pathlib import Path

import cloudpickle
from verl.trainer import main_ppo


def run_ppo(config, **_):
    Path(os.environ["VERL_CONFIG"]).write_bytes(cloudpickle.dumps(config))


main_ppo.run_ppo = run_ppo
sys.argv = [main_ppo.__file__, *sys.argv[sys.argv.index("verl.trainer.main_ppo") + 1 :]]
main_ppo.main()
