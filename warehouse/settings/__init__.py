"""The settings: `preppo.toml` and the environment, as one frozen, validated object."""

from warehouse.settings.adaptive import AdaptiveSettings
from warehouse.settings.fields import FieldSpec, Where
from warehouse.settings.load import Loaded, SettingsError, load_settings
from warehouse.settings.machine import BudgetSettings, EngineSettings, VerifierSettings
from warehouse.settings.model import (
    ArmSettings,
    CurriculumSettings,
    EvaluationSet,
    IngestSettings,
    PhaseSettings,
    PolicySettings,
    RolloutsSettings,
    Settings,
    SignalsSettings,
    SourceSettings,
    deciding,
    outcome_hash,
)
from warehouse.settings.ppo import PpoSettings
from warehouse.settings.preferences import PreferencesSettings, RewardTrainingSettings, StrengthSettings
from warehouse.settings.scoring import JudgingSettings, RewardModelSettings, RewardSettings

__all__ = [
    "AdaptiveSettings",
    "ArmSettings",
    "BudgetSettings",
    "CurriculumSettings",
    "EngineSettings",
    "EvaluationSet",
    "FieldSpec",
    "IngestSettings",
    "JudgingSettings",
    "Loaded",
    "PhaseSettings",
    "PolicySettings",
    "PpoSettings",
    "PreferencesSettings",
    "RewardModelSettings",
    "RewardSettings",
    "RewardTrainingSettings",
    "RolloutsSettings",
    "Settings",
    "SettingsError",
    "SignalsSettings",
    "SourceSettings",
    "StrengthSettings",
    "VerifierSettings",
    "Where",
    "deciding",
    "load_settings",
    "outcome_hash",
]
