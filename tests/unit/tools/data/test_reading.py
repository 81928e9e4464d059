"""Files are read exactly, and what is wrong with one is said with its line."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pulser.core.errors import BadInput
from pulser.tools.builtin.data import sqlite_records
from pulser.tools.builtin.data.engine import connect
from pulser.tools.builtin.data.read import Loaded, read_table

pytest.importorskip("duckdb")


def read(folder: Path, name: str, content: bytes | str, **args: Any) -> tuple[Loaded, list[tuple[Any, ...]]]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with connect(folder) as link:
        loaded = read_table(link, folder, path, "t", args)
        return loaded, link.execute("SELECT CAST(COLUMNS(*) AS VARCHAR) FROM t").fetchall()


def types(loaded: Loaded) -> dict[str, str]:
    return {column.name: column.type for column in loaded.columns}


def test_numbers_keep_every_digit(tmp_path: Path) -> None:
    loaded, rows = read(tmp_path, "n.csv", "big,money,zip,float\n12345678901234567890,1.10,007,1e5\n-2,100,10115,2.5\n")
    assert types(loaded) == {"big": "DECIMAL(20,0)", "money": "DECIMAL(5,2)", "zip": "VARCHAR", "float": "DOUBLE"}
    assert rows[0] == ("12345678901234567890", "1.10", "007", "100000.0")


def test_a_fraction_is_never_rounded_into_an_integer(tmp_path: Path) -> None:
    loaded, rows = read(tmp_path, "n.csv", "a\n1\n2\n1.6\n")
    assert types(loaded) == {"a": "DECIMAL(2,1)"}
    assert [row[0] for row in rows] == ["1.0", "2.0", "1.6"]


def test_a_late_odd_value_makes_the_column_text_and_a_note_names_it(tmp_path: Path) -> None:
    loaded, _ = read(tmp_path, "n.csv", "a\n" + "1\n" * 3000 + "oops\n")
    assert types(loaded) == {"a": "VARCHAR"}


def test_an_early_odd_value_is_named_in_a_note(tmp_path: Path) -> None:
    loaded, _ = read(tmp_path, "n.csv", "a\n1\n2\n3\noops\n")
    assert any("oops" in note and "BIGINT" in note for note in loaded.notes)


def test_dates_and_times_are_told_apart_and_an_impossible_date_stays_text(tmp_path: Path) -> None:
    loaded, _ = read(
        tmp_path,
        "d.csv",
        "d,t,z,bad\n2020-02-29,2020-01-01 10:00,2020-01-01T10:00:00Z,2020-02-30\n2021-01-01,2020-01-01T11:00:01.5,2020-01-01 10:00+02:00,2020-02-28\n",
    )
    assert types(loaded) == {"d": "DATE", "t": "TIMESTAMP", "z": "TIMESTAMP WITH TIME ZONE", "bad": "VARCHAR"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    loaded, rows = read(tmp_path, "d.csv", f"a{delimiter}b\n1{delimiter}x y\n2{delimiter}z\n")
    assert loaded.delimiter == delimiter
    assert rows == [("1", "x y"), ("2", "z")]


def test_quoted_fields_may_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    _, rows = read(tmp_path, "q.csv", 'a,b\n"x, ""y""\nz",1\n"\r",2\n')
    assert rows == [('x, "y"\nz', "1"), ("\r", "2")]


def test_words_for_missing_are_missing_and_said_and_can_be_changed(tmp_path: Path) -> None:
    loaded, rows = read(tmp_path, "m.csv", "country,n\nNA,1\nDE,\n")
    assert rows == [(None, "1"), ("DE", None)]
    assert any("'NA'" in note for note in loaded.notes)
    _, rows = read(tmp_path, "m.csv", "country,n\nNA,1\nDE,\n", null_values=[""])
    assert rows == [("NA", "1"), ("DE", None)]


def test_column_names_are_made_unique_and_never_blank(tmp_path: Path) -> None:
    loaded, _ = read(tmp_path, "c.csv", "a,A,,a\n1,2,3,4\n")
    assert list(types(loaded)) == ["a", "A_2", "column_3", "a_3"]


def test_without_a_header_columns_are_numbered(tmp_path: Path) -> None:
    loaded, rows = read(tmp_path, "c.csv", "1,2\n3,4\n", header=False)
    assert list(types(loaded)) == ["column_1", "column_2"]
    assert len(rows) == 2


def test_utf16_with_a_mark_and_a_named_encoding_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, "u.csv", "a,b\r\n1,ä\r\n".encode("utf-16"))[1] == [("1", "ä")]
    assert read(tmp_path, "l.csv", "a,b\n1,é\n".encode("cp1252"), encoding="cp1252")[1] == [("1", "é")]


def test_json_numbers_keep_their_digits_and_strings_stay_strings(tmp_path: Path) -> None:
    loaded, rows = read(tmp_path, "j.json", '[{"a": 1.10, "b": "007", "c": {"x": 1.50}}, {"a": 12345678901234567890, "b": "8", "d": true}]')
    assert types(loaded) == {"a": "DECIMAL(22,2)", "b": "VARCHAR", "c": "VARCHAR", "d": "BOOLEAN"}
    assert rows[0] == ("1.10", "007", '{"x": 1.50}', None)
    assert rows[1][0] == "12345678901234567890.00"


def test_ndjson_and_a_single_object_over_several_lines_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, "n.ndjson", '{"a": 1}\n\n{"a": 2, "d": "2020-01-01"}\n')[1] == [("1", None), ("2", "2020-01-01")]
    assert read(tmp_path, "o.json", '{\n "a": 1\n}')[1] == [("1",)]


def test_a_sqlite_table_is_read_with_its_own_types(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with closing(sqlite3.connect(path)) as link, link:
        link.execute('CREATE TABLE "o\'dd ""name" (id INTEGER, zip TEXT, amount REAL, raw BLOB)')
        link.execute("INSERT INTO \"o'dd \"\"name\" VALUES (9007199254740993, '007', 1.5, x'00ff'), (2, NULL, NULL, NULL)")
    loaded, rows = read(tmp_path, "s.sqlite", path.read_bytes())
    assert types(loaded) == {"id": "BIGINT", "zip": "VARCHAR", "amount": "DOUBLE", "raw": "BLOB"}
    assert rows[0][:3] == ("9007199254740993", "007", "1.5")


def test_of_several_sqlite_tables_one_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with closing(sqlite3.connect(path)) as link, link:
        link.execute("CREATE TABLE a (x)")
        link.execute("CREATE TABLE b (y)")
        link.execute("INSERT INTO b VALUES (1)")
    with pytest.raises(BadInput) as caught:
        read(tmp_path, "s.db", path.read_bytes())
    assert "a, b" in caught.value.hint
    with pytest.raises(BadInput, match="no table 'c'"):
        read(tmp_path, "s.db", path.read_bytes(), table="c")
    assert read(tmp_path, "s.db", path.read_bytes(), table="b")[1] == [("1",)]


WRONG = {
    "empty": ("e.csv", b"", "is empty"),
    "only a header": ("h.csv", b"a,b\n", "only a header"),
    "blank lines": ("b.csv", b"\n\n\n", "only blank lines"),
    "binary": ("x.csv", bytes(range(256)), "binary file"),
    "a late NUL": ("x.csv", b"a\n" + b"1\n" * 40_000 + b"\0\n", "line 40,002"),
    "not UTF-8": ("l.csv", b"a,b\n1,caf\xe9\n", "byte 0xe9 in line 2. Tried: utf-8"),
    "ragged": ("r.csv", b"a,b\n1,2\n3\n4,5,6\n", "line 3: 1 field, the header has 2; line 4: 3 fields"),
    "an open quote": ("q.csv", b'a,b\n1,2\n"x,3\n4,5\n', "opens in line 3"),
    "text after a quote": ("q.csv", b'a,b\n"x"y,3\n', "closing quote in line 2"),
    "a spreadsheet": ("s.csv", b"PK\x03\x04....", "Excel"),
    "gzip": ("s.csv", b"\x1f\x8b....", "gzip"),
    "Parquet that is text": ("p.parquet", b"hello world", "not Parquet: it is a text file"),
    "Parquet cut off": ("p.parquet", b"PAR1" + b"x" * 40, "cut off"),
    "Parquet with a broken footer": ("p.parquet", b"PAR1" + b"x" * 40 + b"PAR1", "damaged Parquet"),
    "SQLite that is text": ("s.db", b"hello", "not a SQLite database: it is a text file"),
    "SQLite that is damaged": ("s.db", b"SQLite format 3\0" + b"x" * 2000, "damaged SQLite"),
    "JSON that stops": ("j.json", b'[{"a": 1},\n {"a": 2', "line 2"),
    "JSON with text behind": ("j.json", b'[{"a": 1}] x', "after the end"),
    "JSON of numbers": ("j.json", b"[1, 2]", "a number where an object"),
    "JSON that is text": ("j.json", b"hello", "not JSON"),
    "NDJSON with a bad line": ("n.ndjson", b'{"a": 1}\n{"a": 2\n{"a": 3}\n', "line 2, column"),
    "JSON nested too deep": ("d.json", b"[" * 100_000, "too deep"),
    "NDJSON nested too deep": ("d.ndjson", b'{"a":' * 100_000, "too deep"),
    "too many columns": ("w.csv", ",".join(f"c{n}" for n in range(600)).encode() + b"\n", "at most 500"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, case: str) -> None:
    name, content, said = WRONG[case]
    with pytest.raises(BadInput) as caught:
        read(tmp_path, name, content)
    assert said in str(caught.value)
    assert name in str(caught.value)
    assert caught.value.fields["errors"][0]["pointer"] == "/path"


def test_a_file_that_is_not_there_or_a_folder_is_said(tmp_path: Path) -> None:
    with connect(tmp_path) as link:
        with pytest.raises(BadInput, match="no such file"):
            read_table(link, tmp_path, tmp_path / "none.csv", "t", {})
        with pytest.raises(BadInput, match="not a regular file"):
            read_table(link, tmp_path, tmp_path, "t", {})


def test_ragged_lines_can_be_left_out_and_are_counted(tmp_path: Path) -> None:
    loaded, rows = read(tmp_path, "r.csv", "a,b\n1,2\n3\n4,5,6\n7,8\n", ragged="skip")
    assert rows == [("1", "2"), ("7", "8")]
    assert loaded.rejected == 2
    assert [reject.line for reject in loaded.rejects] == [3, 4]


def test_a_parquet_file_keeps_its_types(tmp_path: Path) -> None:
    with connect(tmp_path) as link:
        link.execute(f"COPY (SELECT CAST(1.10 AS DECIMAL(10,2)) AS d, [1, 2] AS l, CAST('nan' AS DOUBLE) AS f) TO '{tmp_path}/p.parquet'")
    loaded, _ = read(tmp_path, "p.parquet", (tmp_path / "p.parquet").read_bytes())
    assert types(loaded) == {"d": "DECIMAL(10,2)", "l": "INTEGER[]", "f": "DOUBLE"}


def test_a_view_without_end_is_given_up_and_a_huge_value_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_records, "STEPS_PER_ROW", 3_000_000)
    endless = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT x FROM r"
    huge = "SELECT zeroblob(20000000) AS x"
    for view, said in ((f"{endless} WHERE x < 0", "steps to its next row"), (f"{endless} LIMIT 2", ""), (huge, "more than 16,777,216")):
        path = tmp_path / "v.sqlite"
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as link, link:
            link.execute(f"CREATE VIEW v AS {view}")
        if not said:
            assert read(tmp_path, "v.sqlite", path.read_bytes())[1] == [("1",), ("2",)]
            continue
        with pytest.raises(BadInput, match=said):
            read(tmp_path, "v.sqlite", path.read_bytes())


def test_a_backslash_n_is_a_text_like_others(tmp_path: Path) -> None:
    assert read(tmp_path, "n.csv", "a,b\n\\N,1\n,2\n")[1] == [("\\N", "1"), (None, "2")]
