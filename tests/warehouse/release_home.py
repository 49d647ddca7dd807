"""A small home with every stage committed, made of hand-written frames."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

import warehouse.card
from warehouse.curation.identity import prompt_id
from warehouse.home import Home
from warehouse.ledger import CORPUS, Build
from warehouse.schemas import TABLES
from warehouse.store import Store

if TYPE_CHECKING:
    import pytest

POLICY = "policy-one"
BATCH = "000001-aaaaaaaa"


@dataclass(frozen=True)
class Prompt:
    """A prompt, how it scored, and what the selection said."""

    text: str
    domain: str = "math"
    pool: str = "new"
    split: str = "train"
    mean: float | None = 0.5
    reason: str = "above_cut"
    selected: bool = False
    contaminated: bool = False
    licence: str | None = "MIT"
    source: str = "gsm8k"

    @property
    def id(self) -> str:
        return prompt_id([("user", self.text)])


PROMPTS = [
    Prompt("What is 2 + 2?", mean=0.0, reason="pre_ppo", selected=True),
    Prompt("What is 3 + 3?", mean=0.25, reason="pre_ppo", selected=True),
    Prompt("What is 4 + 4?", mean=0.75),
    Prompt("What is 5 + 5?", mean=1.0),
    Prompt("Write f(x) = x.", "code", mean=0.125, reason="pre_ppo", selected=True, source="mbpp", licence="CC BY 4.0"),
    Prompt("Write g(x) = 2x.", "code", mean=0.875, source="mbpp", licence="CC BY 4.0"),
    Prompt("Write a poem, please.", "chat", "original", mean=None, reason="original", selected=True, licence=None),
    Prompt("Never scored", mean=None, reason="unscored"),
    Prompt("From the exam", reason="contaminated", contaminated=True),
    Prompt("Held out", split="heldout", reason="heldout"),
    Prompt("Held out and from the exam", split="heldout", reason="heldout", contaminated=True),
    Prompt("An exam question", pool="eval", reason="eval"),
]


def without_pictures(patch: pytest.MonkeyPatch) -> None:
    """Let releases be written without pictures, which take longer than all the rest; test_card looks at those."""
    for name in ("funnel_png", "histogram_png"):
        patch.setattr(warehouse.card, name, lambda *_, **__: b"a picture")


def shaped(table: str, rows: list[dict]) -> pl.DataFrame:
    """Return rows with all columns of a table, null where nothing is given."""
    columns = TABLES[table].columns
    return pl.DataFrame([{c: r.get(c) for c in columns} for r in rows], schema=columns)


def prompt_rows(prompts: list[Prompt]) -> pl.DataFrame:
    return shaped(
        "prompts",
        [
            {"prompt_id": p.id, "source": p.source, "source_row": f"file:{i}", "pool": p.pool, "split": p.split,
             "domain": p.domain, "messages": [{"role": "user", "content": p.text}], "verifier": "math",
             "ground_truth": '"4"', "gold_conflict": False, "key": f"key-{i}", "licence": p.licence,
             "ingested_at": datetime(2026, 1, 1, tzinfo=UTC)}
            for i, p in enumerate(prompts)
        ],
    )  # fmt: skip


def difficulty_rows(prompts: list[Prompt]) -> pl.DataFrame:
    return shaped(
        "difficulty",
        [
            {"prompt_id": p.id, "source": "rtv", "samples": 8, "scored": 0 if p.mean is None else 8, "truncated": 0,
             "binary": True, "mean": p.mean, "variance": None if p.mean is None else p.mean * (1 - p.mean),
             "pass_rate": p.mean, "pass_rate_low": p.mean, "pass_rate_high": p.mean, "suspect_gold": False}
            for p in prompts
        ],
    )  # fmt: skip


def rollout_rows(prompts: list[Prompt]) -> pl.DataFrame:
    return shaped(
        "rollouts",
        [
            {"prompt_id": p.id, "role": "scored", "sample": k, "response": f"the answer to {p.text!r} is {k}",
             "finish_reason": "stop", "prompt_tokens": 5, "response_tokens": 7, "seed": k, "engine": "hand",
             "recorded": False}
            for p in prompts if p.mean is not None for k in range(2)
        ],
    )  # fmt: skip


def verdict_rows(prompts: list[Prompt]) -> pl.DataFrame:
    return shaped(
        "verdicts",
        [
            {"prompt_id": p.id, "role": "scored", "sample": k, "verifier": "math", "verifier_version": "1",
             "status": "correct" if k == 0 else "timeout", "score": 1.0 if k == 0 else None, "extracted": str(k),
             "detail": "", "elapsed_ms": 1.0}
            for p in prompts if p.mean is not None for k in range(2)
        ],
    )  # fmt: skip


def reward_rows(prompts: list[Prompt]) -> pl.DataFrame:
    return shaped(
        "rewards",
        [
            {"prompt_id": p.id, "sample": k, "reward": 1.0 if k == 0 else None, "source": "rtv", "reward_id": "math/1",
             "status": "correct" if k == 0 else "timeout"}
            for p in prompts if p.mean is not None for k in range(2)
        ],
    )  # fmt: skip


def selection_rows(prompts: list[Prompt], arm: str) -> pl.DataFrame:
    return shaped(
        "selection",
        [
            {"arm": arm, "prompt_id": p.id, "policy_id": POLICY if p.mean is not None else None, "rule": "pre_ppo",
             "score": p.mean, "group": f"{p.domain}/rtv", "percentile": p.mean, "tie_size": 1,
             "selected": p.selected, "reason": p.reason}
            for p in prompts
        ],
    )  # fmt: skip


def selection_decision_rows(prompts: list[Prompt], arm: str, cut: float) -> pl.DataFrame:
    return shaped(
        "decisions",
        [
            {"stage": "selection", "arm": arm, "prompt_id": p.id, "rule": "pre_ppo",
             "outcome": "keep" if p.selected else "drop", "value": p.mean, "threshold": cut,
             "detail": f"{p.domain}: {p.reason}", "policy_hash": "settings-1"}
            for p in prompts
        ],
    )  # fmt: skip


def curriculum_rows(prompts: list[Prompt], arm: str) -> pl.DataFrame:
    """Code first, then everything: selected code prompts occur twice."""
    selected = [p for p in prompts if p.selected]
    code = [p for p in selected if p.domain == "code"]
    order = [("code", p, 0) for p in code] + [("mixture", p, int(p in code)) for p in selected]
    return shaped(
        "curriculum",
        [
            {"arm": arm, "position": i, "phase": phase, "prompt_id": p.id, "occurrence": occurrence}
            for i, (phase, p, occurrence) in enumerate(order)
        ],
    )


def put(store: Store, stage: str, batch: str, frames: dict[str, pl.DataFrame], *, variant: str = "",
        counts: dict[str, int] | None = None, version: str = "1", extends: bool = False) -> None:  # fmt: skip
    """Commit a stage; the first table is its main one."""
    build = Build(stage, batch, {"version": version}, code_version="code-1", policy_hash="settings-1", variant=variant)
    with store.stage(build, run_id=f"run-{stage}") as writer:
        for name, frame in reversed(frames.items()):
            writer.write(name, frame)
        writer.commit(next(iter(frames)), counts, extends=extends)


def fill(store: Store, prompts: list[Prompt], batch: str = BATCH) -> None:
    """Commit the batch stages."""
    rejected = shaped(
        "rejected_prompts",
        [
            {"source": "gsm8k", "source_row": "file:90", "outcome": "duplicate", "reason_code": "exact_duplicate",
             "reason": "the same text was read before", "prompt_id": prompts[0].id, "matched_prompt_id": prompts[0].id,
             "raw": '{"question": "What is 2 + 2?"}'},
            {"source": "gsm8k", "source_row": "file:91", "outcome": "near_duplicate", "reason_code": "near_duplicate",
             "reason": "0.91 similar", "prompt_id": prompt_id([("user", "What is 2 + 2 ?!")]),
             "matched_prompt_id": prompts[0].id, "raw": '{"question": "What is 2 + 2 ?!"}'},
            {"source": "gsm8k", "source_row": "file:92", "outcome": "quarantined", "reason_code": "bad_json",
             "reason": "line 92 is not JSON", "raw": "{oops"},
        ],
    )  # fmt: skip
    counts = {"rows_read": len(prompts) + 3, "prompts": len(prompts), "duplicate": 1, "near_duplicate": 1,
              "quarantined": 1, "filtered": 0}  # fmt: skip
    put(store, "prompts", batch, {"prompts": prompt_rows(prompts), "rejected_prompts": rejected}, counts=counts)
    hits = [
        {"prompt_id": p.id, "eval_set": "exam", "item": "7", "overlap": "13 words"} for p in prompts if p.contaminated
    ]
    put(store, "contamination", batch, {"contamination": shaped("contamination", hits)})
    put(store, "rollouts", batch, {"rollouts": rollout_rows(prompts)}, variant=POLICY)
    put(store, "verdicts", batch, {"verdicts": verdict_rows(prompts)}, variant=POLICY)
    references = shaped("references", [{"prompt_id": prompts[0].id, "kind": "ground_truth", "text": "four"}])
    put(store, "references", batch, {"references": references}, variant=POLICY)
    put(store, "rewards", batch, {"rewards": reward_rows(prompts)}, variant=POLICY)
    put(store, "difficulty", batch, {"difficulty": difficulty_rows(prompts)}, variant=POLICY)


def choose(store: Store, prompts: list[Prompt], arm: str = "main", version: str = "1", cut: float = 0.3) -> None:
    """Commit selection and curriculum of an arm."""
    frames = {"selection": selection_rows(prompts, arm), "decisions": selection_decision_rows(prompts, arm, cut)}
    put(store, "selection", CORPUS, frames, variant=arm, version=version)
    put(store, "curriculum", CORPUS, {"curriculum": curriculum_rows(prompts, arm)}, variant=arm, version=version)


@cache
def _prepared(prompts: tuple[Prompt, ...]) -> Path:
    folder = tempfile.TemporaryDirectory(prefix="preppo-home-")
    atexit.register(folder.cleanup)
    store = Store(Home(Path(folder.name)))
    fill(store, list(prompts))
    choose(store, list(prompts))
    return store.home.root


def make(root: Path, prompts: list[Prompt] | None = None) -> Store:
    """Return the store of a home with all stages but the release; made once, then copied."""
    shutil.copytree(_prepared(tuple(prompts or PROMPTS)), root)
    return Store(Home(root))
