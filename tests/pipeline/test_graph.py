"""The graph is held by a snapshot, so that an accidental change of it fails review."""

import dagster as dg
import pytest

from assets.discovery import BATCH_STAGES, CORPUS_STAGES
from pipeline.definitions import defs
from pipeline.jobs import JOBS


@pytest.fixture(scope="module")
def definitions(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREPPO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("PREPPO_CONFIG", raising=False)
        patch.chdir(tmp_path_factory.mktemp("empty"))
        yield defs()


def test_definitions_load(definitions):
    dg.Definitions.validate_loadable(definitions)


def test_the_graph_is_as_it_was(definitions, snapshot):
    graph = definitions.resolve_asset_graph()
    assets = {
        key.to_user_string(): {
            "group": graph.get(key).group_name,
            "deps": sorted(d.to_user_string() for d in graph.get(key).parent_keys),
            "partitioned": graph.get(key).is_partitioned,
            "kinds": sorted(graph.get(key).kinds),
            "checks": sorted(
                f"{c.name}{' (blocking)' if graph.get_check_spec(c).blocking else ''}"
                for c in graph.get(key).check_keys
            ),
        }
        for key in sorted(graph.get_all_asset_keys())
    }
    jobs = {
        j.name: sorted(
            k.to_user_string() for k in definitions.resolve_job_def(j.name).asset_layer.executable_asset_keys
        )
        for j in JOBS
    }
    sensors = sorted((s.name, s.minimum_interval_seconds) for s in definitions.sensors)
    schedules = sorted((s.name, s.cron_schedule) for s in definitions.schedules)
    assert {"assets": assets, "jobs": jobs, "sensors": sensors, "schedules": schedules} == snapshot


def test_every_stage_is_an_asset_of_one_job(definitions):
    def keys(job):
        return {k.to_user_string() for k in definitions.resolve_job_def(job).asset_layer.executable_asset_keys}

    assert {"recorded_rollouts", *(s.name for s in BATCH_STAGES)} == keys("curate_batch")
    assert {s.name for s in CORPUS_STAGES} == keys("curate_corpus")


def test_everything_has_a_description_and_an_owner(definitions):
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert graph.get(key).description
        assert graph.get(key).owners
