"""`engine = "ray"` through the pipeline: a run that is killed in the middle, its cluster, and the run after it."""

import time
from importlib.util import find_spec

import polars as pl
import pytest

from tests.pipeline import harness
from tests.trainer.engines.test_ray import alive, of_ray, wait_until
from warehouse.home import Home
from warehouse.store import Store

SUMS, SAMPLES, CHUNK_PROMPTS, ACTORS = 60, 2, 2, 2
CHUNK = CHUNK_PROMPTS * SAMPLES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[ray]'"),
]


def accounted(home):
    """Return how many samples were accounted so far, those of killed runs included."""
    if not (home / "tables" / "generation" / "_delta_log").is_dir():
        return 0
    return int(Store(Home(home)).stored("generation").select(pl.col("samples").sum()).collect().item() or 0)


def test_a_killed_run_generates_at_most_a_chunk_for_each_actor_again(tmp_path):
    corpus = harness.small_corpus(tmp_path / "corpus", maths=12, sums=SUMS, samples=SAMPLES)
    corpus.settings["policy"] |= {"engine": "ray", "samples": SAMPLES, "chunk_prompts": CHUNK_PROMPTS}
    corpus.settings["engine"] |= {"ray_actors": ACTORS, "ray_cpus": 0.5}
    corpus.write_settings()
    home = tmp_path / "home"
    command = harness.Command(corpus, home)
    limit = time.monotonic() + 600
    while accounted(home) < 3 * CHUNK:
        assert command.running, command.printed
        assert time.monotonic() < limit, command.printed
        time.sleep(0.01)
    cluster = of_ray(command.process.pid)
    command.kill(group=False)  # as the kernel does where memory runs out
    assert len(cluster) >= 4
    kept = accounted(home)
    assert 3 * CHUNK <= kept < SUMS * SAMPLES, "it was not killed in the middle"

    printed = harness.Command(corpus, home).finish(timeout=600)
    assert "Traceback" not in printed
    rows = Store(Home(home)).snapshot().scan("rollouts").filter(~pl.col("recorded")).collect()
    assert rows.height == rows.select("prompt_id", "role", "sample").n_unique() == SUMS * SAMPLES
    assert set(rows["engine"]) == {"ray+transformers"}
    assert not rows["detail"].count(), "an error is no sample"
    print(f"kept {kept} of {SUMS * SAMPLES} samples; {accounted(home) - rows.height} were generated again")
    assert accounted(home) - rows.height <= CHUNK * ACTORS
    # Actors end within seconds of the run, two helpers of Ray's own after a minute.
    wait_until(lambda: not alive(cluster), timeout=180)
