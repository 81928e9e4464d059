"""Any of the files we read, as one typed table in DuckDB: the door through which every data tool reads."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulser.core.errors import BadInput
from pulser.tools.builtin.data.csv_records import NULLS, Reject, fitting, open_csv
from pulser.tools.builtin.data.engine import one, quote, text
from pulser.tools.builtin.data.infer import convert, infer
from pulser.tools.builtin.data.json_records import RECORD_LIMIT, cell, json_objects
from pulser.tools.builtin.data.recognise import ENCODINGS, Recognised, at, recognise
from pulser.tools.builtin.data.sqlite_records import choose, sqlite_records

if TYPE_CHECKING:
    import duckdb

MAX_ROWS = 5_000_000
MAX_COLUMNS = 500
LINE = "_pulser_line"
RAW = "_pulser_raw"
NULL = "\x01missing\x01"
"""A missing value in the staged file: nothing that a file of people's data holds as a value, as it may hold \\\\N."""
Row = tuple[int, list[str | None], str]

READING: dict[str, Any] = {
    "table": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Which table, where the file is a SQLite database with several."},
    "encoding": {"type": "string", "enum": list(ENCODINGS), "description": "Encoding of a text file; UTF-8, or UTF-16 with a byte order mark, if not given."},
    "delimiter": {"type": "string", "enum": [",", ";", "\t", "|"], "description": "What separates the fields of a CSV file; found by looking if not given."},
    "header": {"type": "boolean", "default": True, "description": "Whether the first line of a CSV file names the columns."},
    "null_values": {
        "type": "array",
        "items": {"type": "string", "maxLength": 40},
        "maxItems": 20,
        "default": list(NULLS),
        "description": "Texts that mean a missing value in a CSV file.",
    },
    "ragged": {
        "type": "string",
        "enum": ["error", "skip"],
        "description": "Lines of a CSV file with too few or too many fields: refuse the file, or leave them out and count them.",
    },
}
"""Arguments about reading that all data tools take."""


@dataclass(slots=True)
class Column:
    """One column: its name and DuckDB type; for text that nearly is something else, a note says so."""

    name: str
    type: str


@dataclass(slots=True)
class Loaded:
    """A table that was read."""

    source: Recognised
    table: str
    columns: list[Column]
    rows: int
    notes: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    rejected: int = 0
    delimiter: str = ""

    def facts(self) -> dict[str, Any]:
        """What a report says of the file."""
        facts: dict[str, Any] = {
            "file": self.source.path.name,
            "kind": self.source.kind,
            "bytes": self.source.size_bytes,
            "rows": self.rows,
            "columns": len(self.columns),
        }
        if self.source.encoding:
            facts["encoding"] = self.source.encoding.removesuffix("-sig")
        if self.delimiter:
            facts["delimiter"] = self.delimiter
        if self.rejected:
            facts["rejected_lines"] = self.rejected
        return facts


def read_table(
    link: duckdb.DuckDBPyConnection,
    folder: Path,
    path: Path,
    table: str,
    args: dict[str, Any],
    *,
    ragged: str = "error",
    as_text: bool = False,
    with_lines: bool = False,
    pointer: str = "/path",
) -> Loaded:
    """Read ``path`` into the table ``table``, its types inferred from every value.

    ``as_text`` leaves text sources as VARCHAR (``data.etl`` and ``data.quality`` judge values themselves); ``with_lines`` keeps the columns
    ``_pulser_line`` (line in the file, or row number) and ``_pulser_raw`` (the original). :class:`BadInput` says what is wrong with the file, by line.
    """
    try:
        source = recognise(path, encoding=str(args.get("encoding", "")), pointer=pointer)
        if source.kind == "parquet":
            return _parquet(link, source, table, with_lines)
        loaded, rows, kinds = _text_source(source, table, args, str(args.get("ragged", ragged)))
        staged = f"raw_{table}"
        _into_duckdb(link, folder, staged, loaded, rows, keep_raw=with_lines)
    except BadInput as error:
        _point(error, pointer)
        raise
    loaded.rows = int(one(link, f"SELECT count(*) FROM {quote(staged)}")[0])
    if loaded.rows == 0:
        nothing = "only a header" if source.kind == "csv" and not loaded.rejected else "no rows that can be used"
        raise at(pointer, f"{path.name} holds {nothing}", "Give a file with at least one row of data.")
    for column in loaded.columns:
        if as_text and source.kind == "csv":
            continue
        fit = infer(link, quote(staged), column.name, kinds.get(column.name, "csv"))
        column.type = fit.type
        if fit.nearly:
            loaded.notes.append(
                f"{column.name}: {fit.share:.0%} of the values are {fit.nearly}, but not all; {fit.example[:40]!r} is not, so it is read as text."
            )
    parts = [f"{convert(column.type, quote(column.name))} AS {quote(column.name)}" for column in loaded.columns]
    parts += [LINE, RAW] if with_lines else []
    link.execute(f"CREATE TABLE {quote(table)} AS SELECT {', '.join(parts)} FROM {quote(staged)} ORDER BY {LINE}")
    link.execute(f"DROP TABLE {quote(staged)}")
    return loaded


def _point(error: BadInput, pointer: str) -> None:
    for item in error.fields.get("errors", []):
        if item.get("pointer") == "/path":
            item["pointer"] = pointer


def _parquet(link: duckdb.DuckDBPyConnection, source: Recognised, table: str, with_lines: bool) -> Loaded:
    import duckdb

    lines = f", file_row_number + 1 AS {LINE}, '' AS {RAW}" if with_lines else ""
    option = ", file_row_number = true" if with_lines else ""
    select = f"SELECT * {'EXCLUDE (file_row_number)' if with_lines else ''}{lines} FROM read_parquet({text(str(source.path))}{option})"
    try:
        names = link.execute(f"SELECT name, type FROM (DESCRIBE SELECT * FROM read_parquet({text(str(source.path))})) d(name, type, a, b, c, e)").fetchall()
        rows = int(one(link, f"SELECT count(*) FROM read_parquet({text(str(source.path))})")[0])
        _bounded(source, len(names), rows)
        link.execute(f"CREATE TABLE {quote(table)} AS {select}")
    except (duckdb.InvalidInputException, duckdb.IOException, duckdb.InternalException, duckdb.NotImplementedException) as error:
        why = str(error).splitlines()[0].replace(str(source.path), source.path.name)
        raise at("/path", f"{source.path.name} is a damaged Parquet file: {why}", "Copy or write the file again.") from error
    if rows == 0:
        raise at("/path", f"{source.path.name} holds no rows")
    return Loaded(source, table, [Column(str(name), str(kind)) for name, kind in names], rows)


def _bounded(source: Recognised, columns: int, rows: int) -> None:
    if columns > MAX_COLUMNS:
        raise at("/path", f"{source.path.name} has {columns:,} columns; at most {MAX_COLUMNS:,} are read")
    if rows > MAX_ROWS:
        raise at("/path", f"{source.path.name} has {rows:,} rows; at most {MAX_ROWS:,} are read", "Split it.")


def _text_source(source: Recognised, table: str, args: dict[str, Any], ragged: str) -> tuple[Loaded, Iterator[Row], dict[str, str]]:
    kinds: dict[str, str] = {}
    if source.kind == "csv":
        return (*_csv(source, table, args, ragged), kinds)
    if source.kind == "json":
        return _json(source, table)
    name = choose(source.path, str(args.get("table", "")))
    names, cells = sqlite_records(source.path, name)
    loaded = Loaded(source, table, [Column(column, "VARCHAR") for column in names], 0, [f"Table {name!r}."])
    _bounded(source, len(names), 0)
    return loaded, _kinded(names, ((number, row, "") for number, row in enumerate(cells, 1)), kinds), kinds


def _csv(source: Recognised, table: str, args: dict[str, Any], ragged: str) -> tuple[Loaded, Iterator[Row]]:
    sheet, records = open_csv(source, str(args.get("delimiter", "")), bool(args.get("header", True)), MAX_COLUMNS)
    loaded = Loaded(source, table, [Column(name, "VARCHAR") for name in sheet.names], 0, sheet.notes, sheet.rejects, 0, sheet.delimiter)
    nulls = frozenset(args.get("null_values", NULLS))
    read_as_missing: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for line, cells, original in fitting(sheet, records, ragged, source.path.name):
            missing = nulls.intersection(cells)
            if missing:
                for word in missing - {""}:
                    read_as_missing[word] += cells.count(word)
                yield line, [None if value in nulls else value for value in cells], original
            else:
                yield line, list(cells), original
        loaded.rejected = sheet.rejected
        for word, count in read_as_missing.most_common():
            loaded.notes.append(f"{word!r} is read as missing ({count:,}×); null_values changes that.")

    return loaded, rows()


def _json(source: Recognised, table: str) -> tuple[Loaded, Iterator[Row], dict[str, str]]:
    kinds: dict[str, str] = {}
    names: dict[str, None] = {}
    for _, record, _ in json_objects(source):
        names.update(dict.fromkeys(record))
        if len(names) > MAX_COLUMNS:
            _bounded(source, len(names), 0)
    columns = list(names)
    if len({name.lower() for name in columns}) < len(columns) or "" in names or any("\0" in name for name in names):
        raise at("/path", f"{source.path.name} has keys that are empty, or differ in upper and lower case only", "Rename them.")

    def rows() -> Iterator[tuple[int, list[tuple[str | None, str]], str]]:
        for line, record, original in json_objects(source):
            yield line, [cell(record.get(name)) for name in columns], original

    if not columns:
        raise at("/path", f"{source.path.name} holds no records")
    return Loaded(source, table, [Column(name, "VARCHAR") for name in columns], 0), _kinded(columns, rows(), kinds), kinds


def _kinded(names: list[str], rows: Iterator[tuple[int, list[tuple[str | None, str]], str]], kinds: dict[str, str]) -> Iterator[Row]:
    seen: list[set[str]] = [set() for _ in names]
    for line, cells, original in rows:
        for known, (_, kind) in zip(seen, cells, strict=True):
            known.add(kind)
        yield line, [value for value, _ in cells], original
    for name, known in zip(names, seen, strict=True):
        kinds[name] = "".join(sorted(known - {""})) or "s"


def _into_duckdb(link: duckdb.DuckDBPyConnection, folder: Path, table: str, loaded: Loaded, rows: Iterator[Row], *, keep_raw: bool) -> None:
    """Through a file in one fixed dialect, which DuckDB reads without guessing and a hundred times faster than inserts."""
    names = [column.name for column in loaded.columns]
    if {LINE, RAW}.intersection(name.lower() for name in names):
        raise at("/path", f"a column must not be called {LINE} or {RAW}")
    staged = folder / f"{table}.csv"
    count = 0
    with staged.open("w", encoding="utf-8", newline="", errors="surrogatepass") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        for line, cells, original in rows:
            count += 1
            if count > MAX_ROWS:
                _bounded(loaded.source, 0, count)
            if len(original) > RECORD_LIMIT:
                raise at("/path", f"{loaded.source.path.name}: the record in line {line:,} has more than {RECORD_LIMIT:,} characters")
            writer.writerow([line, original if keep_raw else "", *(NULL if value is None else value for value in cells)])
    _copy_in(link, staged, table, names)
    staged.unlink()


def _copy_in(link: duckdb.DuckDBPyConnection, staged: Path, table: str, names: list[str]) -> None:
    import duckdb

    types = ", ".join([f"{text(LINE)}: 'BIGINT'", f"{text(RAW)}: 'VARCHAR'", *(f"{text(name)}: 'VARCHAR'" for name in names)])
    options = (
        f"columns = {{{types}}}, auto_detect = false, header = false, delim = ',', quote = '\"', escape = '\"', nullstr = "
        f"{text(NULL)}, max_line_size = {RECORD_LIMIT * 6}, new_line = '\\r\\n'"
    )
    try:
        link.execute(f"CREATE TABLE {quote(table)} AS SELECT * FROM read_csv({text(str(staged))}, {options})")
    except duckdb.InvalidInputException as error:
        raise at("/path", f"the records cannot be read: {str(error).splitlines()[0]}") from error
