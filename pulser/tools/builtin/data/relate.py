"""How columns go together: Pearson's r for numbers, Cramér's V for categories, and rows that are there more than once."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Any

from pulser.tools.builtin.data.engine import one, quote
from pulser.tools.builtin.data.measure import as_number

if TYPE_CHECKING:
    import duckdb

MAX_NUMBERS = 15
MAX_CATEGORIES = 8
MAX_LEVELS = 20


def correlations(link: duckdb.DuckDBPyConnection, table: str, columns: list[dict[str, Any]]) -> dict[str, Any]:
    """A square of Pearson's r over pairs where both values are there; None where a column is constant."""
    chosen = [column for column in columns if column["sort"] == "number" and column["distinct"] > 1][:MAX_NUMBERS]
    names = [column["name"] for column in chosen]
    if len(names) < 2:
        return {"columns": names, "pearson": []}
    values = {column["name"]: as_number(column["name"], column["type"]) for column in chosen}
    pairs = list(combinations(names, 2))
    # A constant half of the pairs has no deviation, so no r; DuckDB says NaN there.
    found = one(link, f"SELECT {', '.join(f'corr({values[a]}, {values[b]})' for a, b in pairs)} FROM {table}")
    known = {pair: round(r, 6) for pair, r in zip(pairs, found, strict=True) if r is not None and math.isfinite(r)}
    square = [[1.0 if a == b else known.get((a, b), known.get((b, a))) for b in names] for a in names]
    return {"columns": names, "pearson": square}


def associations(link: duckdb.DuckDBPyConnection, table: str, columns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cramér's V (plain, without bias correction) of pairs of columns with 2 to 20 distinct values; strongest first."""
    chosen = [column["name"] for column in columns if column["sort"] in ("text", "boolean") and 2 <= column["distinct"] <= MAX_LEVELS][:MAX_CATEGORIES]
    found = []
    for a, b in combinations(chosen, 2):
        first, second = quote(a), quote(b)
        rows = link.execute(f"SELECT {first}, {second}, count(*) FROM {table} WHERE {first} IS NOT NULL AND {second} IS NOT NULL GROUP BY ALL").fetchall()
        strength = cramers_v(rows)
        if strength is not None:
            found.append({"columns": [a, b], "cramers_v": round(strength, 6)})
    return sorted(found, key=lambda item: -float(item["cramers_v"]))


def cramers_v(rows: list[tuple[Any, Any, int]]) -> float | None:
    """From counts per pair of values: sqrt(χ² / (n · (min(rows, columns) − 1))); None where one of them is constant."""
    left: dict[Any, int] = {}
    right: dict[Any, int] = {}
    seen: dict[tuple[Any, Any], int] = {}
    for a, b, count in rows:
        left[a] = left.get(a, 0) + count
        right[b] = right.get(b, 0) + count
        seen[a, b] = count
    total = sum(left.values())
    free = min(len(left), len(right)) - 1
    if total == 0 or free < 1:
        return None
    chi = sum((seen.get((a, b), 0) - left[a] * right[b] / total) ** 2 / (left[a] * right[b] / total) for a in left for b in right)
    return math.sqrt(chi / (total * free))


def duplicates(link: duckdb.DuckDBPyConnection, table: str, names: list[str]) -> int:
    """Rows beyond the first of each group of equal rows."""
    listed = ", ".join(quote(name) for name in names)
    return int(one(link, f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM {table} GROUP BY {listed})")[0])
