"""The nursery judge on a GPU says what it says on the CPU."""

import pytest

from tests.gpu.world import DEVICE, MARKS
from trainer.engines.transformers import TransformersEngine
from trainer.judge import Judge, JudgeSettings
from trainer.nursery.judge import ADDENDS, FIXED, TEMPLATE, Sum
from verifiers.genrm import Comparison

pytestmark = MARKS
SUMS = [Sum(a, FIXED + a + x, FIXED + a + y) for a in ADDENDS for x in (-3, -1, 0, 1, 3) for y in (0, 1, -3)]
UNSURE = 0.05  # from 0.5: what is so near to parity may fall on either side
OFF = {"float32": 1e-3, "bfloat16": 0.05}  # of a score, in the mean


def judged(folder, device, dtype):
    asked = [Comparison(f"{s.addend} {s.first} {s.second}", 0, s.question, str(s.first), str(s.second)) for s in SUMS]
    with_model = TransformersEngine(str(folder), batch_size=16, device=device, dtype=dtype)
    return {j.prompt_id: j for j in Judge(with_model, TEMPLATE, JudgeSettings(canaries=0)).judge(asked)}


@pytest.fixture(scope="module")
def expected(judge_folder, device):
    return judged(judge_folder, "cpu", "float32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_verdicts_are_the_cpus(judge_folder, expected, dtype, note):
    found = judged(judge_folder, DEVICE, dtype)
    assert {j.status for j in found.values()} == {"judged"}
    off = [abs(found[n].score - j.score) for n, j in expected.items()]
    turned = [n for n, j in expected.items() if (found[n].score - 0.5) * (j.score - 0.5) < 0]
    note(comparisons=len(off), mean_off=sum(off) / len(off), most_off=max(off), turned=len(turned))
    assert sum(off) / len(off) < OFF[dtype]
    assert all(abs(expected[n].score - 0.5) < UNSURE for n in turned)
