"""Recipes: how a reward model is trained, by the names that the papers use."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a reward model besides its trunk and its pairs.

    Attributes:
        head: linear, mlp (GRM's) or gaussian (BRME's: a mean and a standard deviation each).
        heads: on one trunk. Each sees its own bootstrap of the pairs.
        hidden: width of the hidden layer of mlp and gaussian heads (GRM: 1,024).
        dropout: before the head.
        margin: take the strength of a pair as its margin (adaptive margin, arXiv 2401.06080).
        smoothing: a of label smoothing: every label is taken to be wrong with this probability.
        text: regulariser of the kept language model head: sft, dpo or dpo-noref (GRM, arXiv 2406.10216); None: none.
        text_weight: a of GRM: (1 - a) L_BT + a L_text.
        text_beta: beta of GRM.
        contrast: simcse or swav (arXiv 2401.06080); None: none.
        contrast_on: features of each response of the pair, or of their difference.
        contrast_weight: its beta; the paper does not give it.
        temperature: of the contrast; the paper does not give it.
        prototypes: of swav.
        second_stage: fit the Gaussian heads by likelihood (nll, ours) or by sampled squared errors (mse); None: by BT.
        nll_beta: of the likelihood.
        meta_rate: eta of MetaRM's step on unlabelled responses; 0: none.
        flip: share of the weakest pairs whose labels are turned round before training.
        drop: share of the weakest pairs that are left out.
        soft: label the pairs of negative strength, and the strongest tenth, with the probability that strength gives.
    """

    head: Literal["linear", "mlp", "gaussian"] = "linear"
    heads: int = 1
    hidden: int = 1024
    dropout: float = 0.0
    margin: bool = False
    smoothing: float = 0.0
    text: Literal["sft", "dpo", "dpo-noref"] | None = None
    text_weight: float = 0.01
    text_beta: float = 0.1
    contrast: Literal["simcse", "swav"] | None = None
    contrast_on: Literal["pair", "difference"] = "pair"
    contrast_weight: float = 0.1
    temperature: float = 0.1
    prototypes: int = 32
    second_stage: Literal["nll", "mse"] | None = None
    nll_beta: float = 0.5
    meta_rate: float = 0.0
    flip: float = 0.0
    drop: float = 0.0
    soft: bool = False

    @property
    def needs_strength(self) -> bool:
        """Tell whether the pairs must bring their strength (the votes of an ensemble)."""
        return self.margin or self.soft or self.flip > 0 or self.drop > 0


_GRM = Recipe(head="mlp", dropout=0.1)
_CONTRAST = Recipe(head="mlp", dropout=0.1, contrast="simcse")
RECIPES: Final[dict[str, Recipe]] = {
    "bt": Recipe(),
    "bt-mlp": _GRM,
    "smoothing": Recipe(smoothing=0.1),
    "margin": Recipe(margin=True),
    "flip": Recipe(flip=0.1),
    "flip+margin": Recipe(flip=0.1, margin=True),
    "soft+margin": Recipe(soft=True, margin=True),
    "drop": Recipe(drop=0.1),
    "grm-sft": replace(_GRM, text="sft"),
    "grm-dpo": replace(_GRM, text="dpo"),
    "grm-dpo-noref": replace(_GRM, text="dpo-noref"),
    "simcse": _CONTRAST,
    "simcse-difference": replace(_CONTRAST, contrast_on="difference"),
    "swav": replace(_CONTRAST, contrast="swav"),
    "swav-difference": replace(_CONTRAST, contrast="swav", contrast_on="difference"),
    "heads": Recipe(heads=5),
    "brme": Recipe(head="gaussian", heads=5, hidden=256, second_stage="nll"),
    "brme-mse": Recipe(head="gaussian", heads=5, hidden=256, second_stage="mse"),
    "metarm": Recipe(meta_rate=5e-6),
}


def recipe_of(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        LookupError: there is none of that name.
    """
    if name not in RECIPES:
        msg = f"no recipe is named {name!r}; there are: {', '.join(RECIPES)}"
        raise LookupError(msg)
    return RECIPES[name]
