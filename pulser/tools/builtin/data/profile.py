"""``data.profile``: what is in a table, measured column by column, with charts, as HTML, Markdown and JSON."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pulser.core.tool import Call, Json, Tool
from pulser.tools.builtin.data.engine import connect, deadline, quote, scratch
from pulser.tools.builtin.data.measure import measure
from pulser.tools.builtin.data.profile_report import as_html, as_markdown
from pulser.tools.builtin.data.read import READING, Loaded, read_table
from pulser.tools.builtin.data.relate import associations, correlations, duplicates

if TYPE_CHECKING:
    import duckdb

TIME_LIMIT_S = 300.0
SEED = 42
STRONG = 0.8
MANY_MISSING = 0.2


def run(call: Call) -> Json:
    """Read, measure, write ``profile.html``, ``profile.md`` and ``profile.json``."""
    args, folder = call.args, scratch(call.out)
    link = connect(folder)
    call.progress("Reading", 0.05)
    with deadline(link, TIME_LIMIT_S, "The profile"):
        loaded = read_table(link, folder, Path(args["path"]), "data", args)
        found = _profile(call, link, loaded, args)
    link.close()
    call.artifact("profile.json", "application/json").write_text(json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")
    call.artifact("profile.md", "text/markdown").write_text(as_markdown(found), encoding="utf-8")
    call.artifact("profile.html", "text/html").write_text(as_html(found), encoding="utf-8")
    return {**found, "columns": [_brief(column) for column in found["columns"]]}


def _profile(call: Call, link: duckdb.DuckDBPyConnection, loaded: Loaded, args: Json) -> Json:
    table, sampled = quote("data"), None
    wanted = args.get("sample_rows")
    if wanted and wanted < loaded.rows:
        link.execute(f"CREATE TABLE sampled AS SELECT * FROM {table} USING SAMPLE reservoir({int(wanted)} ROWS) REPEATABLE ({SEED})")
        table, sampled = "sampled", int(wanted)
    chosen = loaded.columns[: int(args.get("max_columns", 60))]
    columns = []
    for index, column in enumerate(chosen):
        call.progress(f"Measuring {column.name}", 0.2 + 0.6 * index / len(chosen))
        columns.append(measure(link, table, column.name, column.type))
    call.progress("Comparing columns", 0.85)
    rows = sampled or loaded.rows
    found: Json = {"source": loaded.facts(), "rows": rows, "sampled_from": loaded.rows if sampled else None, "columns": columns}
    found["duplicates"] = duplicates(link, table, [column.name for column in loaded.columns])
    found["correlations"] = correlations(link, table, columns)
    found["associations"] = associations(link, table, columns)
    found["notes"] = loaded.notes + _notes(found, len(loaded.columns) - len(chosen))
    found["summary"] = _summary(found, loaded)
    return found


def _notes(found: Json, left_out: int) -> list[str]:
    """What a careful reader would remark."""
    lines = []
    rows = found["rows"]
    if found["sampled_from"]:
        lines.append(f"Measured on {rows:,} rows drawn at random (seed {SEED}) of {found['sampled_from']:,}.")
    if left_out:
        lines.append(f"{left_out} further columns are not measured; max_columns changes that.")
    if found["duplicates"]:
        lines.append(f"{found['duplicates']:,} rows repeat an earlier row in every column.")
    for column in found["columns"]:
        name = column["name"]
        if column["missing"] == rows:
            lines.append(f"{name} is empty throughout.")
        elif column["distinct"] == 1:
            lines.append(f"{name} has the same value in every row that has one.")
        elif column["missing_share"] >= MANY_MISSING:
            lines.append(f"{name} is missing in {column['missing_share']:.0%} of the rows.")
        if column["distinct"] == rows > 1 and not found["sampled_from"]:
            lines.append(f"{name} is different in every row: it could be a key.")
        if column.get("not_finite"):
            lines.append(f"{name} has {column['not_finite']:,} values that are NaN or infinite; they are left out of its figures.")
    names, square = found["correlations"]["columns"], found["correlations"]["pearson"]
    for row, name in enumerate(names):
        for other in range(row + 1, len(names)):
            r = square[row][other]
            if r is not None and abs(r) >= STRONG:
                lines.append(f"{name} and {names[other]} go together: r = {r:.2f}.")
    return lines


def _summary(found: Json, loaded: Loaded) -> str:
    missing = sum(column["missing"] for column in found["columns"])
    cells = found["rows"] * len(found["columns"])
    odd = sum(column.get("outliers", {}).get("iqr", 0) for column in found["columns"])
    parts = [f"{loaded.source.path.name}: {loaded.rows:,} rows, {len(loaded.columns)} columns"]
    parts.append(f"{missing:,} of {cells:,} cells missing ({missing / cells:.1%})")
    parts.append(f"{found['duplicates']:,} duplicate rows, {odd:,} outliers")
    return "; ".join(parts) + "."


def _brief(column: Json) -> Json:
    """A column for the task's result, which stays small: without histogram, five top values, short texts."""
    brief = {key: value for key, value in column.items() if key != "histogram"}
    if "top" in brief:
        brief["top"] = brief["top"][:5]
    return {key: value[:80] if isinstance(value, str) and key in ("min", "max") else value for key, value in brief.items()}


TOOL = Tool(
    name="data.profile",
    summary="Profile a CSV, TSV, JSON, NDJSON, Parquet or SQLite file: types, missing values, ranges, outliers, correlations, charts.",
    run=run,
    arguments={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "The file to profile."},
            **READING,
            "sample_rows": {
                "type": "integer",
                "minimum": 10,
                "maximum": 5_000_000,
                "description": "Measure this many rows drawn at random, with a fixed seed; all if not given.",
            },
            "max_columns": {"type": "integer", "minimum": 1, "maximum": 200, "default": 60, "description": "Columns that are measured; the first ones."},
        },
    },
    inputs=("path",),
    needs=("duckdb",),
    extra="data",
    examples=({"path": "samples/data/penguins.csv"},),
)
