"""A seed's own world for `reward_sources`: word problems, the nursery's answers to them, and reward models of those.

Everything is drawn anew for every seed, reward models too, so that an interval over seeds speaks of more than one
model. Word problems of one and two steps (`trainer.nursery.arithmetic`, levels 1 and 3) are what the nursery's judge
can read. To train on are problems that the nursery solves in some of its samples, not in all: others tell a
group-relative trainer nothing. Held out are problems of the same numbers about other people and things, since little
of what so small a model learns carries over to other numbers; reward models learn from answers to yet other wordings.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random

from benchmarks._preferences import flipped
from trainer.engines.transformers import TransformersEngine
from trainer.nursery.arithmetic import NAMES, THINGS, is_word_problem
from trainer.nursery.gold_cases import NONE, WIDTH, final_answer, gold_of, sampled
from trainer.nursery.task import NurseryTask
from trainer.nursery.tasks import stream_tasks
from trainer.reward_models.entry import train_members
from trainer.reward_models.model import load_reward_model
from trainer.reward_models.pairs import Pair
from warehouse.settings import RewardTrainingSettings

ASKED = 240  # problems to choose from
TRAINED_ON, HELD_OUT = 96, 48
WORDINGS = 6  # of each problem that is trained on, for reward models
SAMPLES = 8  # of the nursery for each problem; the best of N is chosen among them
PAIRS_A_PROBLEM = 4  # at most
FLIPPED = 0.3  # share of the labels that the noisy reward model learns from turned round
MODELS = ("bt", "brme")
_LEVELS = {1: 1.0, 3: 2.0}
_TRAINING = RewardTrainingSettings(
    rate=1e-3, head_rate=2e-3, batch=32, micro=32, epochs=3, max_length=256, dtype="float32"
)


@dataclass(frozen=True)
class Problem:
    """One word problem.

    Attributes:
        prompt: its text.
        gold: the right answer, in digits.
        reference: of the nursery's samples, the one that the reward model `bt` likes best.
        reference_answer: its final answer, in digits.
    """

    prompt: str
    gold: str
    reference: str
    reference_answer: str


@dataclass(frozen=True)
class World:
    """What a seed trains and is measured on.

    Attributes:
        folder: of the reward models `bt` and `brme`.
        train, heldout: problems.
        facts: about pairs, reward models and references, for the report.
    """

    folder: Path
    train: list[Problem]
    heldout: list[Problem]
    facts: dict[str, float]


def make_world(folder: Path, seed: int, device: str) -> World:
    """Make the world of a seed, or take it as it is in `folder`; a killed one goes on."""
    known = folder / "world.json"
    if not known.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        world = _made(folder, seed, device)
        told = {"train": [asdict(p) for p in world.train], "heldout": [asdict(p) for p in world.heldout]}
        known.write_text(json.dumps(told | {"facts": world.facts}, indent=1) + "\n", encoding="utf-8")
    read = json.loads(known.read_text(encoding="utf-8"))
    train, heldout = ([Problem(**row) for row in read[part]] for part in ("train", "heldout"))
    return World(folder, train, heldout, read["facts"])


def _made(folder: Path, seed: int, device: str) -> World:
    rng = Random(f"reward sources {seed}")
    engine = TransformersEngine("nursery", batch_size=256, dtype="float32", device=device)
    drawn = _problems(seed, ASKED)
    mixed = [
        (t, o) for t, o in zip(drawn, sampled(engine, drawn, SAMPLES, seed), strict=True) if 0 < _passes(t, o) < len(o)
    ]
    if len(mixed) < TRAINED_ON:
        msg = f"seed {seed}: only {len(mixed)} problems are solved in some samples and not in all, not {TRAINED_ON}"
        raise ValueError(msg)
    tasks, own = [t for t, _ in mixed[:TRAINED_ON]], [o for _, o in mixed[:TRAINED_ON]]

    worded = [_about_others(t, rng) for t in tasks]
    others = [text for texts in worded for text in texts[1:]]
    pairs = _pairs(others, sampled(engine, others, SAMPLES, seed), rng)
    facts = {"pairs": float(len(pairs))} | _reward_models(folder, pairs, seed, device)

    held = [texts[0] for texts in worded[:HELD_OUT]]
    train = _with_references(folder, tasks, own, device)
    heldout = _with_references(folder, held, sampled(engine, held, SAMPLES, seed), device)
    facts["references_wrong"] = sum(p.reference_answer != p.gold for p in train) / len(train)
    facts["passes"] = sum(map(_passes, tasks, own)) / sum(map(len, own))
    return World(folder, train, heldout, facts)


def _problems(seed: int, count: int) -> list[NurseryTask]:
    """Return so many different word problems whose answers the judge can read."""
    found: dict[str, NurseryTask] = {}
    stream: Iterator[NurseryTask] = stream_tasks(seed, {"math": 1.0}, _LEVELS)
    while len(found) < count:
        task = next(stream)
        if is_word_problem(task) and len(gold_of(task)) <= WIDTH:
            found.setdefault(task.prompt, task)
    return list(found.values())


def _passes(task: NurseryTask, answers: Sequence[str]) -> int:
    return sum(final_answer(text) == gold_of(task) for text in answers)


def _pairs(tasks: Sequence[NurseryTask], own: Sequence[Sequence[str]], rng: Random) -> list[Pair]:
    """Return pairs of a right and a wrong answer to the same problem, the right one chosen."""
    found: list[Pair] = []
    for task, answers in zip(tasks, own, strict=True):
        texts = sorted(set(answers))
        right = [t for t in texts if final_answer(t) == gold_of(task)]
        both = [(r, w) for r in right for w in texts if w not in right]
        for chosen, rejected in rng.sample(both, min(PAIRS_A_PROBLEM, len(both))):
            found.append(Pair(f"pair-{len(found)}", (("user", task.prompt),), chosen, rejected))
    return found


def _reward_models(folder: Path, pairs: list[Pair], seed: int, device: str) -> dict[str, float]:
    """Train `bt` on the pairs as they are and `brme` on noisy ones; return how often held-out pairs are in order."""
    noisy, _ = flipped(pairs, FLIPPED, seed)
    found: dict[str, float] = {}
    for recipe, some in zip(MODELS, (pairs, noisy), strict=True):
        chosen = _TRAINING.model_copy(update={"recipe": recipe, "seed": seed, "device": device})
        (made,) = train_members(some, chosen, folder / recipe, labelled=pairs)
        found |= {f"{recipe}_accuracy": made.report["accuracy"]["mean"], f"{recipe}_held_out": made.report["pairs"]}
    return found


def _about_others(task: NurseryTask, rng: Random) -> list[NurseryTask]:
    """Return a problem about other people and other things: one to hold out, and those for reward models."""
    (name,) = (n for n in NAMES if n in task.prompt)
    (things,) = (t for t in THINGS if t in task.prompt)
    others = [(n, t) for n in NAMES for t in THINGS if n != name and t != things]
    chosen = rng.sample(others, 1 + WORDINGS)
    return [replace(task, prompt=task.prompt.replace(name, n).replace(things, t)) for n, t in chosen]


def _with_references(
    folder: Path, tasks: Sequence[NurseryTask], own: Sequence[Sequence[str]], device: str
) -> list[Problem]:
    """Return the problems with the best of N by `bt`, among the samples that have a final answer at all."""
    model = load_reward_model(str(folder / "bt"), device=device, dtype="float32")
    found = []
    for task, answers in zip(tasks, own, strict=True):
        texts = [t for t in answers if final_answer(t) != NONE]
        rewards = [s.nominal or 0.0 for s in model.score(((("user", task.prompt),), t) for t in texts)]
        best = texts[max(range(len(texts)), key=rewards.__getitem__)]
        found.append(Problem(task.prompt, gold_of(task), best, final_answer(best)))
    return found
