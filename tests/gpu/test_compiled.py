"""Compiled decoding on a GPU, CUDA graphs and all, against the plain engine of the same type."""

import inspect
import shutil

import pytest
import torch

from tests.gpu.world import (
    MARKS,
    ON_GPU,
    SHARE,
    TIE,
    TOKEN,
    answers,
    differing,
    engine,
    gap_where_they_part,
    per_token,
    requests,
    tokens,
)

pytestmark = MARKS


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def pair(request, device):
    """A plain engine and a compiled one. A torch older than ours compiles without the arguments that it lacks."""
    if not any(map(shutil.which, ("gcc", "cc", "clang"))):
        pytest.skip("torch.compile needs a C compiler")
    whole = torch.compile
    known = inspect.signature(whole).parameters
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda f, **more: whole(f, **{k: v for k, v in more.items() if k in known}))
        fast = engine(dtype=request.param, batch_size=16, compile=True)
    plain = engine(dtype=request.param, batch_size=16)
    yield request.param, plain, fast
    fast.close()
    plain.close()


def test_greedy_texts_are_the_same_up_to_ties(pair, cpu_engine, note):
    dtype, plain, fast = pair
    asked = requests(temperature=0.0)
    theirs, ours = answers(asked, plain), answers(asked, fast)
    other = differing(theirs, ours)
    gaps = [gap_where_they_part(cpu_engine, theirs[n], ours[n]) for n in other]
    note(different=f"{len(other)} of {len(asked)}", widest_tie=max(gaps, default=0.0))
    assert len(other) <= SHARE[dtype] * len(asked)
    assert all(gap < TIE[dtype] for gap in gaps)


def test_log_probabilities_agree(pair, note):
    dtype, plain, fast = pair
    asked = requests(2, temperature=1.0)
    theirs, ours = answers(asked, plain), answers(asked, fast)
    off = per_token(theirs, ours)
    note(nats_a_token=off, different=f"{len(differing(theirs, ours))} of {len(asked)}")
    assert off < TOKEN[dtype]


def test_what_was_recorded_is_replayed_and_gives_the_same_samples(pair, note):
    _, _, fast = pair
    asked = requests(2, count=40, temperature=1.0)
    answers(asked, fast)  # while places grow, what was recorded before is let go
    once = answers(asked, fast)
    recorded = len(fast.decoder.recordings)
    assert (recorded > 0) == ON_GPU
    assert tokens(answers(asked, fast)) == tokens(once)
    assert len(fast.decoder.recordings) == recorded
    note(recordings=recorded, compilations=fast.decoder.compilations)
    assert fast.decoder.compilations <= 2
