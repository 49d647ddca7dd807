"""The `preppo` command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from pipeline.cli_releases import release
from pipeline.cli_rewards import reward
from pipeline.cli_training import export_command, push, signals, train
from pipeline.command import EPILOG, Group, Session, err, out
from warehouse.home import Home

if TYPE_CHECKING:
    from warehouse.output import Format


@click.group(
    cls=Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="PREPPO_CONFIG",
    help="Settings file. Default: ./preppo.toml, else the demo.",
)
@click.option("--home", type=click.Path(path_type=Path), help="Home folder. Default: $PREPPO_HOME, else ./.preppo.")
@click.version_option(package_name="preppo")
@click.pass_context
def main(ctx: click.Context, config: Path | None, home: Path | None) -> None:
    r"""Raw prompts in, an ordered and explainable release out.

    \b
    Examples:
      preppo run                                  curate what is new, and release
      preppo sql "from funnel"                    ask the tables
      preppo explain "What is 17 + 25?"           why a prompt is in or out
    """
    ctx.obj = Session(config, home)
    if config is not None:  # Dagster builds its resources from the environment, in this process and in those it starts
        os.environ["PREPPO_CONFIG"] = str(config.resolve())
    os.environ["PREPPO_HOME"] = str(Home(home).root)


@main.command()
@click.option("--force", is_flag=True, help="Write over an existing preppo.toml.")
@click.pass_obj
def init(session: Session, force: bool) -> None:
    r"""Write a commented preppo.toml to start from.

    \b
    Examples:
      preppo init
      preppo --config curation/preppo.toml init
    """
    from pipeline.example import EXAMPLE

    target = session.config or Path("preppo.toml")
    if target.exists() and not force:
        msg = f"{target} exists; --force writes over it"
        raise click.UsageError(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    out.print(f"wrote {target}; edit its [[source]] tables, then: preppo check")


@main.command()
@click.option("--rows", default=200, show_default=True, help="Rows to look at in each file.")
@click.pass_obj
def check(session: Session, rows: int) -> None:
    r"""Look at settings and sources without curating; estimate rollouts and tokens.

    \b
    Examples:
      preppo check
      preppo --config examples/public/preppo.toml check --rows 1000
    """
    from pipeline.check import check_sources, render

    report = check_sources(session.project(), rows)
    out.print(render(report))
    if report.problems:
        sys.exit(2)


@main.command()
@click.option("--rows", default=200, show_default=True, help="Rows to look at in each file that no run has read.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def plan(session: Session, rows: int, as_json: bool) -> None:
    r"""Reckon rollouts, tokens, hours, disk and money before anything is spent. Loads no model.

    \b
    Examples:
      preppo plan
      PREPPO__BUDGET__TOKENS_PER_SECOND=20000 PREPPO__BUDGET__PRICE_RESPONSE=0.6 preppo plan
    """
    from pipeline.plan import as_json as plan_json
    from pipeline.plan import make_plan, render

    found = make_plan(session.project(), rows)
    out.print_json(json.dumps(plan_json(found))) if as_json else out.print(render(found))


@main.command()
@click.option("--batch", help="Only this batch (its key, or the start of it).")
@click.option("--all", "everything", is_flag=True, help="New files and every stale batch: the default, said aloud.")
@click.option("--abandon", metavar="BATCH", help="Take a batch out for good first, so that later ones need not wait.")
@click.option("--why", default="", help="With --abandon: the reason, kept in the ledger.")
@click.pass_obj
def run(session: Session, batch: str | None, everything: bool, abandon: str | None, why: str) -> None:
    r"""Curate what is new or stale, then select, order and release.

    Killed at any moment, it goes on from where it was when started again.

    \b
    Examples:
      preppo run
      preppo run --batch 000002
      preppo run --abandon 000003 --why "truncated upload"
    """
    if batch and everything:
        msg = "--batch and --all exclude each other"
        raise click.UsageError(msg)
    from pipeline.run import run_and_show

    project = session.project()
    if abandon:
        project.store.abandon(project.batches.get(abandon).key, why or "no reason given")
    run_and_show(project, out, err, batch)


@main.command()
@click.option("--port", default=3000, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.pass_obj
def ui(session: Session, port: int, host: str) -> None:
    r"""Open Dagster on this home: assets, checks, plots, the inbox sensor and the nightly schedule.

    \b
    Example:
      preppo ui --port 3001
    """
    from pipeline.ui import serve

    serve(session.project(), session.config, host, port)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def status(session: Session, as_json: bool) -> None:
    r"""Show batches, what is stale and why, and the releases.

    \b
    Example:
      preppo status --json
    """
    from pipeline.status import home_status, render

    found = home_status(session.project())
    out.print_json(json.dumps(found, default=str)) if as_json else out.print(render(found))


@main.command()
@click.option("--yes", is_flag=True, help="Remove it. Without this, nothing is touched.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def gc(session: Session, yes: bool, as_json: bool) -> None:
    r"""Show what nobody needs any more (rollouts of retired policies, what killed runs left), and remove it with --yes.

    Releases stay, and everything that they are made again from.

    \b
    Examples:
      preppo gc
      preppo gc --yes
    """
    from pipeline.gc import as_json as gc_json
    from pipeline.gc import collect, render

    assert session.store  # a home that holds something
    found = gc_json(collect(session.project(), remove=yes), removed=yes)
    out.print_json(json.dumps(found)) if as_json else out.print(render(found))


@main.command()
@click.argument("query")
@click.option(
    "--format", "form", type=click.Choice(["table", "csv", "json", "parquet"]), default="table", show_default=True
)
@click.option("--out", "target", type=click.Path(path_type=Path), help="A file to write; needed for parquet.")
@click.pass_obj
def sql(session: Session, query: str, form: str, target: Path | None) -> None:
    r"""Ask DuckDB over the tables: one SELECT, read-only, nothing but the committed tables in reach.

    \b
    Examples:
      preppo sql "from funnel"
      preppo sql "select domain, avg(pass_rate) from difficulty join prompts using (prompt_id) group by 1"
      preppo sql "from decisions where outcome = 'drop'" --format parquet --out drops.parquet
    """
    from warehouse.output import write_output
    from warehouse.queries import query as ask

    write_output(ask(session.store.snapshot(), query), cast("Format", form), target or sys.stdout)


@main.command()
@click.argument("prompt")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def explain(session: Session, prompt: str, as_json: bool) -> None:
    r"""Tell the whole story of one prompt, by id (or its start) or by text.

    \b
    Examples:
      preppo explain 3f2a9c
      preppo explain "What is 17 + 25?"
    """
    from warehouse.explain import as_json as story_json
    from warehouse.explain import explain as tell
    from warehouse.render import render_story

    story = tell(session.store.snapshot(), session.home.releases, prompt)
    out.print_json(story_json(story)) if as_json else out.print(render_story(story))


@main.command()
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def diff(session: Session, before: str, after: str, as_json: bool) -> None:
    r"""Show who entered, who left, and why, between two releases (`latest` names the newest).

    \b
    Example:
      preppo diff 8c1f latest
    """
    from warehouse.diff import as_json as diff_json
    from warehouse.diff import diff as compare
    from warehouse.releases import load_release
    from warehouse.render import render_diff

    found = compare(load_release(session.home.releases, before), load_release(session.home.releases, after))
    out.print_json(diff_json(found)) if as_json else out.print(render_diff(found))


for _command in (release, export_command, push, signals, train, reward):
    main.add_command(_command)
