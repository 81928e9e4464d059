"""What can be said of a column: counts, ranges, quantiles, outliers, frequent values. All computed by DuckDB, over every row."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pulser.tools.builtin.data.engine import one, quote
from pulser.tools.builtin.data.values import as_json

if TYPE_CHECKING:
    import duckdb

Sort = Literal["number", "text", "boolean", "time", "other"]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TOP = 10
BINS = 20
FENCE = 1.5
"""Tukey's fences: beyond the quartiles by this many interquartile ranges (Tukey, Exploratory Data Analysis, 1977)."""
ROBUST_Z = 3.5
"""Iglewicz and Hoaglin's limit for 0.6745 · (x − median) / MAD (How to Detect and Handle Outliers, 1993)."""


def sort_of(kind: str) -> Sort:
    """How a DuckDB type is described."""
    if "[" in kind or kind.startswith(("STRUCT", "MAP", "UNION", "JSON", "BLOB", "BIT", "VARIANT", "GEOMETRY")):
        return "other"
    if kind.startswith(("DECIMAL", "DOUBLE", "FLOAT")) or kind.endswith("INT") or "INTEGER" in kind:
        return "number"
    if kind == "BOOLEAN":
        return "boolean"
    if kind.startswith(("DATE", "TIMESTAMP")):
        return "time"
    return "text" if kind.startswith(("VARCHAR", "ENUM", "UUID", "TIME", "INTERVAL")) else "other"


def as_number(column: str, kind: str) -> str:
    """SQL: the column as a finite DOUBLE, else NULL."""
    double = f"CAST({quote(column)} AS DOUBLE)"
    return f"CASE WHEN isfinite({double}) THEN {double} END" if kind.startswith(("DOUBLE", "FLOAT")) else double


def measure(link: duckdb.DuckDBPyConnection, table: str, column: str, kind: str) -> dict[str, Any]:
    """Everything about one column. Minimum and maximum are exact; mean, deviation and quantiles are floating point."""
    name, sort = quote(column), sort_of(kind)
    comparable = f"CAST({name} AS VARCHAR)" if sort == "other" else name
    rows, present, distinct = one(link, f"SELECT count(*), count({name}), count(DISTINCT {comparable}) FROM {table}")
    found: dict[str, Any] = {
        "name": column,
        "type": kind,
        "sort": sort,
        "missing": rows - present,
        "missing_share": round((rows - present) / rows, 6),
        "distinct": distinct,
    }
    if not present:
        return found
    if sort == "number":
        found |= _numbers(link, table, column, kind)
    elif sort == "time":
        low, high, days = one(
            link,
            f"SELECT CAST(min({name}) AS VARCHAR), CAST(max({name}) AS VARCHAR), date_diff('day', CAST(min({name}) AS TIMESTAMP), "
            f"CAST(max({name}) AS TIMESTAMP)) FROM {table} WHERE isfinite({name})",
        )
        found |= {"min": low, "max": high, "span_days": days}
        found["histogram"] = _time_histogram(link, table, name)
    elif sort == "text":
        text = f"CAST({name} AS VARCHAR)"
        low, high, shortest, longest, mean, blank = one(
            link,
            f"SELECT min({text}), max({text}), min(length({text})), max(length({text})), avg(length({text})), count(*) FILTER (WHERE "
            f"trim({text}) = '') FROM {table}",
        )
        found |= {"min": str(low)[:200], "max": str(high)[:200], "length": {"min": shortest, "max": longest, "mean": round(mean, 3)}, "blank": blank}
    if sort != "other" and (distinct < present or present <= TOP):
        found["top"] = _top(link, table, comparable, sort)
    return found


def _top(link: duckdb.DuckDBPyConnection, table: str, name: str, sort: Sort) -> list[dict[str, Any]]:
    shown = name if sort in ("number", "boolean") else f"CAST({name} AS VARCHAR)"
    rows = link.execute(f"SELECT {shown} AS v, count(*) AS n FROM {table} WHERE {name} IS NOT NULL GROUP BY {name} ORDER BY n DESC, v LIMIT {TOP}").fetchall()
    return [{"value": value[:200] if isinstance(value, str) else as_json(value), "count": count} for value, count in rows]


def _numbers(link: duckdb.DuckDBPyConnection, table: str, column: str, kind: str) -> dict[str, Any]:
    name, value = quote(column), as_number(column, kind)
    finite = f"{value} IS NOT NULL"
    low, high, total, odd = one(
        link,
        f"SELECT min({name}) FILTER (WHERE {finite}), max({name}) FILTER (WHERE {finite}), sum({name}) FILTER (WHERE {finite}), "
        f"count({name}) - count({value}) FROM {table}",
    )
    found: dict[str, Any] = {"not_finite": odd} if odd else {}
    if low is None:
        return found
    mean, deviation, zeros, negative, quantiles = one(
        link,
        f"SELECT avg(v), CASE WHEN count(v) > 1 THEN stddev_samp(v) END, count(*) FILTER (WHERE v = 0), count(*) FILTER (WHERE v < 0), "
        f"quantile_cont(v, {list(QUANTILES)}) FROM (SELECT {value} AS v FROM {table}) WHERE v IS NOT NULL",
    )
    found |= {
        "min": as_json(low),
        "max": as_json(high),
        "sum": as_json(total),
        "mean": as_json(mean),
        "deviation": as_json(deviation),
        "zeros": zeros,
        "negative": negative,
    }
    found["quantiles"] = {f"p{round(share * 100)}": as_json(at) for share, at in zip(QUANTILES, quantiles, strict=True)}
    found["outliers"] = _outliers(link, table, column, kind, quantiles)
    found["histogram"] = _histogram(link, table, value, float(low), float(high), kind)
    return found


def _outliers(link: duckdb.DuckDBPyConnection, table: str, column: str, kind: str, quantiles: list[float]) -> dict[str, Any]:
    """By Tukey's fences and by the robust z-score; where more than half of the values are equal (MAD 0) there is no z-score."""
    name, value = quote(column), as_number(column, kind)
    first, median, third = quantiles[1], quantiles[2], quantiles[3]
    low, high = first - FENCE * (third - first), third + FENCE * (third - first)
    outside = f"({value} < $1 OR {value} > $2)"
    count, spread = one(link, f"SELECT count(*) FILTER (WHERE {outside}), median(abs({value} - $3)) FROM {table}", [low, high, median])
    examples = link.execute(
        f"SELECT DISTINCT {name}, abs({value} - $3) AS far FROM {table} WHERE {outside} ORDER BY far DESC LIMIT 5", [low, high, median]
    ).fetchall()
    robust = None
    if spread:
        robust = one(link, f"SELECT count(*) FROM {table} WHERE abs(0.6745 * ({value} - $1) / $2) > {ROBUST_Z}", [median, spread])[0]
    return {"iqr": count, "robust_z": robust, "fences": [as_json(low), as_json(high)], "examples": [as_json(item) for item, _ in examples]}


def _histogram(link: duckdb.DuckDBPyConnection, table: str, value: str, low: float, high: float, kind: str) -> dict[str, Any]:
    bins = BINS
    whole = "INT" in kind
    if whole and high - low < BINS:
        bins = int(high - low) + 1
        low, high = low - 0.5, high + 0.5
    width = (high - low) / bins
    if not width or width == float("inf"):
        count = one(link, f"SELECT count({value}) FROM {table}")[0]
        return {"edges": [low, high if high > low else low + 1], "counts": [count]}
    place = f"least(greatest(CAST(floor(({value} - $1) / $2) AS BIGINT), 0), {bins - 1})"
    rows = dict(link.execute(f"SELECT {place} AS place, count(*) FROM {table} WHERE {value} IS NOT NULL GROUP BY place", [low, width]).fetchall())
    return {"edges": [low + width * index for index in range(bins + 1)], "counts": [rows.get(index, 0) for index in range(bins)]}


def _time_histogram(link: duckdb.DuckDBPyConnection, table: str, name: str) -> dict[str, Any]:
    seconds = f"epoch(CAST({name} AS TIMESTAMP))"
    inner = f"(SELECT {seconds} AS v FROM {table} WHERE isfinite({name}))"
    low, high = one(link, f"SELECT min(v), max(v) FROM {inner}")
    if low is None:
        return {"edges": [0.0, 1.0], "counts": [0]}
    return _histogram(link, f"{inner} AS t", "v", float(low), float(high), "DOUBLE")
