"""How long `explain` and point queries take in a home of a million prompts, from opening the home to the answer.

    python benchmarks/explain_scale.py [--prompts 1000000] [--home FOLDER] [--out benchmarks/results/explain_scale.json]

The home is made through the store, in batches of 100,000: every prompt with 8 rollouts, verdicts and rewards, a
reference, a measurement, a selection with its decision (committed once whole and once extended by 1%), a curriculum of
the lowest tenth, and three releases. It is kept where `--home` says, and used again when it is there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from warehouse.curation.identity import prompt_id  # noqa: E402
from warehouse.explain import PromptNotFoundError, explain  # noqa: E402
from warehouse.home import Home  # noqa: E402
from warehouse.ledger import CORPUS, Build  # noqa: E402
from warehouse.queries import query  # noqa: E402
from warehouse.releases import release_inputs, write_release  # noqa: E402
from warehouse.schemas import TABLES, TIME  # noqa: E402
from warehouse.store import Store  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 100_000
SAMPLES = 8
POLICY = "0" * 32
WORDS = [
    "find", "the", "sum", "of", "all", "whole", "numbers", "below", "limit", "that", "are", "not", "multiples", "and",
    "explain", "each", "step", "you", "take",
]  # fmt: skip


def shaped(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    columns = TABLES[table].columns
    return frame.select(
        pl.col(c).cast(t) if c in frame.columns else pl.lit(None).cast(t).alias(c) for c, t in columns.items()
    )


def put(store: Store, stage: str, batch: str, frames: dict[str, pl.DataFrame], variant: str = "", version: str = "1",
        *, extends: bool = False, counts: dict[str, int] | None = None) -> None:  # fmt: skip
    build = Build(stage, batch, {"version": version}, "bench", "bench", variant)
    with store.stage(build, "bench") as writer:
        if not writer.committed:
            for name in reversed(frames):
                writer.write(name, shaped(name, frames[name]))
            writer.commit(next(iter(frames)), counts, extends=extends)


def prompt_text(number: int) -> str:
    generator = np.random.default_rng(number)
    return f"Task {number}: " + " ".join(generator.choice(WORDS, 50))


def fill(store: Store, number: int, size: int) -> None:
    """Commit the stages of one batch of `size` prompts."""
    batch = f"{number + 1:06d}-{number:08x}"
    generator = np.random.default_rng(number)
    texts = [prompt_text(number * BATCH + i) for i in range(size)]
    ids = [prompt_id([("user", t)]) for t in texts]
    base = pl.DataFrame({"prompt_id": ids, "content": texts}).with_row_index("i").with_columns(
        source=pl.lit("bench"),
        source_row=pl.format("file:{}", "i"),
        key=pl.format("{}-{}", pl.lit(number), "i"),
        pool=pl.lit("new"),
        split=pl.when(pl.col("i") % 50 == 0).then(pl.lit("heldout")).otherwise(pl.lit("train")),
        domain=pl.when(pl.col("i") % 3 == 0).then(pl.lit("code")).otherwise(pl.lit("math")),
        verifier=pl.lit("math"),
        ground_truth=pl.lit('"4"'),
        licence=pl.lit("MIT"),
        ingested_at=pl.lit(0).cast(TIME),
        messages=pl.concat_list(pl.struct(role=pl.lit("user"), content="content")),
        passed=pl.Series(generator.integers(0, SAMPLES + 1, size)),
    )  # fmt: skip
    rejected = base.head(size // 20).with_columns(
        outcome=pl.lit("duplicate"), reason_code=pl.lit("exact"), reason=pl.lit("the same text was read before"),
        matched_prompt_id="prompt_id", raw="content",
    )  # fmt: skip
    counts = {"rows_read": size + rejected.height, "prompts": size, "duplicate": rejected.height}
    put(store, "prompts", batch, {"prompts": base, "rejected_prompts": rejected}, counts=counts)
    samples = base.select("prompt_id", "passed").join(pl.DataFrame({"sample": range(SAMPLES)}), how="cross")
    rolled = samples.with_columns(
        role=pl.lit("scored"),
        response=pl.format("Step by step, for {} try {}: the answer is {}", "prompt_id", "sample", "passed"),
        finish_reason=pl.lit("stop"),
        score=(pl.col("sample") < pl.col("passed")).cast(pl.Float64),
        verifier=pl.lit("math"),
        status=pl.when(pl.col("sample") < pl.col("passed")).then(pl.lit("correct")).otherwise(pl.lit("incorrect")),
        source=pl.lit("rtv"),
        reward_id=pl.lit("math/1"),
    )
    put(store, "rollouts", batch, {"rollouts": rolled}, POLICY)
    put(store, "verdicts", batch, {"verdicts": rolled}, POLICY)
    put(store, "rewards", batch, {"rewards": rolled.rename({"score": "reward"})}, POLICY)
    texts_of = base.select("prompt_id", kind=pl.lit("ground_truth"), text=pl.lit("4"))
    put(store, "references", batch, {"references": texts_of}, POLICY)
    mean = pl.col("passed") / SAMPLES
    measured = base.select(
        "prompt_id", source=pl.lit("rtv"), samples=pl.lit(SAMPLES), scored=pl.lit(SAMPLES), mean=mean,
        variance=mean * (1 - mean), pass_rate=mean, suspect_gold=pl.lit(value=False),
    )  # fmt: skip
    put(store, "difficulty", batch, {"difficulty": measured}, POLICY)


def choose(store: Store) -> None:
    """Commit selection and curriculum of the whole home."""
    view = store.snapshot()
    prompts = view.scan("prompts").select("prompt_id", "domain", "split")
    means = view.scan("difficulty").select("prompt_id", "mean")
    all_of = prompts.join(means, on="prompt_id").collect().sort("prompt_id").with_columns(
        arm=pl.lit("main"), policy_id=pl.lit(POLICY), rule=pl.lit("pre_ppo"), score="mean",
        group=pl.col("domain") + "/rtv", percentile="mean", tie_size=1,
        selected=(pl.col("mean") == 0) & (pl.col("split") == "train"),
    )  # fmt: skip
    reason = (
        pl.when(pl.col("split") == "heldout").then(pl.lit("heldout"))
        .when("selected").then(pl.lit("pre_ppo")).otherwise(pl.lit("above_cut"))
    )  # fmt: skip
    all_of = all_of.with_columns(reason=reason)
    decisions = all_of.with_columns(
        stage=pl.lit("selection"), outcome=pl.when("selected").then(pl.lit("keep")).otherwise(pl.lit("drop")),
        value="mean", threshold=0.1, detail=pl.format("mean reward {} in {}", "mean", "group"),
        policy_hash=pl.lit("bench"),
    )  # fmt: skip
    put(store, "selection", CORPUS, {"selection": all_of, "decisions": decisions}, "main")
    some = decisions.gather_every(100)
    put(store, "selection", CORPUS, {"selection": all_of, "decisions": some}, "main", "2", extends=True)
    order = all_of.filter("selected").sample(fraction=1.0, shuffle=True, seed=0).with_row_index("position")
    order = order.with_columns(phase=pl.lit("mixture"), occurrence=0)
    put(store, "curriculum", CORPUS, {"curriculum": order}, "main")


def make(root: Path, prompts: int) -> dict[str, float]:
    """Make the home where it is not there whole, and return how long its parts took, in seconds."""
    done = root / "made.json"
    if done.is_file() and json.loads(done.read_text())["prompts"] == prompts:
        return dict(json.loads(done.read_text())["seconds"])
    store, took, start = Store(Home(root)), {}, time.perf_counter()
    for number in range(-(-prompts // BATCH)):
        fill(store, number, min(BATCH, prompts - number * BATCH))
    took["batch stages"] = time.perf_counter() - start
    start = time.perf_counter()
    choose(store)
    took["selection and curriculum"] = time.perf_counter() - start
    start = time.perf_counter()
    for number in range(3):
        view = store.snapshot()
        policy = {"number": number}
        inputs = release_inputs(view, "main", policy=policy, policy_hash="bench", inputs={}, code_version="bench")
        write_release(store.home.releases, inputs)
    took["three releases"] = time.perf_counter() - start
    done.write_text(json.dumps({"prompts": prompts, "seconds": took}))
    return took


def measure(root: Path, prompts: int) -> dict[str, list[float]]:
    """Return name -> seconds of each repetition; every one opens the home anew."""
    generator = np.random.default_rng(1)
    numbers = [int(n) for n in generator.integers(0, prompts, 12)]
    texts = [prompt_text(n) for n in numbers]
    ids = [prompt_id([("user", t)]) for t in texts]

    def tell(who: str) -> None:
        store = Store(Home(root))
        explain(store.snapshot(), store.home.releases, who)

    def ask(sql: str) -> None:
        query(Store(Home(root)).snapshot(), sql)

    def nothing(who: str) -> None:
        try:
            tell(who)
        except PromptNotFoundError:
            return
        message = "found what is not there"
        raise AssertionError(message)

    point = "SELECT * FROM {} WHERE prompt_id = '{}'"
    cases: dict[str, list[Callable[[], Any]]] = {
        "open the home": [lambda: Store(Home(root)).snapshot() for _ in ids],
        "explain by id": [partial(tell, i) for i in ids],
        "explain by the first 10 characters of the id": [partial(tell, i[:10]) for i in ids],
        "explain by exact text": [partial(tell, t) for t in texts],
        "explain by the source's key": [partial(tell, f"{n // BATCH}-{n % BATCH}") for n in numbers[:4]],
        "explain by a piece of the text": [partial(tell, f"Task {n}: ") for n in numbers[:4]],
        "explain what is not there (reads all text)": [lambda: nothing("no such words") for _ in range(3)],
        "sql: one prompt": [partial(ask, point.format("prompts", i)) for i in ids],
        "sql: its rollouts": [partial(ask, point.format("rollouts", i)) for i in ids],
        "sql: its current decisions": [partial(ask, point.format("decisions", i)) for i in ids],
        "sql: the funnel": [lambda: ask("FROM funnel") for _ in range(3)],
        "sql: pass rates by source": [lambda: ask("FROM pass_rates") for _ in range(3)],
        "sql: rewards by status (all rollouts)": [
            lambda: ask("SELECT status, count(*), avg(reward) FROM rewards GROUP BY ALL") for _ in range(3)
        ],
    }
    program = (
        "import sys; from pathlib import Path; from warehouse.explain import explain; from warehouse.home import Home; "
        "from warehouse.store import Store; store = Store(Home(Path(sys.argv[1]))); "
        "explain(store.snapshot(), store.home.releases, sys.argv[2])"
    )
    cases["explain by id, a new process each (imports included)"] = [
        partial(subprocess.run, [sys.executable, "-c", program, str(root), i], check=True, cwd=ROOT) for i in ids[:5]
    ]
    found = {}
    for name, calls in cases.items():
        calls[0]()
        found[name] = [timed(call) for call in calls]
        print(f"{name}: median {statistics.median(found[name]):.3f} s, worst {max(found[name]):.3f} s", flush=True)
    return found


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=1_000_000)
    parser.add_argument("--home", type=Path, help="where the home is made; default: a temporary folder")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "explain_scale.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = given.home or Path(temporary) / "home"
        making = make(root, given.prompts)
        print("making the home:", {k: round(v, 1) for k, v in making.items()}, flush=True)
        found = measure(root, given.prompts)
    result = {
        "prompts": given.prompts,
        "rollouts": given.prompts * SAMPLES,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "polars": pl.__version__},
        "load_average": os.getloadavg()[0],
        "peak_GiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "making_s": {k: round(v, 1) for k, v in making.items()},
        "seconds": {k: {"median": round(statistics.median(v), 4), "worst": round(max(v), 4)} for k, v in found.items()},
    }
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
