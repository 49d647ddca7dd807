"""What `[judge]` says: which engine is asked, what it is asked for each source, and who the judge is. No torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trainer.engines.weights import ModelError, model_fingerprint
from trainer.judge.calls import JudgeSettings
from trainer.judge.judge import Judge, judge_id
from verifiers.genrm.canaries import CanaryLimits
from verifiers.genrm.templates import template
from verifiers.hybrid import GENRM, GENRM_BEST_OF_N, GENRM_GROUND_TRUTH, GENRM_RUBRIC
from warehouse.settings import PolicySettings

if TYPE_CHECKING:
    from trainer.engines.contract import Engine
    from verifiers.genrm.templates import Template
    from warehouse.settings import JudgingSettings

_AGAINST = {GENRM_GROUND_TRUTH: "ground_truth", GENRM_BEST_OF_N: "best_of_n", GENRM_RUBRIC: "rubric"}


def judged_sources(chosen: JudgingSettings) -> tuple[str, ...]:
    """Return the reward sources that the judge is asked for."""
    return tuple(s for s in GENRM if chosen.model is not None and _AGAINST[s] in chosen.against)


def template_for(chosen: JudgingSettings, source: str) -> Template:
    """Return what is asked for a source.

    Raises:
        ModelError: the settings name no such template, or one of another kind.
    """
    key = {GENRM_GROUND_TRUTH: "gold_template", GENRM_BEST_OF_N: "open_template", GENRM_RUBRIC: "rubric_template"}
    name = getattr(chosen, key[source])
    try:
        found = template(name)
    except KeyError as error:
        msg = f"judge.{key[source]}: {error.args[0]}"
        raise ModelError(msg) from None
    wanted = "pointwise" if source == GENRM_RUBRIC else "pairwise"
    if found.kind != wanted or (found.needs_gold and source != GENRM_GROUND_TRUTH):
        told = "asks for a ground truth" if found.kind == wanted else f"is {found.kind}"
        msg = f"judge.{key[source]} = {name!r}: it {told}, and this one has to be {wanted} and do without"
        raise ModelError(msg)
    if source == GENRM_RUBRIC and chosen.rubric is not None:
        return replace(found, rubric=chosen.rubric)
    return found


def judge_settings(chosen: JudgingSettings) -> JudgeSettings:
    """Return how the judge is asked."""
    return JudgeSettings(**{name: getattr(chosen, name) for name in JudgeSettings.__dataclass_fields__})


def judge_policy(chosen: JudgingSettings) -> PolicySettings:
    """Return the judge's model as engines take it."""
    longest = max((template_for(chosen, s).max_tokens for s in judged_sources(chosen)), default=1)
    return PolicySettings(
        model=str(chosen.model),
        engine=chosen.engine,
        revision=chosen.revision,
        temperature=chosen.temperature,
        top_p=chosen.top_p,
        max_tokens=chosen.max_tokens or longest,
        batch_size=chosen.batch_size,
        dtype=chosen.dtype,
        device=chosen.device,
    )


def identity(chosen: JudgingSettings, source: str) -> str:
    """Return the id of the judge of a source, as its judgements carry it. Loads no weights.

    Raises:
        ModelError: the model cannot be had, or there is no such template.
    """
    try:
        found = model_fingerprint(judge_policy(chosen))
    except ModelError as error:
        raise ModelError(str(error).replace("policy.model", "judge.model")) from None
    return judge_id(found, template_for(chosen, source), judge_settings(chosen))


def judge_for(chosen: JudgingSettings, source: str, engine: Engine) -> Judge:
    """Return the judge of a source over an engine.

    Raises:
        JudgeError: the engine's model has no chat template.
    """
    limits = CanaryLimits(max_false_positive_rate=chosen.max_false_positive_rate)
    return Judge(engine, template_for(chosen, source), judge_settings(chosen), limits)
