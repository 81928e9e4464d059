"""Rules about data as SQL: each becomes a condition that is true for a row that breaks it. Missing values break only ``not_null``.

Patterns are RE2, which takes time linear in the text whatever the pattern is.
"""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulser.core.errors import UnknownName, nearest
from pulser.core.tool import Json
from pulser.tools.builtin.data.engine import one, quote, text
from pulser.tools.builtin.data.infer import condition, convert
from pulser.tools.builtin.data.recognise import at

if TYPE_CHECKING:
    import duckdb

TYPES = {"integer": "BIGINT", "decimal": "DECIMAL", "number": "DOUBLE", "boolean": "BOOLEAN", "date": "DATE", "timestamp": "TIMESTAMP", "text": "VARCHAR"}


@dataclass(frozen=True, slots=True)
class Table:
    """What a rule is judged on: the table, its columns with their types, its rows, and the tables of other files by name."""

    name: str
    columns: dict[str, str]
    rows: int
    others: dict[str, dict[str, str]]
    as_of: str


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule as SQL: ``where`` holds for rows that break it; ``verdict`` instead for rules about the whole table."""

    says: str
    where: str = ""
    shows: tuple[str, ...] = ()
    verdict: tuple[bool, str] | None = None


def columns_of(rule: Json, table: Table, pointer: str) -> list[str]:
    """The columns a rule names; :class:`UnknownName` with the nearest if one is not there."""
    names = rule.get("columns") or ([rule["column"]] if "column" in rule else [])
    if not names:
        raise at(pointer, f"the rule {rule['rule']} names no column", "Give column or columns.")
    for name in names:
        if name not in table.columns:
            raise UnknownName(
                f"there is no column {name!r}", hint=nearest(name, list(table.columns)), errors=[{"pointer": pointer, "detail": "no such column"}]
            )
    return list(names)


def words(name: str, kind: str) -> str:
    """SQL: the column as text."""
    return quote(name) if kind == "VARCHAR" else f"CAST({quote(name)} AS VARCHAR)"


def translate(link: duckdb.DuckDBPyConnection, rule: Json, table: Table, pointer: str) -> Broken:
    """The rule as SQL."""
    return MAKERS[rule["rule"]](link, rule, table, pointer)


def _not_null(_: duckdb.DuckDBPyConnection, rule: Json, table: Table, pointer: str) -> Broken:
    names = columns_of(rule, table, pointer)
    empty = [f"({quote(name)} IS NULL" + (f" OR trim({quote(name)}) = '')" if table.columns[name] == "VARCHAR" else ")") for name in names]
    return Broken(f"{', '.join(names)} is not missing", " OR ".join(empty), tuple(names))


def _unique(_: duckdb.DuckDBPyConnection, rule: Json, table: Table, pointer: str) -> Broken:
    names = columns_of(rule, table, pointer)
    listed = ", ".join(quote(name) for name in names)
    known = " AND ".join(f"{quote(name)} IS NOT NULL" for name in names)
    again = (
        f"SELECT _pulser_line FROM (SELECT _pulser_line, row_number() OVER (PARTITION BY {listed} ORDER BY _pulser_line) AS again "
        f"FROM {table.name} WHERE {known}) WHERE again > 1"
    )
    return Broken(f"{' + '.join(names)} is unique", f"_pulser_line IN ({again})", tuple(names))


def _range(link: duckdb.DuckDBPyConnection, rule: Json, table: Table, pointer: str) -> Broken:
    name = columns_of(rule, table, pointer)[0]
    low, high = rule.get("min"), rule.get("max")
    if low is None and high is None:
        raise at(pointer, "the rule range has neither min nor max")
    ends = [end for end in (low, high) if end is not None]
    said = f"{name} is " + " and ".join(part for part in (f"at least {low}" if low is not None else "", f"at most {high}" if high is not None else "") if part)
    if any(isinstance(end, str) for end in ends):
        kind, value = "TIMESTAMP", f"try_cast(trim({words(name, table.columns[name])}) AS TIMESTAMP)"
    else:
        kind, value = "DECIMAL(38,12)", f"try_cast(trim({words(name, table.columns[name])}) AS DECIMAL(38,12))"
    outside = [f"{value} IS NULL"]
    for end, sign in ((low, "<"), (high, ">")):
        if end is None:
            continue
        limit = f"try_cast({text(str(end))} AS {kind})"
        if kind == "TIMESTAMP" and not isinstance(end, str):
            raise at(pointer, "min and max are of different kinds", "Give two numbers or two dates.")
        if one(link, f"SELECT {limit}")[0] is None:
            raise at(pointer, f"{end!r} is no date or number", "Write dates as 2024-12-31.")
        outside.append(f"{value} {sign} {limit}")
    return Broken(said, f"{quote(name)} IS NOT NULL AND ({' OR '.join(outside)})", (name,))


def _pattern(link: duckdb.DuckDBPyConnection, rule: Json, table: Table, pointer: str) -> Broken:
    import duckdb

    name, pattern = columns_of(rule, table, pointer)[0], str(rule.get("pattern", ""))
    if not pattern:
        raise at(pointer, "the rule pattern has no pattern")
    try:
        one(link, "SELECT regexp_full_match('', $1)", [pattern])
    except duckdb.Error as error:
        raise at(
            f"{pointer}/pattern", f"the pattern cannot be read: {str(error).splitlines()[0]}", "Patterns are RE2: no look-around and no back references."
        ) from error
    return Broken(f"{name} matches {pattern}", f"NOT regexp_full_match({words(name, table.columns[name])}, {text(pattern)})", (name,))


def _in_set(_: duckdb.DuckDBPyConnection, rule: Json, table: Table, pointer: str) -> Broken:
    name, values = columns_of(rule, table, pointer)[0], rule.get("values")
    if not values:
        raise at(pointer, "the rule in_set has no values")
    listed = ", ".join(text(json.dumps(value) if not isinstance(value, str) else value) for value in values)
    return Broken(f"{name} is one of {len(values)} values", f"{words(name, table.columns[name])} NOT IN ({listed})", (name,))


def _type(_: duckdb.DuckDBPyConnection, rule: Json, table: Table, pointer: str) -> Broken:
    name, kind = columns_of(rule, table, pointer)[0], str(rule.get("type", ""))
    if kind not in TYPES:
        raise at(pointer, "the rule type has no type", f"Known: {', '.join(TYPES)}.")
    said = f"{name} is {'an' if kind[0] in 'aeiou' else 'a'} {kind}"
    if kind == "text":
        return Broken(said, "false", (name,))
    value = words(name, table.columns[name])
    fits = condition(TYPES[kind], value)
    if kind == "integer":
        fits = f"({fits} AND {convert('HUGEINT', value)} IS NOT NULL)"
    if kind == "timestamp":
        fits = f"({fits} OR {condition('DATE', value)} OR {condition('TIMESTAMP WITH TIME ZONE', value)})"
    return Broken(said, f"{quote(name)} IS NOT NULL AND NOT coalesce({fits}, false)", (name,))


def _reference(_: duckdb.DuckDBPyConnection, rule: Json, table: Table, pointer: str) -> Broken:
    names, other = columns_of(rule, table, pointer), str(rule.get("reference", ""))
    if other not in table.others:
        raise UnknownName(
            f"there is no reference file {other!r}",
            hint=nearest(other, list(table.others)) if table.others else "Name it in references.",
            errors=[{"pointer": pointer, "detail": "no such reference"}],
        )
    wanted = rule.get("to") or names
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    there = table.others[other]
    for name in wanted:
        if name not in there:
            raise UnknownName(
                f"{other} has no column {name!r}", hint=nearest(name, list(there)), errors=[{"pointer": f"{pointer}/to", "detail": "no such column"}]
            )
    if len(wanted) != len(names):
        raise at(pointer, f"{len(names)} columns cannot refer to {len(wanted)}")
    present = " AND ".join(f"{quote(name)} IS NOT NULL" for name in names)
    same = " AND ".join(f"CAST(o.{quote(b)} AS VARCHAR) = CAST({table.name}.{quote(a)} AS VARCHAR)" for a, b in zip(names, wanted, strict=True))
    missing = f"NOT EXISTS (SELECT 1 FROM {quote('ref_' + other)} o WHERE {same})"
    return Broken(f"{' + '.join(names)} is in {other}.{' + '.join(wanted)}", f"{present} AND {missing}", tuple(names))


def _row_count(_: duckdb.DuckDBPyConnection, rule: Json, table: Table, pointer: str) -> Broken:
    low, high = rule.get("min"), rule.get("max")
    if low is None and high is None:
        raise at(pointer, "the rule row_count has neither min nor max")
    right = (low is None or table.rows >= low) and (high is None or table.rows <= high)
    bounds = " and ".join(part for part in (f"at least {low:g}" if low is not None else "", f"at most {high:g}" if high is not None else "") if part)
    return Broken(f"there are {bounds} rows", verdict=(right, f"{table.rows:,} rows"))


def _freshness(link: duckdb.DuckDBPyConnection, rule: Json, table: Table, pointer: str) -> Broken:
    name = columns_of(rule, table, pointer)[0]
    days = rule.get("max_age_days")
    if days is None:
        raise at(pointer, "the rule freshness has no max_age_days")
    newest = f"max(try_cast(trim({words(name, table.columns[name])}) AS TIMESTAMP))"
    last, age = one(link, f"SELECT CAST({newest} AS VARCHAR), date_diff('second', {newest}, CAST($1 AS TIMESTAMP)) / 86400.0 FROM {table.name}", [table.as_of])
    said = f"the newest {name} is at most {days:g} days before {table.as_of}"
    if last is None:
        return Broken(said, verdict=(False, "no value is a time"))
    return Broken(said, verdict=(float(age) <= float(days), f"newest {last}, {float(age):.1f} days old"))


MAKERS: dict[str, Callable[[duckdb.DuckDBPyConnection, Json, Table, str], Broken]] = {
    "not_null": _not_null,
    "unique": _unique,
    "range": _range,
    "pattern": _pattern,
    "in_set": _in_set,
    "type": _type,
    "reference": _reference,
    "row_count": _row_count,
    "freshness": _freshness,
}
"""Every rule there is."""


def sample(rows: list[tuple[Any, ...]], names: tuple[str, ...]) -> list[Json]:
    """Violations as a report shows them."""
    return [{"line": row[0], **{name: None if value is None else str(value)[:200] for name, value in zip(names, row[1:], strict=True)}} for row in rows]
