"""Reward models that are there: saved, loaded by name, and scored with in batches."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from trainer.engines.device import find_device
from trainer.engines.weights import find_model, fingerprint
from trainer.reward_models.about import ABOUT, SETTING, Calibration, calibration_of
from trainer.reward_models.calibration import calibrate
from trainer.reward_models.heads import Head, Rewards
from trainer.reward_models.network import RewardNetwork
from trainer.reward_models.pairs import ConversationEncoder, ConversationError, Encoded, Messages, collate
from trainer.reward_models.recipes import Recipe
from trainer.reward_models.training import dtype_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from trainer.reward_models.training import Trained

HEAD = "reward_head.safetensors"
WINDOW = 4096  # conversations that are sorted by length at a time


@dataclass(frozen=True)
class Scored:
    """The rewards of one conversation.

    Attributes:
        mean: one a head, or None where there is none.
        std: one a head, where the heads tell.
        problem: why there is no reward, as "code: what happened"; a failure is never a score.
    """

    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None = None
    problem: str | None = None

    @property
    def nominal(self) -> float | None:
        """Return the mean of the head with the smallest standard deviation, or of all heads; see `Rewards.nominal`."""
        if self.mean is None:
            return None
        if self.std is None:
            return sum(self.mean) / len(self.mean)
        return self.mean[self.std.index(min(self.std))]


class _Classifier(nn.Module):
    """A sequence-classification checkpoint with one label, as reward models on the hub are."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Any) -> Rewards:
        return Rewards(self.model(input_ids=batch.tokens, attention_mask=batch.mask).logits.float())


class RewardModel:
    """Gives rewards to conversations.

    Args:
        network: takes a batch, gives `Rewards`; in evaluation mode.
        tokenizer: of its trunk.
        encoder: of conversations.
        identity: names weights, head, tokenizer and rendering.
        batch: conversations that are computed at a time.
        calibration: of its nominal rewards.

    Attributes:
        centre, scale: mean and standard deviation of its nominal rewards over the responses that it was trained on; 0
            and 1 where they are not known, as of a checkpoint of a sequence classification.
    """

    def __init__(
        self,
        network: nn.Module,
        tokenizer: Any,
        encoder: ConversationEncoder,
        identity: str,
        batch: int = 32,
        calibration: Calibration | None = None,
    ) -> None:
        self.centre, self.scale = calibration or Calibration()
        self.network, self.encoder, self.fingerprint, self.batch = network.eval(), encoder, identity, batch
        self._pad = int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0)
        self._device = next(network.parameters()).device

    def score(self, conversations: Iterable[tuple[Messages, str]]) -> Iterator[Scored]:
        """Yield the rewards of conversations (messages, response), in order; sorted by length inside a window."""
        window: list[Encoded | Scored] = []
        for messages, response in conversations:
            window.append(self._encoded(messages, response))
            if len(window) == WINDOW:
                yield from self._scored(window)
                window = []
        yield from self._scored(window)

    def _encoded(self, messages: Messages, response: str) -> Encoded | Scored:
        if not response.strip():
            return Scored(None, problem="empty_response: there is nothing to score")
        try:
            return self.encoder.encode(messages, response)
        except ConversationError as error:
            return Scored(None, problem=str(error))

    def _scored(self, window: Sequence[Encoded | Scored]) -> list[Scored]:
        found: list[Scored] = [w if isinstance(w, Scored) else Scored(None) for w in window]
        rows = [(i, w) for i, w in enumerate(window) if isinstance(w, Encoded)]
        rows.sort(key=lambda row: len(row[1].tokens))  # stable: what is equally long stays in order
        with torch.inference_mode():
            for start in range(0, len(rows), self.batch):
                some = rows[start : start + self.batch]
                rewards = self.network(collate([r for _, r in some], self._pad).to(self._device))
                stds = [None] * len(some) if rewards.std is None else rewards.std.tolist()
                for (i, _), mean, std in zip(some, rewards.mean.tolist(), stds, strict=True):
                    found[i] = _checked(mean, std)
        return found


def _checked(mean: list[float], std: list[float] | None) -> Scored:
    values = [*mean, *(std or [])]
    if not all(-float("inf") < v < float("inf") for v in values):
        return Scored(None, problem=f"not_finite: the reward is {mean}")
    return Scored(tuple(mean), None if std is None else tuple(std))


def save_reward_model(trained: Trained, recipe: Recipe, folder: Path, extra: dict[str, Any] | None = None) -> None:
    """Write a trained reward model: the trunk as `from_pretrained` reads it, its head, and what it is.

    Args:
        trained: what `train` returned.
        recipe: that it was trained by.
        folder: to write to; made where it is missing.
        extra: more to keep beside it, such as a report.
    """
    folder.mkdir(parents=True, exist_ok=True)
    measured = calibrate(trained)
    network = trained.network
    trunk = network.trunk.merge_and_unload() if hasattr(network.trunk, "merge_and_unload") else network.trunk
    trunk.save_pretrained(folder, safe_serialization=True)
    trained.tokenizer.save_pretrained(folder)
    save_file({n: p.contiguous() for n, p in network.head.state_dict().items()}, folder / HEAD)
    about = {
        "recipe": asdict(recipe),
        "causal": network.causal,
        "plain": trained.encoder.plain,
        "max_length": trained.encoder.max_length,
        "excluded": dict(trained.excluded.counts),
        "calibration": measured._asdict(),
        **(extra or {}),
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def load_reward_model(
    name: str, *, device: str = "auto", dtype: str = "auto", batch: int = 32, max_length: int | None = None
) -> RewardModel:
    """Return a reward model: one of ours, or a sequence-classification checkpoint with one label.

    Args:
        name: a folder, or a name on the hub.
        device: auto is a GPU where there is one.
        dtype: auto is bfloat16 on a GPU and float32 on a CPU.
        batch: conversations computed at a time.
        max_length: tokens of a conversation; default: as it was trained, or what its configuration says.

    Raises:
        ModelError: there is no such model.
        ValueError: it gives no single reward.
    """
    folder = find_model(name, SETTING)
    where = find_device(device)
    kind = dtype_of(dtype, where)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    if (folder / ABOUT).is_file():
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        recipe = Recipe(**about["recipe"])
        network: nn.Module = _ours(folder, recipe, kind, causal=about["causal"])
        plain, length = about["plain"], max_length or int(about["max_length"])
    else:
        network, plain = _classifier(folder, kind), None
        length = max_length or int(getattr(AutoConfig.from_pretrained(folder), "max_position_embeddings", 4096))
    encoder = ConversationEncoder(tokenizer, length, plain=plain, causal=not isinstance(network, _Classifier))
    return RewardModel(network.to(where), tokenizer, encoder, fingerprint(folder), batch, calibration_of(folder))


def _ours(folder: Path, recipe: Recipe, dtype: torch.dtype, *, causal: bool) -> RewardNetwork:
    trunk: Any = AutoModel.from_pretrained(folder, dtype=dtype)
    head = Head(trunk.config.get_text_config().hidden_size, recipe)
    head.load_state_dict(load_file(folder / HEAD))
    return RewardNetwork(trunk, head, None, causal=causal)


def _classifier(folder: Path, dtype: torch.dtype) -> _Classifier:
    config = AutoConfig.from_pretrained(folder)
    names = config.architectures or []
    if not any(n.endswith("ForSequenceClassification") for n in names) or config.num_labels != 1:
        msg = f"{folder.name} is no reward model: it needs one label of a sequence classification, and is {names}"
        raise ValueError(msg)
    return _Classifier(AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype))
