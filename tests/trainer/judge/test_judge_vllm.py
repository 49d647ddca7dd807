"""The nursery judge on vLLM for real: the same scores as with the transformers engine. `make test-vllm` runs this."""

import os

import pytest

from trainer.engines.contract import Sampling
from trainer.engines.vllm import VllmEngine
from trainer.judge import Judge, JudgeSettings
from trainer.nursery.judge import ADDENDS, FIXED, TEMPLATE
from verifiers.genrm import Comparison

PYTHON = os.environ.get("PREPPO_VLLM_PYTHON")
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(PYTHON is None, reason="PREPPO_VLLM_PYTHON names no interpreter with vLLM: make test-vllm"),
]
BATCH = [
    Comparison(f"{addend}", off + 3, f"{FIXED} + {addend}?", str(FIXED + addend + off), str(FIXED + addend))
    for addend in ADDENDS
    for off in (-3, -1, 0, 1, 3)
]


def test_vllm_gives_the_same_scores(judge_folder, judge_engine):
    settings = JudgeSettings(canaries=0)
    ours = {(j.prompt_id, j.sample): j for j in Judge(judge_engine, TEMPLATE, settings).judge(BATCH)}
    engine = VllmEngine(
        str(judge_folder),
        sampling=Sampling(0.0),
        python=PYTHON,
        dtype="float32",
        arguments={"enforce_eager": True},
    )
    try:
        theirs = {(j.prompt_id, j.sample): j for j in Judge(engine, TEMPLATE, settings).judge(BATCH)}
    finally:
        engine.close()
    assert theirs.keys() == ours.keys()
    for key, one in theirs.items():
        assert (one.status, one.detail, one.judge) == (ours[key].status, "logprobs", ours[key].judge)
        assert one.score == pytest.approx(ours[key].score, abs=1e-3)
