"""Where the rewards of a model lie: Bradley-Terry fixes differences alone, so zero and unit are its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainer.reward_models.about import Calibration
from trainer.reward_models.features import pooled_features

if TYPE_CHECKING:
    from trainer.reward_models.training import Trained

_SIZE = 64  # conversations at a time
_LEAST = 1e-6  # a spread below this is rounding


def calibrate(trained: Trained) -> Calibration:
    """Return the calibration of a trained model: over both responses of every pair that it was trained on."""
    network = trained.network
    rows = [row for pair in trained.pairs for row in (pair.chosen, pair.rejected)]
    pad = trained.tokenizer.pad_token_id
    pooled = pooled_features(network, rows, 0 if pad is None else int(pad), _SIZE)
    with torch.no_grad():
        nominal = network.head(pooled.to(network.device)).nominal().double()
    spread = float(nominal.std(unbiased=False))
    return Calibration(float(nominal.mean()), spread if spread > _LEAST else 1.0)
