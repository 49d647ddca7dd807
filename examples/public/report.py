"""What curating the public data found, read from its home: writes README.md and the plots beside this file.

    preppo --config examples/public/preppo.toml --home .preppo-public run
    python examples/public/report.py --home .preppo-public

Every number comes from the home, by the queries in `sql/`. Only the readings of suspect golds are a person's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import polars as pl  # noqa: E402
from formatting import held, listed, short, table  # noqa: E402

from warehouse.funnel import funnel, main_path  # noqa: E402
from warehouse.home import Home  # noqa: E402
from warehouse.plots import funnel_png, histogram_png  # noqa: E402
from warehouse.queries import connect, select  # noqa: E402
from warehouse.store import Store  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    Ask = Callable[[str], pl.DataFrame]  # the name of a file in sql/ -> its answer

ARM = "main"
BINS = 20  # as in sql/bin_pass_rates.sql

# Who is right where all rollouts fail and agree on another answer; by the start of the prompt's id.
READINGS = {
    "2db03577": "The answers are right: 4:30 p.m. The gold lost letters on its way into the file.",
    "6679329c": "The gold is right: 40 degrees is the angle between two lines, 140 the one that the figure marks. All "
    "samples misread the figure, which they have as drawing commands only, in the same way.",
    "afbbb85a": "Open: a bottle every 3 feet of 24 makes 9 bottles and 8 moves (40 seconds) with one at either end, 8 "
    "and 7 (35) without. The question does not say.",
}

# The fates told on the page, by reason.
FATES = {
    "pre_ppo": "Taken by Pre-PPO, and solved now and then",
    "guard_all_zero": "Low enough, but never solved, and the guard's share of such prompts was full",
    "above_cut": "Too easy",
    "suspect_gold": "Held back: the gold is in doubt",
    "contaminated": "Contains an item of the evaluation set",
    "unscored": "Neither verdict nor recorded score: not hard, but unknown",
}


def top(ask: Ask) -> str:
    """Say what this is, and how to run it."""
    return f"""
# Public data, curated end to end

Written by `python examples/public/report.py --home DIR`, from the home that a run of [`preppo.toml`](preppo.toml) left.
Change the command, not this page.

Real prompts with real rollouts, from rows read to a release. The `new` pool, from which preppo selects, is made of
evaluation sets whose rollouts somebody has published. It **stands in for a training pool**, because rollouts are
published for little else: do not train on it. The `original` pool, always trained on, is training data: GSM8K, MATH,
MBPP, IFEval prompts, knights and knaves, Alpaca and Dolly. A stated sample of it, the {ask("count_sample").item()}
prompts of each source with the lowest ids, is rolled out by the nursery model. BIG-Bench Hard is the `eval` pool, and
no training prompt may contain it.

```
export PREPPO_CONFIG=examples/public/preppo.toml PREPPO_HOME=.preppo-public
preppo run                                                                 # one to three minutes on two cores
export PREPPO__REWARD_TRAINING__TRUNK=...                                  # an encoder of sentences; else the nursery
preppo reward train --out .preppo-public/models/hh                         # on the preference pairs
PREPPO__REWARD_MODEL__MODELS='[".preppo-public/models/hh"]' preppo run     # scores the open questions with it
python examples/public/report.py --home .preppo-public                     # writes this page
preppo --home .preppo-public explain PROMPT                                # the whole story of a prompt named below
```

The paths in `preppo.toml` are those of the project's development data, which is not part of the repository.
"""


def rows_read(ask: Ask) -> str:
    """Account for every row."""
    found, read = ask("account_for_rows"), ask("count_rows_read").item()
    total = found.select(pl.lit("**all**").alias("source"), pl.lit("").alias("pool"), pl.col(pl.Int64).sum())
    accounted, prompts = total["rows read"][0], total["prompts"][0]
    return f"""
## What came in, and what became of it

![The funnel](funnel.png)

{table(pl.concat([found, total.select(found.columns)]))}

{held(read == accounted)} {read:,} rows were read, and the table accounts for {accounted:,}. Of the {prompts:,}
prompts, {listed(f"{n:,} are {place}" for place, n in ask("place_prompts").rows())}.

- A file of rollouts has a row a rollout, so its prompts come many times: these are the duplicates.
- `planted` reads the evaluation set and keeps one item of it; the others are the filtered ones.
- Near copies across sources, of which the earlier source's stays:
  {listed(f"{n} of {source} (in {kept})" for source, kept, n in ask("match_sources").rows())}.
"""


def rollouts(ask: Ask) -> str:
    """Say whose rollouts there are."""
    read, filtered, quarantined, samples = ask("count_recorded").row(0)
    return f"""
## Rollouts

{table(ask("count_rollouts"))}

{read:,} recorded rows gave {samples:,} samples; the table counts those whose prompt was kept. {filtered:,} rows were
filtered, {quarantined:,} could not be read, and a row of accuracies stands for many samples.

- `gsm8k-mixed` is one sample of each of several models: a mixed policy, whose pass rate is that of the mixture and of
  no model. Programs that nobody ran are left out. Where the perturbation changed nothing, a question has samples from
  both files.
- `gpt4` is two plain samples a task. `gpt4-reflexion` looked back at its failed tries before it answered: another
  policy, imported beside it. Selection goes by the first policy in the settings that scored a prompt.
- `qwen2.5-math-1.5b-grpo` is accuracies of 8 samples at about fifty points of a training run, imported as pass rates.
  The policy moved meanwhile: the mean says how hard a prompt was over the run, not at any one time.
"""


def spread(ask: Ask) -> str:
    """Show how hard each set is."""
    found = ask("spread_pass_rates")
    given = found.filter(pl.col("policy") != "nursery")
    share = {c: pl.col(c).str.strip_chars("%").cast(pl.Int64) for c in ("never", "always")}
    never, always = (given.sort(share[c], "source", descending=[True, False]).row(0, named=True) for c in share)
    widest = found.sort("variance", descending=True).row(0, named=True)
    return f"""
## How hard each set is

Mean rewards of the scored prompts: their mean and quantiles, the share of prompts never and always solved, the mean
variance of the reward, and the mean width of the 95% interval of the pass rate (Jeffreys).

{table(found)}

![Pass rates of each source](pass_rates.png)

Across: mean reward; up: prompts. Red is what Pre-PPO takes of the new pool.

- Least to learn from, of what was imported: {never["source"]} under {never["policy"]}, where {never["never"]} of the
  prompts are never solved, and {always["source"]} under {always["policy"]}, where {always["always"]} always are. Where
  the reward does not vary, a policy gradient has nothing to follow.
- Most variance: {widest["source"]} under {widest["policy"]}.
- The interval says what the samples are worth: two of them tell little more than "both, one, none".
"""


def verdicts(ask: Ask) -> str:
    """Show how the rollouts were scored."""
    return f"""
## Verdicts and scores

`rtv`: a rule verifier of ours read the response. `recorded`: the score that came with the rollout, which counts only
where no rule verifier applies. A status without a score is a failure to decide, and never counts as hard.

{table(ask("count_rewards"))}
"""


def pre_ppo(ask: Ask) -> str:
    """Show what the main arm takes."""
    groups, sources = ask("cut_groups"), ask("take_by_source")
    ranked, taken, never, passed = groups.select(
        pl.col("ranked", "taken", "never solved", "passed over by the guard").sum()
    ).row(0)
    return f"""
## What Pre-PPO takes

The rule ranks the scored prompts of the new pool by mean reward, within domain and reward source, and takes the lowest
tenth: {taken:,} of {ranked:,}. The guard lets at most half of those be prompts that no sample solved.

{table(groups)}

{never:,} of the {taken:,} were never solved. The guard passed over {passed:,} more such prompts and let others, solved
now and then, take their places. Without it, Pre-PPO would here take mostly prompts that may as well be broken as hard,
and that give a group-relative trainer no gradient. {ask("count_thin").item()} of the never solved ones have three
samples or fewer, which says little: `min_samples` under `[selection]` asks for more.

{table(sources)}

A group is ranked as one: where sources share it, the hardest gives most. {sources["source"][0]} gives the largest
share of all, {sources["share"][0]}. Scores from elsewhere than a rule verifier are ranked apart, because a recorded
score and a verdict need not mean the same.
"""


def arms(ask: Ask) -> str:
    """Compare the arms."""
    found = ask("compare_arms")
    common = {(a, b): n for a, b, n in ask("overlap_arms").rows()}
    columns = [pl.Series(f"also in {b}", [common.get((a, b), 0) for a in found["arm"]], pl.Int64) for b in found["arm"]]
    return f"""
## The arms compared

Arms of equal size over the same scores. The last columns count the prompts that two arms share.

{table(found.with_columns(columns))}

Pre-PPO and the variance rule share {common.get((ARM, "variance"), 0):,} prompts: one wants the hardest, the other the
most undecided. For rewards of 0 and 1 variance and learnability are both p(1 - p), and the two arms share
{common.get(("learnability", "variance"), 0):,}. Which arm trains better is for training runs to say; nothing here does.
"""


def explained(ask: Ask) -> str:
    """Tell the story of one prompt for each fate."""
    found = {r["reason"]: r for r in ask("choose_examples").iter_rows(named=True)}
    lines = [f"- **{meaning}.** {story(found[fate])}" for fate, meaning in FATES.items() if fate in found]
    lines += [
        f"- **Rolled out, and not measured.** {named(r)} {r['samples']} rollouts, no verifier `{r['verifier']}`, "
        f"no recorded score. {'In' if r['selected'] else 'Not in'} the release, and not for a score: `{r['reason']}`."
        for r in ask("choose_unscored").iter_rows(named=True)
    ]
    return "## A few prompts explained\n\nOf each fate the prompt with the lowest id.\n\n" + "\n".join(lines)


def suspects(ask: Ask) -> str:
    """List the suspect golds, with a person's reading."""
    rows = [
        {
            "prompt": f"`{r['prompt_id'][:12]}`",
            "source": r["source"],
            "policy": r["policy"],
            "gold": f"`{r['ground_truth']}`",
            "most rollouts say": f"`{r['majority']}` ({r['votes']} of {r['scored']})",
            "in the release": "yes" if r["selected"] else "no",
            "reason": r["reason"],
            "our reading": READINGS.get(r["prompt_id"][:8], "Not read by a person."),
        }
        for r in ask("list_suspect_golds").iter_rows(named=True)
    ]
    return f"""
## Suspect golds

No rollout passed, and at least 80% gave one and the same other answer. That alone is a flag: it keeps a prompt of the
new pool out until a person has looked.

{table(pl.DataFrame(rows)) if rows else "None."}

Golds can be wrong, and so can all samples in one voice. A person settles it in `overrides.jsonl`, with `suspect_gold`
or another `ground_truth`.
"""


def conflicts(ask: Ask) -> str:
    """List the gold conflicts."""
    found, near = ask("list_gold_conflicts"), ask("count_other_golds")
    lines = [
        f"- {named(r)} Pool {r['pool']}; kept with `{r['ground_truth']}`, and another copy has another gold."
        for r in found.iter_rows(named=True)
    ]
    return f"""
## Gold conflicts

Exact copies with different golds: {found.height}. {held(not found["selected"].any())} none is selected. Two spellings
of one number, such as the `43,500` and `43500` of these files, are no conflict.

{chr(10).join(lines)}

Near copies with different golds are other tasks and stay: {near["n"].sum()} prompts
({listed(f"{n} of {source}" for source, n in near.rows())}). The perturbed GSM8K is made of such copies.
"""


def contamination(ask: Ask) -> str:
    """Show that the planted item was found."""
    found = ask("list_contamination")
    lines = [
        f"- {named(r)} has the {r['overlap']} “{short(r['matched'])}” in common with item `{r['item'][:12]}` of "
        f"{r['eval_set']}, row {r['item_row']} of its file. {held(not r['selected'])} taken by {r['arms'] or 'no arm'}."
        for r in found.iter_rows(named=True)
    ]
    return f"""
## The planted contamination

`planted` is an item of the evaluation set with a sentence before it and one behind it. Nothing else
should be found. {held(found["source"].to_list() == ["planted"])} found: {found.height}.

{chr(10).join(lines)}
"""


def open_questions(ask: Ask) -> str:
    """Show what a reward model makes of prompts without a ground truth."""
    scored = ask("score_open_questions")
    if scored.is_empty():
        return """
## Open questions

No reward model is configured (`[reward_model] models`): prompts without a ground truth are unscored.
"""
    return f"""
## Open questions

Prompts without a ground truth are scored by a reward model that `preppo reward train` made of the HH helpful pairs: a
linear head on a frozen encoder of sentences (all-MiniLM-L6-v2), so a weak one. `preppo reward train` prints how it does
on held-out prompts.

{table(scored)}

The policy is the nursery model, which knows nothing of such questions; its scores say that they can be had, not that
they are good. They decide nothing here, as the original pool is always in.

{table(ask("count_preferences"))}

The model agrees with most labels of `hh-helpful` because it was trained on them; `own_rollouts` are the best and the
worst response to one prompt by verdict or recorded score, and it never saw such tasks.
"""


def unscored(ask: Ask) -> str:
    """List what could not be measured, and why."""
    hard = ask("count_unscored_selected").item()
    return f"""
## Unscored prompts, and why

Rolled out, and not one rollout could be scored:

{table(ask("list_unscored"))}

`no_verifier`: the prompt names a verifier that is not there, and no score was recorded. `no_source`: it has no ground
truth, and neither a judge nor a reward model is configured. `no_response` or `error`: the prompt does not fit the
model. `truncated`: the token limit cut the answer. {held(hard == 0)} {hard} prompts without a score were selected as
hard, by any arm.

Not rolled out at all: {listed(f"{n:,} of {pool} ({split})" for pool, split, n in ask("count_not_rolled_out").rows())}.
"""


def unseen(ask: Ask) -> str:
    """Say what the curation did not see."""
    return f"""
## What the steps did not see

- {ask("count_shared_tasks").item()} tasks of `mbpp-gpt4` are in `mbpp-train` too, by MBPP's own number: here as a
  signature with a docstring, there as a sentence with tests. Copies are found by their words, and these share too few.
- The nursery model knows short sums and one-line functions. That it solves next to nothing here says how small it is,
  not how hard the prompts are. Its scores decide nothing: the original pool is always in.
- The curriculum asks for more than there is: {listed(ask("list_short_phases")["detail"])}.
"""


def release(ask: Ask) -> str:
    """Show the release."""
    found = ask("list_releases")
    return f"""
## The release

{table(found.with_columns(pl.format("`{}`", pl.col("release").str.head(12))))}

Rows of arm `{ARM}` by phase and domain; a prompt may come again in a later phase.

{table(ask("count_phases"))}

```python
from datasets import load_dataset

load_dataset(".preppo-public/releases/{found["release"][0]}")
```
"""


SECTIONS = (top, rows_read, rollouts, spread, verdicts, pre_ppo, arms, explained, suspects, conflicts, contamination,
            open_questions, unscored, unseen, release)  # fmt: skip


def named(row: dict[str, Any]) -> str:
    """Return a prompt's id, source and first words."""
    return f"`{row['prompt_id'][:12]}`, {row['source']}: “{short(row['text'])}”"


def story(row: dict[str, Any]) -> str:
    """Return what was measured of a prompt, and what was decided."""
    facts = [f"{row['samples']} rollouts, {row['scored']} scored" if row["samples"] else "no rollouts"]
    if row["mean"] is not None:
        facts.append(f"mean {row['mean']:.3f}")
    if row["pass_rate_low"] is not None:
        facts.append(f"pass rate within {row['pass_rate_low']:.3f} and {row['pass_rate_high']:.3f}")
    if row["percentile"] is not None:
        facts.append(f"percentile {row['percentile']:.3f} of its group")
    return f"{named(row)} {', '.join(facts)}. Decision: {row['detail']}."


def write(home: Path, out: Path) -> None:
    """Write README.md and its plots into a folder.

    Raises:
        SystemExit: nothing was released in this home yet.
    """
    if not (home / "tables" / "commits" / "_delta_log").is_dir():
        sys.exit(f"{home} holds nothing yet; first: preppo --config examples/public/preppo.toml --home {home} run")
    snapshot = Store(Home(home)).snapshot()
    with connect(snapshot) as con:

        def ask(name: str) -> pl.DataFrame:
            sql = query_text(name).replace("$policies", f"({query_text('name_policies')})")
            return select(con, sql, {"arm": ARM} if "$arm" in sql else None)

        if ask("list_releases").is_empty():
            sys.exit(f"{home} has no release; see: preppo --config examples/public/preppo.toml --home {home} status")
        page = "\n\n".join(section(ask).strip() for section in SECTIONS) + "\n"
        histogram = histogram_png(ask("bin_pass_rates"), "source", BINS)
    out.mkdir(parents=True, exist_ok=True)
    (out / "README.md").write_text(page, encoding="utf-8")
    (out / "pass_rates.png").write_bytes(histogram)
    (out / "funnel.png").write_bytes(funnel_png(main_path(funnel(snapshot, ARM))))


def query_text(name: str) -> str:
    """Return a query of `sql/`."""
    return (HERE / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def main() -> None:
    """Read the arguments, and write the page."""
    parser = argparse.ArgumentParser(description="Write what curating the public data found.")
    parser.add_argument("--home", type=Path, required=True, help="the home that a run of preppo.toml left")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to; default: beside this file")
    arguments = parser.parse_args()
    write(arguments.home.resolve(), arguments.out)


if __name__ == "__main__":
    main()
