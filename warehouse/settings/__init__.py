"""The settings: `preppo.toml` and the environment, as one frozen, validated object."""

from warehouse.settings.load import Loaded, SettingsError, load_settings
from warehouse.settings.model import (
    ArmSettings,
    CurriculumSettings,
    EvaluationSet,
    FieldSpec,
    IngestSettings,
    PhaseSettings,
    PolicySettings,
    RewardSettings,
    RolloutsSettings,
    Settings,
    SourceSettings,
    Where,
    deciding,
    outcome_hash,
)

__all__ = [
    "ArmSettings",
    "CurriculumSettings",
    "EvaluationSet",
    "FieldSpec",
    "IngestSettings",
    "Loaded",
    "PhaseSettings",
    "PolicySettings",
    "RewardSettings",
    "RolloutsSettings",
    "Settings",
    "SettingsError",
    "SourceSettings",
    "Where",
    "deciding",
    "load_settings",
    "outcome_hash",
]
