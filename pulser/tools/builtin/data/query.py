"""``data.query``: one SELECT over files, answered as rows, CSV, Parquet, a chart and a page."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import csv
import json
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulser.core.errors import BadInput
from pulser.core.tool import Call, Json, Tool
from pulser.tools.builtin.data.chart import alone
from pulser.tools.builtin.data.engine import batches, connect, deadline, one, quote, scratch, text
from pulser.tools.builtin.data.page import notes, page, table, tiles
from pulser.tools.builtin.data.picture import KINDS, draw
from pulser.tools.builtin.data.read import READING, Loaded, read_table
from pulser.tools.builtin.data.recognise import at
from pulser.tools.builtin.data.select_only import check, place
from pulser.tools.builtin.data.values import rows_as_json, shown

if TYPE_CHECKING:
    import duckdb

MAX_FILES = 10
MAX_RESULT_ROWS = 1_000_000
RESULT_BYTES = 400_000
"""Bound on the rows in the result; what is beyond stands in result.csv."""
PAGE_ROWS = 500
KEPT_ROWS = 20_000
"""Rows that result, page and chart look at; result.csv and result.parquet have all."""
PREFIX = "CREATE TABLE result AS SELECT * FROM (\n"


def run(call: Call) -> Json:
    """Read the files into tables, check the statement, run it where nothing else can be reached, write what came out."""
    args, folder = call.args, scratch(call.out)
    paths = named_files(args)
    database = folder / "tables.duckdb"
    call.progress("Reading", 0.05)
    with connect(folder, database) as link, deadline(link, 300, "Reading the files"):
        loaded = [read_table(link, folder, path, name, args, pointer=pointer) for name, (path, pointer) in paths.items()]
        sql = check(link, str(args["sql"]), list(paths))
    call.progress("Asking", 0.5)
    limit_s = float(args.get("time_limit_s", 30))
    with connect(folder, database, locked=True) as link, deadline(link, limit_s, "The statement", folder):
        _ask(link, sql)
        rows = int(one(link, "SELECT count(*) FROM result")[0])
        columns = [{"name": name, "type": kind} for name, kind in link.execute("SELECT name, type FROM (DESCRIBE result) d(name, type, a, b, c, e)").fetchall()]
        call.progress("Writing", 0.85)
        kept = _write_csv(call.artifact("result.csv", "text/csv"), link, [column["name"] for column in columns])
    found = _result(call, args, loaded, columns, kept, rows)
    with connect(folder, database) as link:
        _write_parquet(call.artifact("result.parquet", "application/vnd.apache.parquet"), link, columns)
    return found


def named_files(args: Json) -> dict[str, tuple[Path, str]]:
    """Tables by name, each with its path and the argument it came from. A file without a name is called after itself."""
    given = args.get("files")
    if isinstance(given, dict):
        return {name: (Path(path), f"/files/{name}") for name, path in given.items()}
    listed = [given] if isinstance(given, str) else list(given or [])
    named: dict[str, tuple[Path, str]] = {}
    for index, path in enumerate(listed):
        stem = re.sub(r"\W+", "_", Path(path).stem.lower()).strip("_") or "data"
        name = stem if stem not in named else f"{stem}_{index + 1}"
        named[name] = (Path(path), f"/files/{index}" if isinstance(given, list) else "/files")
    if not named:
        raise at("/files", "no file is named", "files: {penguins: penguins.csv}")
    return named


def _ask(link: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Run the statement into the table ``result``. The line break before the bracket ends a comment of the statement."""
    import duckdb

    try:
        link.execute(f"{PREFIX}{sql}\n) LIMIT {MAX_RESULT_ROWS + 1}")
    except (duckdb.InterruptException, duckdb.OutOfMemoryException):
        raise
    except duckdb.TransactionException as error:
        if "failed to pin block" in str(error):  # out of memory, met at the commit
            raise duckdb.OutOfMemoryException(str(error)) from error
        raise sql_problem(sql, str(error)) from error
    except duckdb.Error as error:
        raise sql_problem(sql, str(error)) from error


def sql_problem(sql: str, message: str) -> BadInput:
    """DuckDB's message as ours: what, line, column, and its own hint where it has one."""
    try:
        told = json.loads(message[message.index("{") :]) if "{" in message else {}
    except ValueError:
        told = {}
    what = str(told.get("exception_message", "")).strip() or re.split(r"\n\s*\nLINE ", message.strip())[0]
    lines = [line.strip() for line in what.splitlines() if line.strip()]
    what = lines[0] if lines else "the statement failed"
    hint = " ".join(lines[1:])[:300]
    where: dict[str, Any] = {"pointer": "/sql", "detail": what}
    position = str(told.get("position", ""))
    if position.isdigit() and int(position) >= len(PREFIX):
        where["line"], where["column"] = place(sql, int(position) - len(PREFIX))
    elif shown_at := re.search(r"LINE (\d+): (.*)\n( *)\^", message):
        where["line"] = max(1, int(shown_at[1]) - 1)
        part = shown_at[2].strip(".")[:20]
        source = sql.splitlines()[where["line"] - 1] if where["line"] <= len(sql.splitlines()) else ""
        where["column"] = max(1, len(shown_at[3]) - len(f"LINE {shown_at[1]}: ") + 1) if source.startswith(part) else 1
    told_where = f"Line {where['line']}, column {where['column']}: " if "line" in where else ""
    return BadInput(f"{told_where}{what}", hint=hint or "Check names and types; data.profile lists them.", errors=[where])


def _write_csv(path: Path, link: duckdb.DuckDBPyConnection, names: list[str]) -> list[tuple[Any, ...]]:
    """All rows into ``path``; the first are returned, as many as result, page and chart can use."""
    kept: list[tuple[Any, ...]] = []
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for rows in batches(link, "result", MAX_RESULT_ROWS):
            writer.writerows([["" if value is None else _csv_cell(value) for value in row] for row in rows])
            kept += rows[: max(0, KEPT_ROWS - len(kept))]
    return kept


def _write_parquet(path: Path, link: duckdb.DuckDBPyConnection, columns: list[Json]) -> None:
    """Sums of integers are HUGEINT, which Parquet would make a rounded DOUBLE of: they become DECIMAL(38,0), or text beyond that."""
    parts = []
    for column in columns:
        name = quote(column["name"])
        if column["type"] in ("HUGEINT", "UHUGEINT"):
            fits = one(link, f"SELECT count({name}) = count(try_cast({name} AS DECIMAL(38,0))) FROM result")[0]
            name = f"CAST({name} AS {'DECIMAL(38,0)' if fits else 'VARCHAR'}) AS {name}"
        parts.append(name)
    link.execute(f"COPY (SELECT {', '.join(parts)} FROM result LIMIT {MAX_RESULT_ROWS}) TO {text(str(path))} (FORMAT parquet, COMPRESSION zstd)")


def _result(call: Call, args: Json, loaded: list[Loaded], columns: list[Json], kept: list[tuple[Any, ...]], count: int) -> Json:
    names = [column["name"] for column in columns]
    cut = count > MAX_RESULT_ROWS
    rows, lost = rows_as_json(_within(kept[: int(args.get("limit", 100))]))
    remarks = [f"{item.table}: {note}" for item in loaded for note in item.notes]
    if lost:
        remarks.append(f"{lost} cells are NaN or infinite; JSON has no such number, so they are null here. result.csv and result.parquet keep them.")
    if cut:
        remarks.append(f"There are more than {MAX_RESULT_ROWS:,} rows; these are the first.")
    picture = draw(args.get("chart"), columns, kept)
    if picture:
        call.artifact("chart.svg", "image/svg+xml").write_text(alone(picture), encoding="utf-8")
        if count > len(kept):
            remarks.append(f"The chart shows the first {len(kept):,} rows.")
    found: Json = {
        "summary": _summary(names, kept, min(count, MAX_RESULT_ROWS), cut, loaded),
        "columns": columns,
        "rows": rows,
        "row_count": min(count, MAX_RESULT_ROWS),
        "more_rows": len(rows) < count,
        "tables": {item.table: {**item.facts(), "schema": {column.name: column.type for column in item.columns}} for item in loaded},
        "chart": bool(picture),
        "notes": remarks,
    }
    call.artifact("result.html", "text/html").write_text(_page(found, args, names, kept, picture), encoding="utf-8")
    return found


def _summary(names: list[str], kept: list[tuple[Any, ...]], count: int, cut: bool, loaded: list[Loaded]) -> str:
    rows = f"{'more than ' if cut else ''}{count:,} row{'s' if count != 1 else ''}"
    said = f"{rows}, {len(names)} column{'s' if len(names) != 1 else ''} from {', '.join(item.source.path.name for item in loaded)}"
    if count == 1 and len(names) <= 6:
        said += ": " + ", ".join(f"{name} = {shown(value)}" for name, value in zip(names, kept[0], strict=True))
    return said + "."


def _page(found: Json, args: Json, names: list[str], kept: list[tuple[Any, ...]], picture: str) -> str:
    listed, _ = rows_as_json(kept[:PAGE_ROWS])
    body = tiles({"rows": found["row_count"], "columns": len(names)}) + (f'<div class="charts">{picture}</div>' if picture else "") + notes(found["notes"])
    body += f"<h2>Rows{f' (the first {PAGE_ROWS})' if found['row_count'] > PAGE_ROWS else ''}</h2>{table(names, listed)}"
    body += f"<h2>Statement</h2><pre>{escape(str(args['sql']))}</pre>"
    return page("Answer", found["summary"], body)


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, (dict, list)):
        from pulser.tools.builtin.data.values import as_json

        return json.dumps(as_json(value), ensure_ascii=False)
    return value.hex() if isinstance(value, bytes) else value


def _within(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """As many of the first rows as fit into the result."""
    size, kept = 0, []
    for row in rows:
        size += sum(len(str(cell)) + 6 for cell in row)
        if size > RESULT_BYTES:
            break
        kept.append(row)
    return kept


PATH = {"type": "string", "minLength": 1, "maxLength": 4096}
NAME = {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]{0,62}$"}
TOOL = Tool(
    name="data.query",
    summary="Answer one SELECT statement over CSV, JSON, Parquet or SQLite files, with a chart; nothing else can be run.",
    run=run,
    arguments={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["sql", "files"],
        "properties": {
            "sql": {"type": "string", "minLength": 1, "maxLength": 50_000, "description": "One SELECT in DuckDB's dialect over the tables named in 'files'."},
            "files": {
                "description": "Files by the table name they get; or one path, or a list, called after the files' names.",
                "oneOf": [
                    {"type": "object", "propertyNames": NAME, "additionalProperties": PATH, "minProperties": 1, "maxProperties": MAX_FILES},
                    PATH,
                    {"type": "array", "items": PATH, "minItems": 1, "maxItems": MAX_FILES},
                ],
            },
            "chart": {
                "type": "object",
                "additionalProperties": False,
                "required": ["kind"],
                "description": "A chart of the answer; where it is not given one is drawn if the columns suggest it.",
                "properties": {
                    "kind": {"type": "string", "enum": [*KINDS, "none"], "description": "Which chart; none for no chart."},
                    "x": {"type": "string", "description": "Column along the bottom; the first if not given."},
                    "y": {"type": "string", "description": "Column of numbers; the first that is not x if not given."},
                },
            },
            "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100, "description": "Rows in the result; the files hold up to a million."},
            "time_limit_s": {"type": "number", "exclusiveMinimum": 0, "maximum": 300, "default": 30, "description": "Seconds the statement may take."},
            **READING,
        },
    },
    inputs=("files",),
    needs=("duckdb", "sqlglot"),
    extra="data",
    examples=(
        {
            "sql": "SELECT species, avg(body_mass_g) AS grams FROM penguins GROUP BY species ORDER BY grams DESC",
            "files": {"penguins": "samples/data/penguins.csv"},
        },
    ),
)
