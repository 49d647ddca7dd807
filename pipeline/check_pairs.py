"""What `preppo check` says of `[[preferences]]`: the first rows of every file, read as a run would read them."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

from warehouse.ingest.fields import RowError, keep
from warehouse.ingest.preferences import PairReader
from warehouse.ingest.raw import InputError
from warehouse.ingest.readers import expand, read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from assets.project import Project
    from warehouse.settings import PreferencesSettings


def check_pairs(project: Project, rows: int) -> tuple[list[str], list[str]]:
    """Return (problems, notes), a line each.

    Args:
        project: settings, and where their paths start.
        rows: to look at in each file.
    """
    problems: list[str] = []
    notes: list[str] = []
    for section in project.settings.preferences:
        try:
            for path in expand(section.path, project.base):
                line, usable = _look(section, path, rows)
                (notes if usable else problems).append(f"preferences {section.name}: {path.name}: {line}")
        except InputError as error:
            problems.append(f"preferences {section.name}: {error}")
    return problems, notes


def _look(section: PreferencesSettings, path: Path, rows: int) -> tuple[str, bool]:
    """Return what the first rows of a file are, and whether there is a pair among them, or nothing at all."""
    reader, counts, examples = PairReader(section), Counter[str](), dict[str, str]()
    for raw in itertools.islice(read_rows(path, encoding=section.encoding), rows):
        counts["rows"] += 1
        try:
            if raw.value is None:
                raise raw.error or RowError("broken_row", "the row cannot be read")
            if keep(section.where, raw.value) is not None:
                counts["filtered"] += 1
                continue
            reader.read(raw.value)
            counts["pairs"] += 1
        except RowError as error:
            counts[error.reason_code] += 1
            examples.setdefault(error.reason_code, f"{error.reason_code} (row {raw.row}): {error.message}")
    if not counts["rows"]:
        return "it has no rows", True
    filtered = f", {counts['filtered']} filtered out" if counts["filtered"] else ""
    told = f"{counts['pairs']} of {counts['rows']} rows are pairs{filtered}"
    return "; ".join([told, *(f"{counts[code]} {text}" for code, text in sorted(examples.items()))]), counts[
        "pairs"
    ] > 0
