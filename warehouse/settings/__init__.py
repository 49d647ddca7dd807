"""The settings: `preppo.toml` and the environment, as one frozen, validated object."""

from warehouse.settings.adaptive import AdaptiveSettings
from warehouse.settings.load import Loaded, SettingsError, load_settings
from warehouse.settings.machine import BudgetSettings, EngineSettings, VerifierSettings
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
    "AdaptiveSettings",
    "ArmSettings",
    "BudgetSettings",
    "CurriculumSettings",
    "EngineSettings",
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
    "VerifierSettings",
    "Where",
    "deciding",
    "load_settings",
    "outcome_hash",
]
