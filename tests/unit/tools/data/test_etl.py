"""Rows that fit are loaded once, whatever is repeated; rows that do not are kept with their reasons."""

from __future__ import annotations

import csv
import io
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pulser.app import samples
from pulser.core.errors import BadInput, OperatorError, Permanent, Transient, UnknownName
from pulser.tools.builtin.data import load_sqlite
from pulser.tools.builtin.data.etl import TOOL, apply
from tests.unit.tools.fake_call import FakeInstallation, Made, run

duckdb = pytest.importorskip("duckdb")
SAMPLES = Path(samples.__path__[0]) / "data"
PEOPLE = "id,name,balance,born\n1,Ann,10.10,1990-01-02\n2,Bob,-0.05,1985-12-31\n"
POSTGRES = "postgresql://postgres@127.0.0.1:5432"


def stage(folder: Path, content: str, target: dict[str, Any], **args: Any) -> tuple[dict[str, Any], Made]:
    """The arguments, and what ``run`` made of ``content``."""
    (folder / "s.csv").write_text(content, encoding="utf-8")
    full = {"source": str(folder / "s.csv"), "target": target, **args}
    return full, run(TOOL, folder, **full)


def load(folder: Path, content: str, target: dict[str, Any], installation: FakeInstallation, **args: Any) -> dict[str, Any]:
    """Run and apply; the merged result."""
    full, made = stage(folder, content, target, **args)
    return made.result | apply(full, made.result, made.files, installation)


def rejected(made: Made) -> list[tuple[int, str]]:
    return [(int(row["row"]), row["reason"]) for row in csv.DictReader(io.StringIO(made.text("rejected.csv")))]


def counts(result: dict[str, Any]) -> tuple[int, int, int]:
    return result["inserted"], result["updated"], result["unchanged"]


# Judging rows


def test_types_are_inferred_and_the_few_that_do_not_fit_are_rejected_with_the_original_line(tmp_path: Path) -> None:
    body = "".join(f"{n},{n}.50\n" for n in range(1, 30))
    _, made = stage(tmp_path, f"id,price\n{body}x,1.00\n30,cheap\n31\n", {"kind": "parquet", "table": "t"}, mode="append")
    assert [(column["name"], column["type"]) for column in made.result["columns"]] == [("id", "BIGINT"), ("price", "DECIMAL(4,2)")]
    assert rejected(made) == [(31, "id: 'x' is not an integer"), (32, "price: 'cheap' is not a decimal(4,2)"), (33, "1 field, the header has 2")]
    assert "30,cheap" in made.text("rejected.csv")
    assert (made.result["read"], made.result["staged"], made.result["rejected"]) == (32, 29, 3)


def test_a_row_with_several_faults_tells_all_of_them(tmp_path: Path) -> None:
    columns = {"a": {"type": "integer"}, "b": {"type": "date", "required": True}}
    _, made = stage(tmp_path, "a,b\nx,\n1,2024-01-01\n", {"kind": "parquet", "table": "t"}, mode="append", columns=columns)
    assert rejected(made) == [(2, "a: 'x' is not an integer; b is required and missing")]


def test_a_decimal_is_rejected_rather_than_rounded(tmp_path: Path) -> None:
    columns = {"p": {"type": "decimal(5,2)"}}
    _, made = stage(tmp_path, "p\n1.10\n1.125\n12345.00\n999.99\n2.500\n", {"kind": "parquet", "table": "t"}, mode="append", columns=columns)
    assert [line for line, _ in rejected(made)] == [3, 4]
    got = duckdb.sql(f"SELECT CAST(p AS VARCHAR) FROM '{made.files['t.parquet']}'").fetchall()
    assert got == [("1.10",), ("999.99",), ("2.50",)]


def test_of_rows_with_the_same_key_the_last_is_kept_and_the_others_are_told(tmp_path: Path) -> None:
    _, made = stage(tmp_path, "id,v\n1,a\n2,b\n1,c\n,d\n", {"kind": "parquet", "table": "t"}, key=["id"])
    assert rejected(made) == [(2, "the key id is again in line 4, which is kept"), (5, "id is a key and missing")]


def test_columns_are_renamed_dropped_and_read_by_their_format(tmp_path: Path) -> None:
    columns = {"When": {"rename": "day", "type": "date", "format": "%d.%m.%Y"}, "x": {"drop": True}}
    _, made = stage(tmp_path, "When,x,v\n31.12.2024,1,a\n31.02.2024,1,b\n", {"kind": "parquet", "table": "t"}, mode="append", columns=columns)
    assert rejected(made) == [(3, "When: '31.02.2024' is not a date written as %d.%m.%Y")]
    assert duckdb.sql(f"SELECT CAST(day AS VARCHAR), v FROM '{made.files['t.parquet']}'").fetchall() == [("2024-12-31", "a")]


def test_too_many_rejected_rows_stop_the_load(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="reject_limit") as caught:
        stage(tmp_path, "id\n1\nx\ny\n", {"kind": "parquet", "table": "t"}, mode="append", columns={"id": {"type": "integer"}}, reject_limit=1)
    assert "row 3: id: 'x'" in str(caught.value)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, "upsert needs a key"),
        ({"key": ["idd"]}, "no column 'idd'"),
        ({"mode": "append", "columns": {"nam": {}}}, "no column 'nam'"),
        ({"mode": "append", "columns": {"id": {"rename": "name"}}}, "several columns"),
        ({"mode": "append", "columns": {"id": {"type": "decimal(39,2)"}}}, "cannot be"),
        ({"mode": "append", "columns": {"id": {"type": "money"}}}, "money"),
        ({"mode": "append", "columns": {"name": {"type": "text", "format": "%Y"}}}, "format goes with"),
        ({"mode": "append", "columns": {name: {"drop": True} for name in ("id", "name", "balance", "born")}}, "every column"),
        ({"mode": "append", "target": {"kind": "postgres", "table": "t"}}, "name"),
        ({"mode": "append", "target": {"kind": "sqlite", "table": "t", "name": "w"}}, "target"),
        ({"mode": "append", "target": {"kind": "sqlite", "table": ""}}, "target"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path: Path, args: dict[str, Any], said: str) -> None:
    (tmp_path / "s.csv").write_text(PEOPLE, encoding="utf-8")
    with pytest.raises(BadInput, match=said):
        run(TOOL, tmp_path, **{"source": str(tmp_path / "s.csv"), "target": {"kind": "sqlite", "table": "t"}, **args})


def test_json_and_sqlite_sources_are_loaded_too(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('[{"id": 1, "v": {"a": 1.50}}, {"id": 2}]', encoding="utf-8")
    made = run(TOOL, tmp_path, source=str(tmp_path / "s.json"), target={"kind": "sqlite", "table": "t"}, key=["id"])
    again = run(TOOL, tmp_path, source=str(made.files["t.sqlite"]), target={"kind": "parquet", "table": "u"}, key=["id"], columns={"v": {"rename": "w"}})
    assert duckdb.sql(f"SELECT id, w FROM '{again.files['u.parquet']}'").fetchall() == [(1, '{"a": 1.50}'), (2, None)]


def test_a_wrong_value_in_json_is_rejected_with_its_record(tmp_path: Path) -> None:
    (tmp_path / "s.ndjson").write_text('{"id": 1, "n": "5"}\n{"id": 2, "n": "five"}\n{"id": 3, "n": "a\\u0000b"}\n', encoding="utf-8")
    made = run(TOOL, tmp_path, source=str(tmp_path / "s.ndjson"), target={"kind": "parquet", "table": "t"}, key=["id"], columns={"n": {"type": "integer"}})
    assert [line for line, _ in rejected(made)] == [2, 3]
    assert '""n"": ""five""' in made.text("rejected.csv")


def test_the_planted_dirt_of_the_sample_is_rejected(tmp_path: Path) -> None:
    made = run(TOOL, tmp_path, source=str(SAMPLES / "penguins_dirty.csv"), target={"kind": "sqlite", "table": "penguins"}, key=["id"])
    assert (made.result["read"], made.result["written"], made.result["rejected"]) == (348, 335, 13)
    with closing(sqlite3.connect(made.files["penguins.sqlite"])) as link:
        assert link.execute("SELECT count(*), count(DISTINCT id) FROM penguins").fetchone() == (335, 335)


# Files as targets


@pytest.mark.parametrize("kind", ["sqlite", "parquet"])
def test_an_upsert_inserts_updates_and_leaves_the_rest_and_repeats_without_effect(tmp_path: Path, kind: str) -> None:
    home, target = FakeInstallation(roots=(tmp_path,)), {"kind": kind, "table": "people", "path": str(tmp_path / f"out.{kind}")}
    assert counts(load(tmp_path, PEOPLE, target, home, key=["id"])) == (2, 0, 0)
    assert counts(load(tmp_path, PEOPLE, target, home, key=["id"])) == (0, 0, 2)
    changed = PEOPLE.replace("Bob", "Rob") + "3,Cy,1.00,2000-01-01\n"
    full, made = stage(tmp_path, changed, target, key=["id"])
    assert counts(apply(full, made.result, made.files, home)) == (1, 1, 1)
    assert counts(apply(full, made.result, made.files, home)) == (0, 0, 3)
    assert names(tmp_path / f"out.{kind}") == ["Ann", "Cy", "Rob"]


@pytest.mark.parametrize("kind", ["sqlite", "parquet"])
def test_an_append_adds_once_and_again_only_as_another_batch(tmp_path: Path, kind: str) -> None:
    home, target = FakeInstallation(roots=(tmp_path,)), {"kind": kind, "table": "people", "path": str(tmp_path / f"out.{kind}")}
    assert counts(load(tmp_path, PEOPLE, target, home, mode="append")) == (2, 0, 0)
    again = load(tmp_path, PEOPLE, target, home, mode="append")
    assert again["already_loaded"]
    assert "before" in again["summary"]
    assert names(tmp_path / f"out.{kind}") == ["Ann", "Bob"]
    load(tmp_path, PEOPLE, target, home, mode="append", batch="Tuesday")
    assert names(tmp_path / f"out.{kind}") == ["Ann", "Ann", "Bob", "Bob"]


@pytest.mark.parametrize("kind", ["sqlite", "parquet"])
def test_a_replacement_leaves_only_its_rows(tmp_path: Path, kind: str) -> None:
    home, target = FakeInstallation(roots=(tmp_path,)), {"kind": kind, "table": "people", "path": str(tmp_path / f"out.{kind}")}
    load(tmp_path, PEOPLE, target, home, mode="append")
    result = load(tmp_path, "id,name,balance,born\n9,Zoe,1.00,2001-01-01\n", target, home, mode="replace")
    assert result["deleted"] == 2
    assert names(tmp_path / f"out.{kind}") == ["Zoe"]


def names(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return [row[0] for row in duckdb.sql(f"SELECT name FROM '{path}' ORDER BY name").fetchall()]
    with closing(sqlite3.connect(path)) as link:
        return [row[0] for row in link.execute("SELECT name FROM people ORDER BY name")]


def test_sqlite_keeps_decimals_and_huge_integers_digit_by_digit(tmp_path: Path) -> None:
    _, made = stage(tmp_path, "id,d,h\n1,1.10,12345678901234567890123\n", {"kind": "sqlite", "table": "t"}, key=["id"])
    with closing(sqlite3.connect(made.files["t.sqlite"])) as link:
        assert link.execute("SELECT d, h FROM t").fetchone() == ("1.10", "12345678901234567890123")


@pytest.mark.parametrize("kind", ["sqlite", "parquet"])
def test_a_target_that_is_something_else_is_left_alone(tmp_path: Path, kind: str) -> None:
    (tmp_path / "notes.txt").write_text("precious, and long enough to be taken for a file of some kind", encoding="utf-8")
    with pytest.raises(Permanent, match="is there and is not"):
        load(tmp_path, PEOPLE, {"kind": kind, "table": "t", "path": str(tmp_path / "notes.txt")}, FakeInstallation(roots=(tmp_path,)), key=["id"])
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8").startswith("precious")


@pytest.mark.parametrize("kind", ["sqlite", "parquet"])
@pytest.mark.parametrize("path", ["/nowhere/x", "{root}/no/x", "{root}/../x", "{root}/link", ".."])
def test_a_target_outside_the_writable_roots_or_behind_a_link_is_refused(tmp_path: Path, kind: str, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput):
        load(tmp_path, PEOPLE, {"kind": kind, "table": "t", "path": path.format(root=root)}, FakeInstallation(roots=(root,)), key=["id"])
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "x").exists()


def test_a_table_without_the_columns_or_the_key_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    with closing(sqlite3.connect(path)) as link, link:
        link.execute("CREATE TABLE few (id INTEGER PRIMARY KEY)")
        link.execute("CREATE TABLE nokey (id INTEGER, name TEXT, balance TEXT, born TEXT)")
    home = FakeInstallation(roots=(tmp_path,))
    with pytest.raises(Permanent, match="no column name, balance, born"):
        load(tmp_path, PEOPLE, {"kind": "sqlite", "table": "few", "path": str(path)}, home, key=["id"])
    with pytest.raises(Permanent, match="no unique key"):
        load(tmp_path, PEOPLE, {"kind": "sqlite", "table": "nokey", "path": str(path)}, home, key=["id"])
    with closing(sqlite3.connect(path)) as link:
        assert link.execute("SELECT count(*) FROM nokey").fetchone() == (0,)


def test_names_with_quotes_are_only_names(tmp_path: Path) -> None:
    table = 'x"; DROP TABLE y; --'
    _, made = stage(tmp_path, '"a""b; --",v\n1,2\n', {"kind": "sqlite", "table": table}, key=['a"b; --'])
    (file,) = (path for name, path in made.files.items() if name.endswith(".sqlite"))
    with closing(sqlite3.connect(file)) as link:
        assert link.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [(table,)]


# Postgres


@pytest.fixture
def warehouse() -> Iterator[FakeInstallation]:
    """A database of its own on the local Postgres."""
    import psycopg

    name = f"pulser_etl_{secrets.token_hex(6)}"
    try:
        admin = psycopg.connect(f"{POSTGRES}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        pytest.skip(f"no Postgres at 127.0.0.1:5432: {error}")
    with admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield FakeInstallation(targets={"warehouse": f"{POSTGRES}/{name}", "shut": "postgresql://postgres@127.0.0.1:1/x", "odd": "nonsense=1 =2"})
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def rows(warehouse: FakeInstallation, sql: str) -> list[tuple[Any, ...]]:
    import psycopg

    with psycopg.connect(warehouse.targets["warehouse"]) as link:
        cursor = link.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


TO_POSTGRES = {"kind": "postgres", "table": "people", "name": "warehouse"}


def test_postgres_gets_exact_types_and_a_primary_key(tmp_path: Path, warehouse: FakeInstallation) -> None:
    content = "id,n,d,h,f,b,day,at,z,s\n"
    content += '1,5,1.10,12345678901234567890123,1e-7,yes,2024-02-29,2024-01-01 10:00:00.5,2024-01-01T10:00:00+02:00,"it\'s \\ \ttab\n"\n2,,,,,,,,,\n'
    assert counts(load(tmp_path, content, TO_POSTGRES, warehouse, key=["id"])) == (2, 0, 0)
    got = rows(warehouse, "SELECT n, d::text, h::text, f::text, b, day::text, at::text, (z AT TIME ZONE 'UTC')::text, s FROM people ORDER BY id")
    assert got[0] == (5, "1.10", "12345678901234567890123", "1e-07", True, "2024-02-29", "2024-01-01 10:00:00.5", "2024-01-01 08:00:00", "it's \\ \ttab\n")
    assert got[1] == (None,) * 9
    kinds = dict(rows(warehouse, "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'people'"))
    assert [kinds[name] for name in ("d", "h", "f", "at", "z")] == [
        "numeric",
        "numeric",
        "double precision",
        "timestamp without time zone",
        "timestamp with time zone",
    ]


def test_postgres_upserts_and_repeating_changes_nothing(tmp_path: Path, warehouse: FakeInstallation) -> None:
    load(tmp_path, PEOPLE, TO_POSTGRES, warehouse, key=["id"])
    full, made = stage(tmp_path, PEOPLE.replace("Bob", "Rob") + "3,Cy,1.00,2000-01-01\n", TO_POSTGRES, key=["id"])
    assert counts(apply(full, made.result, made.files, warehouse)) == (1, 1, 1)
    before = rows(warehouse, "SELECT ctid::text, * FROM people ORDER BY id")
    assert counts(apply(full, made.result, made.files, warehouse)) == (0, 0, 3)
    assert rows(warehouse, "SELECT ctid::text, * FROM people ORDER BY id") == before


def test_postgres_appends_once(tmp_path: Path, warehouse: FakeInstallation) -> None:
    load(tmp_path, PEOPLE, TO_POSTGRES, warehouse, mode="append")
    assert load(tmp_path, PEOPLE, TO_POSTGRES, warehouse, mode="append")["already_loaded"]
    assert rows(warehouse, "SELECT count(*) FROM people") == [(2,)]
    assert counts(load(tmp_path, PEOPLE, TO_POSTGRES, warehouse, mode="append", batch="2")) == (2, 0, 0)


def test_postgres_replaces_in_a_schema_and_under_odd_names(tmp_path: Path, warehouse: FakeInstallation) -> None:
    rows(warehouse, 'CREATE SCHEMA "my data"')
    target = {"kind": "postgres", "table": 'my data.a"b%s; --', "name": "warehouse"}
    odd = '"i""d %s",v\n1,2\n'
    load(tmp_path, odd, target, warehouse, mode="replace")
    load(tmp_path, odd.replace("1,2", "3,4"), target, warehouse, mode="replace")
    assert rows(warehouse, 'SELECT * FROM "my data"."a""b%s; --"') == [(3, 4)]


def test_a_row_that_the_target_refuses_rolls_all_of_them_back(tmp_path: Path, warehouse: FakeInstallation) -> None:
    rows(warehouse, "CREATE TABLE people (id bigint PRIMARY KEY, name varchar(3) CHECK (name <> 'Bob'), balance numeric, born date)")
    with pytest.raises(Permanent, match="people_name_check"):
        load(tmp_path, PEOPLE, TO_POSTGRES, warehouse, key=["id"])
    assert rows(warehouse, "SELECT count(*) FROM people") == [(0,)]


def test_postgres_tables_without_the_columns_or_the_key_are_refused(tmp_path: Path, warehouse: FakeInstallation) -> None:
    rows(warehouse, "CREATE TABLE people (id bigint)")
    with pytest.raises(Permanent, match="no column name"):
        load(tmp_path, PEOPLE, TO_POSTGRES, warehouse, key=["id"])
    rows(warehouse, "ALTER TABLE people ADD name text, ADD balance numeric, ADD born date")
    with pytest.raises(Permanent, match="no unique key"):
        load(tmp_path, PEOPLE, TO_POSTGRES, warehouse, key=["id"])
    rows(warehouse, "CREATE UNIQUE INDEX ON people (id)")
    assert counts(load(tmp_path, PEOPLE, TO_POSTGRES, warehouse, key=["id"])) == (2, 0, 0)


def test_a_database_that_is_away_is_transient_and_a_wrong_url_is_not_shown(tmp_path: Path, warehouse: FakeInstallation) -> None:
    with pytest.raises(Transient) as away:
        load(tmp_path, PEOPLE, TO_POSTGRES | {"name": "shut"}, warehouse, key=["id"])
    assert "127.0.0.1:1" not in str(away.value)
    with pytest.raises(OperatorError) as wrong:
        load(tmp_path, PEOPLE, TO_POSTGRES | {"name": "odd"}, warehouse, key=["id"])
    assert "nonsense" not in str(wrong.value)


def test_a_key_that_is_not_there_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        stage(tmp_path, PEOPLE, {"kind": "sqlite", "table": "t"}, key=["nam"])
    assert "'name'" in caught.value.hint


def test_a_trigger_without_end_is_given_up_and_nothing_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_sqlite, "LOAD_S", 0.05)
    path = tmp_path / "t.sqlite"
    endless = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r"
    with closing(sqlite3.connect(path)) as link, link:
        link.execute("CREATE TABLE p (id INTEGER PRIMARY KEY, name TEXT, balance TEXT, born TEXT)")
        link.execute(f"CREATE TRIGGER t AFTER INSERT ON p BEGIN UPDATE p SET name = ({endless}); END")
    with pytest.raises(Permanent, match="was rolled back"):
        load(tmp_path, PEOPLE, {"kind": "sqlite", "table": "p", "path": str(path)}, FakeInstallation((tmp_path,)), key=["id"])
    with closing(sqlite3.connect(path)) as link:
        assert link.execute("SELECT count(*) FROM p").fetchone() == (0,)
