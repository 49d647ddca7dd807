"""Writing an export: a folder that is there whole or not at all; the same release and options give the same bytes."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.engines.weights import ModelError
from trainer.exports import jsonl, nemo_gym, open_instruct, openrlhf, prime_rl, skyrl, trl, verl
from trainer.exports.contract import SPLITS, About, Format, Options
from trainer.exports.errors import ExportError
from trainer.exports.files import write_split
from trainer.exports.rows import Rows, reward_settings
from trainer.hybrid import makers
from verifiers import available
from verifiers.hybrid import RTV
from warehouse.releases import file_hash
from warehouse.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.releases import Release

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        verl.FORMAT,
        openrlhf.FORMAT,
        trl.FORMAT,
        open_instruct.FORMAT,
        nemo_gym.FORMAT,
        prime_rl.FORMAT,
        skyrl.FORMAT,
        jsonl.FORMAT,
    )
}
REWARD = "preppo_reward.py"
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, and what `export.json` in it says."""

    folder: Path
    manifest: dict[str, Any]


def export_release(release: Release, name: str, out: Path, options: Options | None = None) -> Exported:
    """Write a release in a format into the folder `out`.

    Args:
        release: on disk.
        name: one of `FORMATS`.
        out: a folder that is not there yet, or empty.
        options: what becomes of rows that do not fit.

    Raises:
        ExportError: there is no such format, the folder has something in it or cannot be written, or rows do not fit
            (see `Rows`).
    """
    if name not in FORMATS:
        msg = f"there is no format {name!r}; there are {', '.join(FORMATS)}"
        raise ExportError(msg)
    with _refusing(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            msg = f"--out {out}: there is something already; name another folder, or remove it"
            raise ExportError(msg)
    form, options = FORMATS[name], options or Options()
    rows = Rows(release, form, options)
    with _refusing(out):
        return Exported(out, _put_whole(out, release, form, options, rows))


@contextmanager
def _refusing(out: Path) -> Iterator[None]:
    """Turn what the system refuses (a path through a file, no permission, a full disk) into an `ExportError`."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename and str(error.filename) != str(out) else ""
        msg = f"--out {out}: {error.strerror or error}{where}; name a folder that can be written, on a disk with room"
        raise ExportError(msg) from None


def _put_whole(out: Path, release: Release, form: Format, options: Options, rows: Rows) -> dict[str, Any]:
    """Write beside the folder and rename, so that it is there whole or not at all; return what `export.json` says."""
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        manifest = _write(temporary, release, form, options, rows)
        temporary.chmod(0o755)
        if out.is_dir():
            out.rmdir()
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def _write(folder: Path, release: Release, form: Format, options: Options, rows: Rows) -> dict[str, Any]:
    files: dict[str, dict[str, Any]] = {}
    written: dict[str, list[str]] = {}
    for split in SPLITS:
        by_phase = form.shuffles and split == "train"
        counts = write_split(folder / form.rows_at, split, form, rows.records(split), raw=rows.raw, by_phase=by_phase)
        written[split] = list(counts)
        for name, count in counts.items():
            path = folder / form.rows_at / name
            files[_inside(form.rows_at, name)] = {"rows": count, "blake2b": file_hash(path)}
    policy = release.manifest["policy"]["policy"]
    about = About(
        release.release_id,
        written["train"],
        next(iter(written["heldout"]), None),
        options,
        int(policy["max_tokens"]),
        str(policy["model"]),
        rows.raw,
    )
    manifest = _manifest(release, form, about, rows, files)
    told = json.dumps(manifest, indent=1, sort_keys=False, ensure_ascii=False) + "\n"
    _put(folder / "export.json", told)
    if form.reward_at != ".":
        _put(folder / form.reward_at / "export.json", told)
    _copy(_HERE / REWARD, folder / form.reward_at / REWARD)
    for source, target in form.templates.items():
        _copy(_HERE / "templates" / source, folder / target)
    for name, text in form.files(about).items():
        _put(folder / name, text)
    _put(folder / "README.md", _readme(manifest, form, about))
    return manifest


def _manifest(
    release: Release, form: Format, about: About, rows: Rows, files: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    options = about.options
    unscored = {split: dict(c.unscored or {}) for split, c in rows.census.items() if c.unscored}
    return {
        "format": form.name,
        "release_id": release.release_id,
        "arm": release.arm,
        "preppo": version("preppo"),
        "files": files,
        "order": dict(form.order),
        "null_reward": None if form.knows_null else options.null_reward,
        "max_tokens": about.max_tokens,
        "prompts": "text" if rows.raw else "messages",
        "rows_without_reward": {"what_became_of_them": options.unscored, **unscored},
        "rows_left_out": rows.skipped(),
        "rows_with_tools": sum(c.tools for c in rows.census.values()),
        "with_models": options.with_models,
        "sources": list(rows.sources),
        "makers": _makers(release, rows) if options.with_models else {},
        "verifiers": available(),
        "reward_settings": reward_settings(release.manifest["policy"]) if options.with_models else _rules_only(release),
    }


def _makers(release: Release, rows: Rows) -> dict[str, str | None]:
    """Return who makes the rewards of each source but the rules, as models are now; None where one is not here.

    Other models than these are refused where rewards are made: they would be other rewards.
    """
    settings = reward_settings(release.manifest["policy"])
    known: dict[str, str] = {}
    for part in ("judge", "reward_model"):
        with suppress(ModelError):
            known |= makers(Settings.model_validate({part: settings.get(part, {})}))
    return {source: known.get(source) for source in rows.sources if source != RTV}


def _rules_only(release: Release) -> dict[str, Any]:
    """Return settings of a reward by the rule verifiers alone."""
    return {name: value for name, value in reward_settings(release.manifest["policy"]).items() if name == "reward"}


def _readme(manifest: dict[str, Any], form: Format, about: About) -> str:
    table = "\n".join(f"| `{name}` | {told['rows']:,} |" for name, told in manifest["files"].items())
    order = ", ".join(f"`{k} = {json.dumps(v)}`" for k, v in manifest["order"].items()) or "the order of the lines"
    nulls = "" if form.knows_null else f" It is {about.options.null_reward} here, for {form.name} wants a number."
    inside = (
        " Judge and reward models count, too. In its own process they are those of the release's settings: names of "
        "folders in them start where that process runs, unless `PREPPO_CONFIG` names a settings file. A server is "
        "started with the same `[judge]` and `[reward_model]` (`reward_settings` in `export.json`); others are refused."
        if about.options.with_models
        else ""
    )
    where = "" if form.reward_at == "." else f"{form.reward_at}/"
    return (
        f"# preppo release {about.release_id[:12]} for {form.name}\n\n"
        f"| file | rows |\n|---|---|\n{table}\n\n"
        f"The order of the rows is the curriculum; what keeps it: {order}.\n\n{form.how(about)}\n\n"
        "## The reward\n\n"
        f"`{where}{REWARD}` rewards responses: by the server that `PREPPO_REWARD_URL` names, else in its own process."
        f"{inside} "
        f"A response that could not be decided has no reward.{nulls} Scores are appended to `signals.jsonl` beside it, "
        "or to the file that `PREPPO_SIGNALS` names, under `PREPPO_TRAINING_RUN_ID`: one name for all processes and "
        "phases of a training, which looks like several else. `preppo signals import` reads them. "
        "Its docstring names every setting.\n"
    )


def _inside(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _copy(source: Path, target: Path) -> None:
    _put(target, source.read_text(encoding="utf-8"))


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")
    path.chmod(0o755 if path.suffix == ".sh" else 0o644)
