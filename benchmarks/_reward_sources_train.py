"""One training of `reward_sources`: PPO by one reward source, watched by the rules that the training does not see."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from benchmarks._reward_sources_world import Problem, World
from trainer.engines import load_engine
from trainer.hybrid import hybrid_reward, makers
from trainer.judge.judge import Judge
from trainer.judge.scored import JudgeSource, comparison
from trainer.judge.settings import judge_for, judge_policy
from trainer.nursery.gold_cases import final_answer
from trainer.ppo.loop import train
from trainer.ppo.prompts import Prompt, Prompts
from trainer.ppo.training import Training
from verifiers import VerifierPool
from verifiers.genrm.contract import Comparison
from verifiers.hybrid import GENRM_BEST_OF_N, GENRM_GROUND_TRUTH, HybridReward, Reward, Scorable
from verifiers.rtv import RuleVerifiers
from warehouse.curation.identity import prompt_id
from warehouse.hashing import json_hash
from warehouse.settings import JudgingSettings, PolicySettings, PpoSettings, RewardModelSettings, Settings

SOURCES = ("rtv", "genrm_gold", "genrm_best_of_n", "bt")
ROBUST = {"brme_1.0": 1.0, "brme_0.5": 0.5, "brme_0.0": 0.0}  # arm -> share of the nominal reward
PROMPTS, SAMPLES, EVALUATE_SAMPLES, MAX_TOKENS = 16, 8, 4, 48
Source = Callable[[Sequence[Scorable]], Sequence[Reward]]


class Witness:
    """A reward source whose answers are noted beside what the rule verifier says of the same responses.

    Args:
        source: whose rewards are given on, unchanged.
        rules: the rule verifier.
        problems: prompt_id -> problem, with the gold that the source may not know.
        heldout: prompt_ids of held-out problems.
        share: of the nominal reward in what is learnt, the rest being the worst (`ppo.robust`): so it is noted.

    Attributes:
        step: updates that the policy has had; whoever trains keeps it.
        rows: one for each time that the source was asked; see `_row`.
    """

    def __init__(
        self, source: Source, rules: Source, problems: dict[str, Problem], heldout: set[str], share: float = 1.0
    ) -> None:
        self._share = share
        self._source, self._rules, self._problems, self._heldout = source, rules, problems, heldout
        self.step = 0
        self.rows: list[dict[str, Any]] = []

    def __call__(self, items: Sequence[Scorable]) -> Sequence[Reward]:
        found = self._source(items)
        known = [
            replace(i, verifier="math", ground_truth=json.dumps(self._problems[i.prompt_id].gold), reference=None)
            for i in items
        ]
        right = {(r.prompt_id, r.sample): r.reward == 1.0 for r in self._rules(known)}
        held = bool(items) and items[0].prompt_id in self._heldout
        noted = [_learnt(r, self._share) for r in found]
        total = len(self._heldout) * EVALUATE_SAMPLES if held else PROMPTS * SAMPLES
        self.rows.append({"step": self.step, "part": "heldout" if held else "train", **_row(noted, right, total)})
        return found


def _learnt(reward: Reward, share: float) -> Reward:
    """Return a reward as the robust objective has it (arXiv 2409.15360)."""
    if reward.reward is None or reward.worst is None:
        return reward
    return replace(reward, reward=share * reward.reward + (1 - share) * reward.worst)


def _row(rewards: Sequence[Reward], right: dict[tuple[str, int], bool], total: int) -> dict[str, Any]:
    """Return what is kept of some responses.

    Args:
        rewards: of those that came to an end.
        right: prompt_id and sample -> what the rules say.
        total: responses that were drawn; one that was cut counts as wrong and as reward 0, as the training has it.

    Keys: `reward` and `truth` (means over all), `reward_sd` and `truth_sd` (over all), `of_right`, `of_wrong` (mean
    rewards), `ordered` (how often, of a right and a wrong response to the same problem, the right one has the higher
    reward; ties count half), `unscored` (without a reward).
    """
    scored = [(r, right[r.prompt_id, r.sample]) for r in rewards if r.reward is not None]
    cut = [0.0] * (total - len(rewards))
    values = [float(r.reward or 0.0) for r, _ in scored]
    truths = [float(v) for v in right.values()] + cut
    by_problem: dict[str, tuple[list[float], list[float]]] = {}
    for value, (reward, is_right) in zip(values, scored, strict=True):
        by_problem.setdefault(reward.prompt_id, ([], []))[not is_right].append(value)
    pairs = [(a > b) + (a == b) / 2 for good, bad in by_problem.values() for a in good for b in bad]
    of = [
        [v for v, (_, is_right) in zip(values, scored, strict=True) if is_right is wanted] for wanted in (True, False)
    ]
    return {
        "reward": fmean(values + cut) if values or cut else None, "truth": fmean(truths),
        "reward_sd": pstdev(values + cut), "truth_sd": pstdev(truths),
        "of_right": fmean(of[0]) if of[0] else None, "of_wrong": fmean(of[1]) if of[1] else None,
        "ordered": fmean(pairs) if pairs else None, "unscored": len(rewards) - len(scored), "cut": len(cut),
    }  # fmt: skip


class AgainstBestOfN:
    """The source `genrm_best_of_n` by a judge that must be told an answer: it is told that of the best of N.

    The shipped judge solves nothing: which of two responses is better it sees by an answer that it is told. So the
    answer of the best-of-N response, right or wrong, stands where a ground truth would, and the response itself is what
    is compared with.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge, self._source = judge, JudgeSource(judge, GENRM_BEST_OF_N)

    def __call__(self, items: Sequence[Scorable]) -> list[Reward]:
        asked = [self._compared(item) for item in items]
        return [
            Reward(j.prompt_id, j.sample, j.score, GENRM_BEST_OF_N, j.judge, j.status.value, j.detail, j.score)
            for j in self._judge.judge(asked)
        ]

    def _compared(self, item: Scorable) -> Comparison:
        return replace(comparison(item, GENRM_BEST_OF_N), gold=final_answer(item.reference or ""))


def _settings(arm: str, world: World, seed: int, steps: int, device: str) -> Settings:
    """Return all settings of a training. They are those of `reproduce_pre_ppo`, but for half the prompts a step."""
    ppo = PpoSettings(
        steps=steps, prompts=PROMPTS, samples=SAMPLES, baseline="group", kl="k3", kl_coefficient=0.001, rate=6e-4,
        epochs=1, minibatches=4, truncated="lowest", robust=ROBUST.get(arm, 1.0), evaluate_every=max(3, steps // 8),
        evaluate_samples=EVALUATE_SAMPLES, checkpoint_every=steps, seed=seed, device=device,
    )  # fmt: skip
    judged = arm.startswith("genrm")
    judge = JudgingSettings(
        model="nursery-judge" if judged else None, against=["ground_truth"], gold_template="nursery-gold",
        batch_size=128, dtype="float32", device=device,
    )  # fmt: skip
    models = [] if judged or arm == "rtv" else [str(world.folder / ("bt" if arm == "bt" else "brme"))]
    return Settings(
        policy=PolicySettings(max_tokens=MAX_TOKENS, batch_size=256, device=device),
        judge=judge,
        reward_model=RewardModelSettings(models=models, dtype="float32", device=device),
        ppo=ppo,
    )


@contextmanager
def _reward(arm: str, settings: Settings) -> Iterator[tuple[HybridReward, dict[str, str]]]:
    """Open the hybrid reward of an arm, with what names its makers."""
    if arm != "genrm_best_of_n":
        with hybrid_reward(settings, workers=1) as reward:
            yield reward, makers(settings)
        return
    engine = load_engine(judge_policy(settings.judge), settings.engine)
    try:
        judge = judge_for(settings.judge, GENRM_GROUND_TRUTH, engine)
        yield HybridReward({GENRM_BEST_OF_N: AgainstBestOfN(judge)}), {GENRM_BEST_OF_N: judge.id}
    finally:
        engine.close()


def _prompt(problem: Problem, arm: str, phase: str) -> Prompt:
    """Return a problem as the hybrid reward routes it to the source of an arm."""
    messages = (("user", problem.prompt),)
    gold = json.dumps(problem.gold) if arm in ("rtv", "genrm_gold") else None
    return Prompt(
        prompt_id(messages), messages, None, "math", "math" if arm == "rtv" else None, gold,
        problem.reference if arm == "genrm_best_of_n" else None, phase,
    )  # fmt: skip


def train_arm(world: World, arm: str, seed: int, steps: int, folder: Path, device: str) -> dict[str, Any]:
    """Train, and return what was noted: rows of the witness, and the KL of every step; one that is there is taken.

    Only the result is kept. The folder of a training is made anew where it was killed.
    """
    kept = folder.parent / f"{folder.name}.json"  # not with_suffix: the name of an arm may have a dot
    if kept.is_file():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    shutil.rmtree(folder, ignore_errors=True)
    settings = _settings(arm, world, seed, steps, device)
    prompts = Prompts(
        tuple(_prompt(p, arm, "all") for p in world.train),
        tuple(sorted((_prompt(p, arm, "") for p in world.heldout), key=lambda p: p.prompt_id)),
        left_out=Counter(),
    )
    problems = {prompt_id([("user", p.prompt)]): p for p in (*world.train, *world.heldout)}
    lines: list[dict[str, Any]] = []
    started = time.monotonic()
    with VerifierPool(1) as pool, _reward(arm, settings) as (product, made_by):
        rules = RuleVerifiers(pool)
        (name,) = {product.source_of(p.answered(0, "", "stop")) for p in (*prompts.train, *prompts.heldout)}
        held = {p.prompt_id for p in prompts.heldout}
        witness = Witness(product.sources[str(name)], rules, problems, held, settings.ppo.robust)

        def told(line: dict[str, Any]) -> None:
            if line["kind"] == "step":
                witness.step = line["step"]
                lines.append(line)

        world_id = json_hash([sorted(problems), seed])
        training = Training(prompts, world_id, settings.ppo, settings.policy, makers=made_by)
        train(training, HybridReward({str(name): witness}), folder, told)
    found = {
        "arm": arm, "seed": seed, "steps": steps, "source": name, "seconds": time.monotonic() - started,
        "rows": witness.rows, "kl": [line["kl"] for line in lines], "learnt": [line["score"] for line in lines],
        "entropy": [line["entropy"] for line in lines],
    }  # fmt: skip
    kept.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(folder)  # weights are not needed any more
    return found
