"""Every setting of preppo, as frozen and validated data.

The sections follow `preppo.toml`. They live in the lowest layer because every layer above is configured by
them; they hold no behaviour beyond validation and hashing.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from warehouse.settings.adaptive import AdaptiveSettings
from warehouse.settings.fields import ColumnField, LiteralField, Share, Where
from warehouse.settings.machine import BudgetSettings, EngineSettings, VerifierSettings
from warehouse.settings.ppo import PpoSettings
from warehouse.settings.preferences import PreferencesSettings, RewardTrainingSettings, StrengthSettings
from warehouse.settings.scoring import JudgingSettings, RewardModelSettings, RewardSettings
from warehouse.settings.section import Section

Pool = Literal["original", "new", "eval"]
Rule = Literal["pre_ppo", "variance", "learnability", "band", "rip", "random", "all"]
OWN_ROLLOUTS = "own_rollouts"  # the origin of pairs that are made of a prompt's own rollouts
ADAPTIVE_RULES = ("pre_ppo", "variance", "learnability", "band")  # by which a part of the samples can tell


class SourceSettings(Section):
    """One `[[source]]`: where prompts come from, and how a row becomes a prompt."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")]
    path: str | list[str] | None = None
    dataset: str | None = None
    dataset_config: str | None = None
    split: str = "train"
    prompt: ColumnField | None = None
    messages: ColumnField | None = None
    system: ColumnField | None = None
    raw: bool = False  # the prompt is an exact prefix for completion: kept byte for byte as raw_text
    ground_truth: ColumnField | None = None
    verifier: LiteralField | None = None
    domain: LiteralField | None = None
    pool: Pool = "new"
    licence: LiteralField | None = None
    tools: LiteralField | None = None
    key: ColumnField | None = None
    extra: list[str] = []
    where: list[Where] = []
    encoding: str = "utf-8"

    @model_validator(mode="after")
    def _complete(self) -> SourceSettings:
        if (self.path is None) == (self.dataset is None):
            msg = "give exactly one of `path` (files) and `dataset` (a Hugging Face data set)"
            raise ValueError(msg)
        if (self.prompt is None) == (self.messages is None):
            msg = "give exactly one of `prompt` (text) and `messages` (a list of role and content)"
            raise ValueError(msg)
        return self


class RolloutsSettings(Section):
    """One `[[rollouts]]`: rollouts that the user already has, under the name of the policy that made them."""

    name: Annotated[str, Field(min_length=1)]
    path: str | list[str]
    format: Literal["rows", "pass_rate", "open-r1", "reasoning360", "skywork"] = "rows"
    prompt: ColumnField | None = None
    messages: ColumnField | None = None
    key: ColumnField | None = None
    source: str | None = None
    response: ColumnField | None = None
    score: ColumnField | None = None
    finish_reason: ColumnField | None = None
    sample: ColumnField | None = None
    rate: ColumnField | None = None
    samples: Annotated[int, Field(ge=1)] | None = None
    reference_samples: Annotated[int, Field(ge=0)] = 0  # the last so many of a prompt become reference samples
    where: list[Where] = []
    encoding: str = "utf-8"

    @model_validator(mode="after")
    def _complete(self) -> RolloutsSettings:
        if sum(x is not None for x in (self.prompt, self.messages, self.key)) != 1:
            msg = "give exactly one of `prompt`, `messages` and `key` to join rollouts to prompts"
            raise ValueError(msg)
        if self.key is not None and self.source is None:
            msg = "`key` needs `source`, the name of the [[source]] whose key it is"
            raise ValueError(msg)
        if self.format == "rows" and self.response is None and self.score is None:
            msg = 'format "rows" needs `response` or `score`'
            raise ValueError(msg)
        if self.format == "pass_rate" and (self.rate is None or self.samples is None):
            msg = 'format "pass_rate" needs `rate` and `samples`'
            raise ValueError(msg)
        return self


class PolicySettings(Section):
    """`[policy]`: the model that is rolled out, and how it samples."""

    model: str = "nursery"
    engine: Literal["recorded", "transformers", "vllm", "openai", "ray"] = "transformers"
    revision: str | None = None  # names the weights behind a served model, which nobody here can look at
    samples: Annotated[int, Field(ge=1, le=4096)] = 8
    reference_samples: Annotated[int, Field(ge=0, le=4096)] = 0
    temperature: Annotated[float, Field(ge=0.0, le=10.0)] = 1.0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    max_tokens: Annotated[int, Field(ge=1)] = 64
    stop: list[str] = []
    seed: int = 0
    system_prompt: str | None = None
    pools: list[Pool] = ["original", "new", "eval"]
    when: Literal["missing", "always"] = "missing"  # missing: only prompts that have no recorded rollouts
    per_source: Annotated[int, Field(ge=1)] | None = None  # at most so many prompts of each source (lowest ids)
    batch_size: Annotated[int, Field(ge=1)] = 64
    chunk_prompts: Annotated[int, Field(ge=1)] = 256
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"


class EvaluationSet(Section):
    """A set that no training prompt may contain."""

    name: Annotated[str, Field(min_length=1)]
    path: str | list[str] | None = None
    source: str | None = None  # or: the prompts of a [[source]] with pool = "eval"
    text: ColumnField | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> EvaluationSet:
        if (self.path is None) == (self.source is None):
            msg = "give exactly one of `path` and `source`"
            raise ValueError(msg)
        if self.path is not None and self.text is None:
            msg = "`path` needs `text`, the column or template that holds an item's text"
            raise ValueError(msg)
        return self


class IngestSettings(Section):
    """`[ingest]`: what counts as the same, as too long, as held out, as contaminated."""

    near_duplicate_threshold: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8
    near_duplicate_golds: Literal["differ", "ignore"] = "differ"  # differ: near copies with other golds are other tasks
    shingle_words: Annotated[int, Field(ge=1, le=20)] = 3
    signature_size: Literal[64, 128, 256] = 128
    heldout_share: Share = 0.02
    heldout_neighbour_threshold: Annotated[float, Field(gt=0.0, le=1.0)] = 0.6
    decontamination_words: Annotated[int, Field(ge=3, le=50)] = 13
    evaluation_sets: list[EvaluationSet] = []
    max_chars: Annotated[int, Field(ge=1)] = 100_000
    min_chars: Annotated[int, Field(ge=1)] = 1
    chunk_rows: Annotated[int, Field(ge=1)] = 20_000


class ArmSettings(Section):
    """A named selection policy. Arms live side by side, to be compared."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "main"
    rule: Rule = "variance"  # by comparison: benchmarks/REPRODUCTION.md
    fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.10
    band: tuple[Share, Share] = (0.2, 0.8)
    policy: str | None = None  # name of the policy whose scores count; default: the first that scored a prompt
    min_samples: Annotated[int, Field(ge=1)] = 1
    max_all_zero_share: Share = 0.5
    drop_suspect_golds: bool = True
    max_reward_model_uncertainty: Annotated[float, Field(gt=0.0)] | None = None  # difficulty.reward_model_uncertainty
    max_source_disagreement: Share | None = None  # difficulty.source_disagreement
    hysteresis: Share = 0.0  # what was selected stays until it is so far past the cut, as a share of its group
    include_original: bool = True
    floors: dict[str, Annotated[int, Field(ge=0)]] = {}  # domain -> at least so many selected prompts
    ceilings: dict[str, Annotated[int, Field(ge=0)]] = {}  # domain -> at most so many
    seed: int = 0

    @model_validator(mode="after")
    def _in_order(self) -> ArmSettings:
        if self.band[0] > self.band[1]:
            msg = f"band = {list(self.band)}: the first must not be above the second"
            raise ValueError(msg)
        for domain in sorted(self.floors.keys() & self.ceilings.keys()):
            if self.floors[domain] > self.ceilings[domain]:
                msg = f"floors.{domain} = {self.floors[domain]} is above ceilings.{domain} = {self.ceilings[domain]}"
                raise ValueError(msg)
        return self


class SignalsSettings(Section):
    """`[signals]`: what training runs say of prompts, and how long those rest; see `curation.signals`."""

    pools: list[Pool] = ["new"]  # whose prompts may rest
    learnt_mean: Share = 0.95  # mean reward, where a run left a prompt, from which it is learnt
    learnt_gain: Share | None = None  # or: how much its mean reward has grown in that run
    retire_after: Annotated[int, Field(ge=1)] = 4  # visits on end that all gave one reward, in more than one release
    retest_after: Annotated[int, Field(ge=1)] = 2  # releases that were trained on, until a prompt is tried again


class SelectionSettings(ArmSettings):
    """`[selection]`: the main arm, and `[[selection.arms]]` beside it."""

    arms: list[ArmSettings] = []

    def all_arms(self) -> list[ArmSettings]:
        """Return the main arm followed by the others, names unique."""
        own = ArmSettings(**{k: v for k, v in self if k != "arms"})
        return [own, *self.arms]

    @model_validator(mode="after")
    def _unique(self) -> SelectionSettings:
        names = [self.name, *(a.name for a in self.arms)]
        if len(set(names)) != len(names):
            msg = f"arm names must differ, got {names}"
            raise ValueError(msg)
        return self


Weight = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]


class PhaseSettings(Section):
    """One phase of the curriculum: domains with weights, and a length."""

    name: str
    domains: Annotated[dict[str, Weight], Field(min_length=1)] | Literal["natural"] = "natural"
    share: Annotated[float, Field(gt=0.0, le=10.0)] | None = None  # of the selected prompts
    rows: Annotated[int, Field(ge=1)] | None = None
    repeat: bool = False  # may a prompt recur inside this phase

    @model_validator(mode="after")
    def _one_length(self) -> PhaseSettings:
        if self.share is not None and self.rows is not None:
            msg = "give `share` or `rows`, not both"
            raise ValueError(msg)
        return self


class CurriculumSettings(Section):
    """`[curriculum]`: the phases of a release, such as domain priority (arXiv 2503.22230); by default a single one."""

    phases: Annotated[list[PhaseSettings], Field(min_length=1)] = [PhaseSettings(name="mixture")]
    order: Literal["easy_first", "hard_first", "shuffled"] = "shuffled"
    seed: int = 0

    @field_validator("phases")
    @classmethod
    def _names_differ(cls, value: list[PhaseSettings]) -> list[PhaseSettings]:
        names = [p.name for p in value]
        if len(set(names)) != len(names):
            msg = f"phase names must differ, got {names}"
            raise ValueError(msg)
        return value


class ScheduleSettings(Section):
    """`[schedule]`: when a left-alone home re-curates."""

    nightly: str = "0 3 * * *"
    inbox_seconds: Annotated[int, Field(ge=1)] = 30

    @field_validator("nightly")
    @classmethod
    def _cron(cls, value: str) -> str:
        if not re.fullmatch(r"[-\d*,/A-Za-z]+( [-\d*,/A-Za-z]+){4}", value):
            msg = 'no cron expression of five fields, such as "0 3 * * *"'
            raise ValueError(msg)
        return value


class StorageSettings(Section):
    """`[storage]`: housekeeping of the home."""

    keep_hours: Annotated[int, Field(ge=0)] = 24 * 14  # how long replaced data files stay on disk


class Settings(Section):
    """All settings. `outcome_hash` covers what decides an outcome, and nothing else."""

    source: list[SourceSettings] = []
    rollouts: list[RolloutsSettings] = []
    preferences: list[PreferencesSettings] = []
    policy: PolicySettings = PolicySettings()
    adaptive: AdaptiveSettings = AdaptiveSettings()
    ingest: IngestSettings = IngestSettings()
    reward: RewardSettings = RewardSettings()
    judge: JudgingSettings = JudgingSettings()
    reward_model: RewardModelSettings = RewardModelSettings()
    strength: StrengthSettings = StrengthSettings()
    reward_training: RewardTrainingSettings = RewardTrainingSettings()
    selection: SelectionSettings = SelectionSettings()
    signals: SignalsSettings = SignalsSettings()
    curriculum: CurriculumSettings = CurriculumSettings()
    ppo: PpoSettings = PpoSettings()
    engine: EngineSettings = EngineSettings()
    budget: BudgetSettings = BudgetSettings()
    verifiers: VerifierSettings = VerifierSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    storage: StorageSettings = StorageSettings()
    overrides: str | None = None  # a JSONL file in which people overrule

    @model_validator(mode="after")
    def _names(self) -> Settings:
        names = [s.name for s in self.source]
        for name in names:
            if names.count(name) > 1:
                msg = f"source.name: two [[source]] are named {name!r}; names must differ"
                raise ValueError(msg)
        told = [p.name for p in self.preferences]
        for name in told:
            if told.count(name) > 1 or name == OWN_ROLLOUTS:
                msg = f"preferences.name: {name!r} is taken; names of [[preferences]] must differ"
                raise ValueError(msg)
        for r in self.rollouts:
            if r.source is not None and r.source not in names:
                msg = f"rollouts.source: {r.source!r} is not the name of a [[source]]; allowed: {names}"
                raise ValueError(msg)
        policies = [*(r.name for r in self.rollouts), *(["policy"] if self.policy.engine != "recorded" else [])]
        several = {"reasoning360", "skywork"}  # formats whose files name the policies
        for arm in self.selection.all_arms():
            if arm.policy not in (None, *policies) and not any(r.format in several for r in self.rollouts):
                msg = f"selection.policy of arm {arm.name}: no policy is named {arm.policy!r}; allowed: {policies}"
                raise ValueError(msg)
        self._adaptive_arm()
        for e in self.ingest.evaluation_sets:
            if e.source is not None and e.source not in names:
                msg = f"ingest.evaluation_sets.source: {e.source!r} is not the name of a [[source]]; allowed: {names}"
                raise ValueError(msg)
        return self

    def _adaptive_arm(self) -> None:
        """Refuse an arm whose selection cannot be judged from some of the samples that are rolled out here."""
        name, arms = self.adaptive.arm, self.selection.all_arms()
        if name is None:
            return
        arm = next((a for a in arms if a.name == name), None)
        if arm is None:
            msg = f"adaptive.arm: no arm is named {name!r}; allowed: {[a.name for a in arms]}"
        elif arm.rule not in ADAPTIVE_RULES:
            msg = f"adaptive.arm: arm {name!r} selects by rule {arm.rule!r}; allowed: {', '.join(ADAPTIVE_RULES)}"
        elif arm.policy not in (None, "policy"):
            msg = f"adaptive.arm: arm {name!r} selects by policy {arm.policy!r}, which is not rolled out here"
        else:
            return
        raise ValueError(msg)


# Where things lie and how they are run changes no outcome: left out of every hash.
_NOT_DECIDING = {
    "path", "chunk_rows", "chunk_prompts", "batch_size", "device", "verifiers", "budget", "schedule", "storage",
    "canaries", "max_false_positive_rate", "reward_training", "preferences",
    "strength",
}  # fmt: skip


def deciding(section: BaseModel | list[Any] | Any) -> Any:
    """Return the part of some settings that decides an outcome, as plain JSON data."""
    if isinstance(section, BaseModel):
        return {
            name: deciding(getattr(section, name))
            for name in type(section).model_fields
            if name not in _NOT_DECIDING and not isinstance(getattr(section, name), EngineSettings)
        }
    if isinstance(section, (list, tuple)):
        return [deciding(x) for x in section]
    if isinstance(section, dict):
        return {k: deciding(v) for k, v in section.items()}
    return section


def outcome_hash(*sections: Any) -> str:
    """Return 32 hex characters (BLAKE2b, 16 bytes) over the deciding part of the given settings."""
    text = json.dumps([deciding(s) for s in sections], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
