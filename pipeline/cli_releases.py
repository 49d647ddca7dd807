"""The commands about releases that are there: `preppo release`."""

from __future__ import annotations

import json
import sys

import click

from pipeline.command import Group, Session, err, out


@click.group(cls=Group)
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
