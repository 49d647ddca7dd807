"""The `preppo` command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

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


@main.group(cls=Group)
def release() -> None:
    """List, show and rebuild releases."""


@release.command("list")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def release_list(session: Session, as_json: bool) -> None:
    r"""List the releases, newest first.

    \b
    Example:
      preppo release list
    """
    from pipeline.show import render_releases
    from warehouse.releases import list_releases

    found = list_releases(session.home.releases)
    out.print_json(json.dumps([r.manifest for r in found], default=str)) if as_json else out.print(
        render_releases(found)
    )


@release.command("show")
@click.argument("release_id", default="latest")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@click.pass_obj
def release_show(session: Session, release_id: str, as_json: bool) -> None:
    r"""Show a release: where it lies, what is in it, from which inputs.

    \b
    Examples:
      preppo release show
      preppo release show 8c1f --json
    """
    from pipeline.show import render_release
    from warehouse.releases import load_release

    found = load_release(session.home.releases, release_id)
    out.print_json(json.dumps(found.manifest, default=str)) if as_json else out.print(render_release(found))


@release.command("rebuild")
@click.argument("release_id", default="latest")
@click.pass_obj
def release_rebuild(session: Session, release_id: str) -> None:
    r"""Derive a release again from the tables it names, and compare it byte by byte.

    \b
    Example:
      preppo release rebuild latest
    """
    from pipeline.show import render_rebuilt
    from warehouse.rebuild import rebuild
    from warehouse.releases import load_release, verify_release

    release = load_release(session.home.releases, release_id)
    for change in verify_release(release):
        err.print(f"preppo: {change}", style="red", markup=False, soft_wrap=True)
    rebuilt = rebuild(session.home, release)
    out.print(render_rebuilt(rebuilt))
    if not (rebuilt.same_id and all(rebuilt.matches.values())):
        sys.exit(1)


@main.command("export")
@click.argument("release_id", metavar="RELEASE", default="latest")
@click.option("--format", "form", required=True, help="verl, openrlhf, trl, open-instruct, nemo-gym, prime-rl, skyrl, "
              "jsonl.")  # fmt: skip
@click.option("--out", "target", type=click.Path(path_type=Path), help="A new folder. Default: in the home's exports.")
@click.option("--arm", help="With latest: of this arm.")
@click.option(
    "--in-process", is_flag=True, help="The trainer imports preppo: the judge and the reward models count, too."
)
@click.option("--unscored", type=click.Choice(["refuse", "skip", "keep"]), default="refuse", show_default=True,
              help="Rows that no source rewards which the export can call.")  # fmt: skip
@click.option("--raw", type=click.Choice(["refuse", "skip", "chat"]), default="refuse", show_default=True,
              help="Exact prefixes where they do not fit; chat sends each as a user's turn.")  # fmt: skip
@click.option("--null-reward", default=0.0, show_default=True, type=click.FloatRange(0, 1),
              help="For trainers that know no null, what an undecided response counts.")  # fmt: skip
@click.pass_obj
def export_command(session: Session, /, release_id: str, form: str, target: Path | None, arm: str | None,
                   **options: Any) -> None:  # fmt: skip
    r"""Write a release for another trainer: rows in order, the reward as a file, a configuration, how to start.

    \b
    Examples:
      preppo export latest --format verl --out exported
      preppo export 8c1f --format trl --unscored skip
    """
    from pipeline.export import render_export
    from trainer.exports.contract import Options
    from trainer.exports.export import export_release
    from warehouse.releases import load_release

    found = load_release(session.home.releases, release_id, arm)
    target = target or session.home.root / "exports" / f"{found.release_id[:12]}-{form}"
    out.print(render_export(export_release(found, form, target, Options(**options))), soft_wrap=True)


@main.command()
@click.argument("release_id", metavar="RELEASE", default="latest")
@click.option("--repo", required=True, help="owner/name on the Hugging Face hub (or HF_ENDPOINT).")
@click.option("--public", is_flag=True, help="Make a new repository public. Check the licences in the card first.")
@click.option("--message", help="Of the commit.")
@click.pass_obj
def push(session: Session, release_id: str, repo: str, public: bool, message: str | None) -> None:
    r"""Upload a release with its card to the Hugging Face hub, as one commit. Needs HF_TOKEN or `hf auth login`.

    \b
    Example:
      preppo push latest --repo me/curated-prompts
    """
    from trainer.exports.hub import push_release
    from warehouse.releases import load_release

    found = load_release(session.home.releases, release_id)
    out.print(push_release(found, repo, public=public, message=message), soft_wrap=True, markup=False)


@main.group(cls=Group)
def signals() -> None:
    """What trainers learnt."""


@signals.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_obj
def signals_import(session: Session, files: tuple[Path, ...]) -> None:
    r"""Take in the scores that the reward function of an export logged (signals.jsonl).

    All files of a training go together, and may be given again when they have grown.

    \b
    Examples:
      preppo signals import exported/signals.jsonl
      preppo sql "select step, avg(reward) from training_signals group by 1 order by 1"
    """
    from pipeline.export import render_import
    from warehouse.signal_lines import import_signals, read_signals

    found = read_signals(files)
    out.print(render_import(found, import_signals(session.store, found)), soft_wrap=True)


@main.command()
@click.argument("release_id", default="latest", metavar="RELEASE")
@click.option("--out", "target", type=click.Path(path_type=Path), help="A folder. Default: in the home.")
@click.option("--steps", type=click.IntRange(1), help="Instead of ppo.steps.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in the folder.")
@click.pass_obj
def train(session: Session, release_id: str, target: Path | None, steps: int | None, resume: bool) -> None:
    r"""Train the policy on a release by PPO, in curriculum order, with the rewards that curation has.

    Killed at any moment, it goes on from its last checkpoint with --resume, and ends in the same weights.

    \b
    Examples:
      preppo train
      preppo train 8c1f --out runs/first --steps 200
      preppo train latest --resume
    """
    from pipeline.train import train_release

    train_release(session.project(), release_id, target, steps, resume=resume, out=out, err=err)


@main.group(cls=Group)
def reward() -> None:
    """Verify for other programs, and train reward models."""


@reward.command("train")
@click.option("--out", "folder", required=True, type=click.Path(path_type=Path), help="Folder for the model(s).")
@click.pass_obj
def reward_train(session: Session, folder: Path) -> None:
    r"""Train reward models on the preference pairs of the home, as [reward_training] says.

    Prompts are split: a report on those that were held out is printed, and kept beside the weights. Killed, it goes on
    from its last checkpoint when started again.

    \b
    Examples:
      preppo reward train --out models/my-rm
      PREPPO__REWARD_TRAINING__RECIPE=brme preppo reward train --out models/brme
    """
    from assets.progress import listening
    from pipeline.reward_training import train_reward_models
    from pipeline.run import Bars

    _ = session.store  # a home that exists
    with Bars(err) as bars, listening(bars):
        _made, report = train_reward_models(session.project(), folder)
    out.print(report)


@reward.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Beyond loopback only with PREPPO_REWARD_TOKEN.")
@click.option("--port", default=8400, show_default=True, type=click.IntRange(0, 65535), help="0: any that is free.")
@click.option("--workers", type=click.IntRange(1), help="Processes. Default: the settings', else one per CPU.")
@click.option("--sandbox", type=click.Choice(["bubblewrap", "unsafe"]), help="Default: the settings'.")
@click.option("--max-queue", default=16384, show_default=True, type=click.IntRange(1), help="Tasks admitted at a time.")
@click.option("--max-tasks", default=1024, show_default=True, type=click.IntRange(1), help="Tasks in one request.")
@click.option("--max-body-mb", default=32, show_default=True, type=click.IntRange(1), help="MiB of one request.")
@click.option("--max-budget-s", default=60.0, show_default=True, type=click.FloatRange(0, 3600, min_open=True),
              help="Seconds that one task may ask for.")  # fmt: skip
@click.option("--drain-s", default=120, show_default=True, type=click.IntRange(1),
              help="Seconds for what was admitted, when told to end.")  # fmt: skip
@click.pass_obj
def reward_serve(session: Session, /, host: str, port: int, workers: int | None, sandbox: str | None,
                 **limits: Any) -> None:  # fmt: skip
    r"""Serve the rule verifiers over HTTP: to trainers elsewhere, to hosts without a sandbox.

    POST /verify takes {"tasks": [...]} and returns {"verdicts": [...]}; GET /health is 200 while it can verify.
    SIGTERM ends it when what was admitted is done.

    \b
    Examples:
      preppo reward serve
      PREPPO_REWARD_TOKEN="$(openssl rand -hex 32)" preppo reward serve --host 0.0.0.0 --workers 32
    """
    from pipeline.reward import serve_verifiers

    serve_verifiers(session.config, err, host, port, workers, sandbox, **limits)
