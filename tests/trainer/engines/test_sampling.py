"""Drawing tokens: the nucleus, the limits of the uniform, and streams that belong to a row."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.engines.contract import Sampling
from trainer.engines.sampling import Draws, RowSampling, draw

CPU = torch.device("cpu")


def rows(*settings):
    return RowSampling(settings, CPU)


def test_a_stream_does_not_depend_on_its_neighbours():
    both, alone = Draws([3, 4]), Draws([4])
    assert [float(both.next()[1]) for _ in range(150)] == [float(alone.next()[0]) for _ in range(150)]


def test_dropping_rows_keeps_the_streams_of_the_others():
    all_rows, whole = Draws([1, 2, 3]), Draws([3, 1])
    for _ in range(70):
        all_rows.next(), whole.next()
    all_rows.keep([2, 0])
    for _ in range(130):
        assert torch.equal(all_rows.next(), whole.next())


@given(st.integers(0, 2**63 - 1))
def test_every_63_bit_seed_works(seed):
    assert 0 <= float(Draws([seed]).next()[0]) < 1


def test_tokens_follow_the_cumulative_distribution():
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]])).repeat(5, 1)
    uniform = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.99], dtype=torch.float64)
    token, logp = draw(logits, uniform, rows(*[Sampling()] * 5))
    assert token.tolist() == [0, 0, 1, 1, 2]
    assert logp.exp().tolist() == pytest.approx([0.2, 0.2, 0.5, 0.5, 0.3], abs=1e-6)


def test_impossible_tokens_are_never_drawn():
    logits = torch.tensor([[float("-inf"), 0.0, float("-inf"), 0.0, float("-inf")]]).repeat(2, 1)
    uniform = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert draw(logits, uniform, rows(Sampling(), Sampling()))[0].tolist() == [1, 3]


def test_the_nucleus_is_the_smallest_set_that_holds_top_p():
    logits = torch.log(torch.tensor([[0.1, 0.4, 0.2, 0.3]])).repeat(100, 1)
    uniform = torch.linspace(0, 0.9999, 100, dtype=torch.float64)
    drawn = draw(logits, uniform, rows(*[Sampling(top_p=0.69)] * 100))[0]
    assert set(drawn.tolist()) == {1, 3}
    assert abs((drawn == 1).double().mean() - 4 / 7) < 0.02
    assert set(draw(logits, uniform, rows(*[Sampling(top_p=0.71)] * 100))[0].tolist()) == {1, 2, 3}


def test_temperature_zero_takes_the_likeliest_and_scores_it_untempered():
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]]))
    token, logp = draw(logits, torch.tensor([0.99], dtype=torch.float64), rows(Sampling(temperature=0.0)))
    assert token.tolist() == [1]
    assert logp.exp().item() == pytest.approx(0.5, abs=1e-6)


def test_half_precision_logits_are_drawn_in_full_precision():
    logits = torch.randn(4, 50, dtype=torch.bfloat16)
    _, logp = draw(logits, torch.rand(4, dtype=torch.float64), rows(*[Sampling()] * 4))
    assert logp.dtype == torch.float64
