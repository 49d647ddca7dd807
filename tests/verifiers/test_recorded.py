"""Agreement with the labels of recorded rollouts (benchmarks/math_agreement.py reports it)."""

import pytest

from benchmarks.math_agreement import GSM8K_TARGET, SETS, measure
from verifiers import VerifierPool


@pytest.fixture(scope="module")
def pool():
    with VerifierPool(2) as opened:
        yield opened


@pytest.mark.parametrize(("name", "least"), [("gsm8k", GSM8K_TARGET), ("math_qwen_x8", 0.99), ("mathgpt", 0.995)])
def test_agreement_with_labels(shared_data, pool, name, least):
    missing = [file for file in SETS[name][1] if not (shared_data / f"{file}.jsonl.gz").exists()]
    if missing:
        pytest.skip(f"not on this machine: {missing}")
    result, apart = measure(name, shared_data, pool)
    assert result["agreement"] >= least
    assert result["prompts_without_disagreement"] == result["of_these_equal_pass_rate"] > 0
    assert not [item["locator"] for item in apart if item["who_is_right"] == "unjudged"]
    assert set(result["statuses"]) <= {"correct", "incorrect", "unparsed"}
