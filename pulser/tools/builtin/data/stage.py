"""From a source to rows that fit: types proven, names settled, keys unique, and every row that does not fit kept with its reasons."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulser.core.errors import UnknownName, nearest
from pulser.core.tool import Json
from pulser.tools.builtin.data.engine import one, quote, text
from pulser.tools.builtin.data.infer import DECIMAL, condition, convert, infer
from pulser.tools.builtin.data.read import LINE, RAW, Loaded
from pulser.tools.builtin.data.recognise import at

if TYPE_CHECKING:
    import duckdb

NEARLY = 0.9
"""Share of the values from which on a column gets a type although some values do not fit: those rows are rejected."""
TYPE_PATTERN = r"^(text|integer|bigint|hugeint|number|double|boolean|date|timestamp|timestamptz|time|decimal\([1-9][0-9]?,[0-9]{1,2}\))$"
TYPES = {
    "text": "VARCHAR",
    "integer": "BIGINT",
    "bigint": "BIGINT",
    "hugeint": "DECIMAL(38,0)",
    "number": "DOUBLE",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "time": "TIME",
}
SAID = {
    "BIGINT": "an integer",
    "DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "TIMESTAMP WITH TIME ZONE": "a timestamp with a time zone",
}
WIDE = {"HUGEINT": "DECIMAL(38,0)", "UHUGEINT": "DECIMAL(38,0)"}
"""Types that Parquet cannot hold exactly, and what can."""
FORMATTED = ("DATE", "TIMESTAMP")


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of one source column."""

    source: str
    target: str
    type: str
    required: bool
    format: str
    given: str


def plan(link: duckdb.DuckDBPyConnection, loaded: Loaded, wanted: Json, keys: list[str]) -> list[Plan]:
    """The columns as asked for, the rest inferred. ``keys`` are names in the target; each must exist."""
    known = [column.name for column in loaded.columns]
    for name in wanted:
        if name not in known:
            raise UnknownName(
                f"the source has no column {name!r}", hint=nearest(name, known), errors=[{"pointer": f"/columns/{name}", "detail": "no such column"}]
            )
    plans = []
    for column in loaded.columns:
        asked = wanted.get(column.name, {})
        if asked.get("drop"):
            continue
        given = WIDE.get(column.type, column.type)
        kind = _type(asked, column.name) or (given if column.type != "VARCHAR" else _nearly(link, column.name, loaded.source.kind))
        fmt = str(asked.get("format", ""))
        if fmt and kind not in FORMATTED:
            raise at(f"/columns/{column.name}/format", "a format goes with type date or timestamp")
        plans.append(Plan(column.name, str(asked.get("rename", column.name)), kind, bool(asked.get("required", False)), fmt, column.type))
    targets = [item.target for item in plans]
    if not targets:
        raise at("/columns", "every column is dropped")
    doubled = {name for name in targets if [other.lower() for other in targets].count(name.lower()) > 1}
    if doubled:
        raise at("/columns", f"several columns would be called {', '.join(sorted(doubled))}")
    for name in keys:
        if name not in targets:
            raise UnknownName(f"there is no column {name!r} to be a key", hint=nearest(name, targets), errors=[{"pointer": "/key", "detail": "no such column"}])
    return plans


def _type(asked: Json, name: str) -> str:
    kind = str(asked.get("type", ""))
    if not kind:
        return ""
    if not kind.startswith("decimal"):
        return TYPES[kind]
    width, scale = (int(part) for part in kind[8:-1].split(","))
    if width > 38 or scale > width:
        raise at(f"/columns/{name}/type", f"{kind} cannot be", "A decimal has at most 38 digits, and no more behind the point than in all.")
    return f"DECIMAL({width},{scale})"


def _nearly(link: duckdb.DuckDBPyConnection, name: str, source: str) -> str:
    """The type that all values have, or nearly all of them, of a column of text."""
    if source != "csv":
        return "VARCHAR"
    fit = infer(link, quote("source"), name, "csv")
    if not fit.nearly or fit.share < NEARLY:
        return fit.type
    if fit.nearly != "DECIMAL":
        return fit.nearly
    value = f"trim({quote(name)})"
    digits = f"regexp_replace({value}, '^[+-]', '')"
    fits = f"regexp_full_match({value}, {text(DECIMAL)})"
    before, after = one(link, f"SELECT max(length(split_part({digits}, '.', 1))), max(length(split_part({digits}, '.', 2))) FROM source WHERE {fits}")
    return f"DECIMAL({before + after},{after})" if before + after <= 38 else "DOUBLE"


def stage(link: duckdb.DuckDBPyConnection, plans: list[Plan], keys: list[str], *, last_wins: bool) -> None:
    """Make the tables ``staged`` (rows that fit) and ``rejected`` (line, reason, original) from ``source``."""
    values = {item.target: _value(item) for item in plans}
    reasons = [reason for item in plans for reason in _reasons(item, item.target in keys)]
    listed = f"list_filter([{', '.join(reasons)}], lambda r: r IS NOT NULL)" if reasons else "CAST([] AS VARCHAR[])"
    select = ", ".join(f"{value} AS {quote(name)}" for name, value in values.items())
    link.execute(f"CREATE TABLE judged AS SELECT {LINE}, {RAW}, {listed} AS _pulser_why, {select} FROM source")
    link.execute(
        f"CREATE TABLE rejected AS SELECT {LINE} AS line, array_to_string(_pulser_why, '; ') AS reason, {RAW} AS original FROM judged "
        f"WHERE len(_pulser_why) > 0"
    )
    names = ", ".join(quote(name) for name in values)
    if not keys:
        link.execute(f"CREATE TABLE staged AS SELECT {names} FROM judged WHERE len(_pulser_why) = 0 ORDER BY {LINE}")
        return
    by = ", ".join(quote(name) for name in keys)
    order = "DESC" if last_wins else "ASC"
    ranked = (
        f"SELECT *, row_number() OVER w AS _pulser_again, first({LINE}) OVER w AS _pulser_winner FROM judged WHERE "
        f"len(_pulser_why) = 0 WINDOW w AS (PARTITION BY {by} ORDER BY {LINE} {order})"
    )
    link.execute(f"CREATE TABLE ranked AS {ranked}")
    link.execute(
        f"INSERT INTO rejected SELECT {LINE}, 'the key ' || {text(' + '.join(keys))} || ' is again in line ' || _pulser_winner || ', "
        f"which is kept', {RAW} FROM ranked WHERE _pulser_again > 1"
    )
    link.execute(f"CREATE TABLE staged AS SELECT {names} FROM ranked WHERE _pulser_again = 1 ORDER BY {LINE}")


def _source_text(item: Plan) -> str:
    return quote(item.source) if item.given == "VARCHAR" else f"CAST({quote(item.source)} AS VARCHAR)"


def _value(item: Plan) -> str:
    if item.given == item.type and not item.format:
        return quote(item.source)
    if item.format:
        return f"CAST(try_strptime(trim({_source_text(item)}), {text(item.format)}) AS {item.type})"
    return convert(item.type, _source_text(item))


def fits(item: Plan) -> str:
    """SQL: does a value that is there become one of the type without loss?"""
    value = _source_text(item)
    if item.format:
        return f"({_value(item)} IS NOT NULL)"
    if found := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", item.type):
        width, scale = int(found[1]), int(found[2])
        digits = f"regexp_replace(trim({value}), '^[+-]', '')"
        behind = f"length(rtrim(split_part({digits}, '.', 2), '0'))"
        before = f"length(split_part({digits}, '.', 1))"
        return f"({condition('DECIMAL', value)} AND {behind} <= {scale} AND {before} <= {max(width - scale, 1)} AND {convert(item.type, value)} IS NOT NULL)"
    if item.type == "TIMESTAMP":
        return f"({condition('TIMESTAMP', value)} OR {condition('DATE', value)})"
    return f"({condition(item.type, value)} AND {convert(item.type, value)} IS NOT NULL)"


def _reasons(item: Plan, key: bool) -> list[str]:
    name, found = quote(item.source), []
    empty = f"{name} IS NULL" + (f" OR trim({name}) = ''" if item.given == "VARCHAR" else "")
    if key or item.required:
        why = "is a key and missing" if key else "is required and missing"
        found.append(f"CASE WHEN {empty} THEN {text(f'{item.source} {why}')} END")
    if item.type not in ("VARCHAR", item.given):
        said = SAID.get(item.type, f"a {item.type.lower()}") + (f" written as {item.format}" if item.format else "")
        shown = f"left({_source_text(item)}, 60)"
        found.append(
            f"CASE WHEN NOT ({empty}) AND NOT coalesce({fits(item)}, false) THEN {text(item.source + ': ')} || chr(39) || {shown} || "
            f"chr(39) || {text(f' is not {said}')} END"
        )
    if item.type == "VARCHAR":
        found.append(f"CASE WHEN contains({_source_text(item)}, chr(0)) THEN {text(item.source + ' holds a NUL character')} END")
    return found
