"""In OpenRLHF's environment: what `openrlhf.sh` starts, up to its arguments, a line of JSON each time."""

import json
import os
import sys
from pathlib import Path

if sys.argv[1] == "-":  # the script's own
    sys.argv = sys.argv[1:]
    exec(sys.stdin.read())
else:
    with Path(os.environ["OPENRLHF_CALLS"]).open("a") as file:
        file.write(json.dumps(sys.argv[sys.argv.index("openrlhf.cli.train_ppo_ray") + 1 :]) + "\n")
