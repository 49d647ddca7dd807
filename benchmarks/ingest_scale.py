"""How fast ingest is, how much memory it takes, and what it finds, from 100,000 to 1,000,000 rows of about 1 KB.

    python benchmarks/ingest_scale.py                                  # 100k; results/ingest_scale.{json,md}
    python benchmarks/ingest_scale.py --rows 1000000 --append          # one more size into the same results
    python benchmarks/ingest_scale.py --peer /path/to/venv/bin/python  # also datatrove's MinHash, in its environment

Rows are synthetic: words of a Zipf vocabulary, lognormal lengths. Of them 3% are exact copies of an earlier row (other
spacing), 5% near copies (words replaced; their true Jaccard index is computed), 0.1% broken lines; 0.15% hold text of
one of three evaluation sets: a quote, a whole short item, or an item in other case and punctuation.

Measured in a process of its own: from JSON lines to the four tables as Parquet files; decontamination; then a next
batch of a hundredth of the rows against the signatures of all. Memory is that of the whole process tree, sampled five
times a second: anonymous pages (what cannot be dropped), and resident pages, which count mapped files too. The peer
gets the same files and writes the rows it keeps; it has no quarantine, golds, splits, signatures for later batches,
decisions or rejected rows, and removes near and exact copies in one pass.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from ingest_scale_rows import EVALUATION, FILES, WORDS, generate

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from warehouse.curation.decontaminate import contamination, evaluation_items  # noqa: E402
from warehouse.ingest.batch import SourceFile, ingest_batch  # noqa: E402
from warehouse.ingest.readers import file_hash  # noqa: E402
from warehouse.schemas import SIGNATURES  # noqa: E402
from warehouse.settings import EvaluationSet, Settings  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

RESULTS = REPOSITORY / "benchmarks" / "results"


def run_preppo(folder: Path, workers: int) -> dict[str, Any]:
    """Ingest and decontaminate; return seconds by step. Tables stay in `folder`."""
    sets = [EvaluationSet(name=n, path=str(folder / f"{n}.eval.jsonl"), text="question") for n in EVALUATION]
    source = {"name": "rows", "path": "x", "prompt": "prompt", "ground_truth": "answer", "key": "id"}
    settings = Settings.model_validate({"source": [source]})
    paths = sorted(folder.glob("rows-*.jsonl"))
    seconds: dict[str, float] = {}
    start = time.perf_counter()
    files = [SourceFile("rows", p, file_hash(p)) for p in paths]
    registered = time.perf_counter()
    last_row = [registered]
    result = ingest_batch(
        files,
        settings,
        earlier=pl.LazyFrame(schema=SIGNATURES.columns),
        work=folder / "work",
        workers=workers,
        ingested_at=datetime.now(UTC),
        progress=lambda _rows: last_row.append(time.perf_counter()),
    )
    resolved = time.perf_counter()
    frames = {
        "prompts": result.prompts(),
        "rejected_prompts": result.rejected(),
        "signatures": result.signatures(),
        "decisions": result.decisions(),
    }
    for name, parts in frames.items():
        (folder / name).mkdir()
        for i, part in enumerate(parts):
            part.write_parquet(folder / name / f"{i:05d}.parquet", compression="zstd", compression_level=3)
    written = time.perf_counter()
    items = evaluation_items(sets, folder, pl.LazyFrame())
    prompts = (pl.read_parquet(p, columns=["prompt_id", "messages"]) for p in sorted((folder / "prompts").iterdir()))
    contamination(prompts, items, WORDS).write_parquet(folder / "contamination.parquet")
    ended = time.perf_counter()
    later = ingest_batch(
        [SourceFile("rows", folder / "next.jsonl", file_hash(folder / "next.jsonl"))],
        settings,
        earlier=pl.scan_parquet(folder / "signatures" / "*.parquet"),
        work=folder / "work-next",
        workers=workers,
        ingested_at=datetime.now(UTC),
    )
    for parts in (later.prompts(), later.rejected(), later.signatures(), later.decisions()):
        for _part in parts:
            pass
    next_ended = time.perf_counter()
    seconds = {
        "register": registered - start,
        "stage": last_row[-1] - registered,
        "decide": resolved - last_row[-1],
        "write": written - resolved,
        "decontaminate": ended - written,
        "next 1%": next_ended - ended,
    }
    return {"seconds": seconds, "rows_read": result.rows_read, "counts": result.counts, "next": later.counts}


def judge(folder: Path, planted: pl.DataFrame, rows: int) -> dict[str, Any]:
    """Compare what was found with what was planted."""
    per_file = -(-rows // FILES)
    starts = {file_hash(p): i * per_file for i, p in enumerate(sorted(folder.glob("rows-*.jsonl")))}
    place = pl.col("source_row").str.split(":")
    row = place.list.get(0).replace_strict(starts, return_dtype=pl.Int64) + place.list.get(1).cast(pl.Int64)
    rejected = pl.read_parquet(folder / "rejected_prompts").select("outcome", "reason_code", row=row)
    prompts = pl.read_parquet(folder / "prompts", columns=["prompt_id", "source_row"]).select("prompt_id", row=row)
    both = planted.join(rejected, on="row", how="left")
    near = both.filter(pl.col("kind") == "near")
    gone = pl.col("outcome").is_not_null()
    found: dict[str, Any] = {
        "exact copies found": _share(both.filter(pl.col("kind") == "exact"), gone),
        "broken rows found": _share(both.filter(pl.col("kind") == "broken"), pl.col("outcome") == "quarantined"),
    }
    for low, high in ((0.8, 0.85), (0.85, 0.9), (0.9, 1.01)):
        some = near.filter(pl.col("jaccard").is_between(low, high, closed="left"))
        found[f"near copies found, Jaccard {low:.2f}-{min(high, 1):.2f}"] = _share(some, gone)
    below = near.filter(pl.col("jaccard") < 0.8)
    found["near copies below the threshold dropped"] = _share(below, gone)
    copies = planted.filter(pl.col("kind").is_in(["exact", "near", "broken"]))
    innocent = rejected.join(copies, on="row", how="anti")
    split = pl.col("reason_code") == "split_conflict"
    found["false drops"] = [innocent.filter(~split).height, rows - copies.height]
    found["drops for the split"] = [rejected.filter(split).height, rows]
    hits = pl.read_parquet(folder / "contamination.parquet").join(prompts, on="prompt_id")
    dirty = planted.filter(pl.col("eval_set").is_not_null()).join(prompts, on="row")
    named = dirty.join(hits.select("row", "eval_set", "item", "overlap"), on=["row", "eval_set", "item"], how="left")
    for kind, overlap in (("quote", "ngram"), ("whole", "whole"), ("item", "exact")):
        some = named.filter(pl.col("kind") == kind)
        found[f"contamination found, item named: {kind}"] = _share(some, pl.col("overlap") == overlap)
    found["false contaminations"] = [hits.join(dirty, on="row", how="anti").height, prompts.height - dirty.height]
    return found


def _share(rows: pl.DataFrame, condition: pl.Expr) -> list[int]:
    return [rows.filter(condition).height, rows.height]


PEER = """
import json, sys, time
from pathlib import Path
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils.word_tokenizers import WordTokenizer

class Split(WordTokenizer):  # the cheapest word splitter there is; the library's own are many times slower
    def word_tokenize(self, text):
        return text.split()
    def sent_tokenize(self, text):
        return [text]
    def span_tokenize(self, text):
        return [(0, len(text))]

def main():
    folder, workers = Path(sys.argv[1]), int(sys.argv[2])
    out = folder / "peer"
    config = MinhashConfig(n_grams=3, num_buckets=14, hashes_per_bucket=8)
    def reader():
        return JsonlReader(str(folder), glob_pattern="rows-*.jsonl", text_key="prompt", id_key="id", compression=None)
    stages = [
        (8, [reader(), MinhashDedupSignature(str(out / "sig"), config=config, language=Split())]),
        (config.num_buckets, [MinhashDedupBuckets(str(out / "sig"), str(out / "buckets"), config=config)]),
        (1, [MinhashDedupCluster(str(out / "buckets"), str(out / "ids"), config=config)]),
        (8, [reader(), MinhashDedupFilter(str(out / "ids")), JsonlWriter(str(out / "kept"), compression=None)]),
    ]
    seconds = {}
    for (tasks, steps), name in zip(stages, ("signature", "buckets", "cluster", "filter")):
        start = time.perf_counter()
        LocalPipelineExecutor(steps, tasks=tasks, workers=workers, logging_dir=str(out / "logs" / name)).run()
        seconds[name] = time.perf_counter() - start
    kept = [json.loads(l)["id"] for p in sorted((out / "kept").glob("*.jsonl")) for l in p.open()]
    print(json.dumps({"seconds": seconds, "kept": sorted(int(i[3:]) for i in kept)}))

if __name__ == "__main__":
    main()
"""


def judge_peer(kept: list[int], planted: pl.DataFrame, rows: int) -> dict[str, Any]:
    """Compare what the peer kept. It keeps one row of a cluster, not always the first: a pair counts as found when
    not both of its rows are kept."""
    left = set(kept)
    pairs = planted.filter(pl.col("of").is_not_null())
    both = pl.Series([r in left and o in left for r, o in pairs.select("row", "of").iter_rows()])
    pairs = pairs.with_columns(both=both)
    found = {"exact copies found": _share(pairs.filter(pl.col("kind") == "exact"), ~pl.col("both"))}
    near = pairs.filter(pl.col("kind") == "near")
    for low, high in ((0.8, 0.85), (0.85, 0.9), (0.9, 1.01)):
        some = near.filter(pl.col("jaccard").is_between(low, high, closed="left"))
        found[f"near copies found, Jaccard {low:.2f}-{min(high, 1):.2f}"] = _share(some, ~pl.col("both"))
    involved = {*planted["row"].to_list(), *planted["of"].drop_nulls().to_list()}
    found["false drops"] = [rows - len(left | involved), rows - len(involved)]
    return found


class Watch(threading.Thread):
    """Samples the memory and the processor time of a process and its descendants."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._cpu: dict[int, float] = {}
        self.anonymous = 0
        self.resident = 0
        self.done = threading.Event()

    @property
    def cpu_s(self) -> float:
        return sum(self._cpu.values())

    def run(self) -> None:
        while not self.done.wait(0.2):
            pids = list(_tree(self._pid))
            samples = [_status(p) for p in pids]
            self.anonymous = max(self.anonymous, sum(s.get("RssAnon", 0) for s in samples))
            self.resident = max(self.resident, sum(s.get("VmRSS", 0) for s in samples))
            self._cpu |= {p: s for p in pids if (s := _cpu_seconds(p)) is not None}


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:
            continue
        for child in found:
            yield from _tree(int(child))


def _status(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {k: int(v.split()[0]) * 1024 for k, v in (x.split(":", 1) for x in lines) if k in ("VmRSS", "RssAnon")}


def _cpu_seconds(pid: int) -> float | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(command: list[str]) -> dict[str, Any]:
    """Run a process that prints JSON on its last line; add its wall clock, processor time and peak memory."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watch = Watch(process.pid)
    watch.start()
    out, err = process.communicate()
    wall = time.perf_counter() - start
    watch.done.set()
    watch.join()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{err[-3000:]}")
    result: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return {
        **result,
        "wall_s": wall,
        "cpu_s": watch.cpu_s,
        "peak_anonymous_mb": watch.anonymous / 2**20,
        "peak_resident_mb": watch.resident / 2**20,
    }


def measure(rows: int, workers: int, peer: str | None, keep: Path | None) -> dict[str, Any]:
    """Generate, run and judge one size."""
    folder = keep or Path(tempfile.mkdtemp(prefix="ingest-scale-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        planted = generate(folder, rows)
        size = sum(p.stat().st_size for p in folder.glob("rows-*.jsonl"))
        load = os.getloadavg()[0]
        own = measured([sys.executable, __file__, "--run-in", str(folder), "--workers", str(workers)])
        if own["rows_read"] != rows or sum(own["counts"].values()) != rows:
            sys.exit(f"{rows} rows written, {own['rows_read']} read, {own['counts']} accounted for")
        result = {
            "rows": rows,
            "bytes": size,
            "workers": workers,
            "load_before": load,
            "preppo": {**own, "found": judge(folder, planted, rows)},
        }
        if peer is not None:
            script = folder / "peer.py"
            script.write_text(PEER)
            other = measured([peer, str(script), str(folder), str(workers)])
            kept = other.pop("kept")
            result["datatrove"] = {**other, "kept": len(kept), "found": judge_peer(kept, planted, rows)}
        return result
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def report(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    lines = ["# Ingest at scale", "", f"`benchmarks/ingest_scale.py`, {machine}.", ""]
    columns = [
        "rows",
        "system",
        "rows/s",
        "wall s",
        "cpu s",
        "rows per cpu s",
        "anonymous MB",
        "resident MB",
        "seconds by step",
    ]
    lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [_line(r["rows"], name, r[name]) for r in results for name in ("preppo", "datatrove") if name in r]
    lines += ["", NOTE, ""]
    for r in results:
        lines += [f"## {r['rows']:,} rows, {r['bytes'] / 2**20:,.0f} MiB, load before {r['load_before']:.1f}", ""]
        systems = [n for n in ("preppo", "datatrove") if n in r]
        lines += ["| | " + " | ".join(systems) + " |", "|---" * (1 + len(systems)) + "|"]
        for key in r["preppo"]["found"]:
            cells = [_cell(r[n]["found"].get(key)) for n in systems]
            lines.append(f"| {key} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


NOTE = """Rows/s and wall s are of the whole ingest, without decontamination and the next batch (a hundredth of the
rows, a tenth of them near copies, against the signatures of all). Cpu s has everything: on a machine that others use
as well (see the load), it is what compares."""


def _line(rows: int, name: str, m: dict[str, Any]) -> str:
    wall = sum(s for step, s in m["seconds"].items() if step not in ("decontaminate", "next 1%"))
    cells = [
        f"{rows:,}",
        name,
        f"{rows / wall:,.0f}",
        f"{wall:.1f}",
        f"{m['cpu_s']:.0f}",
        f"{rows / m['cpu_s']:,.0f}",
        f"{m['peak_anonymous_mb']:,.0f}",
        f"{m['peak_resident_mb']:,.0f}",
        ", ".join(f"{step} {s:.1f}" for step, s in m["seconds"].items()),
    ]
    return f"| {' | '.join(cells)} |"


def _cell(value: list[int] | None) -> str:
    if value is None:
        return ""
    part, whole = value
    return f"{part:,} of {whole:,} ({part / whole:.2%})" if whole else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=2)
    own = sys.executable if importlib.util.find_spec("datatrove") else None
    parser.add_argument("--peer", default=own, help="a Python that has datatrove; default: this one, where it does")
    parser.add_argument("--append", action="store_true", help="keep the other sizes of earlier results")
    parser.add_argument("--keep", type=Path, help="a folder that keeps the rows and tables")
    parser.add_argument("--run-in", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run_in is not None:
        print(json.dumps(run_preppo(arguments.run_in, arguments.workers)))
        return
    stored = RESULTS / "ingest_scale.json"
    results = json.loads(stored.read_text()) if arguments.append and stored.is_file() else []
    for rows in arguments.rows:
        results = [r for r in results if r["rows"] != rows]
        results.append(measure(rows, arguments.workers, arguments.peer, arguments.keep))
        results.sort(key=lambda r: r["rows"])
        RESULTS.mkdir(exist_ok=True)
        stored.write_text(json.dumps(results, indent=1) + "\n")
        (RESULTS / "ingest_scale.md").write_text(report(results))
    print(report(results))


if __name__ == "__main__":
    main()
