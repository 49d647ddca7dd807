"""SQL over a snapshot: an in-memory DuckDB that can read the committed files, and can do nothing else.

The connection has one view a table over exactly the Parquet files that the snapshot shows, plus the views of
`warehouse/sql` (`<verb>_<view>.sql` defines `<view>`). Then the doors close: only those files may be opened, no
extension loads, no Python object is looked up by name, no setting changes. Because DuckDB would still let COPY write
to an allowed path, a statement is run only if it is one SELECT without table functions that reach outside the views,
and then inside a read-only transaction. DuckDB never writes data; `warehouse.output` writes results.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl

from warehouse.schemas import TABLES
from warehouse.views import create_views, sql_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from warehouse.store import Snapshot

_LOCKS = (
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    "python_enable_replacements = false",
    "temp_directory = ''",
    "enable_external_access = false",
    "lock_configuration = true",
)
# Other functions that may stand in FROM read files, follow raw pointers, evaluate text or change state.
_TABLE_FUNCTIONS = frozenset({
    "unnest", "range", "generate_series", "repeat", "json_each", "json_tree", "duckdb_tables", "duckdb_views",
    "duckdb_columns", "duckdb_functions", "duckdb_types", "pragma_table_info",
})  # fmt: skip


class QueryError(ValueError):
    """A query that is not allowed, or that DuckDB refuses. The message is one clear line."""


def connect(
    snapshot: Snapshot, tables: Sequence[str] | None = None, memory_limit: str | None = None
) -> duckdb.DuckDBPyConnection:
    """Return a locked in-memory DuckDB over the files of a snapshot.

    Args:
        snapshot: what to show. Files that it does not name cannot be opened.
        tables: make views for these tables only (and none of those in `warehouse/sql`), which opens faster.
        memory_limit: as DuckDB writes it (`4GB`); default: half of the machine's memory. Nothing spills to disk.

    Raises:
        duckdb.IOException: a file is gone (the snapshot is older than what housekeeping keeps).
    """
    con = duckdb.connect(":memory:")
    con.execute("SET TimeZone = 'UTC'")
    con.execute(f"SET memory_limit = {sql_text(memory_limit or _half_of_memory())}")
    create_views(con, snapshot, TABLES if tables is None else tables, helpers=tables is None)
    allowed = sorted({f for name in tables or TABLES for f in snapshot.files(name)})
    con.execute(f"SET allowed_paths = [{', '.join(map(sql_text, allowed))}]")
    for lock in _LOCKS:
        con.execute(f"SET {lock}")
    return con


def query(snapshot: Snapshot, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> pl.DataFrame:
    """Run one SELECT over the tables and views of a snapshot, and return its rows.

    Raises:
        QueryError: it is not one SELECT, or DuckDB refuses it.
    """
    check_statement(sql)
    with connect(snapshot) as con:
        return select(con, sql, parameters)


def select(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None
) -> pl.DataFrame:
    """Run one SELECT on a connection from `connect`, in a read-only transaction.

    Raises:
        QueryError: it is not one SELECT, or DuckDB refuses it.
    """
    check_statement(sql)
    try:
        con.execute("BEGIN TRANSACTION READ ONLY")
        try:
            table = con.sql(sql, params=parameters).to_arrow_table()
        finally:
            con.execute("ROLLBACK")
    except duckdb.OutOfMemoryException as error:
        msg = f"the query needs more memory than the limit: {_first_line(error)}; aggregate or filter more"
        raise QueryError(msg) from error
    except duckdb.Error as error:
        raise QueryError(_first_line(error)) from error
    return _to_polars(table)


def check_statement(sql: str) -> None:
    """Refuse everything but one SELECT that reads views, with a line that says what to do.

    Raises:
        QueryError: the statement may write, change settings, or reach outside the views.
    """
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(_first_line(error)) from error
    if len(statements) != 1:
        msg = f"give exactly one SELECT statement, not {len(statements)}"
        raise QueryError(msg)
    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        msg = f"only SELECT is allowed here, this is {_name(kind)}; use --out to write a result to a file"
        raise QueryError(msg)
    outside = sorted(_table_functions(sql) - _TABLE_FUNCTIONS)
    if outside:
        msg = f"{outside[0]}(...) may not stand in FROM: query the views (`SHOW TABLES` lists them)"
        raise QueryError(msg)


def write_warehouse_file(snapshot: Snapshot, path: Path) -> None:
    """Write a DuckDB file with the same views, for tools that open such files. Replaces the old one at once.

    It holds no rows but the ledger: the views point at the files of this snapshot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        temporary = Path(folder) / path.name
        with duckdb.connect(str(temporary)) as con:
            create_views(con, snapshot, TABLES, helpers=True)
            con.execute("CHECKPOINT")
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


def _table_functions(sql: str) -> set[str]:
    """Return the names of the table functions in a SELECT, at any depth."""
    answer = duckdb.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    tree = json.loads(answer[0]) if answer else {"error": True}
    if tree["error"]:
        msg = f"this statement cannot be checked, so it is not run: {tree.get('error_message', 'unknown form')}"
        raise QueryError(msg)
    return {n["function"]["function_name"] for n in _nodes(tree) if n.get("type") == "TABLE_FUNCTION"}


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _to_polars(table: Any) -> pl.DataFrame:
    """Return an Arrow table as Polars: names made unique, whole decimals (sums of BIGINT) as integers."""
    seen: dict[str, int] = {}
    names = []
    for name in table.column_names:
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    try:
        frame = pl.DataFrame(pl.from_arrow(table.rename_columns(names)))
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        msg = f"a column has a type that cannot be shown ({_first_line(error)}); cast it, e.g. CAST(x AS VARCHAR)"
        raise QueryError(msg) from error
    whole = [c for c, t in frame.schema.items() if isinstance(t, pl.Decimal) and t.scale == 0]
    return frame.with_columns(pl.col(c).cast(pl.Int64) for c in whole if _fits(frame.get_column(c)))


def _fits(column: pl.Series) -> bool:
    return column.cast(pl.Int64, strict=False).null_count() == column.null_count()


def _name(kind: duckdb.StatementType) -> str:
    return str(kind).rpartition(".")[2].replace("_", " ")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    hints = [line for line in lines[1:] if line.startswith(("Did you mean", "Candidate"))]
    return re.sub(r"\s+", " ", "; ".join(lines[:1] + hints[:1])) or type(error).__name__


def _half_of_memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 2}B"
