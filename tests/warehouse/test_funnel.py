"""The funnel adds up, and its plots are pictures."""

import polars as pl
import pytest

from tests.warehouse import release_home as small
from warehouse.funnel import funnel, main_path, pass_rate_histogram
from warehouse.home import Home
from warehouse.plots import funnel_png, histogram_png
from warehouse.queries import query
from warehouse.schemas import RELEASES
from warehouse.store import Store


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return small.make(tmp_path_factory.mktemp("funnel") / "home").snapshot()


def rows(frame, stage):
    return dict(frame.filter(pl.col("stage") == stage).select("outcome", "rows").iter_rows())


def test_every_step_is_counted(snapshot):
    found = funnel(snapshot, "main")
    assert rows(found, "read") == {"rows read": 15}
    assert rows(found, "ingest") == {"prompt": 12, "duplicate": 1, "near_duplicate": 1, "quarantined": 1}
    assert rows(found, "split") == {"candidate": 8, "heldout": 2, "contaminated": 1, "eval": 1}
    assert rows(found, "score") == {"scored": 6, "original, not scored": 1, "unscored": 1}
    assert rows(found, "select") == {
        "selected: pre_ppo": 3, "selected: original": 1, "left out: above_cut": 3, "left out: heldout": 2,
        "left out: eval": 1, "left out: contaminated": 1, "left out: unscored": 1,
    }  # fmt: skip
    assert rows(found, "order") == {"mixture": 4, "code": 1}


def test_nothing_is_lost_between_steps(snapshot):
    found = funnel(snapshot, "main")
    totals = dict(found.group_by("stage").agg(pl.col("rows").sum()).iter_rows())
    assert totals["read"] == totals["ingest"]
    assert totals["split"] == rows(found, "ingest")["prompt"] == totals["select"]
    assert totals["score"] == rows(found, "split")["candidate"]


def test_the_main_path_shrinks_to_the_release(tmp_path):
    store = small.make(tmp_path / "home")
    made = {"arm": "main", "release_id": "0" * 32, "rows": 5, "prompts": 4, "heldout": 1, "policy_hash": "h"}
    frame = pl.DataFrame([made], schema=RELEASES.columns)
    small.put(store, "release", "corpus", {"releases": frame}, variant="main")
    path = main_path(funnel(store.snapshot(), "main"))
    assert path == [
        ("rows read", 15), ("prompts", 12), ("candidates", 8), ("scored, or original", 7), ("selected", 4),
        ("rows in curriculum", 5), ("rows released", 5),
    ]  # fmt: skip


def test_arms_are_kept_apart(tmp_path):
    store = small.make(tmp_path / "home")
    small.choose(store, [p for p in small.PROMPTS if p.selected], arm="other")
    view = store.snapshot()
    assert rows(funnel(view, "other"), "select") == {"selected: pre_ppo": 3, "selected: original": 1}
    assert funnel(view).filter(pl.col("stage") == "select").get_column("rows").sum() == 16


def test_the_view_has_pools_and_domains(snapshot):
    sql = "SELECT domain, sum(\"rows\") AS n FROM funnel WHERE outcome = 'selected: pre_ppo' GROUP BY ALL ORDER BY 1"
    assert query(snapshot, sql).rows() == [("code", 1), ("math", 2)]


def test_an_abandoned_batch_leaves_the_funnel(tmp_path):
    store = small.make(tmp_path / "home")
    store.abandon(small.BATCH, "bad file")
    found = funnel(store.snapshot(), "main")
    assert rows(found, "read") == rows(found, "ingest") == {}


def test_an_empty_home_has_an_empty_funnel(tmp_path):
    found = funnel(Store(Home(tmp_path / "home")).snapshot(), "main")
    assert found.filter(pl.col("rows") > 0).is_empty()
    assert funnel_png(main_path(found)).startswith(b"\x89PNG")


def test_pass_rates_by_domain_and_source(snapshot):
    found = pass_rate_histogram(snapshot, "domain", bins=4)
    assert found.filter(pl.col("domain") == "code").select("bin", "prompts").rows() == [(0, 1), (3, 1)]
    assert found.get_column("prompts").sum() == sum(p.mean is not None for p in small.PROMPTS)
    assert set(pass_rate_histogram(snapshot, "source").get_column("source")) == {"gsm8k", "mbpp"}
    with pytest.raises(ValueError, match="domain or source"):
        pass_rate_histogram(snapshot, "verifier")


def test_plots_are_png_and_repeat(snapshot):
    counts = pass_rate_histogram(snapshot)
    for make in (lambda: funnel_png(main_path(funnel(snapshot, "main"))), lambda: histogram_png(counts)):
        assert make() == make()
        assert make().startswith(b"\x89PNG")
    many = pl.DataFrame({"domain": [f"d{i}" for i in range(30)], "bin": [0] * 30, "prompts": [1] * 30})
    assert histogram_png(many).startswith(b"\x89PNG")
    assert histogram_png(many.clear()).startswith(b"\x89PNG")
