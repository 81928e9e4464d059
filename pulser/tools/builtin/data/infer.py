"""Which type fits every value of a column of text, without losing a digit.

DuckDB would read 1.6 as BIGINT 2 and a 20-digit number as a rounded DOUBLE. Here a type fits only if its pattern does:
text with leading zeros stays text, plain decimals are DECIMAL, and DOUBLE is for exponents, NaN and more digits than 38.
"""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulser.tools.builtin.data.engine import one, quote, text

if TYPE_CHECKING:
    import duckdb

INTEGER = r"[+-]?(0|[1-9][0-9]{0,37})"
DECIMAL = r"[+-]?((0|[1-9][0-9]*)(\.[0-9]+)?|\.[0-9]+)"
DOUBLE = r"(?i)[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,3})?|[+-]?(nan|inf|infinity)"
DATE = r"[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}"
CLOCK = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
STAMP = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]" + CLOCK
ZONED = STAMP + r" ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
BOOLEAN = r"(?i)true|false|yes|no"
PATTERNS = {
    "BOOLEAN": BOOLEAN,
    "BIGINT": INTEGER,
    "DECIMAL": DECIMAL,
    "DOUBLE": DOUBLE,
    "DATE": DATE,
    "TIMESTAMP": STAMP,
    "TIMESTAMP WITH TIME ZONE": ZONED,
    "TIME": CLOCK,
}
SAMPLE_ROWS = 2_000
MAX_DIGITS = 38
CANDIDATES = {
    "csv": ("BOOLEAN", "BIGINT", "DECIMAL", "DOUBLE", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIME"),
    "n": ("BIGINT", "DECIMAL", "DOUBLE"),
    "f": ("DOUBLE",),
    "fn": ("DOUBLE",),
    "b": ("BOOLEAN",),
    "s": ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"),
    "x": ("BLOB",),
}
"""Types that are tried, by the kinds of values a source has: from CSV anything, from JSON and SQLite what the value was."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The type of a column, and for a column that stayed text: what it nearly was and the first value that is not."""

    type: str
    nearly: str = ""
    share: float = 0.0
    example: str = ""


def condition(kind: str, column: str) -> str:
    """SQL: does the text ``column`` (an expression, not NULL) hold a ``kind``?"""
    if kind == "BLOB":
        return f"({column} IS NOT NULL)"
    matches = f"regexp_full_match(trim({column}), {text(PATTERNS[kind])})"
    if kind in ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIME"):
        return f"({matches} AND try_cast(trim({column}) AS {kind}) IS NOT NULL)"
    return matches


def convert(kind: str, column: str) -> str:
    """SQL: the text ``column`` as ``kind``; NULL where it does not fit."""
    if kind in ("VARCHAR", "JSON"):
        return column
    if kind == "BLOB":
        return f"from_hex({column})"
    return f"try_cast(trim({column}) AS {kind})"


def infer(link: duckdb.DuckDBPyConnection, table: str, column: str, kinds: str) -> Fit:
    """The narrowest type that fits all values of ``column``: tried on a sample, then proven on every row."""
    name = quote(column)
    sampled = f"(SELECT {name} FROM {table} WHERE {name} IS NOT NULL LIMIT {SAMPLE_ROWS})"
    candidates = CANDIDATES.get("csv" if kinds == "csv" else "".join(sorted(kinds)), ())
    if not candidates:
        return Fit("VARCHAR")
    counts = one(link, f"SELECT count(*), {', '.join(f'count(*) FILTER (WHERE {condition(kind, name)})' for kind in candidates)} FROM {sampled}")
    rows = int(counts[0])
    if rows == 0:
        return Fit("VARCHAR")
    for kind, fitting in zip(candidates, counts[1:], strict=True):
        if fitting == rows and _holds(link, table, name, kind):
            return Fit(_sized(link, table, name, kind))
    best = max(range(len(candidates)), key=lambda at: counts[at + 1])
    share = counts[best + 1] / rows
    if share < 0.5:
        return Fit("VARCHAR")
    kind = candidates[best]
    odd = link.execute(f"SELECT {name} FROM {table} WHERE {name} IS NOT NULL AND NOT coalesce({condition(kind, name)}, false) LIMIT 1").fetchone()
    return Fit("VARCHAR", kind, share, str(odd[0]) if odd else "")


def _holds(link: duckdb.DuckDBPyConnection, table: str, name: str, kind: str) -> bool:
    return link.execute(f"SELECT 1 FROM {table} WHERE {name} IS NOT NULL AND NOT coalesce({condition(kind, name)}, false) LIMIT 1").fetchone() is None


def _sized(link: duckdb.DuckDBPyConnection, table: str, name: str, kind: str) -> str:
    if kind == "BIGINT":
        lost = f"SELECT 1 FROM {table} WHERE {name} IS NOT NULL AND try_cast(trim({name}) AS BIGINT) IS NULL LIMIT 1"
        if link.execute(lost).fetchone() is None:
            return "BIGINT"
        kind = "DECIMAL"  # not HUGEINT, which Parquet would make a rounded DOUBLE of
    if kind == "DECIMAL":
        digits = f"regexp_replace(trim({name}), '^[+-]', '')"
        whole = f"length(split_part({digits}, '.', 1))"
        part = f"length(split_part({digits}, '.', 2))"
        before, after = one(link, f"SELECT max({whole}), max({part}) FROM {table} WHERE {name} IS NOT NULL")
        if before + after > MAX_DIGITS:
            return "DOUBLE"
        return f"DECIMAL({max(before + after, 1)},{after})"
    return kind
