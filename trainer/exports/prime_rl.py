"""prime-rl: a package with a taskset of Prime Intellect's `verifiers` (v1); the key of a task is the prompt's id.

That package has the name of one of preppo's, so both cannot be in one environment: the reward is asked over HTTP. The
rows have the columns of v0 environments (`prompt`, `answer`, `info`), one file a phase, since prime-rl samples from
what it is given. A response that could not be decided raises: the rollout is recorded as failed.
"""

from __future__ import annotations

from typing import Any

from trainer.exports.contract import About, Format, Record

PACKAGE = "preppo_release"


def _row(record: Record) -> dict[str, Any]:
    row = record.row
    return {
        "prompt": record.messages,
        "answer": row["ground_truth"] or "",
        "info": record.task,
        "prompt_id": row["prompt_id"],
        "phase": row["phase"] or "",
        "tools_json": row["tools"] or "",
    }


def _files(about: About) -> dict[str, str]:
    project = f"""\
# The taskset of release {about.release_id}; `uv pip install .` puts it beside prime-rl.
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "preppo-release"
version = "0+{about.release_id[:12]}"
description = "Prompts of preppo release {about.release_id[:12]}"
requires-python = ">=3.11"
dependencies = ["verifiers>=0.4"]

[tool.hatch.build]
ignore-vcs = true   # else what a repository around this folder ignores, as data often is, stays out of the package

[tool.hatch.build.targets.wheel]
packages = ["{PACKAGE}"]
"""
    config = (
        "# An environment as prime-rl and the `eval` of verifiers take it, one phase after the other.\n"
        + "\n".join(
            f'{"" if n == 0 else "# "}[env.taskset]\n{"" if n == 0 else "# "}id = "{PACKAGE}"\n'
            f'{"" if n == 0 else "# "}phase = "{name}"\n'
            for n, name in enumerate(about.train)
        )
    )
    return {
        "pyproject.toml": project,
        "environment.toml": config,
        f"{PACKAGE}/__init__.py": f'"""Prompts of preppo release {about.release_id[:12]}."""\n\n'
        f"from {PACKAGE}.taskset import PreppoTaskset\n\n__all__ = ['PreppoTaskset']\n",
    }


def _how(about: About) -> str:
    return f"""\
```
uv pip install .                                                # in the environment of prime-rl
export PREPPO_REWARD_URL=http://HOST:8400 PREPPO_SIGNALS=/shared/signals.jsonl   # `preppo reward serve` there
export PREPPO_TRAINING_RUN_ID=NAME                                               # of this training, all phases of it
```

`environment.toml` names the taskset and the phase; train on {", ".join(about.train)} in this order.

The key of a task is the prompt's id, and keys are unique in a taskset: where no phase is named, all of them are loaded
as one, and a prompt that occurs again comes once, so that the later phases are smaller than their files. A phase that
is named is whole, but for prompts that occur twice in it.

A response that was cut, or could not be decided, raises: it is an error of its rollout."""


FORMAT = Format(
    name="prime-rl",
    suffix="jsonl",
    row=_row,
    shuffles=True,
    knows_null=True,
    order={"one_file_a_phase": True},
    reward_at=PACKAGE,
    rows_at=PACKAGE,
    files=_files,
    templates={"prime_rl_taskset.py": f"{PACKAGE}/taskset.py"},
    how=_how,
)
