"""A small corpus with everything in it, runs of the real command on it, and what a home looks like from outside.

The corpus: maths questions with recorded rollouts (half of whose answers need a worker process to be compared), short
sums without any, which the nursery model rolls out, and an evaluation set; with duplicates and broken rows among them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from click.testing import CliRunner
from deltalake import DeltaTable

import assets.metadata
import pipeline.run
from assets.project import Project, open_project
from pipeline.cli import main
from pipeline.execute import Report, curate
from tests.warehouse.release_home import without_pictures
from warehouse.curation.identity import prompt_id
from warehouse.home import Home
from warehouse.ledger import Commit, Ledger
from warehouse.releases import PARQUET_FILES, list_releases
from warehouse.schemas import TABLES
from warehouse.store import Store

if TYPE_CHECKING:
    import pytest

    from warehouse.store import Snapshot

REPOSITORY = Path(__file__).resolve().parents[2]
STAGES = (
    "recorded_rollouts",
    "prompts",
    "contamination",
    "gold_checks",
    "rollouts",
    "verdicts",
    "references",
    "rewards",
    "difficulty",
    "selection",
    "curriculum",
    "release",
)
_NAMES = ("Ada", "Bela", "Chen", "Dora", "Emil", "Fatou", "Goran", "Hana")
_GOODS = ("apples", "stamps", "marbles", "tickets", "candles", "ribbons", "shells", "bricks")

# The real command with chunks so small that a small corpus has several in each of its long stages.
_SMALL_CHUNKS = """
import sys
import assets.contamination, assets.rollouts, assets.verdicts
assets.contamination.CHUNK_PROMPTS = 20
assets.rollouts.RECORDED_CHUNK = 10
assets.verdicts.CHUNK_ROWS = 25
from pipeline.cli import main
main(sys.argv[1:])
"""


# --- the corpus ------------------------------------------------------------------------------------------------------


def question(rng: Random, number: int) -> tuple[str, int]:
    """Return a word problem that no other number gives, and its answer."""
    name, goods = rng.choice(_NAMES), rng.choice(_GOODS)
    boxes, each, gone = rng.randint(3, 60), rng.randint(2, 40), rng.randint(1, 5)
    place = blake2b(str(number).encode(), digest_size=4).hexdigest()
    # Every run of 13 words holds something of this question alone, so that none contaminates another.
    text = (
        f"On market day {number} {name} brings {boxes} boxes with {each} {goods} in each box to hall {place}, where "
        f"{gone} of each break. How many {goods} does {name} sell in {place}?"
    )
    return text, boxes * (each - min(gone, each - 1))


def answers(rng: Random, gold: int, samples: int, skill: float) -> list[str]:
    """Return responses: right with probability `skill`, half in a form that needs algebra to compare."""
    found = []
    for _ in range(samples):
        value = gold if rng.random() < skill else gold + rng.randint(1, 9)
        form = rf"\frac{{{2 * value}}}{{2}}" if rng.random() < 0.5 else str(value)
        found.append(f"Let me count step by step.\nThe answer is \\boxed{{{form}}}.")
    return found


def write_lines(path: Path, rows: list[Any]) -> None:
    """Write JSON lines; a text is written as it is, broken or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [r if isinstance(r, str) else json.dumps(r) for r in rows]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@dataclass
class Corpus:
    """Source files, rollouts files and settings in one folder.

    `settings` may be changed and written again with `write_settings`.
    """

    folder: Path
    samples: int = 4
    settings: dict[str, Any] = field(default_factory=dict)
    questions: dict[str, tuple[str, int]] = field(default_factory=dict)  # prompt_id -> text, answer

    @property
    def config(self) -> Path:
        """Return the settings file."""
        return self.folder / "preppo.toml"

    def add_maths(self, name: str, prompts: int, seed: int) -> list[str]:
        """Write a file of maths questions and one of their rollouts; return the prompt ids."""
        rng = Random(f"{name} {seed}")
        rows: list[Any] = []
        rollouts: list[Any] = []
        ids = []
        for number in range(prompts):
            text, gold = question(rng, seed * 1_000_000 + number)
            ids.append(prompt_id([("user", text)]))
            self.questions[ids[-1]] = text, gold
            rows.append({"question": text, "answer": str(gold)})
            for i, response in enumerate(answers(rng, gold, self.samples, skill=(number % 6) / 5)):
                rollouts.append({"question": text, "response": response, "sample": i})
        rows += [rows[0], {"question": None, "answer": "1"}, '{"question": "torn']
        write_lines(self.folder / "maths" / f"{name}.jsonl", rows)
        write_lines(self.folder / "rollouts" / f"{name}.jsonl", [*rollouts, {"question": None, "response": "?"}])
        return ids

    def add_sums(self, name: str, prompts: int, seed: int) -> list[str]:
        """Write a file of short sums, for which nothing is recorded; return the prompt ids."""
        rng = Random(f"{name} {seed}")
        pairs = rng.sample([(a, b) for a in range(1, 60) for b in range(1, 9)], prompts)
        rows = [{"question": f"What is {a} + {b}?", "answer": str(a + b)} for a, b in pairs]
        write_lines(self.folder / "sums" / f"{name}.jsonl", list(rows))
        return [prompt_id([("user", str(r["question"]))]) for r in rows]

    def add_evaluation(self, prompts: int, taken: list[str]) -> None:
        """Write the evaluation source: new questions, and some that are also to be trained on."""
        rng = Random("evaluation")
        items = [question(rng, 900_000_000 + n) for n in range(prompts)] + [self.questions[i] for i in taken]
        rows = [{"question": f"From the exam: {t}", "answer": str(g)} for t, g in items]
        write_lines(self.folder / "exam" / "exam.jsonl", list(rows))

    def write_settings(self) -> None:
        """Write `preppo.toml` from `settings` (tables and lists of tables)."""
        self.config.write_text(_toml(self.settings), encoding="utf-8")


def small_corpus(folder: Path, *, maths: int = 48, sums: int = 6, samples: int = 4) -> Corpus:
    """Write the corpus described above, with two arms beside the main one; nursery rollouts only where `sums`."""
    corpus = Corpus(folder, samples)
    ids = corpus.add_maths("first", maths, seed=1)
    corpus.add_evaluation(8, taken=ids[:3])
    source = {"prompt": "question", "ground_truth": "answer", "verifier": "math", "domain": "math"}
    corpus.settings = {
        "source": [
            {"name": "maths", "path": "maths/*.jsonl", "pool": "new", **source},
            {"name": "exam", "path": "exam/*.jsonl", "pool": "eval", **source},
        ],
        "rollouts": [
            {
                "name": "sft",
                "path": "rollouts/*.jsonl",
                "prompt": "question",
                "response": "response",
                "sample": "sample",
            }
        ],
        "policy": {"engine": "recorded"},
        "ingest": {
            "chunk_rows": 15,
            "heldout_share": 0.1,
            "evaluation_sets": [{"name": "exam", "source": "exam"}],
        },
        "selection": {
            "rule": "pre_ppo",
            "fraction": 0.3,
            "arms": [
                {"name": "learnability", "rule": "learnability", "fraction": 0.3},
                {"name": "random", "rule": "random", "fraction": 0.3},
            ],
        },
        "engine": {"workers": 1},
    }
    if sums:
        corpus.add_sums("first", sums, seed=1)
        corpus.settings["source"].insert(1, {"name": "sums", "path": "sums/*.jsonl", "pool": "original", **source})
        corpus.settings["policy"] = {
            "model": "nursery",
            "samples": 2,
            "max_tokens": 24,
            "pools": ["original"],
            "chunk_prompts": 2,
            "device": "cpu",
            "dtype": "float32",
        }
    corpus.write_settings()
    return corpus


def _toml(settings: dict[str, Any]) -> str:
    lines: list[str] = []
    for name, value in settings.items():
        if isinstance(value, list):
            for table in value:
                lines += ["", f"[[{name}]]", *(f"{k} = {_value(v)}" for k, v in table.items())]
        elif isinstance(value, dict):
            lines += ["", f"[{name}]", *(f"{k} = {_value(v)}" for k, v in value.items())]
        else:
            lines.insert(0, f"{name} = {_value(value)}")
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return json.dumps(value)


# --- runs ------------------------------------------------------------------------------------------------------------


def leave_out_what_is_for_people(patch: pytest.MonkeyPatch) -> None:
    """Let runs draw no pictures, and keep Dagster's history in memory: together half of the time of so small a run.

    For tests that look at tables, decisions and messages alone; test_cli runs the command with all of it.
    """
    patch.setattr(assets.metadata, "_plot", lambda *_: None)
    without_pictures(patch)
    patch.setattr(pipeline.run, "open_instance", lambda _: dg.DagsterInstance.ephemeral())


def run_here(corpus: Corpus, home: Path) -> tuple[Project, Report]:
    """Curate in this process, on a Dagster instance in memory; the environment must name settings and home."""
    project = open_project(corpus.config, home)
    with dg.DagsterInstance.ephemeral() as instance:
        report = curate(project, instance)
    return project, report


def view_after(corpus: Corpus, home: Path) -> Snapshot:
    """Curate in this process and return the tables; nothing may fail."""
    project, report = run_here(corpus, home)
    assert report.failures == []
    return project.store.snapshot()


def preppo(*arguments: str, code: int = 0) -> str:
    """Run the command in this process, and return what it printed; the environment must name settings and home."""
    done = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


class Command:
    """`preppo run` (or another command), started as a process group of its own.

    Args:
        corpus: whose settings it gets.
        home: where it works; what it prints goes into a file beside.
        arguments: of the command; default `run`.
        small_chunks: whether long stages write many small chunks; else the installed command, as it is.
    """

    def __init__(self, corpus: Corpus, home: Path, *arguments: str, small_chunks: bool = True) -> None:
        self.events_before = events(home)
        installed = Path(sys.executable).parent / "preppo"
        start = [sys.executable, "-c", _SMALL_CHUNKS] if small_chunks else [str(installed)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREPPO_", "DAGSTER_"))}
        with tempfile.NamedTemporaryFile(
            "wb", dir=home.parent, prefix=f"{home.name}-", suffix=".log", delete=False
        ) as log:
            self._log = Path(log.name)
            self.process = subprocess.Popen(
                [*start, "--config", str(corpus.config), "--home", str(home), *(arguments or ("run",))],
                cwd=REPOSITORY,
                env=environment | {"PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Tell whether it has not ended yet."""
        return self.process.poll() is None

    @property
    def printed(self) -> str:
        """Return what it printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def finish(self, timeout: float = 300) -> str:
        """Wait for its end and return what it printed; fail where it failed."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert self.process.returncode == 0, self.printed
        return self.printed

    def kill(self, *, group: bool = True) -> None:
        """Kill it with SIGKILL, with everything it started or by itself."""
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            os.killpg(self.process.pid, signal.SIGKILL) if group else os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


# --- a home, from outside --------------------------------------------------------------------------------------------


def events(home: Path) -> int:
    """Return how many files a run has put into a home so far: chunks, data files, log entries, release files.

    Locks, Dagster's own files and what is still being written (hidden, or `.part`) do not count.
    """
    return sum(_files(home / part) for part in ("batches", "work", "tables", "releases"))


def _files(folder: Path | str) -> int:
    count = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith((".part", ".tmp")):
                    continue
                count += _files(entry.path) if entry.is_dir(follow_symlinks=False) else 1
    except FileNotFoundError:  # tidied away while we look
        return count
    return count


def commits(home: Path) -> list[Commit]:
    """Return the ledger, oldest first; empty where there is none yet."""
    opened = Home(home)
    return Ledger(opened).read() if (opened.tables / "commits" / "_delta_log").is_dir() else []


def ledger_keys(home: Path) -> list[tuple[str, ...]]:
    """Return (stage, batch, variant, build id, data version, rows by table) of every commit, sorted."""
    return sorted(
        (
            c.stage,
            c.batch,
            c.variant,
            c.build_id,
            c.data_version,
            json.dumps(_without_accounts(c.tables), sort_keys=True),
        )
        for c in commits(home)
    )


def _without_accounts(tables: dict[str, int]) -> dict[str, int]:
    """Leave out `generation`: what was paid for twice is in it twice, so a kill shows there."""
    return {t: n for t, n in tables.items() if t != "generation"}


def visible_rows(home: Path) -> dict[str, int]:
    """Return table -> rows that a reader sees."""
    view = Store(Home(home)).snapshot()
    return _without_accounts({t: int(view.scan(t).select(pl.len()).collect().item()) for t in TABLES})


def stored_rows(home: Path) -> dict[str, int]:
    """Return table -> rows that the Delta tables hold, those that nobody sees included."""
    found = {}
    for name in TABLES:
        actions = pl.DataFrame(DeltaTable(home / "tables" / name).get_add_actions(flatten=True))
        found[name] = int(actions["num_records"].sum()) if actions.height else 0
    return _without_accounts(found)


def release_bytes(home: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return (arm, release id) -> Parquet file -> hash of its bytes, for the newest release of every arm."""
    newest = {r.arm: r for r in list_releases(Home(home).releases)}
    return {
        (arm, r.release_id): {n: blake2b((r.folder / n).read_bytes()).hexdigest() for n in PARQUET_FILES}
        for arm, r in newest.items()
    }


def commits_made(home: Path) -> int:
    """Return how many commits a home's ledger has, by its files alone."""
    folder = home / "tables" / "commits" / "_delta_log"
    return max(0, len(list(folder.glob("*.json"))) - 1)  # the first entry makes the table


def wait_for(home: Path, command: Command, *, new_events: int = 0, committed: int = 0, timeout: float = 300) -> bool:
    """Wait until a command has put files into its home, and the ledger has grown; False where it ended before."""
    limit = time.monotonic() + timeout
    while commits_made(home) < committed or events(home) - command.events_before < new_events:
        if not command.running:
            return False
        assert time.monotonic() < limit, f"no {new_events} events or {committed} commits within {timeout} s"
        time.sleep(0.002)
    return True
