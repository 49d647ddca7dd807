"""The contract: names of samples, identities of policies, and that none of it needs torch."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.engines import EngineError, Sampling, load_engine, plan_requests, policy_id, sample_seed, split_reasoning
from warehouse.settings import EngineSettings, PolicySettings


def test_importing_the_engines_loads_no_torch():
    code = (
        "import sys, trainer.engines, trainer.engines.recorded, trainer.engines.weights, trainer.nursery.tasks, "
        "trainer.nursery.demo; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.integers(), st.text(max_size=8), st.sampled_from(["scored", "reference"]), st.integers(0, 4095))
def test_a_seed_is_63_bits_and_repeats(seed, prompt, role, sample):
    value = sample_seed(seed, prompt, role, sample)
    assert 0 <= value < 2**63
    assert value == sample_seed(seed, prompt, role, sample)


def test_seeds_differ_in_each_of_their_names():
    seeds = {sample_seed(s, p, r, i) for s in (0, 1) for p in "ab" for r in ("scored", "reference") for i in range(50)}
    assert len(seeds) == 400
    assert sample_seed(1, "1", "r", 0) != sample_seed(11, "", "r", 0)  # the names do not run together


def test_a_policy_is_its_model_sampling_and_rendering():
    base = policy_id("f", Sampling(), "t", "s")
    assert len(base) == 32
    others = [
        policy_id("g", Sampling(), "t", "s"),
        policy_id("f", Sampling(temperature=0.5), "t", "s"),
        policy_id("f", Sampling(stop=("x",)), "t", "s"),
        policy_id("f", Sampling(), "u", "s"),
        policy_id("f", Sampling(), "t", None),
        policy_id("f", None, "t", "s"),
        policy_id("f", Sampling(), "t", "s", {"judge": "j"}),
    ]
    assert len({base, *others}) == 8
    assert policy_id("f", Sampling(), "t", "s", {}) == base


def test_requests_of_a_prompt_have_disjoint_seeds_and_the_system_prompt():
    policy = PolicySettings(samples=3, reference_samples=2, system_prompt="Be brief.", stop=["\n"])
    requests = plan_requests("p", [("user", "hi")], None, policy)
    assert [(r.role, r.sample) for r in requests] == [
        ("scored", 0), ("scored", 1), ("scored", 2), ("reference", 0), ("reference", 1),
    ]  # fmt: skip
    assert len({r.seed for r in requests}) == 5
    assert requests[0].messages == (("system", "Be brief."), ("user", "hi"))
    assert requests[0].sampling.stop == ("\n",)


def test_own_system_messages_and_exact_prefixes_are_left_alone():
    policy = PolicySettings(samples=1, system_prompt="Be brief.")
    own = (("system", "Mine."), ("user", "hi"))
    assert plan_requests("p", own, None, policy)[0].messages == own
    assert plan_requests("p", [("user", "x")], "x", policy)[0].messages == (("user", "x"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", (None, "plain")),
        ("", (None, "")),
        ("<think>\na\n</think>\n\nb", ("a", "b")),
        ("a</think>b", ("a", "b")),  # the chat template opened the thought
        ("<think>\ncut", ("cut", "")),
        ("x <think> y", (None, "x <think> y")),
    ],
)
def test_reasoning_is_split_off(text, expected):
    assert split_reasoning(text) == expected


def test_unknown_models_are_refused_with_their_name():
    with pytest.raises(ValueError, match=r"policy\.model = '/no/such/model'"):
        load_engine(PolicySettings(model="/no/such/model"), EngineSettings())
    with pytest.raises(EngineError, match="RecordedEngine"):
        load_engine(PolicySettings(engine="recorded"), EngineSettings())
