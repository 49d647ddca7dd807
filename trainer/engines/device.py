"""The device that a setting names."""

from __future__ import annotations

import torch

from trainer.engines.weights import ModelError


def find_device(name: str) -> torch.device:
    """Return a device by its setting; `auto` is a GPU where there is one.

    Raises:
        ModelError: there is no such device, or nothing can be computed on it here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0].partition(". ")[0]
        msg = f"device = {name!r} cannot be used here ({why}): auto takes a GPU where there is one, else the CPU"
        raise ModelError(msg) from error
    return device
