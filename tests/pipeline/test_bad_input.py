"""What people get wrong ends in one clear message, and nothing is lost on the way."""

import json
import shutil

import polars as pl
import pytest

from assets.project import open_project
from tests.pipeline import harness
from verifiers import Task, verify
from warehouse.settings import SettingsError, load_settings

SETTINGS = """
[[source]]
name = "sums"
path = "in/*"
prompt = "q"
ground_truth = "a"
verifier = "math"
domain = "math"
{source}

[[rollouts]]
name = "model"
path = "roll/*"
prompt = "q"
response = "r"
{rollouts}

[policy]
engine = "recorded"

[ingest]
heldout_share = 0.0
{ingest}
"""


def use(folder, patch):
    patch.setenv("PREPPO_CONFIG", str(folder / "preppo.toml"))
    patch.setenv("PREPPO_HOME", str(folder / "home"))
    patch.setenv("DAGSTER_HOME", "")
    harness.leave_out_what_is_for_people(patch)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return a folder with settings and files, and the home that is to be made of them."""
    make(tmp_path)
    return use(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("curated")
    make(folder)
    with pytest.MonkeyPatch.context() as patch:
        use(folder, patch)
        preppo("run")
    return folder


@pytest.fixture
def curated(template, tmp_path, monkeypatch):
    """Return such a folder whose home is curated: made once, and copied."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return use(tmp_path, monkeypatch)


def make(folder):
    (folder / "in").mkdir()
    (folder / "roll").mkdir()
    settings(folder)
    put(folder / "in" / "a.jsonl", [{"q": f"What is {i} plus {i * 7}?", "a": str(i * 8)} for i in range(20)])
    put(folder / "roll" / "a.jsonl", [{"q": f"What is {i} plus {i * 7}?", "r": str(i * 8)} for i in range(20)])


def settings(place, source="", rollouts="", ingest="", more=""):
    text = SETTINGS.format(source=source, rollouts=rollouts, ingest=ingest) + more
    (place / "preppo.toml").write_text(text)


def put(path, rows):
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


def preppo(*arguments, code=0):
    return harness.preppo(*arguments, code=code).replace("\n", " ")


def prompts():
    return open_project().store.snapshot().scan("prompts").collect()


def test_a_changed_file_is_refused_and_its_rows_never_stand_in_for_the_old_ones(place):
    preppo("run")
    file = place / "in" / "a.jsonl"
    before = file.read_text()
    settings(place, ingest="shingle_words = 4")
    put(file, [{"q": "Something else?", "a": "1"}])
    assert "has changed since it was registered" in preppo("run", "--batch", "000001", code=1)
    file.write_text(before)
    preppo("run")
    assert prompts().height == 20


def test_abandoning_the_only_batch_leaves_a_home_that_works(curated):
    output = preppo("run", "--abandon", "000001", "--why", "a mistake")
    assert "done in" in output
    assert open_project().store.snapshot().scan("selection").collect().is_empty()
    assert "was abandoned" in preppo("run", "--batch", "000001", code=3)


def test_one_batch_alone_is_not_released_while_others_are_stale(curated):
    put(curated / "in" / "b.jsonl", [{"q": "What is 900 plus 1?", "a": "901"}])
    preppo("run")
    settings(curated, ingest="shingle_words = 4")
    assert "not released: batch 000002" in preppo("run", "--batch", "000001")
    preppo("run")
    assert prompts().height == 21


def test_a_gold_that_is_not_a_number_is_no_gold(place):
    put(place / "in" / "n.jsonl", [{"q": "What is not there?", "a": float("nan")}, {"q": "What is huge?", "a": 1e999}])
    preppo("run")
    golds = dict(prompts().select(pl.col("messages").list.first().struct.field("content"), "ground_truth").iter_rows())
    assert golds["What is not there?"] is None
    assert "What is huge?" not in golds
    for gold in ("nan", "N/A", "inf"):
        (verdict,) = verify([Task("math", "The answer is 7", json.dumps(gold))])
        assert (verdict.status, verdict.score) == ("bad_gold", None)


def test_rollouts_of_unknown_prompts_are_told(place):
    put(place / "roll" / "x.jsonl", [{"q": "Nobody knows?", "r": "7"}])
    assert "x.jsonl has rollouts of 1 prompts that are not there" in preppo("run")


def test_scores_may_be_text_as_in_csv(place):
    settings(place, rollouts='score = "s"')
    (place / "roll" / "a.jsonl").unlink()
    lines = ["q,r,s", *(f"What is {i} plus {i * 7}?,{i},{i % 2}" for i in range(20)), "What is 0 plus 0?,7,good"]
    (place / "roll" / "a.csv").write_text("\n".join(lines) + "\n")
    preppo("run")
    view = open_project().store.snapshot()
    assert view.scan("rollouts").collect()["recorded_score"].sum() == 10
    assert view.scan("rejected_rollouts").collect()["reason_code"].to_list() == ["bad_score"]


def test_a_home_may_have_blanks_in_its_path(place, monkeypatch):
    monkeypatch.setenv("PREPPO_HOME", str(place / "my home ü"))
    preppo("run")
    assert "20" in preppo("sql", "select count(*) from prompts", "--format", "csv")
    assert "must not contain" in preppo("--home", str(place / "a[b]"), "run", code=2)
    (place / "file").write_text("")
    assert "cannot be made" in preppo("--home", str(place / "file"), "run", code=2)


def test_an_encoding_that_does_not_fit_spoils_its_file_only(place):
    settings(place, source='encoding = "utf-16"')
    (place / "in" / "b.jsonl").write_text('{"q": "What is 1 plus 2?", "a": "3"}\n', encoding="utf-16")
    preppo("run")
    assert prompts().height == 1
    assert set(open_project().store.snapshot().scan("rejected_prompts").collect()["reason_code"]) == {"wrong_encoding"}


@pytest.mark.parametrize(
    "line",
    [
        '{"prompt_id": 1}',
        '{"prompt_id": "%s", "field": ["pool"], "value": 1, "who": "me", "why": "so"}' % ("a" * 32),
        '{"prompt_id": "%s", "field": "ground_truth", "value": NaN, "who": "me", "why": "so"}' % ("a" * 32),
        '{"prompt_id": "%s", "field": "domain", "value": "\\ud800", "who": "me", "why": "so"}' % ("a" * 32),
        "[" * 100_000,
    ],
)
def test_a_bad_override_is_told_by_its_line_before_anything_runs(place, line):
    (place / "overrides.jsonl").write_text(line + "\n")
    assert "overrides.jsonl, line 1" in preppo("check", code=2)


def test_check_finds_what_a_run_would_stumble_over(place):
    settings(place, more="\n[policy2]\n")
    assert "unknown key `policy2`" in preppo("check", code=2)
    settings(place)
    put(place / "roll" / "a.jsonl", [{"question": "?", "r": "7"}])
    assert "1 of 1 rows cannot be used" in preppo("check", code=2)
    (place / "preppo.toml").write_text('overrides = "nope.jsonl"\n' + (place / "preppo.toml").read_text())
    assert "nope.jsonl" in preppo("check", code=2)
    (place / "preppo.toml").write_text('[policy]\nmodel = "./nosuch"\n')
    assert "no such folder" in preppo("check", code=2)
    assert "[[source]]" in preppo("check", code=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[selection]\nceilings = { math = -1 }", "ceilings.math"),
        ("[selection]\nband = [0.9, 0.1]", "must not be above"),
        ("[selection]\nband = [nan, 5]", "band"),
        ("[selection]\nfloors = { math = 5 }\nceilings = { math = 3 }", "is above ceilings.math"),
        ('[selection]\npolicy = "nosuch"', "no policy is named 'nosuch'"),
        ("[curriculum]\nphases = []", "phases"),
        ('[curriculum]\nphases = [{ name = "a" }, { name = "a" }]', "must differ"),
        ('[curriculum]\nphases = [{ name = "a", domains = { math = inf } }]', "domains"),
        ('[schedule]\nnightly = "every day"', "cron"),
        ("[reward]\nbudget_s = inf", "budget_s"),
        ('[[source]]\nname = "a"\npath = "a"\nprompt = "q"\nground_truth = { column = "a", extract = "(" }', "regular"),
    ],
)
def test_settings_that_can_only_yield_nonsense_are_refused(tmp_path, text, message):
    file = tmp_path / "preppo.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_settings(file, {})


def test_output_goes_where_it_was_asked_to_or_nowhere(curated):
    for target in (curated, curated / "nosuch" / "x.csv"):
        assert "--out" in preppo("sql", "select 1", "--format", "csv", "--out", str(target), code=2)
    assert not (curated / "nosuch").exists()
