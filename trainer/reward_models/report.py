"""What a trained reward model is worth on pairs that it did not learn from: accuracy, margins, calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from scipy.special import ndtr  # type: ignore[import-untyped]  # ships no type information

from trainer.reward_models.features import pooled_features
from trainer.reward_models.heads import Rewards
from trainer.reward_models.losses import labelled_targets
from trainer.reward_models.pairs import encode_pairs
from warehouse.curation.identity import prompt_id
from warehouse.hashing import text_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.reward_models.features import TrunkCache
    from trainer.reward_models.pairs import Pair
    from trainer.reward_models.training import Trained

HELD_OUT = 0.1
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 10
_Z = 1.959964  # 95%, two-sided


def hold_out(pairs: Sequence[Pair], share: float = HELD_OUT) -> tuple[list[Pair], list[Pair]]:
    """Return pairs to learn from and pairs to report on, each in order; the same prompt is never in both.

    The side is a function of the canonical prompt alone, so more pairs leave the earlier ones where they are. It is
    independent of `warehouse.curation.dedup.is_heldout`: of prompts that are left after that, this share is held out.
    """
    learnt: list[Pair] = []
    held: list[Pair] = []
    for pair in pairs:
        draw = int(text_hash("reward model, held out", prompt_id(pair.messages))[:8], 16)
        (held if draw < share * 2**32 else learnt).append(pair)
    return learnt, held


def training_report(
    trained: Trained, pairs: Sequence[Pair], *, batch: int = 32, cache: TrunkCache | None = None
) -> dict[str, Any]:
    """Return what a trained model does on pairs that were held out: plain values, for `save_reward_model`'s extra.

    Rewards are nominal ones. Those of Gaussian heads are standardised in stage 2; here they are given in units of stage
    1's, so that sigmoid(difference) is a probability for every recipe.

    Args:
        trained: what `training.train` returned.
        pairs: held out (`hold_out`).
        batch: conversations that are computed at a time.
        cache: of the same trunk, where it was frozen.

    Keys: `pairs` (reported on), `excluded` (counts by reason, of training and of these), `accuracy`, `margins`,
    `probabilities`, `deviations`; the last four are null where no pair is left, and `deviations` also where heads tell
    no standard deviations.
    """
    usable, excluded = encode_pairs(pairs, trained.encoder)
    found: dict[str, Any] = {
        "pairs": len(usable),
        "excluded": {"training": dict(trained.excluded.counts), "held_out": dict(excluded.counts)},
        **dict.fromkeys(("accuracy", "margins", "probabilities", "deviations")),
    }
    if not usable:
        return found
    rows = [row for p in usable for row in (p.chosen, p.rejected)]
    pad = int(trained.tokenizer.pad_token_id or 0)
    pooled = pooled_features(trained.network, rows, pad, batch, cache).to(trained.network.device)
    with torch.no_grad():
        rewards = _on_cpu(trained.network.head(pooled))
        stage_1 = None if trained.first_head is None else trained.first_head(pooled).mean[:, 0].cpu()
    nominal = rewards.nominal() * trained.scale
    differences = nominal[::2] - nominal[1::2]
    finite = differences.isfinite()
    found["pairs"] = int(finite.sum())
    if not finite.all():
        found["excluded"]["held_out"]["not_finite"] = int((~finite).sum())
    if found["pairs"] == 0:
        return found
    found |= {
        "accuracy": accuracy(differences[finite]),
        "margins": margins(differences[finite]),
        "probabilities": probabilities(differences[finite]),
    }
    if rewards.std is not None and stage_1 is not None:
        # As stage 2 made its targets, with the centre and the unit of the training pairs.
        targets = torch.stack(labelled_targets(stage_1[::2], stage_1[1::2]), dim=1).flatten()
        kept = finite.repeat_interleave(2)
        standard = (targets - trained.center) / trained.scale
        found["deviations"] = deviations(Rewards(rewards.mean[kept], rewards.std[kept]), standard[kept])
    return found


def accuracy(differences: torch.Tensor) -> dict[str, Any]:
    """Return the share of pairs with the chosen response ahead, and its 95% interval (Wilson's).

    A tie counts as half, as a coin would. The interval takes pairs to be independent, which those of one prompt are not
    quite.

    Args:
        differences: reward of the chosen less that of the rejected response, [n].
    """
    n, ties = len(differences), int((differences == 0).sum())
    share = (int((differences > 0).sum()) + ties / 2) / n
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    reach = _Z * (share * (1 - share) / n + _Z**2 / (4 * n**2)) ** 0.5 / (1 + _Z**2 / n)
    return {"mean": share, "low": max(0.0, middle - reach), "high": min(1.0, middle + reach), "ties": ties}


def margins(differences: torch.Tensor) -> dict[str, Any]:
    """Return mean, standard deviation and quantiles of chosen less rejected, [n]."""
    d = differences.double()
    told = torch.quantile(d, torch.tensor(QUANTILES, dtype=d.dtype)).tolist()
    quantiles = {f"{q:g}": x for q, x in zip(QUANTILES, told, strict=True)}
    return {"mean": float(d.mean()), "std": float(d.std(unbiased=False)), "quantiles": quantiles}


def probabilities(differences: torch.Tensor) -> dict[str, Any]:
    """Return how well sigmoid(difference), Bradley-Terry's probability of the label, is calibrated.

    The model's confidence is the probability of the response that it prefers, .5 to 1, and it is right where that is
    the chosen one. The expected calibration error is the mean over pairs of |confidence - share right| of their bin,
    for ten equal bins of confidence. Of few pairs it is biased upwards.

    Args:
        differences: reward of the chosen less that of the rejected response, [n].
    """
    d = differences.double()
    confidence = torch.sigmoid(d.abs())
    right = (d > 0).double() + (d == 0).double() / 2
    place = ((confidence - 0.5) * 2 * BINS).long().clamp(max=BINS - 1)
    gaps = torch.zeros(BINS, dtype=torch.float64).index_add(0, place, confidence - right)
    nll = torch.nn.functional.softplus(-d).mean()
    return {
        "confidence": float(confidence.mean()),
        "calibration_error": float(gaps.abs().sum() / len(d)),
        "nll": float(nll),
    }


def deviations(rewards: Rewards, targets: torch.Tensor) -> dict[str, Any]:
    """Return how well Gaussian heads know their own errors (BRME, arXiv 2409.15360, section 3).

    A residual is (target - mean) / std. Of a calibrated head 68.3% lie within 1, 95.4% within 2, and their root mean
    square is 1; of a head whose deviations collapsed next to none lie within. Targets are those of stage 2
    (`losses.labelled_targets` of stage 1's rewards), on pairs that neither stage saw: what the heads claim to predict.

    Args:
        rewards: of n texts by k Gaussian heads, [n, k].
        targets: in the same unit, [n].
    """
    assert rewards.std is not None
    z = (targets[:, None] - rewards.mean).double() / rewards.std.double()
    nominal = z.gather(1, rewards.std.argmin(dim=1, keepdim=True))
    return {
        "expected": {f"within_{s}": float(2 * ndtr(s) - 1) for s in (1, 2)},
        "heads": [
            {"mean_std": float(rewards.std[:, h].mean()), **_residuals(z[:, h])} for h in range(rewards.mean.shape[1])
        ],
        "all_heads": {"mean_std": float(rewards.std.mean()), **_residuals(z.flatten())},
        "nominal": {"mean_std": float(rewards.std.min(dim=1).values.mean()), **_residuals(nominal[:, 0])},
    }


def _residuals(z: torch.Tensor) -> dict[str, float]:
    return {
        "within_1": float((z.abs() <= 1).double().mean()),
        "within_2": float((z.abs() <= 2).double().mean()),
        "residual_mean": float(z.mean()),
        "residual_rms": float(z.square().mean().sqrt()),
    }


def _on_cpu(rewards: Rewards) -> Rewards:
    return Rewards(rewards.mean.cpu(), None if rewards.std is None else rewards.std.cpu())
