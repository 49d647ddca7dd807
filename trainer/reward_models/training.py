"""Training a reward model: one entry for every recipe, from pairs to a folder that can be scored with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoTokenizer

from trainer.engines.device import find_device
from trainer.engines.weights import find_model, fingerprint
from trainer.reward_models.features import TrunkCache, pooled_features
from trainer.reward_models.heads import Head
from trainer.reward_models.loop import Loop, TrainingError, batches
from trainer.reward_models.losses import gaussian_nll, labelled_targets, meta_difference, sampled_mse
from trainer.reward_models.network import RewardNetwork, build_network
from trainer.reward_models.objective import Objective, bootstrap
from trainer.reward_models.pairs import (
    ConversationEncoder,
    Encoded,
    EncodedPair,
    Excluded,
    Messages,
    Pair,
    collate,
    encode_pairs,
)
from trainer.reward_models.treatment import treated
from warehouse.hashing import json_hash

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.reward_models.recipes import Recipe
    from trainer.reward_models.settings import TrainSettings

Told = Callable[[int, int, float], None]  # (steps done, of how many, the loss of a pair)
MetaGroups = Sequence[tuple[Messages, Sequence[str]]]  # responses of the policy, a group a prompt, without labels


def _silent(_done: int, _steps: int, _loss: float) -> None:
    return None


@dataclass
class Trained:
    """A trained network, and what became of the pairs.

    Attributes:
        network: in evaluation mode.
        tokenizer: of its trunk.
        encoder: of conversations.
        pairs: that it was trained on, as the recipe treated them.
        excluded: those that could not be learnt from.
        losses: of a pair, one a step, of the steps that this run took.
        scale: standard deviation of stage 1's rewards over the pairs, which stage 2 takes as its unit; else 1.
        center: their mean, which is stage 2's zero; else 0.
        first_head: stage 1's, where a second stage followed; `report` makes its targets of it.
    """

    network: RewardNetwork
    tokenizer: Any
    encoder: ConversationEncoder
    pairs: list[EncodedPair]
    excluded: Excluded
    losses: list[float] = field(default_factory=list)
    scale: float = 1.0
    center: float = 0.0
    first_head: Head | None = None


def train(
    pairs: Sequence[Pair],
    trunk: str,
    recipe: Recipe,
    settings: TrainSettings,
    folder: Path | None = None,
    *,
    meta: MetaGroups = (),
    told: Told = _silent,
    cache: TrunkCache | None = None,
) -> Trained:
    """Train a reward model.

    The same pairs, trunk, recipe, settings and threads give the same weights on the same processor, also where the
    training was killed in between and goes on from its checkpoint.

    Args:
        pairs: to learn from, with their strengths where the recipe needs them.
        trunk: "nursery", a folder, or a name on the hub.
        recipe: see `recipes`.
        settings: see `settings`.
        folder: where checkpoints are kept; None: nowhere.
        meta: unlabelled responses of the policy, for MetaRM.
        told: is told of every step.
        cache: of this trunk, tokenizer, length and rendering, from other trainings; they share what they compute.

    Raises:
        TrainingError: no pair can be learnt from, or a loss is not finite.
        ConversationError: the trunk has no chat template, and `plain` was not asked for.
        ModelError: there is no such trunk.
        ValueError: recipe and settings do not go together.
    """
    _refuse(recipe, settings, meta)
    source = find_model(trunk)
    if cache is None and settings.tune == "frozen":
        cache = TrunkCache()  # both stages look at the same features
    torch.manual_seed(settings.seed)
    device = find_device(settings.device)
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    first = replace(recipe, head="linear", heads=1) if recipe.second_stage else recipe
    kind = dtype_of(settings.dtype, device)
    learns = (
        settings.tune == "full"
    )  # in bfloat16 a weight would not see most of the steps: they are below its last digit
    network = build_network(source, first, torch.float32 if learns else kind).to(device)
    network.autocast = learns and kind == torch.bfloat16
    known = None if cache is None else cache.texts
    encoder = ConversationEncoder(
        tokenizer, settings.max_length, plain=settings.plain, causal=network.causal, known=known
    )
    usable, excluded = encode_pairs(treated(list(pairs), recipe), encoder)
    if not usable:
        msg = f"none of {len(pairs)} pairs can be learnt from: {excluded}"
        raise TrainingError(msg)
    names = [(p.pair.pair_id, p.pair.target, p.pair.strength, p.chosen.tokens, p.rejected.tokens) for p in usable]
    decides = [asdict(recipe), asdict(settings), fingerprint(source), names]
    identity = json_hash([*decides, *meta_hash(meta)])
    run = _Run(network, recipe, settings, tokenizer, usable, folder, identity, told, cache)
    _tune(network, settings)
    done = Trained(network, tokenizer, encoder, usable, excluded)
    run.first_stage(first, [[encoder.encode(m, r) for r in rs] for m, rs in meta], done)
    if recipe.second_stage is not None:
        run.second_stage(done)
    network.eval()
    return done


def meta_hash(meta: MetaGroups) -> list[str]:
    """Return what names unlabelled responses, nothing where there are none."""
    return [json_hash([[list(messages), list(responses)] for messages, responses in meta])] if meta else []


def _refuse(recipe: Recipe, settings: TrainSettings, meta: MetaGroups) -> None:
    if recipe.text is not None and settings.tune == "frozen":
        msg = f"recipe: text = {recipe.text!r} trains the trunk, and tune = 'frozen' does not"
        raise ValueError(msg)
    if (recipe.meta_rate > 0) != bool(meta):
        msg = "recipe: MetaRM (meta_rate) and unlabelled responses (meta) come together"
        raise ValueError(msg)
    if recipe.second_stage is not None and recipe.head != "gaussian":
        msg = "recipe: the second stage fits Gaussian heads"
        raise ValueError(msg)


class _Run:
    """What the stages of one training share."""

    def __init__(
        self,
        network: RewardNetwork,
        recipe: Recipe,
        settings: TrainSettings,
        tokenizer: Any,
        pairs: list[EncodedPair],
        folder: Path | None,
        identity: str,
        told: Told,
        cache: TrunkCache | None,
    ) -> None:
        self.cache = cache
        self.network, self.recipe, self.settings, self.pairs = network, recipe, settings, pairs
        self.folder, self.identity, self.told = folder, identity, told
        self.pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0)

    def first_stage(self, recipe: Recipe, meta: list[list[Encoded]], done: Trained) -> None:
        """Train by Bradley-Terry and what the recipe adds."""
        network, settings = self.network, self.settings
        features = self.features() if network.frozen else None
        objective = Objective(network, recipe, self.pad, settings.seed, self._references(recipe, features), features)
        extra = {} if objective.prototypes is None else {"prototypes": objective.prototypes}
        order = batches(len(self.pairs), settings.batch, settings.epochs, settings.seed)
        loop = self._loop("first", network, len(order), extra)
        network.train()
        for number in range(loop.done, len(order)):
            chosen = [self.pairs[i] for i in order[number]]
            group = meta[number % len(meta)] if meta else None
            with self._meta_step(group):
                total = loop.step(self._losses(objective, chosen), before_update=self._back)
            done.losses.append(total)
            self.told(number + 1, len(order), total)

    def second_stage(self, done: Trained) -> None:
        """Fit Gaussian heads to what stage 1's rewards and the labels say (see `losses.labelled_targets`)."""
        network, settings, recipe = self.network, self.settings, self.recipe
        if not network.frozen:
            self.cache = None  # features of the trunk as it was
            network.freeze()
        features = self.features()
        stacked = torch.stack([features[p.pair.pair_id] for p in self.pairs], dim=1).to(network.device)
        done.first_head = network.head.eval()
        with torch.no_grad():
            rewards = network.head(stacked.flatten(0, 1)).mean[:, 0].unflatten(0, (2, -1))
        done.scale = max(float(rewards.std()), 1e-6)
        done.center = float(rewards.mean())
        rewards = (rewards - done.center) / done.scale
        targets = torch.stack(labelled_targets(rewards[0] * done.scale, rewards[1] * done.scale)) / done.scale
        torch.manual_seed(settings.seed + 1)
        network.head = Head(stacked.shape[2], recipe).to(network.device)
        counts = torch.tensor([bootstrap(p.pair.pair_id, recipe.heads, settings.seed) for p in self.pairs])
        order = batches(len(self.pairs), settings.batch, settings.second_epochs, settings.seed + 1)
        loop = self._loop("second", network.head, len(order), {})
        network.train()
        for number in range(loop.done, len(order)):
            rows = torch.tensor(list(order[number]))
            pooled, target = stacked[:, rows].flatten(0, 1), targets[:, rows].flatten()
            weights = counts[rows].repeat(2, 1).to(pooled.device)
            given = network.head(pooled)
            if recipe.second_stage == "mse":
                each = sampled_mse(given, target, torch.randn_like(given.mean))
            else:
                each = gaussian_nll(given, target, recipe.nll_beta)
            loss = (each * weights).mean(dim=1).sum() / len(target)
            total = loop.step(iter([(loss, lambda: "the second stage")]))
            done.losses.append(total)
            self.told(number + 1, len(order), total)

    def features(self) -> dict[str, torch.Tensor]:
        """Return the pooled features of every pair by its id, [2, width]."""
        rows = [row for p in self.pairs for row in (p.chosen, p.rejected)]
        found = pooled_features(self.network, rows, self.pad, 2 * self.settings.micro, self.cache)
        return {p.pair.pair_id: found[2 * n : 2 * n + 2] for n, p in enumerate(self.pairs)}

    def _references(self, recipe: Recipe, features: dict[str, torch.Tensor] | None) -> dict[str, float]:
        """Return the untrained model's log-ratio of every pair, where the recipe compares with it."""
        if recipe.text != "dpo":
            return {}
        objective = Objective(self.network, recipe, self.pad, self.settings.seed, features=features)
        self.network.eval()
        found: dict[str, float] = {}
        with torch.no_grad():
            for start in range(0, len(self.pairs), self.settings.micro):
                some = self.pairs[start : start + self.settings.micro]
                found |= zip((p.pair.pair_id for p in some), objective.log_ratios(some), strict=True)
        return found

    def _losses(
        self, objective: Objective, chosen: list[EncodedPair]
    ) -> Iterator[tuple[torch.Tensor, Callable[[], str]]]:
        for start in range(0, len(chosen), self.settings.micro):
            some = chosen[start : start + self.settings.micro]
            names = [p.pair.pair_id for p in some]
            yield objective(some).total / len(chosen), lambda names=names: f"pairs {', '.join(names)}"  # type: ignore[misc]  # mypy cannot type the default of a lambda

    def _loop(self, stage: str, module: torch.nn.Module, steps: int, extra: dict[str, torch.nn.Parameter]) -> Loop:
        named = {n: p for n, p in module.named_parameters() if p.requires_grad}
        folder = None if self.folder is None else self.folder / stage
        return Loop(named, self.settings, steps, folder, f"{stage} {self.identity}", extra)

    @contextmanager
    def _meta_step(self, group: list[Encoded] | None) -> Iterator[None]:
        """Go a step up J, the spread of rewards over the policy's own responses, for as long as gradients are taken.

        First order: theta' = theta + eta grad J, and the gradient at theta' is applied at theta (arXiv 2401.06080,
        section 4).
        """
        self._theta: list[tuple[torch.nn.Parameter, torch.Tensor]] = []
        if group is not None:
            batch = collate(group, self.pad).to(self.network.device)
            difference = meta_difference(self.network(batch).mean[:, 0])
            parameters = [p for p in self.network.parameters() if p.requires_grad]
            gradients = torch.autograd.grad(difference, parameters, allow_unused=True)
            self._theta = [(p, p.detach().clone()) for p in parameters]
            with torch.no_grad():
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    if gradient is not None:
                        parameter.add_(gradient, alpha=self.recipe.meta_rate)
        try:
            yield
        finally:
            self._back()

    def _back(self) -> None:
        """Return to theta."""
        with torch.no_grad():
            for parameter, old in self._theta:
                parameter.copy_(old)
        self._theta = []


def _tune(network: RewardNetwork, settings: TrainSettings) -> None:
    if settings.tune == "frozen":
        network.freeze()
    elif settings.tune == "lora":
        _add_adapters(network, settings)


def _add_adapters(network: RewardNetwork, settings: TrainSettings) -> None:
    """Train low-rank adapters in every linear layer of the trunk instead of its weights; its LM head stays as it is."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        msg = "tune = 'lora' needs the extra `lora`: pip install 'preppo[lora]'"
        raise ValueError(msg) from error
    config = LoraConfig(r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules="all-linear")
    network.trunk = get_peft_model(network.trunk, config)
    if network.lm_head is not None:
        network.lm_head.requires_grad_(requires_grad=False)


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """Return a type by its setting: auto is bfloat16 on a GPU and float32 on a CPU."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32
