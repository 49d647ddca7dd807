"""SQL reads committed rows, and can neither write nor look anywhere else."""

import hashlib
import io
import json
from dataclasses import replace

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse import release_home as small
from warehouse.home import Home
from warehouse.ledger import CORPUS, Build
from warehouse.output import OutputError, write_output
from warehouse.queries import QueryError, check_statement, connect, query, select, write_warehouse_file
from warehouse.schemas import TABLES
from warehouse.store import Store
from warehouse.views import helper_views


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return small.make(tmp_path_factory.mktemp("queries") / "home")


@pytest.fixture(scope="module")
def snapshot(store):
    return store.snapshot()


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return Store(Home(tmp_path_factory.mktemp("empty") / "home")).snapshot()


def fingerprint(folder):
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_tables_are_as_their_schemas_say(snapshot, empty):
    for view in (snapshot, empty):
        with connect(view) as con:
            for name, table in TABLES.items():
                if name != "decisions":
                    columns = [r[0] for r in con.execute(f'DESCRIBE "{name}"').fetchall()]
                    assert columns == list(table.schema)


def test_an_empty_table_has_its_types(snapshot, empty):
    with connect(empty) as con, connect(snapshot) as full:
        for name in ("prompts", "rollouts", "difficulty", "selection", "curriculum", "rejected_prompts"):
            sql = f"SELECT column_name, column_type FROM (DESCRIBE {name})"
            assert con.execute(sql).fetchall() == full.execute(sql).fetchall()


def test_every_helper_view_runs_full_and_empty(snapshot, empty):
    assert len(helper_views()) >= 7
    for name in helper_views():
        assert query(snapshot, f"FROM {name}").height > 0 or name == "cleaned_preferences"
        assert query(empty, f"FROM {name}").columns == query(snapshot, f"FROM {name}").columns


def test_cleaned_preferences_are_as_their_treatments_say(tmp_path):
    store = Store(Home(tmp_path / "home"))
    kinds = ["keep", "flip", "drop", "smooth", None]
    pairs = [{"pair_id": f"{n}", "prompt_id": "p", "messages": [{"role": "user", "content": "?"}],
              "chosen": f"c{n}", "rejected": f"r{n}", "origin": o} for n in range(5) for o in ("a", "b")]  # fmt: skip
    told = [{"pair_id": f"{n}", "strength_mean": -2.0 if t == "flip" else 1.0, "strength_std": 0.0, "votes_for": 1,
             "votes": 2, "bucket": 0, "treatment": t, "margin": 2.0} for n, t in enumerate(kinds) if t]  # fmt: skip
    for stage, rows in (("preferences", pairs), ("preference_strength", told)):
        with store.stage(Build(stage, CORPUS, {}, "1", "")) as writer:
            writer.write(stage, small.shaped(stage, rows))
            writer.commit(stage)
    found = {r["pair_id"]: r for r in query(store.snapshot(), "FROM cleaned_preferences").to_dicts()}
    assert {i: (r["chosen"], r["rejected"], r["treatment"]) for i, r in found.items()} == {
        "0": ("c0", "r0", "keep"), "1": ("r1", "c1", "flip"), "3": ("c3", "r3", "smooth"), "4": ("c4", "r4", "keep"),
    }  # fmt: skip
    assert found["1"]["strength"] == 2.0 and found["3"]["target"] == pytest.approx(0.7310585786)
    assert found["0"]["target"] is None and found["4"]["strength"] is None


def test_a_query_sees_what_polars_sees(snapshot):
    found = query(snapshot, "SELECT * FROM difficulty ORDER BY prompt_id")
    assert found.equals(snapshot.scan("difficulty").collect().sort("prompt_id"))


def test_parameters(snapshot):
    sql = "SELECT count(*) AS n FROM prompts WHERE domain = $domain"
    assert query(snapshot, sql, {"domain": "code"}).item() == 2
    assert query(snapshot, "SELECT ? + 1 AS n", [2]).item() == 3


def test_sums_of_integers_are_integers(snapshot):
    found = query(snapshot, "SELECT sum(samples) AS n, 100000000000000000007::HUGEINT AS big FROM difficulty")
    assert found.schema["n"] == pl.Int64
    assert found.item(0, "n") == 8 * len(small.PROMPTS)
    assert int(found.item(0, "big")) == 10**20 + 7


def test_repeated_column_names_are_kept_apart(snapshot):
    assert query(snapshot, "SELECT 1 AS a, 2 AS a").row(0, named=True) == {"a": 1, "a_2": 2}


def test_times_are_utc(snapshot):
    assert str(query(snapshot, "SELECT ingested_at FROM prompts LIMIT 1").item()) == "2026-01-01 00:00:00+00:00"


REFUSED = {
    "COPY prompts TO '{out}'": "COPY",
    "COPY (SELECT 1) TO '{file}' (FORMAT parquet)": "COPY",
    "EXPLAIN ANALYZE COPY prompts TO '{file}'": "EXPLAIN",
    "EXPLAIN SELECT 1": "EXPLAIN",
    "ATTACH '{out}'": "ATTACH",
    "DETACH memory": "DETACH",
    "USE memory": "only SELECT",
    "INSTALL httpfs": "LOAD",
    "LOAD httpfs": "LOAD",
    "SET threads = 1": "SET",
    "RESET threads": "only SELECT",
    "PRAGMA database_list": "PRAGMA",
    "PRAGMA enable_logging": "only SELECT",
    "CALL pragma_version()": "CALL",
    "CHECKPOINT": "only SELECT",
    "EXPORT DATABASE '{out}'": "EXPORT",
    "IMPORT DATABASE '{out}'": "only SELECT",
    "CREATE TABLE t AS SELECT 1": "CREATE",
    "CREATE SECRET (TYPE s3)": "CREATE",
    "INSERT INTO commits SELECT * FROM commits": "INSERT",
    "UPDATE commits SET stage = 'x'": "UPDATE",
    "DELETE FROM commits": "DELETE",
    "DROP VIEW prompts": "DROP",
    "ALTER TABLE commits RENAME TO c": "ALTER",
    "BEGIN": "TRANSACTION",
    "PREPARE p AS SELECT 1": "PREPARE",
    "VACUUM": "VACUUM",
    "PIVOT prompts ON source USING count(*)": "MULTI",
    "SELECT 1; SELECT 2": "exactly one",
    "SELECT 1; COPY prompts TO '{out}'": "exactly one",
    "": "exactly one",
    "-- nothing": "exactly one",
    "SELEC 1": "syntax error",
    "SELECT * FROM promts": "Did you mean",
    "SELECT nothing FROM prompts": "nothing",
    "WITH x AS (INSERT INTO commits SELECT * FROM commits RETURNING *) FROM x": "read-only",
    "WITH x AS (DELETE FROM commits RETURNING *) FROM x": "read-only",
    "SELECT * FROM read_text('/etc/passwd')": "may not stand in FROM",
    "SELECT * FROM read_csv('/etc/passwd')": "may not stand in FROM",
    "SELECT * FROM read_parquet('{file}')": "may not stand in FROM",
    "SELECT * FROM glob('/etc/*')": "may not stand in FROM",
    "SELECT * FROM (SELECT 1) WHERE EXISTS (SELECT * FROM read_blob('/etc/passwd'))": "may not stand in FROM",
    "SELECT * FROM query('SELECT 1')": "may not stand in FROM",
    "SELECT * FROM sniff_csv('/etc/passwd')": "may not stand in FROM",
    "SELECT * FROM parquet_metadata('/etc/passwd')": "may not stand in FROM",
    "SELECT * FROM read_duckdb('{out}')": "may not stand in FROM",
    "SELECT * FROM duckdb_secrets()": "may not stand in FROM",
    "SELECT * FROM checkpoint()": "may not stand in FROM",
    "SELECT * FROM force_checkpoint()": "may not stand in FROM",
    "SELECT * FROM enable_logging('QueryLog')": "may not stand in FROM",
    "SELECT * FROM arrow_scan(1, 2, 3)": "may not stand in FROM",
    "SELECT * FROM json_execute_serialized_sql('x')": "may not stand in FROM",
    "SELECT * FROM '/etc/passwd'": "does not exist",
    "SELECT * FROM '{other}'": "disabled by configuration",
    "SELECT * FROM 'https://example.com/x.parquet'": "disabled",
    "SELECT getenv('HOME')": "does not exist",
    "SELECT * FROM secret_frame": "does not exist",
    "SELECT INTERVAL 1 DAY AS i": "cast it",
}


@pytest.mark.parametrize("sql", REFUSED)
def test_what_is_not_a_plain_select_is_refused_in_one_line(store, snapshot, tmp_path, sql):
    secret_frame = pl.DataFrame({"a": [1]})
    other = tmp_path / "other.parquet"
    secret_frame.write_parquet(other)
    names = {"out": tmp_path / "out", "file": snapshot.files("prompts")[0], "other": other}
    before = fingerprint(store.home.root)
    with pytest.raises(QueryError) as error:
        query(snapshot, sql.format(**names))
    assert REFUSED[sql] in str(error.value)
    assert "\n" not in str(error.value)
    assert fingerprint(store.home.root) == before
    assert [p.name for p in tmp_path.iterdir()] == ["other.parquet"]


def test_the_connection_itself_is_locked(snapshot, tmp_path):
    """Also without the statement check, nothing outside the snapshot's files opens and no setting changes."""
    with connect(snapshot) as con:
        for sql in (
            f"COPY (SELECT 1) TO '{tmp_path / 'x.csv'}'",
            f"ATTACH '{tmp_path / 'x.db'}'",
            "SELECT * FROM read_text('/etc/passwd')",
            "SET lock_configuration = false",
            "SET enable_external_access = true",
            "SET allowed_paths = ['/etc/passwd']",
            "INSTALL httpfs",
            "LOAD '/tmp/x.so'",
        ):
            with pytest.raises(duckdb.Error):
                con.execute(sql)
    assert list(tmp_path.iterdir()) == []


def test_a_connection_can_be_used_again_after_an_error(snapshot):
    with connect(snapshot) as con:
        with pytest.raises(QueryError):
            select(con, "SELECT * FROM nowhere")
        assert select(con, "SELECT count(*) AS n FROM prompts").item() == len(small.PROMPTS)


def test_what_people_ask_is_allowed(snapshot):
    for sql in (
        "SHOW TABLES",
        "DESCRIBE prompts",
        "SUMMARIZE difficulty",
        "FROM prompts LIMIT 1;",
        "VALUES (1)",
        "WITH RECURSIVE r AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM r WHERE a < 3) FROM r",
        "SELECT x FROM range(3) AS t(x)",
        "SELECT unnest(messages) FROM prompts",
        "PIVOT prompts ON source IN ('gsm8k', 'mbpp') USING count(*) GROUP BY pool",
        "SELECT domain, rank() OVER (ORDER BY prompt_id) FROM prompts",
        'SELECT r.text, p.domain FROM "references" AS r JOIN prompts AS p USING (prompt_id)',
        "FROM prompts TABLESAMPLE 100%",
    ):
        assert query(snapshot, sql).height > 0


@given(st.text(max_size=40))
def test_no_text_breaks_the_check(text):
    try:
        check_statement(text)
    except QueryError as error:
        assert "\n" not in str(error)


def test_memory_is_limited(snapshot):
    with connect(snapshot, memory_limit="50MB") as con, pytest.raises(QueryError, match="more memory than the limit"):
        select(con, "SELECT list(a) FROM (SELECT (x * random())::VARCHAR AS a FROM range(20000000) AS t(x))")


def test_decisions_are_the_current_ones(tmp_path):
    store = small.make(tmp_path / "home")
    first = query(store.snapshot(), "FROM decisions")
    assert first.height == len(small.PROMPTS)
    assert first.get_column("decision_id").n_unique() == first.height
    assert set(first.get_column("run_id")) == {"run-selection"}
    changed = [replace(small.PROMPTS[2], selected=True, reason="floor")]
    rows = small.selection_decision_rows(changed, "main", 0.9)
    frames = {"selection": small.selection_rows(small.PROMPTS, "main"), "decisions": rows}
    small.put(store, "selection", CORPUS, frames, variant="main", version="2", extends=True)
    view = store.snapshot()
    now = query(view, "FROM decisions ORDER BY prompt_id")
    history = query(view, "FROM decision_history")
    assert (now.height, history.height) == (first.height, first.height + 1)
    own = query(
        view, "SELECT outcome, threshold, detail FROM decisions WHERE prompt_id = $id", {"id": small.PROMPTS[2].id}
    )
    assert own.rows() == [("keep", 0.9, "math: floor")]
    expected = view.decisions().collect().sort("prompt_id")
    assert now.select("prompt_id", "outcome", "seq").equals(expected.select("prompt_id", "outcome", "seq"))


def test_withdrawn_decisions_are_history(tmp_path):
    store = small.make(tmp_path / "home")
    gone = small.selection_decision_rows(small.PROMPTS[:1], "main", 0.3).with_columns(outcome=pl.lit("withdrawn"))
    frames = {"selection": small.selection_rows(small.PROMPTS, "main"), "decisions": gone}
    small.put(store, "selection", CORPUS, frames, variant="main", version="2", extends=True)
    sql = f"SELECT outcome FROM {{}} WHERE prompt_id = '{small.PROMPTS[0].id}' ORDER BY seq"
    assert query(store.snapshot(), sql.format("decisions")).is_empty()
    assert query(store.snapshot(), sql.format("decision_history"))["outcome"].to_list() == ["keep", "withdrawn"]


def test_decision_ids_repeat_for_the_same_inputs(tmp_path, snapshot):
    other = small.make(tmp_path / "home").snapshot()
    ids = [query(s, "SELECT decision_id FROM decisions ORDER BY 1") for s in (snapshot, other)]
    assert ids[0].equals(ids[1])


def test_commits_say_which_are_live(tmp_path):
    store = small.make(tmp_path / "home")
    small.choose(store, small.PROMPTS, version="2")
    found = query(store.snapshot(), "SELECT live FROM commits WHERE stage = 'selection' ORDER BY seq")
    assert found.get_column("live").to_list() == [False, True]


def test_a_home_whose_path_has_a_quote(tmp_path):
    store = Store(Home(tmp_path / "o'home"))
    small.fill(store, small.PROMPTS)
    assert query(store.snapshot(), "SELECT count(*) AS n FROM prompts").item() == len(small.PROMPTS)


def test_the_warehouse_file_has_the_views(snapshot, tmp_path):
    path = tmp_path / "warehouse.duckdb"
    write_warehouse_file(snapshot, path)
    write_warehouse_file(snapshot, path)
    with duckdb.connect(str(path), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM prompts").fetchone() == (len(small.PROMPTS),)
        assert con.execute("SELECT count(*) FROM decisions").fetchone() == (len(small.PROMPTS),)
        assert con.execute("SELECT count(*) FROM funnel").fetchone()[0] > 5
    assert [p.name for p in tmp_path.iterdir()] == ["warehouse.duckdb"]


def test_output_forms(snapshot, tmp_path):
    frame = query(
        snapshot, "SELECT prompt_id, messages, ingested_at, NULL AS nothing, 0.5 AS x FROM prompts ORDER BY 1 LIMIT 2"
    )
    write_output(frame, "json", tmp_path / "a.json")
    told = json.loads((tmp_path / "a.json").read_text())
    assert told[0]["messages"] == frame.row(0, named=True)["messages"]
    assert told[0]["ingested_at"] == "2026-01-01T00:00:00+00:00"
    write_output(frame, "csv", tmp_path / "a.csv")
    again = pl.read_csv(tmp_path / "a.csv")
    assert json.loads(again.item(1, "messages")) == frame.item(1, "messages").to_list()
    write_output(frame, "parquet", tmp_path / "a.parquet")
    assert pl.read_parquet(tmp_path / "a.parquet").equals(frame)
    stream = io.StringIO()
    write_output(frame, "table", stream)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].split() == ["prompt_id", "messages", "ingested_at", "nothing", "x"]
    assert frame.item(0, "prompt_id") in lines[1]
    assert "null" in lines[1]
    with pytest.raises(OutputError, match="--out"):
        write_output(frame, "parquet", io.StringIO())


def test_a_home_from_before_a_column_was_added(tmp_path, monkeypatch):
    """Files without the column, none with it, and then both: null where it is not, in SQL as in Polars."""
    later = TABLES["rollouts"]
    earlier = replace(later, columns={c: t for c, t in later.columns.items() if c != "detail"})
    row = dict.fromkeys(later.columns) | {"prompt_id": "a", "role": "scored", "sample": 0, "recorded": False}
    monkeypatch.setitem(TABLES, "rollouts", earlier)
    store = Store(Home(tmp_path))

    def add(batch, table, **more):
        with store.stage(Build("rollouts", batch, {}, "c", "p", variant="v")) as writer:
            writer.write("rollouts", pl.DataFrame([row | more], schema=table.columns))
            writer.commit("rollouts")

    add("one", earlier)
    monkeypatch.setitem(TABLES, "rollouts", later)
    assert query(store.snapshot(), "SELECT detail, batch FROM rollouts").rows() == [(None, "one")]
    add("two", later, detail="bad_answer: why")
    view = store.snapshot()
    assert view.is_uneven("rollouts")
    assert not view.is_uneven("prompts")
    wanted = [(None, "one"), ("bad_answer: why", "two")]
    assert query(view, "SELECT detail, batch FROM rollouts ORDER BY batch").rows() == wanted
    assert view.scan("rollouts").select("detail", "batch").sort("batch").collect().rows() == wanted
