"""Solutions a second through the warm sandbox, against one `bwrap python` for each: `python -m benchmarks.code_speed`.

Both sides run the same functions against the same ten asserts, two at a time, in turns. The baseline unshares every
namespace and runs solution and tests in one process, without limits. Writes benchmarks/results/code_speed.json.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from verifiers import Task, VerifierPool, isolation_problem

RESULTS = Path(__file__).resolve().parent / "results"
PYTHON = Path(sys.executable).resolve()
TESTS = [f"assert f({n}) == {n * n}" for n in range(10)]
GOLD = json.dumps({"kind": "asserts", "tests": TESTS})
BASELINE = (
    "bwrap --unshare-all --die-with-parent --new-session --clearenv --ro-bind /usr /usr --symlink usr/lib /lib "
    f"--symlink usr/lib64 /lib64 --ro-bind {PYTHON.parents[1]} {PYTHON.parents[1]} --tmpfs /tmp --dev /dev "
    f"--proc /proc -- {PYTHON} -I -c"
).split()


def solution(name: str) -> str:
    return f"def f(x):\n    return x * x  # {name}\n"


def one_process(name: str) -> int:
    program = "\n".join([solution(name), *TESTS])
    return subprocess.run([*BASELINE, program], stdin=subprocess.DEVNULL, check=False).returncode


def main() -> int:
    if problem := isolation_problem("bubblewrap"):
        print(f"nothing measured: {problem}")
        return 0
    turns = []
    with VerifierPool(2) as pool, ThreadPoolExecutor(2) as threads:
        pool.verify([Task("code", solution(f"warm {n}"), GOLD) for n in range(20)])
        for turn, size in enumerate((50, 100, 200)):
            started = time.perf_counter()
            assert not any(threads.map(one_process, [f"{turn} {n}" for n in range(size)]))
            baseline = size / (time.perf_counter() - started)
            started = time.perf_counter()
            verdicts = pool.verify([Task("code", solution(f"{turn} {n}"), GOLD) for n in range(5 * size)])
            ours = 5 * size / (time.perf_counter() - started)
            assert all(verdict.score == 1 for verdict in verdicts)
            turns.append({"solutions": 5 * size, "baseline": baseline, "preppo": ours, "ratio": ours / baseline})
    result = {"workers": 2, "unit": "solutions a second", "turns": turns}
    (RESULTS / "code_speed.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return int(min(turn["ratio"] for turn in turns) < 5)


if __name__ == "__main__":
    sys.exit(main())
