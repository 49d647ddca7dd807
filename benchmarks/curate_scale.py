"""How long curation takes, and how much memory, from 100,000 to 5,000,000 prompts of 16 rewards each.

    python benchmarks/curate_scale.py                      # 100k, 300k, 1m; results/curate_scale.{json,md}
    python benchmarks/curate_scale.py --sizes 5m --append  # one more size into the same results

Every measurement is a process of its own, so that its peak memory is its own. Five of them:

- preppo: difficulty, selection, decisions, curriculum and the release, from Parquet to Parquet;
- floor: what no implementation can leave out: reading the same columns, one bare group-by of the rewards, and
  writing the same outputs with the same writer and codec. The ratio of the two is what curation itself costs;
- text: the text columns of difficulty alone (edit distances and lengths), which read every response;
- again: the decisions of a second night, in which nothing changed;
- pandas: the same work in plain pandas, with a train file in place of the release.

Inputs are synthetic: prompts of lognormal length, about 1 KB of words; pass rates from Beta(0.4, 0.8); one reward in 40
is null; four domains, two reward sources.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))  # run by path, also by itself: what comes next is found only after this

from warehouse.curation.curriculum import curriculum  # noqa: E402
from warehouse.curation.difficulty import difficulty  # noqa: E402
from warehouse.curation.selection import select, selection_decisions  # noqa: E402
from warehouse.curation.text_spread import text_spread  # noqa: E402
from warehouse.decisions import changes  # noqa: E402
from warehouse.releases import ReleaseInputs, write_release  # noqa: E402
from warehouse.schemas import REFERENCES  # noqa: E402
from warehouse.settings import ArmSettings, CurriculumSettings, PhaseSettings, RewardSettings  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Steps = dict[str, tuple[float, float]]  # seconds of wall clock and of processor, by step
RESULTS = REPOSITORY / "benchmarks" / "results"
SAMPLES = 16
CHUNK = 50_000  # prompts generated at a time
SIZES = {"100k": 100_000, "300k": 300_000, "1m": 1_000_000, "5m": 5_000_000}
TEXT_LIMIT = 300_000  # larger corpora get no responses: the files would be tens of gigabytes
PANDAS_LIMIT = 1_000_000
READ = {  # what the steps before the release read of each input
    "rewards": ["prompt_id", "sample", "reward", "source", "status"],
    "rollouts": ["prompt_id", "role", "sample", "finish_reason", "response_tokens"],
    "verdicts": ["prompt_id", "role", "sample", "status", "extracted"],
    "prompts": ["prompt_id", "pool", "split", "domain", "gold_conflict"],
}
RELEASED = ["prompt_id", "pool", "split", "domain", "messages", "verifier", "ground_truth"]
CURATED = ("difficulty", "selection", "decisions", "curriculum")
RELEASE = ("release-train", "release-heldout", "release-decisions")
WRITER: dict[str, Any] = {"compression": "zstd", "compression_level": 3, "row_group_size": 50_000}
POLICY = "0" * 32
ARM = ArmSettings(rule="pre_ppo")
CURRICULUM = CurriculumSettings(
    phases=[
        PhaseSettings(name="code", domains={"code": 1.0}, share=0.1),
        PhaseSettings(name="code_math", domains={"code": 1.0, "math": 1.0}, share=0.2),
        PhaseSettings(name="mixture"),
    ]
)
REWARD = RewardSettings(text_columns=False)


@contextmanager
def timed(times: Steps, name: str) -> Iterator[None]:
    """Add the wall-clock and processor seconds of the block to a step."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    before = times.get(name, (0.0, 0.0))
    times[name] = (before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu)


# Inputs


def generate(folder: Path, prompts: int) -> None:
    """Write the input tables, sorted by prompt_id, a chunk at a time."""
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("etaoinshrdlu"), rng.integers(2, 10))) for _ in range(20_000)])
    prose = " ".join(words[rng.integers(0, len(words), 4_000_000)])
    ids = np.sort(rng.integers(0, 256, (prompts, 16), dtype=np.uint8).view("S16").ravel())
    writers: dict[str, Any] = {}
    for start in range(0, prompts, CHUNK):
        chunk = [bytes(x).ljust(16, b"\0").hex() for x in ids[start : start + CHUNK]]
        for name, frame in _chunk(rng, chunk, prose, text=prompts <= TEXT_LIMIT).items():
            table = frame.to_arrow()
            if name not in writers:
                writers[name] = pq.ParquetWriter(folder / f"{name}.parquet", table.schema, compression="zstd")
            writers[name].write_table(table, row_group_size=50_000)
    for writer in writers.values():
        writer.close()


def _chunk(rng: np.random.Generator, ids: list[str], prose: str, *, text: bool) -> dict[str, pl.DataFrame]:
    n, k = len(ids), SAMPLES
    lengths = np.minimum(rng.lognormal(6.75, 0.6, n), 50_000).astype(int)
    starts = rng.integers(0, len(prose) - 60_000, n)
    content = [prose[a : a + m] for a, m in zip(starts, lengths, strict=True)]
    head = pl.Series("prompt_id", ids)
    prompts = pl.DataFrame(
        {
            "prompt_id": head,
            "pool": rng.choice(["new", "original", "eval"], n, p=[0.85, 0.14, 0.01]),
            "split": rng.choice(["train", "heldout"], n, p=[0.98, 0.02]),
            "domain": rng.choice(["code", "instruction", "logic", "math"], n, p=[0.2, 0.25, 0.15, 0.4]),
            "gold_conflict": rng.random(n) < 0.005,
            "verifier": ["math"] * n,
            "ground_truth": [f'"{x}"' for x in rng.integers(0, 1000, n)],
        }
    ).with_columns(
        messages=pl.concat_list(pl.struct(role=pl.lit("user"), content=pl.Series(content))),
    )
    passed = rng.random((n, k)) < rng.beta(0.4, 0.8, n)[:, None]
    cut = (rng.random((n, k)) < 0.025).ravel()
    rows = head.gather(np.repeat(np.arange(n), k))
    sample = np.tile(np.arange(k, dtype=np.int64), n)
    answer = np.where(passed.ravel(), 0, rng.integers(1, 30, n * k))
    status = np.where(cut, "truncated", np.where(passed.ravel(), "correct", "incorrect"))
    base = pl.DataFrame({"prompt_id": rows, "sample": sample, "role": pl.repeat("scored", n * k, eager=True)})
    source = np.repeat(rng.choice(["rtv", "genrm_ground_truth"], n, p=[0.8, 0.2]), k)
    null = pl.Series(cut)
    out = {
        "prompts": prompts,
        "rewards": base.select(
            "prompt_id",
            "sample",
            reward=pl.when(null.not_()).then(pl.Series(passed.ravel().astype(float))),
            source=pl.Series(source),
            reward_id=pl.lit("math-1"),
            status=pl.Series(status),
        ),
        "rollouts": base.with_columns(
            finish_reason=pl.when(null).then(pl.lit("length")).otherwise(pl.lit("stop")),
            response_tokens=pl.Series(rng.integers(20, 900, n * k)),
        ),
        "verdicts": base.with_columns(
            status=pl.Series(status), extracted=pl.when(null.not_()).then(pl.Series(answer.astype(str)))
        ),
    }
    if text:
        lengths = np.minimum(rng.lognormal(6.2, 0.5, n * k), 20_000).astype(int)
        starts = rng.integers(0, len(prose) - 60_000, n * k)
        out["responses"] = base.with_columns(
            response=pl.Series([prose[a : a + m] for a, m in zip(starts, lengths, strict=True)])
        )
    return out


# The four measurements: each returns seconds by step


def preppo(folder: Path) -> Steps:
    times: Steps = {}
    scan = {name: pl.scan_parquet(folder / f"{name}.parquet") for name in READ}
    with timed(times, "difficulty"):
        measured = difficulty(scan["rewards"], scan["rollouts"], scan["verdicts"], REWARD)
        measured.sink_parquet(folder / "difficulty.parquet", **WRITER)
    with timed(times, "selection"):
        standing = ["prompt_id", "pool", "split", "domain", "gold_conflict"]
        stored = pl.scan_parquet(folder / "difficulty.parquet")
        candidates = scan["prompts"].select(standing).join(stored, on="prompt_id", how="left").collect()
        selection = select(candidates.with_columns(policy_id=pl.lit(POLICY)), ARM, REWARD)
        selection.write_parquet(folder / "selection.parquet", **WRITER)
    with timed(times, "decisions"):
        decided = selection_decisions(selection, ARM, POLICY, candidates=candidates)
        written = changes(decided.clear().lazy(), decided)
        written.write_parquet(folder / "decisions.parquet", **WRITER)
    with timed(times, "curriculum"):
        chosen = selection.filter("selected").select("prompt_id")
        chosen = chosen.join(candidates.select("prompt_id", "domain", "mean"), on="prompt_id")
        del candidates, selection, written, decided
        ordered, _ = curriculum(chosen, CURRICULUM, ARM.name)
        ordered.write_parquet(folder / "curriculum.parquet", **WRITER)
    del ordered
    with timed(times, "release"):
        written = release(folder)
    for name in ("train", "heldout", "decisions"):
        (folder / f"release-{name}.parquet").symlink_to(written / f"{name}.parquet")
    return times


def again(folder: Path) -> Steps:
    """Return the time of the decisions of a second night, in which nothing changed."""
    times: Steps = {}
    decided = pl.read_parquet(folder / "decisions.parquet")
    with timed(times, "unchanged decisions"):
        written = changes(pl.scan_parquet(folder / "decisions.parquet"), decided)
    assert written.height == 1, written
    return times


def release(folder: Path) -> Path:
    """Write a release: train, held-out rows and decisions, hashed, with manifest and card."""

    def scan(name: str, **more: Any) -> pl.LazyFrame:
        return pl.scan_parquet(folder / f"{name}.parquet").with_columns(**more)

    absent = {c: pl.lit(None, pl.String) for c in ("raw_text", "licence", "key", "extra", "tools")}
    inputs = ReleaseInputs(
        arm=ARM.name,
        prompts=scan("prompts", source=pl.lit("synthetic"), batch=pl.lit("000001"), **absent),
        curriculum=scan("curriculum"),
        selection=scan("selection"),
        difficulty=scan("difficulty", policy_id=pl.lit(POLICY)),
        references=pl.LazyFrame(schema=REFERENCES.schema),
        decisions=scan("decisions", batch=pl.lit("corpus")),
        policy={},
        policy_hash=POLICY,
        inputs={},
        code_version="benchmark",
        policy_ids=(POLICY,),
    )
    return write_release(folder / "releases", inputs).folder


def floor(folder: Path) -> Steps:
    times: Steps = {}
    with timed(times, "read"):
        for name, columns in READ.items():
            read(folder, name, columns)
    with timed(times, "group-by"):
        rewards = pl.scan_parquet(folder / "rewards.parquet")
        rewards.group_by("prompt_id").agg(pl.len(), pl.col.reward.mean()).collect()
    write_again(folder, CURATED, times, "write")
    with timed(times, "release: read"):
        read(folder, "prompts", RELEASED)
    write_again(folder, RELEASE, times, "release: write")
    return times


def read(folder: Path, name: str, columns: list[str]) -> None:
    for _ in pl.scan_parquet(folder / f"{name}.parquet").select(columns).collect_batches():
        pass


def write_again(folder: Path, names: tuple[str, ...], times: Steps, step: str) -> None:
    for name in names:
        frame = pl.read_parquet(folder / f"{name}.parquet")
        with timed(times, step):
            frame.write_parquet(folder / "again.parquet", **WRITER)
        del frame


def text(folder: Path) -> Steps:
    times: Steps = {}
    with timed(times, "text columns"):
        spread = text_spread(pl.scan_parquet(folder / "rewards.parquet"), pl.scan_parquet(folder / "responses.parquet"))
        spread.sink_parquet(folder / "text.parquet", **WRITER)
    return times


def pandas(folder: Path) -> Steps:
    times: Steps = {}
    import pandas as pd
    from scipy.special import betaincinv

    def load(name: str) -> pd.DataFrame:
        return pd.read_parquet(folder / f"{name}.parquet", columns=READ[name])

    def write(frame: pd.DataFrame, name: str) -> None:
        path = folder / f"pandas-{name}.parquet"
        frame.to_parquet(path, compression="zstd", index=False, row_group_size=WRITER["row_group_size"])

    with timed(times, "difficulty"):
        rollouts = load("rollouts")
        rollouts = rollouts[rollouts["role"] == "scored"]
        rollouts["cut"] = rollouts["finish_reason"] == "length"
        measured = rollouts.groupby("prompt_id").agg(
            samples=("sample", "size"), truncated=("cut", "sum"), response_tokens_mean=("response_tokens", "mean")
        )
        del rollouts
        rewards = load("rewards")
        rewards["passed"] = rewards["reward"] == 1.0
        rewards["odd"] = ~rewards["reward"].isin([0.0, 1.0]) & rewards["reward"].notna()
        grouped = rewards.groupby("prompt_id").agg(
            source=("source", "first"),
            scored=("reward", "count"),
            mean=("reward", "mean"),
            variance=("reward", "var"),
            passes=("passed", "sum"),
            odd=("odd", "any"),
            reward_min=("reward", "min"),
            reward_max=("reward", "max"),
        )
        del rewards
        grouped["variance"] *= (grouped["scored"] - 1) / grouped["scored"]
        verdicts = load("verdicts")
        verdicts = verdicts[verdicts["status"].isin(["correct", "incorrect", "partial", "unparsed"])]
        votes = verdicts.groupby(["prompt_id", "extracted"], dropna=False).size().reset_index(name="votes")
        del verdicts
        answers = votes.groupby("prompt_id").agg(
            distinct_answers=("extracted", "count"), most=("votes", "max"), all=("votes", "sum")
        )
        measured = measured.join(grouped).join(answers)
        n, k = measured["scored"].to_numpy(), measured["passes"].to_numpy()
        measured["pass_rate"] = k / n
        measured["pass_rate_low"] = np.where(k == 0, 0.0, betaincinv(k + 0.5, n - k + 0.5, 0.025))
        measured["pass_rate_high"] = np.where(k == n, 1.0, betaincinv(k + 0.5, n - k + 0.5, 0.975))
        measured["learnability"] = measured["pass_rate"] * (1 - measured["pass_rate"])
        measured["majority_agreement"] = measured["most"] / measured["all"]
        measured["suspect_gold"] = (measured["passes"] == 0) & (n >= 4) & (measured["majority_agreement"] >= 0.8)
        measured = measured.reset_index().sort_values("prompt_id")
        write(measured, "difficulty")
    with timed(times, "selection"):
        prompts = pd.read_parquet(folder / "prompts.parquet", columns=READ["prompts"])
        table = prompts.merge(measured, on="prompt_id", how="left")
        table["group"] = table["domain"] + "/" + table["source"]
        table["reason"] = np.select(
            [
                table["pool"] == "eval",
                table["split"] == "heldout",
                table["gold_conflict"],
                table["pool"] == "original",
                table["suspect_gold"],
                table["scored"] < 0.5 * table["samples"],
            ],
            ["eval", "heldout", "gold_conflict", "original", "suspect_gold", "unscored"],
            "",
        )
        ranked = table[table["reason"] == ""].copy()
        ranked["down"] = -ranked["variance"]
        ranked = ranked.sort_values(["group", "mean", "down", "prompt_id"])
        by_group = ranked.groupby("group")
        size = by_group["mean"].transform("size")
        ranked["percentile"] = (by_group["mean"].rank("average") - 0.5) / size
        ranked["tie_size"] = ranked.groupby(["group", "mean"])["mean"].transform("size")
        quota = (size * ARM.fraction).round()
        ranked["zero"] = ranked["reward_max"] == 0
        allowed = ~ranked["zero"] | (ranked.groupby("group")["zero"].cumsum() <= ARM.max_all_zero_share * quota)
        turn = allowed.groupby(ranked["group"]).cumsum()
        ranked["reason"] = np.where(
            allowed & (turn <= quota), "pre_ppo", np.where(allowed, "above_cut", "guard_all_zero")
        )
        table = pd.concat([table[table["reason"] != ""], ranked]).sort_values("prompt_id")
        table["selected"] = table["reason"].isin(["original", "pre_ppo"])
        columns = ["prompt_id", "mean", "group", "percentile", "tie_size", "selected", "reason"]
        write(table[columns], "selection")
    with timed(times, "decisions"):
        decided = table[["prompt_id", "reason", "selected", "mean", "group", "percentile"]].copy()
        decided["detail"] = [
            f"mean {m:.4f} of {g} (percentile {p:.4f})" if r in ("pre_ppo", "above_cut", "guard_all_zero") else r
            for m, g, p, r in zip(
                decided["mean"], decided["group"], decided["percentile"], decided["reason"], strict=True
            )
        ]
        write(decided, "decisions")
    with timed(times, "curriculum"):
        chosen = table.loc[table["selected"], ["prompt_id", "domain"]]
        chosen = chosen.sample(frac=1.0, random_state=0)
        phases = []
        total = len(chosen)
        for name, domains, share in (
            ("code", ["code"], 0.1),
            ("code_math", ["code", "math"], 0.2),
            ("mixture", None, 1),
        ):
            part = chosen if domains is None else chosen[chosen["domain"].isin(domains)]
            if domains is not None:
                part = part.groupby("domain").head(int(total * share / len(domains)))
            part = part.assign(phase=name)
            grouped = part.groupby("domain")["prompt_id"]
            part["stride"] = (grouped.cumcount() + 0.5) / grouped.transform("size")
            phases.append(part.sort_values(["stride", "domain"]))
        ordered = pd.concat(phases, ignore_index=True)
        ordered["occurrence"] = ordered.groupby("prompt_id").cumcount() + 1
        ordered["position"] = np.arange(len(ordered))
        write(ordered, "curriculum")
    with timed(times, "release"):
        held = pd.read_parquet(
            folder / "prompts.parquet", columns=["prompt_id", "messages", "verifier", "ground_truth"]
        )
        train = ordered.merge(held, on="prompt_id").merge(
            measured[["prompt_id", "mean", "variance", "pass_rate"]], on="prompt_id", how="left"
        )
        write(train.sort_values("position"), "train")
    return times


MEASUREMENTS: dict[str, Callable[[Path], Steps]] = {
    "preppo": preppo,
    "floor": floor,
    "again": again,
    "text": text,
    "pandas": pandas,
}


# Running them


def child(what: str, folder: Path, prompts: int) -> None:
    """Run one measurement in this process and print its result."""
    steps: Steps = {}
    if what == "generate":
        with timed(steps, "generate"):
            generate(folder, prompts)
    else:
        steps = MEASUREMENTS[what](folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    result = {
        "seconds": round(sum(wall for wall, _ in steps.values()), 2),
        "cpu_s": round(sum(cpu for _, cpu in steps.values()), 2),
        "peak_gib": round(peak, 2),
        "steps": {name: round(wall, 2) for name, (wall, _) in steps.items()},
        "steps_cpu": {name: round(cpu, 2) for name, (_, cpu) in steps.items()},
        "load": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(result))


def run(what: str, folder: Path, prompts: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", what, "--folder", str(folder), "--prompts", str(prompts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"killed by signal {-done.returncode}"]
        return {"failed": lines[-1]}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(prompts: int, only: list[str], temp: Path | None) -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="curate-scale-", dir=temp))
    try:
        made = run("generate", folder, prompts)
        if "failed" in made:
            raise SystemExit(made["failed"])
        sizes = {p.stem: round(p.stat().st_size / 1024**2, 1) for p in sorted(folder.glob("*.parquet"))}
        out: dict[str, Any] = {"prompts": prompts, "rewards": prompts * SAMPLES, "input_mib": sizes}
        for what in only:
            if (what == "text" and prompts > TEXT_LIMIT) or (what == "pandas" and prompts > PANDAS_LIMIT):
                continue
            out[what] = run(what, folder, prompts)
            print(f"{prompts:>9,} {what:<8} {out[what]}", flush=True)
            if what == "preppo" and "failed" not in out[what]:
                out["selected"] = pl.scan_parquet(folder / "selection.parquet").filter("selected").collect().height
        out |= ratios(out)
        return out
    finally:
        shutil.rmtree(folder)


def ratios(out: dict[str, Any]) -> dict[str, float]:
    """Return seconds over the floor's: of wall clock, of processor, and of processor before the release."""
    ours, least = out.get("preppo", {}), out.get("floor", {})
    if "steps" not in ours or "steps" not in least:
        return {}
    before = sum(s for name, s in ours["steps_cpu"].items() if name != "release")
    before_least = sum(s for name, s in least["steps_cpu"].items() if not name.startswith("release"))
    return {
        "ratio": round(ours["seconds"] / least["seconds"], 2),
        "ratio_cpu": round(ours["cpu_s"] / least["cpu_s"], 2),
        "ratio_cpu_before_release": round(before / before_least, 2),
    }


def table(results: list[dict[str, Any]]) -> str:
    def cell(result: dict[str, Any] | None) -> str:
        if result is None:
            return "not run"
        return "failed" if "failed" in result else "{seconds:.1f} s ({cpu_s:.1f}), {peak_gib:.2f} GiB".format(**result)

    def row(*cells: object) -> str:
        return "| " + " | ".join(str(c) for c in cells) + " |"

    first = ["prompts", "curation", "floor", "ratio", "of processor time", "the same before the release"]
    first += ["unchanged night", "text columns", "pandas"]
    lines = [row(*first), "|---" * len(first) + "|"]
    for r in results:
        measured = [cell(r.get(what)) for what in ("preppo", "floor", "again", "text", "pandas")]
        ratio = [r.get(name, "") for name in ("ratio", "ratio_cpu", "ratio_cpu_before_release")]
        lines.append(row(f"{r['prompts']:,}", *measured[:2], *ratio, *measured[2:]))
    steps = list(dict.fromkeys(s for r in results for s in r.get("preppo", {}).get("steps", {})))
    least = list(dict.fromkeys(s for r in results for s in r.get("floor", {}).get("steps", {})))
    lines += ["", "Processor seconds by step:", "", row("prompts", *steps, *(f"floor: {s}" for s in least), "load")]
    lines.append("|---" * (len(steps) + len(least) + 2) + "|")
    for r in results:
        ours, floors = r.get("preppo", {}).get("steps_cpu", {}), r.get("floor", {}).get("steps_cpu", {})
        seconds = [f"{ours.get(s, 0):.1f}" for s in steps] + [f"{floors.get(s, 0):.1f}" for s in least]
        lines.append(row(f"{r['prompts']:,}", *seconds, r.get("preppo", {}).get("load", "")))
    return "\n".join(lines)


def report(results: list[dict[str, Any]]) -> None:
    RESULTS.mkdir(exist_ok=True)
    host = {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "polars": pl.__version__,
    }
    results = sorted(results, key=lambda r: int(r["prompts"]))
    (RESULTS / "curate_scale.json").write_text(json.dumps({"host": host, "results": results}, indent=1) + "\n")
    heading = f"""# Curation at scale

Made by `python benchmarks/curate_scale.py`: {SAMPLES} rewards a prompt, prompts of about 1 KB, {host["cores"]} cores,
Polars {pl.__version__}. Seconds of wall clock (of processor), and peak memory; every cell is a process of its own.
Curation is difficulty, selection, decisions, curriculum and the release. The floor reads the same columns, does one
bare group-by and writes the same outputs with the same writer and codec. "Load" is the machine's average during the
run: above {host["cores"]}, other work was slowing this down, and processor time is the fairer number. An unchanged
night finds that no decision changed. Text columns (edit distances) are not part of curation's time. pandas writes a
plain train file, no release.

"""
    (RESULTS / "curate_scale.md").write_text(heading + table(results) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS))
    parser.add_argument("--append", action="store_true", help="keep the sizes that the results already have")
    parser.add_argument("--dry", action="store_true", help="print, but leave the results as they are")
    parser.add_argument("--temp", type=Path, help="where to put the inputs; default: the system's temporary folder")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--prompts", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.folder, options.prompts)
        return
    new = [measure(SIZES[size], options.only, options.temp) for size in options.sizes]
    print(table(new))
    if options.dry:
        return
    kept = []
    if options.append and (RESULTS / "curate_scale.json").exists():
        old = json.loads((RESULTS / "curate_scale.json").read_text())["results"]
        kept = [r for r in old if r["prompts"] not in {n["prompts"] for n in new}]
    report(kept + new)


if __name__ == "__main__":
    main()
