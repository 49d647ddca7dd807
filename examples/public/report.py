"""What curating the public data found, read from its home: writes README.md and the plots beside this file.

    preppo --config examples/public/preppo.toml --home .preppo-public run
    python examples/public/report.py --home .preppo-public

Every number on the page comes from the home. Only the readings of suspect golds (`READINGS`) are a person's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

import duckdb  # noqa: E402

from warehouse.funnel import funnel, main_path  # noqa: E402
from warehouse.home import Home  # noqa: E402
from warehouse.plots import funnel_png, histogram_png  # noqa: E402
from warehouse.queries import connect, select  # noqa: E402
from warehouse.store import Store  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import polars as pl

ARM = "main"
BINS = 20
SHOWN_CHARS = 80

# Who is right where all rollouts fail and agree on another answer; by the start of the prompt's id.
READINGS = {
    "2db03577": "The answers are right: 4:30 p.m. The gold lost letters on its way into the file.",
    "6679329c": "The gold is right: 40 degrees is the angle between the lines, 140 is the angle that the figure marks. "
    "All samples read the figure's code wrong in the same way.",
    "afbbb85a": "Open to both: 24 feet with a bottle every 3 feet are 9 bottles and 8 moves (40 seconds) where both "
    "ends get one, 8 bottles and 7 moves (35) where only one does. The question does not say.",
}

# One prompt for each of these fates (the lowest id) is told on the page.
FATES = {
    "pre_ppo": "taken by Pre-PPO, solved now and then",
    "guard_all_zero": "low enough, but never solved, and the guard's share of such prompts was full",
    "above_cut": "too easy",
    "suspect_gold": "held back: the gold is in doubt",
    "contaminated": "contains an item of the evaluation set",
    "unscored": "no verdict, no recorded score: not hard, unknown",
}

TOP = """
<!-- Written by `python examples/public/report.py --home DIR`: change the command, not this page. -->

# Public data, curated end to end

Written by `python examples/public/report.py --home DIR` from the home that a run of [`preppo.toml`](preppo.toml) left.

Real prompts with real rollouts, from read rows to a release. The `new` pool, from which preppo selects, is made of
evaluation sets whose rollouts somebody has published. It **stands in for a training pool**, because published rollouts
exist for little else: do not train on it. The `original` pool, always trained on, is training data: GSM8K, MATH, MBPP,
IFEval prompts, knights and knaves, Alpaca and Dolly. A stated sample of it, the {per_source} prompts of each source
with the lowest ids, is rolled out by the nursery model. BIG-Bench Hard is the `eval` pool, and no training prompt may
contain it.

```
preppo --config examples/public/preppo.toml --home .preppo-public run      # one to three minutes on two cores
python examples/public/report.py --home .preppo-public                     # writes this page
preppo --home .preppo-public explain PROMPT                                # the whole story of a prompt below
```

The paths in `preppo.toml` are those of the project's development data, which is not part of the repository.
"""


class Report:
    """The sections of the page, over one consistent view of a home."""

    def __init__(self, home: Home) -> None:
        self._snapshot = Store(home).snapshot()
        self._con = connect(self._snapshot)
        self._releases = home.releases

    def close(self) -> None:
        """Close the connection."""
        self._con.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of one SELECT."""
        return self._frame(sql).rows()

    def one(self, sql: str) -> Any:
        """Return the only value of one SELECT."""
        return self._frame(sql).item()

    def _frame(self, sql: str) -> pl.DataFrame:
        return select(self._con, sql)

    def plots(self) -> dict[str, bytes]:
        """Return file name -> PNG."""
        counts = self._frame(f"""
            SELECT source, CAST(least(floor(mean * {BINS}), {BINS - 1}) AS BIGINT) AS bin, selected, count(*) AS prompts
            FROM (SELECT *, selected AND pool = 'new' AS taken FROM candidates) AS c (* REPLACE (taken AS selected))
            WHERE arm = '{ARM}' AND mean IS NOT NULL GROUP BY ALL ORDER BY ALL""")
        steps = main_path(funnel(self._snapshot, ARM))
        return {"pass_rates.png": histogram_png(counts, "source", BINS), "funnel.png": funnel_png(steps)}

    def page(self) -> str:
        """Return the page as Markdown."""
        sections = (
            self._top, self._rows_read, self._rollouts, self._spread, self._verdicts, self._pre_ppo, self._arms,
            self._explained, self._suspects, self._conflicts, self._contamination, self._unscored, self._unseen,
            self._release,
        )  # fmt: skip
        return "\n\n".join(section().strip() for section in sections) + "\n"

    def _top(self) -> str:
        per_source = self.one("""
            SELECT max(n) FROM (SELECT count(*) AS n FROM difficulty AS d JOIN prompts AS p ON d.prompt_id = p.prompt_id
            WHERE p.pool = 'original' GROUP BY d.policy_id, p.source)""")
        return TOP.format(per_source=per_source)

    def _rows_read(self) -> str:
        fates = "duplicate near_duplicate filtered quarantined".split()
        counted = ", ".join(f"count(*) FILTER (outcome = '{f}') AS {f}" for f in fates)
        found = self.rows(f"""
            SELECT source, pool, count(*), count(*) FILTER (outcome = 'prompt'), {counted}
            FROM (
                SELECT source, pool, 'prompt' AS outcome FROM prompts
                UNION ALL
                SELECT r.source, p.pool, outcome FROM rejected_prompts AS r
                LEFT JOIN (SELECT DISTINCT source, pool FROM prompts) AS p ON r.source = p.source
            )
            GROUP BY source, pool ORDER BY array_position(['original', 'new', 'eval'], pool), source""")
        total = [sum(r[i] for r in found) for i in range(2, 4 + len(fates))]
        read = self.one(
            "SELECT sum(CAST(counts ->> 'rows_read' AS BIGINT)) FROM commits WHERE stage = 'prompts' AND live"
        )
        into = self.rows(f"""
            SELECT CASE WHEN selected THEN 'in the release of arm {ARM}' WHEN reason = 'eval' THEN 'in the eval pool'
                WHEN reason = 'heldout' THEN 'held out' ELSE 'not selected' END AS fate, count(*)
            FROM selection WHERE arm = '{ARM}' GROUP BY 1 ORDER BY 2 DESC""")
        crossing = self.rows("""
            SELECT r.source, p.source, count(*) FROM rejected_prompts AS r
            JOIN prompts AS p ON r.matched_prompt_id = p.prompt_id
            WHERE r.source <> p.source AND outcome = 'near_duplicate' GROUP BY ALL ORDER BY 3 DESC, 1""")
        return f"""
## What came in, and what became of it

![The funnel](funnel.png)

{
            table(
                ("source", "pool", "rows read", "prompts", *(f.replace("_", " ") for f in fates)),
                [*found, ("**all**", "", *total)],
            )
        }

{verdict(read == total[0])} {read:,} rows were read, and {total[0]:,} are accounted for in the table. Of the
{total[1]:,} prompts, {listed(f"{n:,} are {fate}" for fate, n in into)}.

- A file of rollouts has a row a rollout, so the prompts of those sources come many times: these are the duplicates.
- `planted` reads the evaluation set and keeps one item of it; the others are counted as filtered.
- Near copies across sources, the earlier source wins: {listed(f"{n} of {a} in {b}" for a, b, n in crossing)}.
"""

    def _rollouts(self) -> str:
        read = self.rows("""
            SELECT sum(CAST(counts ->> 'rows_read' AS BIGINT)), sum(CAST(counts ->> 'filtered' AS BIGINT)),
                sum(CAST(counts ->> 'quarantined' AS BIGINT)), sum(CAST(counts ->> 'samples' AS BIGINT))
            FROM commits WHERE stage = 'recorded_rollouts' AND live""")[0]
        found = self.rows(f"""
            WITH named AS ({POLICIES})
            SELECT name, if(bool_or(recorded), 'imported', 'rolled out here'), count(DISTINCT prompt_id), count(*),
                count(*) FILTER (finish_reason = 'length')
            FROM rollouts JOIN named USING (policy_id) GROUP BY name, policy_id ORDER BY 2, 1""")
        return f"""
## Rollouts

{table(("policy", "", "prompts", "samples", "cut by the token limit"), found)}

From {read[0]:,} recorded rows came {read[3]:,} samples: {read[1]:,} rows were left out by a `where`, {read[2]:,} could not
be read, and a row of accuracies stands for many samples. Samples of prompts that were rejected have no place to go.

- `gsm8k-mixed` is one sample of each of several models, a mixed policy. Its pass rate is that of the mixture, not of any
  model. Left out: programs that nobody ran. A question that the perturbation left as it was has samples of both files.
- `gpt4` is two plain samples a task. `gpt4-reflexion` looked at its failed tries before it answered: another policy,
  imported beside it. The scores of the first policy in the settings count for selection.
- `qwen2.5-math-1.5b-grpo` are accuracies of 8 samples at about fifty points of a training run, imported as pass rates. The
  policy moved meanwhile, so the mean says how hard a prompt was over the run, not at one time.
"""

    def _spread(self) -> str:
        found = self.rows(f"""
            WITH named AS ({POLICIES})
            SELECT p.source, name, count(*), if(min(samples) = max(samples), CAST(min(samples) AS VARCHAR),
                    min(samples) || ' to ' || max(samples)),
                avg(mean), quantile_cont(mean, 0.1), quantile_cont(mean, 0.25), quantile_cont(mean, 0.5),
                quantile_cont(mean, 0.75), quantile_cont(mean, 0.9), avg(CAST(mean = 0 AS INT)),
                avg(CAST(mean = 1 AS INT)), avg(variance), avg(pass_rate_high - pass_rate_low)
            FROM difficulty AS d JOIN prompts AS p ON d.prompt_id = p.prompt_id
            JOIN named ON d.policy_id = named.policy_id
            WHERE scored > 0 GROUP BY p.source, name ORDER BY avg(mean), p.source, name""")
        shown = [(*r[:4], *(f"{x:.2f}" for x in r[4:10]), *map(percent, r[10:12]), f"{r[12]:.3f}", f"{r[13]:.2f}")
                 for r in found]  # fmt: skip
        never, always = max(found, key=lambda r: r[10]), max(found, key=lambda r: r[11])
        sharp = max(found, key=lambda r: r[12])
        header = ("source", "policy", "scored prompts", "samples", "mean", "10%", "25%", "median", "75%", "90%", "never",
                  "always", "variance", "interval")  # fmt: skip
        return f"""
## How hard each set is

Pass rates of prompts: mean, quantiles, the share never and always solved, the mean variance of the reward, and the mean
width of the {percent(0.95)} interval (Jeffreys).

{table(header, shown)}

![Pass rates of each source](pass_rates.png)

Across: pass rate; up: prompts. Red is what Pre-PPO takes of the new pool.

- Furthest from having anything to learn: {never[0]} under {never[1]}, where {percent(never[10])} of the prompts are never
  solved, and {always[0]} under {always[1]}, where {percent(always[11])} always are. In those prompts the reward does not
  vary, and a policy gradient has nothing to follow.
- Most variance: {sharp[0]} under {sharp[1]}.
- The width of the interval says what the number of samples is worth: with two samples hardly more than "both, one, none".
"""

    def _verdicts(self) -> str:
        found = self.rows(f"""
            WITH named AS ({POLICIES})
            SELECT name, coalesce(r.source, 'none'), r.status, count(*), count(reward),
                coalesce(printf('%.3f', avg(reward)), '')
            FROM rewards AS r JOIN named USING (policy_id) GROUP BY ALL ORDER BY 1, 2, 3""")
        return f"""
## Verdicts and scores

Source `rtv` is a rule verifier of ours that read the response; `recorded` is the score that came with the rollout, which
counts only where no rule verifier applies. A status without a score is a failure to decide, and never counts as hard.

{table(("policy", "score from", "status", "rollouts", "with a score", "mean"), found)}
"""

    def _pre_ppo(self) -> str:
        groups = self.rows(f"""
            SELECT "group", count(*), count(*) FILTER (selected), count(*) FILTER (selected AND d.reward_max = 0),
                count(*) FILTER (s.reason = 'guard_all_zero'), max(s.score) FILTER (selected),
                max(s.percentile) FILTER (selected)
            FROM selection AS s JOIN difficulty AS d ON s.prompt_id = d.prompt_id AND s.policy_id = d.policy_id
            WHERE arm = '{ARM}' AND "group" IS NOT NULL GROUP BY 1 ORDER BY 1""")
        sources = self.rows(f"""
            SELECT source, count(*), count(*) FILTER (selected), avg(CAST(selected AS INT)), avg(mean),
                avg(mean) FILTER (selected), avg(variance), avg(variance) FILTER (selected)
            FROM candidates WHERE arm = '{ARM}' AND score IS NOT NULL GROUP BY 1 ORDER BY 4 DESC, 1""")
        ranked, taken, zero, moved = (sum(g[i] for g in groups) for i in (1, 2, 3, 4))
        cut = [(*g[:5], f"{g[5]:.4f}", f"{g[6]:.3f}") for g in groups]
        most = sources[0]
        return f"""
## What Pre-PPO takes

The rule ranks the scored prompts of the new pool by mean reward within domain and reward source, and takes the lowest
tenth: {taken:,} of {ranked:,}. The guard allows half of those to be prompts that no sample solved.

{
            table(
                (
                    "group",
                    "ranked",
                    "taken",
                    "of them never solved",
                    "passed over by the guard",
                    "mean of the last one taken",
                    "its percentile",
                ),
                cut,
            )
        }

{zero:,} of the {taken:,} taken were never solved. The guard passed over {
            moved:,} more of the kind, and prompts that are solved
now and then took their places. Without it Pre-PPO would here take almost only prompts that nobody can say are hard rather
than broken, and that give a group-relative trainer no gradient.

{
            table(
                (
                    "source",
                    "ranked",
                    "taken",
                    "share",
                    "mean of all",
                    "mean of those taken",
                    "variance of all",
                    "variance of those taken",
                ),
                [(*s[:3], percent(s[3]), *(number(x) for x in s[4:])) for s in sources],
            )
        }

A group is ranked as one: where two sources share it, the harder one gives more. Here {most[0]} gives the largest share,
{percent(most[3])}. Sources whose scores come from elsewhere than a rule verifier are ranked apart, because a recorded
score and a verdict need not mean the same.
"""

    def _arms(self) -> str:
        arms = [r[0] for r in self.rows(f"SELECT DISTINCT arm FROM selection ORDER BY arm <> '{ARM}', arm")]
        facts = self.rows(f"""
            SELECT s.arm, any_value(s.rule), count(*), avg(mean), avg(c.variance), avg(CAST(mean = 0 AS INT))
            FROM candidates AS c JOIN selection AS s USING (arm, prompt_id)
            WHERE c.selected AND c.pool = 'new' GROUP BY 1 ORDER BY s.arm <> '{ARM}', s.arm""")
        common = {(a, b): n for a, b, n in self.rows("""
            WITH taken AS (SELECT arm, prompt_id FROM candidates WHERE selected AND pool = 'new')
            SELECT a.arm, b.arm, count(*) FROM taken AS a JOIN taken AS b USING (prompt_id) GROUP BY ALL""")}  # fmt: skip
        shown = [(f"{f[0]} ({f[1]})", f[2], f"{f[3]:.3f}", f"{f[4]:.3f}", percent(f[5]),
                  *(common.get((f[0], a), 0) for a in arms)) for f in facts]  # fmt: skip
        apart = common.get((ARM, "variance"), 0)
        return f"""
## The arms compared

Arms of equal size over the same scores; the last columns count the prompts that two arms share.

{table(("arm (rule)", "taken", "mean", "variance", "never solved", *(f"also in {a}" for a in arms)), shown)}

Pre-PPO and the variance rule share {apart:,} prompts: they want different things, the hardest and the most undecided. For
rewards of 0 and 1, variance and learnability are both p(1 - p) and take the same prompts. Which arm trains better is for a
training run to say; nothing on this page does.
"""

    def _explained(self) -> str:
        lines = []
        for fate, meaning in FATES.items():
            solved = "AND c.mean > 0" if fate == "pre_ppo" else ""
            found = self.rows(f"""
                SELECT c.prompt_id, c.source, t.text, c.mean, c.samples, c.scored, c.pass_rate_low, c.pass_rate_high,
                    c.percentile, d.detail
                FROM candidates AS c JOIN prompt_texts AS t USING (prompt_id)
                JOIN decisions AS d ON d.prompt_id = c.prompt_id AND d.arm = c.arm AND d.stage = 'selection'
                WHERE c.arm = '{ARM}' AND c.reason = '{fate}' {solved} ORDER BY c.prompt_id LIMIT 1""")
            lines += [story(meaning, *row) for row in found]
        lines += [
            f"- **Not measured: no verdict, no recorded score, and so not hard but unknown.** `{i[:12]}`, {source}: "
            f"“{short(text)}” {n} rollouts, none scored; `{verifier}` is not among the verifiers. In the release as part "
            "of the original pool, which no score decides."
            for i, source, text, n, verifier in self.rows("""
                SELECT p.prompt_id, p.source, t.text, d.samples, p.verifier FROM difficulty AS d
                JOIN prompts AS p ON d.prompt_id = p.prompt_id JOIN prompt_texts AS t ON t.prompt_id = p.prompt_id
                WHERE d.scored = 0 AND p.verifier IS NOT NULL AND p.split = 'train' AND p.pool = 'original'
                    AND d.samples > d.truncated
                ORDER BY p.verifier <> 'code', p.prompt_id LIMIT 1""")
        ]
        return "## A few prompts explained\n\nOf each fate, the prompt with the lowest id.\n\n" + "\n".join(lines)

    def _suspects(self) -> str:
        found = self.rows(f"""
            WITH named AS ({POLICIES}),
            counted AS (
                SELECT prompt_id, policy_id, extracted, count(*) AS votes FROM verdicts
                WHERE role = 'scored' AND extracted IS NOT NULL GROUP BY ALL
            )
            SELECT d.prompt_id, p.source, name, d.scored, p.ground_truth, arg_max(extracted, votes), max(votes),
                any_value(s.reason)
            FROM difficulty AS d JOIN prompts AS p ON d.prompt_id = p.prompt_id
            JOIN named ON d.policy_id = named.policy_id
            JOIN counted AS v ON d.prompt_id = v.prompt_id AND d.policy_id = v.policy_id
            JOIN selection AS s ON s.prompt_id = d.prompt_id AND s.arm = '{ARM}'
            WHERE suspect_gold GROUP BY ALL ORDER BY name, d.prompt_id""")
        shown = [(f"`{r[0][:12]}`", *r[1:4], f"`{r[4]}`", f"`{r[5]}` ({r[6]})", r[7],
                  READINGS.get(r[0][:8], "Not read by a person.")) for r in found]  # fmt: skip
        return f"""
## Suspect golds

No rollout passed, and at least 80% of them gave one and the same other answer. Alone that is a flag; it keeps a prompt of
the new pool out until a person has looked.

{table(("prompt", "source", "policy", "scored", "gold", "majority (votes)", "selection", "our reading"), shown)}

Both kinds occur: golds that are wrong, and questions on which all samples are wrong in one voice. `overrides.jsonl` is where
a person settles it (`suspect_gold = false`, or another `ground_truth`).
"""

    def _conflicts(self) -> str:
        conflicts = self.rows("""
            SELECT p.prompt_id, p.source, p.pool, p.ground_truth, t.text FROM prompts AS p
            JOIN prompt_texts AS t ON p.prompt_id = t.prompt_id WHERE p.gold_conflict ORDER BY p.prompt_id""")
        near = self.rows("""
            SELECT p.source, count(DISTINCT d.prompt_id) FROM decisions AS d JOIN prompts AS p ON d.prompt_id = p.prompt_id
            WHERE d.rule = 'near_duplicate_other_gold' GROUP BY 1 ORDER BY 2 DESC, 1""")
        lines = [f"- `{i[:12]}`, {source} (pool {pool}): kept with `{gold}`, another copy says otherwise. “{short(text)}”"
                 for i, source, pool, gold, text in conflicts]  # fmt: skip
        return f"""
## Gold conflicts

Exact copies with different golds: {len(conflicts)} {"prompt" if len(conflicts) == 1 else "prompts"}. None of them is
selected. Spellings of one number, such as `43,500` and `43500` in the files of GSM8K, are no conflict.

{chr(10).join(lines)}

Near copies with different golds are other tasks and stay: {sum(n for _, n in near)} prompts, {listed(f"{n} of {s}" for s, n in near)}.
The perturbed GSM8K is made of such copies.
"""

    def _contamination(self) -> str:
        found = self.rows(f"""
            SELECT c.prompt_id, p.source, c.eval_set, c.item, e.source_row, c.overlap, c.matched,
                bool_or(s.selected) AS taken, any_value(s.reason) FILTER (s.arm = '{ARM}')
            FROM contamination AS c JOIN prompts AS p ON c.prompt_id = p.prompt_id
            JOIN selection AS s ON s.prompt_id = c.prompt_id LEFT JOIN prompts AS e ON e.prompt_id = c.item
            GROUP BY ALL ORDER BY p.source, c.prompt_id""")
        lines = [f"- `{f[0][:12]}` ({f[1]}) contains item `{f[3][:12]}` of {f[2]} (row {f[4].rpartition(':')[2]} of its file), "
                 f"by {f[5]}: “{short(f[6])}” {'**SELECTED by an arm**' if f[7] else 'Selected by no arm'}; reason: {f[8]}."
                 for f in found]  # fmt: skip
        planted = sum(f[1] == "planted" for f in found)
        return f"""
## The planted contamination

`planted` is one item of the evaluation set with a sentence before it and one behind it. {verdict(planted == 1)}
{planted} planted prompt was found, and {len(found) - planted} others.

{chr(10).join(lines)}
"""

    def _unscored(self) -> str:
        found = self.rows("""
            SELECT p.source, coalesce(p.verifier, 'none'), r.status, count(DISTINCT r.prompt_id), count(*)
            FROM rewards AS r JOIN prompts AS p ON r.prompt_id = p.prompt_id
            WHERE r.prompt_id IN (SELECT prompt_id FROM difficulty WHERE scored = 0) AND reward IS NULL
            GROUP BY ALL ORDER BY p.source, r.status""")
        waiting = self.rows("""
            SELECT p.pool, p.split, count(*) FROM prompts AS p
            WHERE p.prompt_id NOT IN (SELECT prompt_id FROM rollouts) GROUP BY ALL ORDER BY 3 DESC""")
        hard = self.one("""
            SELECT count(*) FROM candidates WHERE pool = 'new' AND selected AND reason <> 'override' AND coalesce(scored, 0) = 0
        """)
        return f"""
## Unscored prompts, and why

Rolled out, and no rollout could be scored:

{table(("source", "verifier", "why", "prompts", "rollouts"), found)}

`no_verifier`: the prompt names a verifier that is not there, and no score was recorded. `no_source`: it has no
ground truth and no judge or reward model is configured. `no_response`: the prompt does not fit the model.
`truncated`: the answer was cut. {verdict(hard == 0)} {hard} unscored prompts were selected as hard, by any arm.

Not rolled out at all, outside the stated sample: {listed(f"{n:,} of {pool} ({split})" for pool, split, n in waiting)}.
"""

    def _unseen(self) -> str:
        shared = self.one("""
            SELECT count(*) FROM prompts AS a JOIN prompts AS b ON a."key" = b."key"
            WHERE a.source = 'mbpp-gpt4' AND b.source = 'mbpp-train'""")
        phases = self.rows(f"""
            SELECT DISTINCT detail FROM decisions WHERE stage = 'curriculum' AND arm = '{ARM}' AND outcome = 'flag'
            ORDER BY 1""")
        return f"""
## What the steps did not see

- {shared} tasks of `mbpp-gpt4` are in `mbpp-train` too, by MBPP's own number: once as a signature with a docstring, once as
  a sentence with tests. Copies are found by their words, and these share too few.
- The nursery model knows sums and one-line functions. That it solves next to nothing here says how small it is, not
  how hard the prompts are; its scores decide nothing, since the original pool is always in.
- The curriculum asks for more than there is: {listed(d for (d,) in phases) or "nowhere"}.
"""

    def _release(self) -> str:
        found = self.rows(f"""
            SELECT r.arm, r.release_id, r."rows", r.prompts, r.heldout FROM releases AS r ORDER BY r.arm <> '{ARM}', r.arm""")
        phases = self.rows(f"""
            SELECT phase, domain, count(*) FROM curriculum AS c JOIN prompts AS p ON c.prompt_id = p.prompt_id
            WHERE arm = '{ARM}' GROUP BY ALL ORDER BY min(position), 3 DESC""")
        return f"""
## The release

{table(("arm", "release", "rows", "prompts", "held out"), [(a, f"`{i[:12]}`", *n) for a, i, *n in found])}

Rows of arm `{ARM}` by phase and domain; a prompt may recur in a later phase.

{table(("phase", "domain", "rows"), phases)}

```python
from datasets import load_dataset
load_dataset(".preppo-public/releases/{found[0][1]}")
```
"""


POLICIES = "SELECT variant AS policy_id, inputs ->> 'policy' AS name FROM commits WHERE stage = 'rollouts' AND live GROUP BY ALL"


def story(meaning: str, *row: Any) -> str:
    """Return the lines about one prompt: its id, source, start, numbers, and what was decided."""
    prompt, source, text, mean, samples, scored, low, high, percentile, detail = row
    facts = "no rollouts."
    if samples is not None:
        facts = f"{samples} rollouts, {scored} scored"
        facts += "." if mean is None else f", mean {mean:.3f}"
        facts += "." if low is None else f", pass rate between {low:.3f} and {high:.3f}."
    place = "" if percentile is None else f" Percentile {percentile:.3f} of its group."
    return (
        f"- **{meaning[0].upper()}{meaning[1:]}.** `{prompt[:12]}`, {source}: “{short(text)}” {facts}{place} {detail}."
    )


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table; whole numbers get thousands separators, bars in texts are escaped."""
    cells = [[f"{c:,}" if isinstance(c, int) else str(c).replace("|", "\\|") for c in row] for row in rows]
    return "\n".join("| " + " | ".join(r) + " |" for r in [list(header), ["---"] * len(header), *cells])


def listed(parts: Iterable[str]) -> str:
    """Return texts as a list in a sentence."""
    return ", ".join(parts) or "none"


def verdict(holds: bool) -> str:  # noqa: FBT001 (the one argument is the statement itself)
    """Return whether what the page claims is so."""
    return "**As it should be:**" if holds else "**NOT AS IT SHOULD BE:**"


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.0f}%"


def number(value: float | None) -> str:
    """Return a number with three digits after the point, or nothing."""
    return "" if value is None else f"{value:.3f}"


def short(text: str) -> str:
    """Return the start of a text on one line, safe inside Markdown."""
    flat = " ".join(text.split())
    cut = flat if len(flat) <= SHOWN_CHARS else flat[: SHOWN_CHARS - 1] + "…"
    return "".join(f"\\{c}" if c in "\\`*_[]<>$|" else c for c in cut)


def write(home: Path, out: Path) -> None:
    """Write README.md and its plots into a folder.

    Raises:
        SystemExit: there is no curated home, or nothing was released from it.
    """
    if not (home / "tables" / "commits").is_dir():
        sys.exit(f"{home} holds nothing yet; run: preppo --config examples/public/preppo.toml --home {home} run")
    report = Report(Home(home))
    try:
        if not report.rows("SELECT 1 FROM releases LIMIT 1"):
            sys.exit(f"{home} has no release yet; run: preppo --config examples/public/preppo.toml --home {home} run")
        out.mkdir(parents=True, exist_ok=True)
        for name, png in report.plots().items():
            (out / name).write_bytes(png)
        (out / "README.md").write_text(report.page(), encoding="utf-8")
    except duckdb.IOException as error:
        sys.exit(f"{home} changed while it was read ({error}); try again")
    finally:
        report.close()


def main() -> None:
    """Read the arguments, and write the page."""
    parser = argparse.ArgumentParser(description="Write what curating the public data found.")
    parser.add_argument("--home", type=Path, required=True, help="the home that a run of preppo.toml left")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to; default: beside this file")
    arguments = parser.parse_args()
    write(arguments.home.resolve(), arguments.out)


if __name__ == "__main__":
    main()
