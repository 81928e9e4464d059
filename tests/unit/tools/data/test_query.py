"""One SELECT over the files that were named, and nothing else, however it is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pulser.core.errors import BadInput, Permanent, UnknownName
from pulser.tools.builtin.data.engine import connect, deadline
from pulser.tools.builtin.data.functions import FUNCTIONS
from pulser.tools.builtin.data.query import TOOL
from pulser.tools.builtin.data.select_only import check
from tests.unit.tools.fake_call import Made, run

duckdb = pytest.importorskip("duckdb")
pytest.importorskip("sqlglot")

ATTACKS = """
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_csv_auto('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_blob('/etc/passwd')
SELECT * FROM read_json('/etc/passwd')
SELECT * FROM read_json_objects('/etc/passwd')
SELECT * FROM read_ndjson_auto('/etc/passwd')
SELECT * FROM read_parquet('/tmp/x.parquet')
SELECT * FROM parquet_scan('/tmp/x.parquet')
SELECT * FROM parquet_metadata('/tmp/x.parquet')
SELECT * FROM parquet_schema('/tmp/x.parquet')
SELECT * FROM sniff_csv('/etc/passwd')
SELECT * FROM glob('/*')
SELECT * FROM '/etc/passwd'
SELECT * FROM "/etc/passwd"
SELECT * FROM 'https://example.org/x.csv'
FROM '/etc/passwd'
FROM read_text('/etc/passwd')
TABLE '/etc/passwd'
SELECT (SELECT content FROM read_text('/etc/passwd'))
SELECT * FROM t WHERE a IN (SELECT content FROM read_text('/etc/passwd'))
SELECT * FROM t, LATERAL (SELECT * FROM read_text('/etc/passwd'))
SELECT * FROM t JOIN read_text('/etc/passwd') ON true
WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x
WITH RECURSIVE x AS (SELECT 1 UNION ALL SELECT * FROM glob('/*')) SELECT * FROM x
SELECT 1 UNION SELECT content FROM read_text('/etc/passwd')
SELECT 1 ORDER BY (SELECT content FROM read_text('/etc/passwd'))
SELECT 1 LIMIT (SELECT count(*) FROM glob('/*'))
SELECT CASE WHEN true THEN (SELECT count(*) FROM glob('/*')) END
SELECT list_transform([1], x -> (SELECT count(*) FROM glob('/*')))
SELECT count(*) FILTER (WHERE EXISTS (FROM glob('/*'))) FROM t
SELECT sum(a) OVER (PARTITION BY (SELECT count(*) FROM glob('/*'))) FROM t
SELECT * FROM t QUALIFY row_number() OVER () < (SELECT count(*) FROM glob('/*'))
VALUES ((SELECT count(*) FROM glob('/*')))
SELECT getenv('HOME')
SELECT current_setting('home_directory')
SELECT getvariable('x')
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('t')
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_settings
SELECT * FROM duckdb_secrets()
SELECT * FROM which_secret('s3://x', 's3')
SELECT * FROM duckdb_databases()
SELECT * FROM duckdb_tables
SELECT * FROM pragma_database_list()
SELECT * FROM pragma_table_info('t')
SELECT * FROM information_schema.tables
SELECT * FROM main.t
SELECT * FROM tables.main.t
SELECT * FROM temp.information_schema.tables
SELECT * FROM pg_catalog.pg_settings
SELECT * FROM pg_settings
SELECT * FROM sqlite_master
SELECT * FROM sqlite_scan('/tmp/x', 'y')
SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 'x')
SELECT * FROM checkpoint()
SELECT * FROM force_checkpoint()
SELECT * FROM enable_logging()
SELECT * FROM repeat_row(1, num_rows = 1000)
SELECT * FROM summary((SELECT 1))
SELECT * FROM test_all_types()
SELECT nextval('s')
SELECT setseed(0.5)
SELECT sleep_ms(100000)
SELECT pg_sleep(100000)
SELECT write_log('x')
SELECT json_serialize_sql('SELECT 1')
SELECT * FROM json_execute_serialized_sql('x')
SELECT json_deserialize_sql('x')
SELECT txid_current()
SELECT main.read_text('/etc/passwd')
SELECT system.main.current_setting('threads')
SELECT '/etc/passwd'.read_text()
SELECT "getenv"('HOME')
SELECT GETENV('HOME')
SELECT stats(a) FROM t
SELECT nosuchfunction(1)
COPY t TO '/tmp/x.csv'
COPY (SELECT 1) TO '/tmp/x.csv'
COPY t FROM '/etc/passwd'
COPY (SELECT 1) TO PROGRAM 'id'
EXPORT DATABASE '/tmp/x'
IMPORT DATABASE '/tmp/x'
ATTACH '/tmp/x.db'
ATTACH ':memory:' AS m
DETACH tables
USE memory
INSTALL httpfs
LOAD httpfs
LOAD '/tmp/x.so'
FORCE INSTALL spatial
PRAGMA database_list
PRAGMA enable_external_access
SET enable_external_access = true
SET VARIABLE x = 1
RESET threads
CALL pragma_version()
CREATE TABLE x AS SELECT 1
CREATE OR REPLACE TABLE t AS SELECT 1
CREATE VIEW x AS SELECT 1
CREATE MACRO m(a) AS a
CREATE FUNCTION m(a) AS TABLE SELECT 1
CREATE SECRET s (TYPE s3)
CREATE TEMP TABLE x (a INT)
INSERT INTO t VALUES (1, 'x')
INSERT INTO t SELECT 1, 'x'
UPDATE t SET a = 1
DELETE FROM t
TRUNCATE t
MERGE INTO t USING t AS u ON t.a = u.a WHEN MATCHED THEN DELETE
DROP TABLE t
ALTER TABLE t ADD COLUMN x INT
WITH x AS (INSERT INTO t VALUES (1, 'x') RETURNING *) SELECT * FROM x
WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x
WITH x AS (UPDATE t SET a = 1 RETURNING *) SELECT * FROM x
SELECT 1; DROP TABLE t
SELECT 1; SELECT 2
SELECT 1 /* */; COPY t TO '/tmp/x' --
SELECT 1) TO '/tmp/x' --
SELECT 1) LIMIT 1; DROP TABLE t; --
SELECT 1 INTO x
EXPLAIN ANALYZE SELECT 1
EXPLAIN SELECT 1
DESCRIBE t
SHOW TABLES
SHOW ALL TABLES
SUMMARIZE t
SELECT * FROM (DESCRIBE t)
SELECT * FROM (SHOW TABLES)
SELECT * FROM (SUMMARIZE t)
BEGIN
COMMIT
CHECKPOINT
VACUUM
ANALYZE t
PREPARE x AS SELECT 1
EXECUTE x
SELECT $1
SELECT ?
SELECT * FROM nothere
SELECT * FROM link
SELECT * FROM x, (WITH x AS (SELECT 1) SELECT * FROM x)
WITH duckdb_settings AS (SELECT 1) SELECT * FROM duckdb_settings
WITH pg_settings AS (SELECT 1) SELECT * FROM pg_settings
PIVOT t ON b USING sum(a)
""".strip().splitlines()

QUESTIONS = """
SELECT * FROM t
FROM t
TABLE t
SELECT a, count(*) FROM "T" GROUP BY ALL ORDER BY 2 DESC NULLS LAST LIMIT 5 OFFSET 0
WITH x AS (SELECT a FROM t) SELECT * FROM x AS one JOIN x AS two USING (a)
WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT sum(n) FROM c
SELECT a FROM t UNION ALL SELECT a FROM t EXCEPT SELECT 1 INTERSECT SELECT 2
SELECT row_number() OVER (PARTITION BY b ORDER BY a ROWS BETWEEN 1 PRECEDING AND CURRENT ROW), lag(a) OVER w FROM t WINDOW w AS (ORDER BY b)
SELECT CASE WHEN a > 1 THEN 'x' ELSE b END, a::DOUBLE, try_cast(b AS DECIMAL(10,2)), a IS NULL, a IN (1, 2), a BETWEEN 1 AND 2, NOT (a = 1) FROM t
SELECT b LIKE 'x%', b ILIKE 'Y', b SIMILAR TO 'x+', regexp_matches(b, '^x'), b || 'z', lower(b), substring(b FROM 1 FOR 2), trim(b), position('x' IN b) FROM t
SELECT EXISTS (SELECT 1), (SELECT max(a) FROM t), a IN (SELECT a FROM t) FROM t
SELECT list_transform([1, 2], lambda x: x + 1), [x * 2 FOR x IN [1, 2] IF x > 1], {'k': 1}.k, [1, 2][1], map {'k': 1}
SELECT extract(year FROM current_date), date_trunc('month', DATE '2020-01-05'), DATE '2020-01-01' + INTERVAL 1 DAY, strftime(DATE '2020-01-01', '%Y')
SELECT * FROM range(3) r(i), unnest([1, 2]) u(v), (VALUES (1, 2)) v(a, b)
SELECT DISTINCT ON (b) b, a FROM t QUALIFY row_number() OVER (ORDER BY a) = 1
SELECT * EXCLUDE (b) REPLACE (a + 1 AS a) FROM t
SELECT COLUMNS('a.*') FROM t
SELECT quantile_cont(a, 0.5), stddev(a), corr(a, a), string_agg(b, ',' ORDER BY a), count(DISTINCT b), sum(a) FILTER (WHERE a > 1) FROM t
SELECT b, grouping(b), sum(a) FROM t GROUP BY ROLLUP (b)
SELECT 1 AS "we ird", 'it''s; DROP TABLE t' AS x -- a comment; with a semicolon
VALUES (1), (2)
SELECT json_extract('{"a": 1}', '$.a'), '{"a": 1}' ->> '$.a';
""".strip().splitlines()


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A locked connection with the table ``t``, as the statement sees it."""
    folder = tmp_path_factory.mktemp("engine")
    database = folder / "tables.duckdb"
    with connect(folder, database) as made:
        made.execute("CREATE TABLE t AS SELECT * FROM (VALUES (1, 'x'), (2, 'y')) v(a, b)")
    with connect(folder, database, locked=True) as opened:
        yield opened


@pytest.mark.parametrize("sql", ATTACKS)
def test_an_attack_is_refused_before_it_runs(link: Any, sql: str) -> None:
    with pytest.raises(BadInput) as caught:
        check(link, sql, ["t"])
    assert caught.value.fields["errors"][0]["pointer"] == "/sql"


@pytest.mark.parametrize("sql", QUESTIONS)
def test_an_honest_question_is_answered(link: Any, sql: str) -> None:
    assert link.execute(check(link, sql, ["t"])).fetchall()


OUTSIDE = [
    "FROM read_text('/etc/passwd')",
    "FROM '/etc/passwd'",
    "COPY t TO '/tmp/pulser-attack.csv'",
    "ATTACH '/tmp/pulser-attack.db'",
    "LOAD '/tmp/x.so'",
    "INSTALL httpfs",
    "FROM glob('/*')",
]


@pytest.mark.parametrize(
    "sql", [*OUTSIDE, "SET enable_external_access = true", "SET lock_configuration = false", "SET threads = 64", "SET memory_limit = '64GB'"]
)
def test_the_engine_refuses_on_its_own_what_the_check_would_miss(link: Any, sql: str) -> None:
    with pytest.raises(duckdb.Error):
        link.execute(sql)


def test_a_variable_of_the_program_is_no_table(link: Any) -> None:
    leak = link.sql("SELECT 'secret' AS s")
    with pytest.raises(duckdb.Error):
        link.execute("SELECT * FROM leak")
    assert leak is not None


def test_no_function_that_reaches_outside_is_on_the_list() -> None:
    words = (
        "read_",
        "scan",
        "glob",
        "env",
        "setting",
        "variable",
        "secret",
        "query",
        "pragma",
        "duckdb",
        "sleep",
        "log_",
        "nextval",
        "attach",
        "load",
        "execute",
        "sniff",
    )
    assert [name for name in FUNCTIONS for word in words if word in name] == []


def test_every_function_on_the_list_exists() -> None:
    known = {name.lower() for (name,) in duckdb.sql("SELECT DISTINCT function_name FROM duckdb_functions()").fetchall()}
    by_syntax = {
        "row_number",
        "rank",
        "dense_rank",
        "percent_rank",
        "cume_dist",
        "ntile",
        "lag",
        "lead",
        "first_value",
        "last_value",
        "nth_value",
        "fill",
        "coalesce",
        "ifnull",
    }
    assert sorted(FUNCTIONS - known - by_syntax) == []


def ask(folder: Path, sql: str, **args: Any) -> Made:
    (folder / "sales.csv").write_text("day,shop,amount\n2024-01-01,North,10.10\n2024-01-02,South,20.20\n2024-01-03,North,30.35\n", encoding="utf-8")
    return run(TOOL, folder, sql=sql, files=args.pop("files", {"sales": str(folder / "sales.csv")}), **args)


def test_an_answer_is_exact_and_kept_as_csv_parquet_and_page(tmp_path: Path) -> None:
    made = ask(tmp_path, "SELECT shop, sum(amount) AS total FROM sales GROUP BY shop ORDER BY total DESC")
    assert made.result["rows"] == [["North", "40.45"], ["South", "20.20"]]
    assert made.result["columns"][1] == {"name": "total", "type": "DECIMAL(38,2)"}
    assert made.text("result.csv").splitlines() == ["shop,total", "North,40.45", "South,20.20"]
    assert duckdb.sql(f"SELECT CAST(sum(total) AS VARCHAR) FROM '{made.files['result.parquet']}'").fetchall() == [("60.65",)]
    assert "<svg" in made.text("result.html")


def test_what_json_cannot_hold_is_null_or_text_and_said(tmp_path: Path) -> None:
    made = ask(
        tmp_path,
        "SELECT CAST('nan' AS DOUBLE) AS n, CAST('-inf' AS DOUBLE) AS i, 9007199254740993 AS b, 12345678901234567890123::HUGEINT AS h, "
        "TIMESTAMPTZ '2020-01-01 00:00:00+00' AS z",
    )
    assert made.result["rows"] == [[None, None, "9007199254740993", "12345678901234567890123", "2020-01-01 00:00:00+00"]]
    assert any("2 cells" in note for note in made.result["notes"])
    assert "nan,-inf" in made.text("result.csv")


def test_sums_keep_their_digits_in_parquet(tmp_path: Path) -> None:
    made = ask(tmp_path, "SELECT sum(9007199254740993 + 0 * length(shop)) AS s, 170141183460469231731687303715884105727::HUGEINT AS h FROM sales")
    got = duckdb.sql(f"SELECT CAST(s AS VARCHAR), h FROM '{made.files['result.parquet']}'").fetchall()
    assert got == [("27021597764222979", "170141183460469231731687303715884105727")]


def test_order_is_kept_and_the_rows_of_the_result_are_bounded(tmp_path: Path) -> None:
    made = ask(tmp_path, "SELECT i FROM range(50000) r(i) ORDER BY i DESC", limit=3)
    assert made.result["rows"] == [[49999], [49998], [49997]]
    assert (made.result["row_count"], made.result["more_rows"]) == (50000, True)
    assert len(made.text("result.csv").splitlines()) == 50001


def test_wide_rows_do_not_swell_the_result(tmp_path: Path) -> None:
    made = ask(tmp_path, "SELECT repeat('x', 100000) AS x FROM range(50)", limit=50)
    assert 1 <= len(made.result["rows"]) < 6


@pytest.mark.parametrize(
    ("sql", "line", "column", "said"),
    [
        ("SELEC 1", 1, 1, "syntax error"),
        ("SELECT shop,\n  colour\nFROM sales", 2, 3, "colour"),
        ("SELECT *\nFROM sale", 2, 6, "sale"),
        ("SELECT\n\n getenv('X')", 3, 2, "getenv"),
        ("SELECT 'ä',\n CAST('x' AS INT)", 2, 2, "Could not convert"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_column(tmp_path: Path, sql: str, line: int, column: int, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        ask(tmp_path, sql)
    told = caught.value.fields["errors"][0]
    assert said in str(caught.value)
    assert (told["line"], told["column"]) == (line, column)
    assert caught.value.hint


def test_the_nearest_table_is_offered(tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        ask(tmp_path, "SELECT * FROM sale")
    assert "'sales'" in caught.value.hint


def test_a_statement_that_never_ends_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match=r"longer than 0\.5 s"):
        ask(tmp_path, "SELECT count(*) FROM range(100000000000) a, range(1000) b WHERE a.range % 7 = b.range % 5", time_limit_s=0.5)


def test_memory_is_bounded(tmp_path: Path) -> None:
    with connect(tmp_path) as made, pytest.raises(Permanent, match="memory"), deadline(made, 60, "It"):
        made.execute("SET max_temp_directory_size = '1MB'")
        made.execute("SELECT count(*) FROM (SELECT DISTINCT md5(CAST(i AS VARCHAR)) FROM range(20000000) r(i))")


def test_files_may_be_given_as_a_path_or_a_list_and_are_called_after_themselves(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("a\n1\n", encoding="utf-8")
    (tmp_path / "Other Data.csv").write_text("a\n2\n", encoding="utf-8")
    assert run(TOOL, tmp_path, sql="SELECT a FROM sales", files=str(tmp_path / "sales.csv")).result["rows"] == [[1]]
    made = run(TOOL, tmp_path, sql="SELECT a FROM sales UNION ALL FROM other_data", files=[str(tmp_path / "sales.csv"), str(tmp_path / "Other Data.csv")])
    assert made.result["rows"] == [[1], [2]]


def test_a_bad_file_is_named_by_its_argument(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"")
    with pytest.raises(BadInput) as caught:
        run(TOOL, tmp_path, sql="SELECT 1", files={"x": str(tmp_path / "x.csv")})
    assert caught.value.fields["errors"][0]["pointer"] == "/files/x"


@pytest.mark.parametrize(
    ("kind", "sql"),
    [
        ("bar", "SELECT shop, amount FROM sales"),
        ("line", "SELECT day, amount FROM sales"),
        ("scatter", "SELECT day, amount FROM sales"),
        ("histogram", "SELECT amount FROM sales"),
    ],
)
def test_each_kind_of_chart_is_drawn(tmp_path: Path, kind: str, sql: str) -> None:
    assert "<svg" in ask(tmp_path, sql, chart={"kind": kind}).text("chart.svg")


def test_no_chart_is_drawn_where_none_is_wanted_or_fits(tmp_path: Path) -> None:
    assert "chart.svg" not in ask(tmp_path, "SELECT shop, amount FROM sales", chart={"kind": "none"}).files
    assert "chart.svg" not in ask(tmp_path, "SELECT shop, shop FROM sales").files


def test_a_chart_of_a_column_that_is_not_there_or_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        ask(tmp_path, "SELECT day, amount FROM sales", chart={"kind": "bar", "y": "amout"})
    assert "'amount'" in caught.value.hint
    with pytest.raises(BadInput, match="not a number"):
        ask(tmp_path, "SELECT day, shop FROM sales", chart={"kind": "bar", "x": "day", "y": "shop"})
