"""Which rows of a release are trained on, and what is said of the others."""

import polars as pl
import pytest

from tests.trainer.ppo.world import rules
from trainer.ppo.prompts import PpoError, check_format, read_prompts
from verifiers.hybrid import GENRM, REWARD_MODEL, HybridReward
from warehouse.release_rows import ROWS
from warehouse.releases import Release


def row(n, phase="mixture", verifier="math", domain="math", gold='"4"'):
    turns = [{"role": "user", "content": "2 + 2?"}]
    return {"position": n, "phase": phase, "prompt_id": f"{n:032x}", "messages": turns, "domain": domain,
            "verifier": verifier, "ground_truth": gold}  # fmt: skip


@pytest.fixture
def release(tmp_path):
    """Return a function that writes a release of these rows."""

    def write(train, heldout=(), form=1, stated=()):
        for name, rows in (("train", train), ("heldout", heldout)):
            filled = [dict.fromkeys(ROWS) | one for one in rows]
            pl.DataFrame(filled, schema=ROWS).write_parquet(tmp_path / f"{name}.parquet")
        phases: dict[str, int] = {}
        for one in train:
            phases[one["phase"]] = phases.get(one["phase"], 0) + 1
        manifest = {"format": form, "arm": "main", "counts": {"rows_by_phase": phases},
                    "policy": {"curriculum": {"phases": [{"name": n} for n in stated]}}}  # fmt: skip
        return Release("ab" * 16, tmp_path, manifest)

    return write


def test_rows_come_in_curriculum_order_with_their_phases(release):
    rows = [row(3, "code"), row(1, "code"), row(2), row(3)]
    found = read_prompts(release(rows, [row(9), row(8)]), rules(), evaluation=1)
    assert [(int(p.prompt_id, 16), p.phase) for p in found.train] == [
        (3, "code"), (1, "code"), (2, "mixture"), (3, "mixture"),
    ]  # fmt: skip
    assert [int(p.prompt_id, 16) for p in found.heldout] == [9]
    assert found.train[0].messages == (("user", "2 + 2?"),)


def test_a_release_of_another_version_is_refused(release):
    with pytest.raises(PpoError, match="release abababababab has format 7, and this preppo trains on format 1"):
        check_format(release([row(1)], form=7))


def test_prompts_that_no_source_rewards_are_left_out_and_told(release):
    rows = [row(1), row(2, verifier=None, gold=None, domain="general"), row(3, verifier="poetry")]
    found = read_prompts(release(rows), rules())
    assert [int(p.prompt_id, 16) for p in found.train] == [1]
    assert found.left_out == {"domain general, no verifier": 1, "domain math, verifier poetry": 1}


def test_what_a_judge_compares_with_is_the_best_of_n_and_nothing_else(release):
    open_ended = {"verifier": None, "gold": None}
    rows = [
        row(1, **open_ended) | {"reference": "Roses are red.", "reference_kind": "best_of_n"},
        row(2, **open_ended) | {"reference_kind": "none_chosen"},
        row(3, verifier=None) | {"reference": '"4"', "reference_kind": "ground_truth"},
    ]
    judge = HybridReward(dict.fromkeys(GENRM, lambda _: []) | {REWARD_MODEL: lambda _: []})
    found = read_prompts(release(rows), judge)
    assert [(int(p.prompt_id, 16), p.reference, p.reference_wanted) for p in found.train] == [
        (1, "Roses are red.", True), (3, None, False),
    ]  # fmt: skip
    assert found.left_out == {"domain math, no best of N among its reference samples": 1}
    model = HybridReward({REWARD_MODEL: lambda _: []})
    assert [int(p.prompt_id, 16) for p in read_prompts(release(rows), model).train] == [1, 2, 3]


def test_a_phase_that_nothing_rewards_is_refused(release):
    rows = [row(1, "code", verifier=None), row(2)]
    with pytest.raises(PpoError, match=r"phase 'code': no source rewards any of its 1 prompts .* configure"):
        read_prompts(release(rows), rules())


def test_an_empty_phase_is_told_and_an_empty_release_refused(release):
    assert read_prompts(release([row(1)], stated=("code", "mixture")), rules()).empty_phases == ("code",)
    with pytest.raises(PpoError, match="release abababababab has no row to train on"):
        read_prompts(release([]), rules())
