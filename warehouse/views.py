"""The DuckDB views of a snapshot: one a table over exactly its committed files, and those of `warehouse/sql`.

`warehouse/sql/<verb>_<view>.sql` holds the SELECT of `<view>`. Nothing here writes data.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import polars as pl

from warehouse.ledger import SCHEMA
from warehouse.schemas import TABLES, TIME, Columns, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

    from warehouse.store import Snapshot

_BUILDS: Columns = {
    "build_id": pl.String, "variant": pl.String, "seq": pl.Int64, "code_version": pl.String, "run_id": pl.String,
    "committed_at": TIME,
}  # fmt: skip


def create_views(con: duckdb.DuckDBPyConnection, snapshot: Snapshot, tables: Iterable[str], *, helpers: bool) -> None:
    """Make the views of some tables, the table `commits`, and, with `helpers`, the views of `warehouse/sql`."""
    names = list(tables)
    con.execute("CREATE SCHEMA internal")
    _create_table(con, "commits", _commit_rows(snapshot))
    for name in names:
        if name == "decisions":
            _create_decision_views(con, snapshot)
        else:
            body = _select_files(TABLES[name], snapshot.files(name), uneven=snapshot.is_uneven(name))
            con.execute(f'CREATE VIEW "{name}" AS {body}')
    if helpers:
        for name, body in helper_views().items():
            con.execute(f'CREATE VIEW "{name}" AS {body}')


def _create_decision_views(con: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    """Make `decision_history` and `decisions`.

    A window function over all rows is paid only for stages whose builds extend one another; the rest are current as
    they stand.
    """
    builds = snapshot.decision_builds()
    keys = [c.key for c in builds.values()]
    chained = {b for b, c in builds.items() if keys.count(c.key) > 1}
    rows = [(b, c.variant, c.seq, c.code_version, c.run_id, c.committed_at) for b, c in builds.items()]
    frame = pl.DataFrame(rows, schema=_BUILDS, orient="row")
    _create_table(con, "internal.decision_builds", frame)
    files = snapshot.files("decisions")
    table, uneven = TABLES["decisions"], snapshot.is_uneven("decisions")
    in_chain = [f for f in files if _build_of(f) in chained]
    parts = {"history": files, "plain": [f for f in files if _build_of(f) not in chained], "chained": in_chain}
    for part, mine in parts.items():
        select = _select_files(table, mine, keep_build=True, uneven=uneven)
        body = _sql("internal", "join_decisions").replace("$ROWS", select)
        con.execute(f"CREATE VIEW internal.decisions_{part} AS {body}")
    con.execute("CREATE VIEW decision_history AS FROM internal.decisions_history")
    con.execute(f"CREATE VIEW decisions AS {_sql('internal', 'choose_current_decisions')}")


def helper_views() -> dict[str, str]:
    """Return name -> SELECT of the views in `warehouse/sql`, in the order of their file names."""
    folder = resources.files("warehouse") / "sql"
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql"))
    return {n.removesuffix(".sql").partition("_")[2]: _sql(n.removesuffix(".sql")) for n in names}


@cache
def _sql(*parts: str) -> str:
    text = resources.files("warehouse").joinpath("sql", *parts[:-1], f"{parts[-1]}.sql").read_text("utf-8")
    return text.strip().removesuffix(";")


def _select_files(table: Table, files: Sequence[str], *, keep_build: bool = False, uneven: bool = False) -> str:
    """Return a SELECT of a table's columns, also where no file has them yet.

    `uneven` files may lack columns that were added later: null. It costs a look into every file.
    """
    schema = table.stored if keep_build else table.schema
    columns = ", ".join(f'"{c}"' for c in schema)
    nulls = ", ".join(f'CAST(NULL AS {_duckdb_type(t)}) AS "{c}"' for c, t in schema.items())
    nothing = f"SELECT {nulls} WHERE false"
    if not files:
        return nothing
    hive = ", ".join(f"'{p}': VARCHAR" for p in table.partitions)
    listed = ", ".join(map(sql_text, files))
    options = f"hive_partitioning = true, hive_types = {{{hive}}}"
    if not uneven:
        return f"SELECT {columns} FROM read_parquet([{listed}], {options})"
    found = f"SELECT * FROM read_parquet([{listed}], {options}, union_by_name = true)"
    return f"SELECT {columns} FROM ({nothing} UNION ALL BY NAME {found})"


def _duckdb_type(kind: Any) -> str:
    if isinstance(kind, pl.List):
        return f"{_duckdb_type(kind.inner)}[]"
    if isinstance(kind, pl.Struct):
        return f"STRUCT({', '.join(f'{_quoted(f.name)} {_duckdb_type(f.dtype)}' for f in kind.fields)})"
    if kind == TIME:
        return "TIMESTAMPTZ"
    simple = {pl.String: "VARCHAR", pl.Int64: "BIGINT", pl.Float64: "DOUBLE", pl.Boolean: "BOOLEAN", pl.Binary: "BLOB"}
    return next(name for polars_type, name in simple.items() if kind == polars_type)


def _commit_rows(snapshot: Snapshot) -> pl.DataFrame:
    live = {c.seq for c in snapshot.live.values()}
    rows = pl.DataFrame([c.as_row() for c in snapshot.commits], schema=SCHEMA)
    return rows.with_columns(live=pl.col("seq").is_in(sorted(live)))


def _create_table(con: duckdb.DuckDBPyConnection, name: str, frame: pl.DataFrame) -> None:
    con.register("incoming", frame.to_arrow())
    con.execute(f"CREATE TABLE {name} AS FROM incoming")
    con.unregister("incoming")


def _build_of(file: str) -> str:
    return next(p.removeprefix("build_id=") for p in file.split("/") if p.startswith("build_id="))


def sql_text(value: str) -> str:
    """Return a string as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
