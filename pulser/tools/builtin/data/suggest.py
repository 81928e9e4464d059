"""Rules that a table seems to follow: what holds for nearly all rows is proposed, so that the rest can be looked at."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulser.core.tool import Json
from pulser.tools.builtin.data.engine import one, quote
from pulser.tools.builtin.data.infer import CANDIDATES, condition
from pulser.tools.builtin.data.measure import sort_of
from pulser.tools.builtin.data.rules import words

if TYPE_CHECKING:
    import duckdb

NEARLY = 0.9
"""A share of rows from which on the rest are the exception."""
MAX_VALUES = 12
FAR = 3.0
"""A suggested range reaches three interquartile ranges beyond the quartiles: Tukey's outer fences."""
NAMES = {
    "BIGINT": "integer",
    "DECIMAL": "number",
    "DOUBLE": "number",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp",
}


def suggestions(link: duckdb.DuckDBPyConnection, table: str, columns: dict[str, str]) -> list[Json]:
    """Rules for every column, most basic first."""
    found: list[Json] = []
    for name, kind in columns.items():
        found += _for(link, table, name, kind)
    return found


def _for(link: duckdb.DuckDBPyConnection, table: str, name: str, kind: str) -> list[Json]:
    value = words(name, kind)
    rows, present, distinct = one(link, f"SELECT count(*), count({quote(name)}), count(DISTINCT {value}) FROM {table}")
    found: list[Json] = []
    if not present:
        return found
    if present / rows >= NEARLY:
        found.append({"rule": "not_null", "column": name})
    nearly = _nearly(link, table, value, present) if kind == "VARCHAR" else ""
    if nearly:
        found.append({"rule": "type", "column": name, "type": NAMES[nearly]})
    if (
        distinct >= 20
        and distinct / present >= 0.95
        and nearly in ("", "BIGINT")
        and kind in ("VARCHAR", "BIGINT", "INTEGER", "HUGEINT", "UUID")
        and present / rows >= NEARLY
    ):
        found.append({"rule": "unique", "column": name})
    elif nearly in ("BIGINT", "DECIMAL", "DOUBLE") or (kind != "VARCHAR" and sort_of(kind) == "number"):
        found += _range(link, table, name, value)
    elif kind == "VARCHAR" and not nearly:
        found += _set_or_shape(link, table, name, value, present)
    return found


def _nearly(link: duckdb.DuckDBPyConnection, table: str, value: str, present: int) -> str:
    """The narrowest type that nearly all values are of."""
    kinds = [kind for kind in CANDIDATES["csv"] if kind in NAMES]
    counts = one(link, f"SELECT {', '.join(f'count(*) FILTER (WHERE {condition(kind, value)})' for kind in kinds)} FROM {table}")
    return next((kind for kind, count in zip(kinds, counts, strict=True) if count / present >= NEARLY), "")


def _range(link: duckdb.DuckDBPyConnection, table: str, name: str, value: str) -> list[Json]:
    number = f"try_cast(trim({value}) AS DOUBLE)"
    low, high = one(link, f"SELECT quantile_cont(v, 0.25), quantile_cont(v, 0.75) FROM (SELECT {number} AS v FROM {table}) WHERE isfinite(v)")
    if low is None or low == high:
        return []
    spread = (high - low) * FAR
    floor = 0 if low >= 0 and low - spread < 0 else round(low - spread, 6)
    return [{"rule": "range", "column": name, "min": floor, "max": round(high + spread, 6)}]


def _set_or_shape(link: duckdb.DuckDBPyConnection, table: str, name: str, value: str, present: int) -> list[Json]:
    rows = link.execute(
        f"SELECT {value} AS v, count(*) AS n FROM {table} WHERE {value} IS NOT NULL GROUP BY v ORDER BY n DESC, v LIMIT {MAX_VALUES + 1}"
    ).fetchall()
    often = [(word, count) for word, count in rows if count / present >= 0.02]
    if often and len(often) <= MAX_VALUES and sum(count for _, count in often) / present >= NEARLY and present >= 20:
        return [{"rule": "in_set", "column": name, "values": [word for word, _ in often]}]
    shape = f"regexp_replace(regexp_replace(regexp_replace({value}, '[0-9]', '9', 'g'), '[A-Z]', 'A', 'g'), '[a-z]', 'a', 'g')"
    best: tuple[Any, ...] | None = link.execute(
        f"SELECT {shape} AS s, count(*) AS n FROM {table} WHERE {value} IS NOT NULL GROUP BY s ORDER BY n DESC, s LIMIT 1"
    ).fetchone()
    if best and best[1] / present >= NEARLY and 2 <= len(best[0]) <= 60 and any(sign in best[0] for sign in "9Aa"):
        return [{"rule": "pattern", "column": name, "pattern": _pattern(str(best[0]))}]
    return []


def _pattern(shape: str) -> str:
    """``AA-999`` as ``[A-Z]{2}-[0-9]{3}``."""
    classes = {"9": "[0-9]", "A": "[A-Z]", "a": "[a-z]"}
    parts: list[tuple[str, int]] = []
    for sign in shape:
        if parts and parts[-1][0] == sign:
            parts[-1] = (sign, parts[-1][1] + 1)
        else:
            parts.append((sign, 1))
    written = ""
    for sign, count in parts:
        one_of = classes.get(sign, sign if sign.isalnum() or sign in " -_/:@," else "\\" + sign)
        written += one_of + (f"{{{count}}}" if count > 1 else "")
    return written
