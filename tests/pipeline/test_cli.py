"""The command as people and scripts meet it: help with examples, one clear line for a mistake, stable exit codes."""

import json
import re

import click
import polars as pl
import pytest
from click.testing import CliRunner

from pipeline.cli import main

SETTINGS = """
[[source]]
name = "sums"
path = "sums.jsonl"
prompt = "question"
ground_truth = "answer"
verifier = "math"
domain = "math"
where = [{ column = "answer", not_null = true }]

[[source]]
name = "stories"
path = "stories.jsonl"
prompt = "question"
verifier = "poetry"
domain = "code"
pool = "original"

[[rollouts]]
name = "model"
path = "sums.jsonl"
prompt = "question"
response = "responses"

[policy]
engine = "recorded"

[ingest]
heldout_share = 0.1

[selection]
fraction = 0.2
[[selection.arms]]
name = "random"
rule = "random"
fraction = 0.2
"""


def row(i):
    answers = [i + 7 if (i + k) % 4 < i % 5 else 1 for k in range(8)]
    return {
        "question": f"Add {i} and seven, number {i * 31 % 997}, please.",
        "answer": str(i + 7),
        "responses": [f"It is {a}" for a in answers],
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    lines = [json.dumps(row(i)) for i in range(60)]
    lines[3] = "{broken"
    (folder / "sums.jsonl").write_text(
        "\n".join([*lines, lines[5], json.dumps({"question": "x", "answer": None})]) + "\n"
    )
    (folder / "stories.jsonl").write_text(
        "".join(json.dumps({"question": f"Write story {i} of {i * i}"}) + "\n" for i in range(9))
    )
    (folder / "preppo.toml").write_text(SETTINGS)
    return folder


@pytest.fixture(scope="module")
def preppo(place):
    def call(*arguments, code=0, home="home"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PREPPO_CONFIG", "undone afterwards, as the command sets it for Dagster")
            patch.delenv("PREPPO_CONFIG")
            patch.setenv("PREPPO_HOME", str(place / home))
            patch.setenv("DAGSTER_HOME", "")
            config = [] if "--config" in arguments else ["--config", str(place / "preppo.toml")]
            done = CliRunner().invoke(main, [*config, *arguments], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done

    return call


@pytest.fixture(scope="module")
def curated(preppo):
    return preppo("run").output


def commands(group, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_every_command_has_help_with_an_example():
    for path, command in commands(main):
        done = CliRunner().invoke(main, [*path, "--help"])
        assert done.exit_code == 0
        if not isinstance(command, click.Group):
            assert "Example" in done.output, path
            assert f"preppo {' '.join(path)}" in done.output.replace("--config curation/preppo.toml ", ""), path


def test_help_names_the_exit_codes():
    assert "Exit codes: 0 done; 1 " in CliRunner().invoke(main, ["--help"]).output.replace("\n  ", " ")


def test_run_shows_funnel_release_and_what_to_try(curated, place):
    assert "rows read" in curated
    assert str(place / "home" / "releases") in curated.replace("\n", "")
    assert len(re.findall(r"\n  \S*preppo (?:explain|sql|ui)", curated)) == 3


def test_a_second_run_has_nothing_to_do(preppo, curated):
    assert "everything is up to date" in preppo("run").output


def test_every_row_is_accounted_for(preppo, curated):
    found = json.loads(preppo("sql", "from commits where stage = 'prompts'", "--format", "json").output)
    counts = json.loads(found[0]["counts"]) if isinstance(found[0]["counts"], str) else found[0]["counts"]
    assert counts["rows_read"] == 62 + 9
    assert counts["rows_read"] == sum(v for k, v in counts.items() if k != "rows_read")
    assert (counts["quarantined"], counts["duplicate"], counts["filtered"]) == (1, 1, 1)


def test_prompts_without_a_verifier_are_unscored_and_not_hard(preppo, curated):
    text = preppo("sql", "select domain, reason, count(*) n from selection join prompts using (prompt_id) "
                  "where arm = 'main' and domain = 'code' group by all", "--format", "csv").output  # fmt: skip
    assert "pre_ppo" not in text
    assert "original" in text


def test_sql_formats(preppo, curated, place):
    assert preppo("sql", "select 1 as one", "--format", "csv").output == "one\n1\n"
    assert json.loads(preppo("sql", "select 1 as one", "--format", "json").output) == [{"one": 1}]
    preppo("sql", "select prompt_id from prompts order by 1", "--format", "parquet", "--out", str(place / "x.parquet"))
    assert pl.read_parquet(place / "x.parquet").height == 68
    assert "--out" in preppo("sql", "select 1", "--format", "parquet", code=2).output


@pytest.mark.parametrize("query", ["drop table prompts", "copy prompts to 'x'", "select 1; select 2", "attach 'x.db'"])
def test_sql_only_reads(preppo, curated, query):
    output = preppo("sql", query, code=2).output
    assert output.startswith("preppo: ")
    assert len(output.splitlines()) == 1


def test_explain_by_id_and_by_text(preppo, curated):
    story = json.loads(preppo("explain", row(10)["question"], "--json").output)
    assert len(story["rollouts"]) == 8
    assert preppo("explain", story["prompt_id"][:12]).output.count(story["prompt_id"]) >= 1


def test_explain_tells_what_became_of_a_rejected_row(preppo, curated):
    assert "no prompt" in preppo("explain", "nothing like this anywhere", code=3).output.lower()


def test_releases(preppo, curated):
    releases = json.loads(preppo("release", "list", "--json").output)
    assert {r["arm"] for r in releases} == {"main", "random"}
    assert json.loads(preppo("release", "show", "--json").output)["arm"] == "main"
    assert "the same release" in preppo("release", "rebuild", "latest").output
    output = preppo("release", "show", "ffffffff", code=3).output
    assert len(output.strip().splitlines()) == 1
    ids = [r["release_id"][:12] for r in releases]
    assert json.loads(preppo("diff", *ids, "--json").output)
    assert preppo("diff", ids[0], "latest").output


def test_status_names_what_is_stale(preppo, curated, place):
    assert json.loads(preppo("status", "--json").output)["batches"][0]["state"] == "ok"
    other = place / "other.toml"
    other.write_text(SETTINGS + "\n[reward]\nconfidence = 0.8\n")
    assert "stale from difficulty" in preppo("--config", str(other), "status").output


def test_check_estimates_without_curating(preppo, place):
    output = preppo("check", home="unused").output
    assert "no verifier named poetry" in output
    assert not list((place / "unused" / "batches").iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["sql", "select 1"], 3, "holds nothing yet; `preppo run`"),
        (["explain", "x"], 3, "holds nothing yet"),
        (["release", "show"], 3, "no release"),
        (["run", "--batch", "000007"], 3, "no batch '000007'"),
        (["--config", "none.toml", "run"], 2, "no such settings file"),
        (["run", "--batch", "x", "--all"], 2, "exclude each other"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(preppo, arguments, code, says):
    output = preppo(*arguments, code=code, home="empty").output
    assert says in output
    assert "Traceback" not in output


def test_a_source_without_files_is_told(preppo, place):
    bad = place / "bad.toml"
    bad.write_text('[[source]]\nname = "a"\npath = "nowhere/*.jsonl"\nprompt = "q"\n')
    for command in ("check", "run"):
        output = preppo("--config", str(bad), command, code=2, home="bad").output
        assert "nowhere/*.jsonl" in output.replace("\n", "")


def test_init_writes_the_example_and_spares_what_is_there(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREPPO_HOME", str(tmp_path / "home"))
    assert CliRunner().invoke(main, ["init"]).exit_code == 0
    assert "[[source]]" in (tmp_path / "preppo.toml").read_text()
    again = CliRunner().invoke(main, ["init"])
    assert again.exit_code == 2
    assert "--force" in again.output


def test_examples_in_help_texts_stand_line_by_line():
    def named(group, *before):
        for name, command in group.commands.items():
            yield (*before, name), command
            yield from named(command, *before, name) if isinstance(command, click.Group) else ()

    seen = 0
    for path, command in [((), main), *named(main)]:
        text = CliRunner().invoke(main, [*path, "--help"]).output
        assert "\\b" not in text
        if "\\b" in (command.callback.__doc__ or ""):
            after = re.split("Examples?:\n", text)[1].splitlines()[0]
            assert re.match(r" {4}(preppo|PREPPO)", after)
            seen += 1
    assert seen > 10
