"""The three models of PPO: the policy that learns, the reference that it started as, and the critic."""

from __future__ import annotations

import copy
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModel

from trainer.engines.transformers import TINY, TransformersEngine
from trainer.engines.weights import find_model
from trainer.nursery.threads import one_thread
from trainer.ppo.prompts import PpoError
from trainer.ppo.update import response_logits, token_logprobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainer.ppo.tensors import Rows
    from warehouse.settings import PolicySettings, PpoSettings


class Critic(torch.nn.Module):
    """A trunk with a linear head that starts at zero: all states are worth nothing until it has learnt otherwise.

    Args:
        folder: of a model, whose trunk is taken.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.trunk: Any = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        self.head = torch.nn.Linear(self.trunk.config.hidden_size, 1)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, rows: Rows) -> torch.Tensor:
        """Return the value of the state before every token and of the one after them, fp32 [N, T + 1]."""
        hidden = self.trunk(
            input_ids=rows.tokens, attention_mask=rows.attention, position_ids=rows.positions, use_cache=False
        ).last_hidden_state
        with torch.autocast(hidden.device.type, enabled=False):  # values in bfloat16 would be worth two or three digits
            values: torch.Tensor = self.head(hidden[:, rows.context - 1 :].float())
        return values.squeeze(-1)


class Models:
    """Policy, reference and critic on one device, all without dropout.

    Weights are kept in fp32 and computed with in `dtype`; the engine generates with the very weights that learn.

    Args:
        policy: `[policy]`, for the model's name.
        settings: `[ppo]`.

    Raises:
        PpoError: the tokenizer has no token to pad with, the critic has another one, or nothing would be sampled.
        ModelError: a model cannot be had.
    """

    def __init__(self, policy: PolicySettings, settings: PpoSettings) -> None:
        if policy.temperature <= 0:
            msg = "policy.temperature = 0 draws the same response again and again: PPO needs one above 0"
            raise PpoError(msg)
        self.engine = TransformersEngine(
            policy.model, batch_size=policy.batch_size, dtype="float32", device=settings.device
        )
        self.device: torch.device = self.engine.device
        self.policy: Any = self.engine.model
        self.pad = pad_token(self.engine.tokenizer, policy.model, settings.pad_token)
        self.reference: Any = copy.deepcopy(self.policy).requires_grad_(requires_grad=False)
        self.critic: Critic | None = None
        if settings.baseline == "critic":
            folder = find_model(settings.critic_model or policy.model, "ppo.critic_model")
            self.critic = Critic(folder).to(self.device).eval()
            self._check_vocabulary(self.critic, settings.critic_model or policy.model)
        self._temperature = policy.temperature
        auto = "bfloat16" if self.device.type == "cuda" else "float32"
        self.dtype: torch.dtype = getattr(torch, auto if settings.dtype == "auto" else settings.dtype)

    def _check_vocabulary(self, critic: Critic, name: str) -> None:
        there, wanted = (m.get_input_embeddings().num_embeddings for m in (critic.trunk, self.policy))
        if there < len(self.engine.tokenizer):
            msg = (
                f"ppo.critic_model = {name!r} knows {there} tokens and the policy {wanted}: the critic reads the "
                "tokens of the policy, so take a model with the same tokenizer"
            )
            raise PpoError(msg)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Compute in the type that the settings say; sums and log-probabilities stay in fp32."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            yield

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Compute with one thread where the model is tiny: more would only wait for one another."""
        tiny = self.device.type == "cpu" and sum(p.numel() for p in self.policy.parameters()) < TINY
        with one_thread() if tiny else nullcontext():
            yield

    def logprobs(self, model: Any, rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
        """Return log-probability and entropy of every token of the responses, [N, T]; see `token_logprobs`."""
        kept = rows.tokens.shape[1] - rows.context + 1
        logits = model(
            input_ids=rows.tokens,
            attention_mask=rows.attention,
            position_ids=rows.positions,
            use_cache=False,
            logits_to_keep=kept,
        ).logits
        # Only the last columns were computed: the one before the first token of the response is now the first.
        return token_logprobs(response_logits(logits, 1), rows.responses, rows.mask, self._temperature)

    @property
    def trained(self) -> dict[str, torch.nn.Parameter]:
        """Return all parameters that learn, by name."""
        found = {f"policy.{n}": p for n, p in self.policy.named_parameters()}
        if self.critic is not None:
            found |= {f"critic.{n}": p for n, p in self.critic.named_parameters()}
        return found


def pad_token(tokenizer: Any, model: str, named: str | None) -> int:
    """Return the token to pad with.

    Raises:
        PpoError: there is none, or it is the end token, which would then be padding wherever it ends a response.
    """
    if named is not None:
        found = tokenizer.get_vocab().get(named)
        if found is None:
            msg = f"ppo.pad_token = {named!r} is no token of {model}"
            raise PpoError(msg)
    else:
        found = tokenizer.pad_token_id
    if found is None:
        msg = f"the tokenizer of {model} has no pad token: name a token that no text holds as ppo.pad_token"
        raise PpoError(msg)
    if found == tokenizer.eos_token_id:
        msg = (
            f"the tokenizer of {model} pads with its end token {tokenizer.eos_token!r}: name another one as "
            "ppo.pad_token, such as a reserved token"
        )
        raise PpoError(msg)
    return int(found)
