"""The data set card of a release: `README.md` with the front matter that `datasets.load_dataset` reads, and plots."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from warehouse.funnel import main_path
from warehouse.plots import funnel_png, histogram_png
from warehouse.release_rows import HISTOGRAM_BINS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from warehouse.release_rows import Written

_COLUMNS = """
| column | meaning |
|---|---|
| `position`, `phase`, `occurrence` | place in the curriculum; a prompt may occur in several phases. Null in `heldout` |
| `prompt_id` | hash of the canonical messages |
| `messages`, `raw_text` | the prompt; `raw_text` is an exact prefix for completion tasks, else null |
| `tools`, `extra`, `key` | JSON text from the source, or null; the source's own key |
| `domain`, `pool`, `source`, `licence`, `batch` | where it comes from |
| `verifier`, `ground_truth` | how a response is checked: the rule verifier's name, and its gold as JSON text |
| `reference`, `reference_kind` | what a judge compares with where no rule applies; `none_chosen`: no sample could be |
| `policy_id` | the policy that was rolled out for the columns that follow |
| `reward_source`, `samples`, `scored`, `truncated` | who scored; rollouts, those scored, those cut by the token limit |
| `mean`, `variance` | of the rewards; null where nothing was scored |
| `pass_rate`, `pass_rate_low`, `pass_rate_high`, `learnability` | where a reward says pass or fail |
| `distinct_answers`, `majority_agreement`, `suspect_gold` | what the rollouts agree on |
| `rule`, `score`, `group`, `percentile`, `reason` | why the selection took it |
""".strip()


def write_card(folder: Path, manifest: dict[str, Any], written: Written, funnel: pl.DataFrame | None) -> None:
    """Write `README.md` and `plots/` into the folder of a release.

    Args:
        folder: with the three Parquet files in it.
        manifest: what `manifest.json` says.
        written: counts by domain, source, licence, pool and phase, and the histogram of mean rewards.
        funnel: as `warehouse.funnel.funnel` returns it for the release's arm; None leaves the funnel out.
    """
    plots = folder / "plots"
    plots.mkdir()
    shown = written.histogram.height > 0
    if shown:
        (plots / "mean_reward.png").write_bytes(histogram_png(written.histogram, bins=HISTOGRAM_BINS))
    if funnel is not None:
        (plots / "funnel.png").write_bytes(funnel_png(main_path(funnel)))
    parts = [
        _front_matter(manifest),
        _summary(manifest),
        _loading(manifest),
        _contents(written),
        _funnel(funnel) if funnel is not None else "",
        _difficulty() if shown else "",
        _truncation(folder),
        _licences(written.groups),
        f"## Columns\n\n{_COLUMNS}",
        _provenance(manifest),
    ]
    (folder / "README.md").write_text("\n\n".join(p for p in parts if p) + "\n", "utf-8")


def _front_matter(manifest: dict[str, Any]) -> str:
    rows = manifest["counts"]["train_rows"]
    sizes = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
             (10_000_000, "1M<n<10M"))  # fmt: skip
    size = next((name for limit, name in sizes if rows < limit), "n>10M")
    counts = {"train": rows, "heldout": manifest["counts"]["heldout"]}
    # `datasets` cannot load a split without rows, so an empty one is not announced; its file is there all the same.
    splits = [name for name, count in counts.items() if count] or list(counts)
    return "\n".join(
        [
            "---",
            f"pretty_name: {json.dumps('preppo release ' + manifest['release_id'][:12])}",
            "license: other",
            "size_categories:",
            f"- {size}",
            "tags:",
            "- rlhf",
            "- rlvr",
            "- prompts",
            "configs:",
            "- config_name: default",
            "  data_files:",
            *(line for name in splits for line in (f"  - split: {name}", f"    path: {name}.parquet")),
            "---",
        ]
    )


def _summary(manifest: dict[str, Any]) -> str:
    counts = manifest["counts"]
    return (
        f"# preppo release {manifest['release_id'][:12]}\n\n"
        f"Arm `{manifest['arm']}`: {counts['train_rows']:,} rows to train on, in order "
        f"({counts['train_prompts']:,} prompts), {counts['heldout']:,} prompts held out, "
        f"{counts['decisions']:,} decisions that say why.\n\n"
        f"Full id `{manifest['release_id']}`, policy `{manifest['policy_hash']}`, code `{manifest['code_version']}`."
    )


def _loading(manifest: dict[str, Any]) -> str:
    both = manifest["counts"]["train_rows"] and manifest["counts"]["heldout"]
    return (
        "## Load\n\n```python\nimport datasets\n\n"
        f'release = datasets.load_dataset("path/to/{manifest["release_id"]}")\n'
        + ('release["train"], release["heldout"]' if both else "release  # a split without rows is not in it")
        + "\n```\n\n"
        "Keep the order of `train`: it is the curriculum. The settings that made it are `policy` in `manifest.json`; "
        "`decisions.parquet` has every decision about every prompt, those left out included."
    )


def _contents(written: Written) -> str:
    train = written.groups.filter(pl.col("part") == "train")
    by_phase = dict(train.group_by("phase").agg(pl.col("rows").sum()).iter_rows())
    tables = [_table(["phase, in order", "rows"], [(p, by_phase[p]) for p in written.phases])]
    for column in ("domain", "pool"):
        summed = train.group_by(pl.col(column).fill_null("unknown")).agg(pl.col("rows").sum())
        tables.append(_table([column, "rows"], summed.sort("rows", column, descending=[True, False]).rows()))
    return "## What is in `train`\n\n" + "\n\n".join(tables)


def _funnel(funnel: pl.DataFrame) -> str:
    rows = funnel.select("stage", "outcome", "rows").rows()
    return f"## Funnel\n\n![Rows left after each step](plots/funnel.png)\n\n{_table(['step', 'outcome', 'rows'], rows)}"


def _difficulty() -> str:
    return (
        "## How hard the prompts are\n\n"
        "Mean reward of the measured prompts by domain; selected in colour, the rest in grey.\n\n"
        "![Mean reward by domain](plots/mean_reward.png)"
    )


def _truncation(folder: Path) -> str:
    """Return how many samples of the training prompts the token limit cut, by domain; nothing where it cut none."""
    rows = (
        pl.scan_parquet(folder / "train.parquet")
        .select("prompt_id", pl.col("domain").fill_null("unknown"), "samples", "truncated")
        .unique()
        .group_by("domain")
        .agg(pl.col("samples", "truncated").sum())
        .filter(pl.col("truncated") > 0)
        .sort("domain")
        .collect()
    )
    if rows.is_empty():
        return ""
    told = [(domain, samples, cut, f"{cut / samples:.1%}") for domain, samples, cut in rows.iter_rows()]
    return (
        "## Samples that the token limit cut\n\n"
        "Of the prompts in `train`. They have no score, and count neither as right nor as wrong.\n\n"
        + _table(["domain", "samples", "cut", "share"], told)
    )


def _licences(groups: pl.DataFrame) -> str:
    keys = [pl.col("source").fill_null("unknown"), pl.col("licence").fill_null("not stated")]
    counted = groups.group_by(keys).agg(
        train=pl.col("rows").filter(pl.col("part") == "train").sum(),
        heldout=pl.col("rows").filter(pl.col("part") == "heldout").sum(),
    )
    rows = counted.sort("source", "licence").rows()
    return (
        "## Sources and licences\n\n"
        "Each row keeps the licence of its source: check the strictest before sharing the whole.\n\n"
        + _table(["source", "licence", "rows in train", "rows in heldout"], rows)
    )


def _provenance(manifest: dict[str, Any]) -> str:
    name = manifest["release_id"]
    inputs = _table(["input", "hash"], sorted(manifest["inputs"].items()))
    models = "\n".join(f"- `{json.dumps(m, sort_keys=True)}`" for m in manifest["models"])
    return (
        "## Provenance\n\n"
        + (f"{inputs}\n\n" if manifest["inputs"] else "")
        + (f"Models:\n\n{models}\n\n" if models else "")
        + "Check that nothing was changed, and make the same files again from the tables of the home:\n\n"
        + "```python\n"
        + "from warehouse.home import Home\nfrom warehouse.rebuild import rebuild\n"
        + "from warehouse.releases import load_release, verify_release\n\n"
        + f'home = Home()\nrelease = load_release(home.releases, "{name}")\n'
        + "print(verify_release(release))          # [] where nothing was changed\n"
        + "print(rebuild(home, release).matches)   # file -> whether the rebuilt bytes are the same\n```"
    )


def _table(header: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join("---" for _ in header) + "|"]
    lines += ["| " + " | ".join(_cell(x) for x in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
