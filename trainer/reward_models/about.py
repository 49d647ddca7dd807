"""What the folder of a reward model says of it, without weights and without torch."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple

from trainer.engines.weights import find_model, fingerprint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ABOUT: Final = "reward_model.json"
SETTING: Final = "reward_model.models"  # what names a reward model, for messages


class Calibration(NamedTuple):
    """What takes a nominal reward to mean 0 and standard deviation 1: (reward - centre) / scale.

    Attributes:
        centre: mean of the nominal rewards.
        scale: their population standard deviation; 1 where they are all the same.
    """

    centre: float = 0.0
    scale: float = 1.0


class Member(NamedTuple):
    """A reward model by what tells it from others.

    Attributes:
        name: as the settings have it.
        fingerprint: of its files.
        calibration: of its nominal rewards; centre 0 and scale 1 where its folder does not tell.
    """

    name: str
    fingerprint: str
    calibration: Calibration


def member(name: str) -> Member:
    """Return what is known of a reward model.

    Raises:
        ModelError: there is no such model.
    """
    folder = find_model(name, SETTING)
    return Member(name, fingerprint(folder), calibration_of(folder))


def calibration_of(folder: Path) -> Calibration:
    """Return the calibration that was measured when the model was trained, or that of a model without any."""
    file = folder / ABOUT
    known = json.loads(file.read_text(encoding="utf-8")).get("calibration") if file.is_file() else None
    return Calibration(**known) if known else Calibration()


def models_id(combine: str, fingerprints: Sequence[str], against: str) -> str:
    """Return who made a reward: how heads are combined, which models, and what they compare with."""
    return f"{combine}@{'+'.join(name[:12] for name in sorted(fingerprints))}:{against}"
