"""Which chart an answer gets, and its points."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pulser.core.errors import UnknownName, nearest
from pulser.tools.builtin.data.chart import bars, histogram, line, scatter
from pulser.tools.builtin.data.measure import sort_of
from pulser.tools.builtin.data.recognise import at
from pulser.tools.builtin.data.values import shown

KINDS = ("bar", "line", "scatter", "histogram")
MAX_BARS = 40
MAX_POINTS = 2_000


def draw(asked: dict[str, Any] | None, columns: list[dict[str, Any]], rows: list[tuple[Any, ...]]) -> str:
    """The SVG, or nothing where none is asked for and none suggests itself. :class:`BadInput` if the columns do not suit."""
    chosen = asked or _suggested(columns, rows)
    if not chosen or chosen["kind"] == "none" or not rows:
        return ""
    kind = chosen["kind"]
    x = _index(columns, chosen.get("x"), 0, "x")
    numbers = [index for index, column in enumerate(columns) if sort_of(column["type"]) == "number"]
    if kind == "histogram":
        wanted = _index(columns, chosen.get("x") or chosen.get("y"), numbers[0] if numbers else 0, "x")
        return _histogram(columns[wanted], [row[wanted] for row in rows])
    default = next((index for index in numbers if index != x), numbers[0] if numbers else 0)
    y = _index(columns, chosen.get("y"), default, "y")
    if y not in numbers:
        raise at("/chart/y", f"{columns[y]['name']} is {columns[y]['type']}, not a number", "Name a column of numbers as y.")
    names = columns[x]["name"], columns[y]["name"]
    if kind == "bar":
        pairs = [(row[x], _float(row[y])) for row in rows]
        kept = [(label, value) for label, value in pairs if value is not None][:MAX_BARS]
        return bars(f"{names[1]} by {names[0]}", [shown(label) for label, _ in kept], [value for _, value in kept], width=640) if kept else ""
    return _points(kind, columns, rows, x, y)


def _points(kind: str, columns: list[dict[str, Any]], rows: list[tuple[Any, ...]], x: int, y: int) -> str:
    names = columns[x]["name"], columns[y]["name"]
    measured = sort_of(columns[x]["type"]) in ("number", "time")
    pairs = [(_float(row[x]) if measured else float(place), _float(row[y]), row[x]) for place, row in enumerate(rows)]
    kept = [(a, b, label) for a, b, label in pairs if a is not None and b is not None][:MAX_POINTS]
    if not kept:
        return ""
    if kind == "line":
        kept = sorted(kept, key=lambda point: point[0])
    xs, ys = [a for a, _, _ in kept], [b for _, b, _ in kept]
    if kind == "scatter":
        if not measured:
            raise at(
                "/chart/x",
                f"{names[0]} is {columns[x]['type']}, neither a number nor a time",
                "A scatter plot takes two columns of numbers; a bar chart takes labels.",
            )
        return scatter(f"{names[1]} over {names[0]}", xs, ys, names[0], names[1])
    ends = None if sort_of(columns[x]["type"]) == "number" else (shown(kept[0][2]), shown(kept[-1][2]))
    return line(f"{names[1]} over {names[0]}", xs, ys, names[0], names[1], ends)


def _suggested(columns: list[dict[str, Any]], rows: list[tuple[Any, ...]]) -> dict[str, Any] | None:
    """A label or time first and a number after it make a chart of themselves."""
    if len(columns) < 2 or len(rows) < 2 or sort_of(columns[1]["type"]) != "number":
        return None
    first = sort_of(columns[0]["type"])
    if first == "time":
        return {"kind": "line"}
    return {"kind": "bar"} if first in ("text", "boolean") and len(rows) <= MAX_BARS else None


def _index(columns: list[dict[str, Any]], name: str | None, default: int, pointer: str) -> int:
    if not name:
        return default
    names = [column["name"] for column in columns]
    if name not in names:
        raise UnknownName(
            f"the answer has no column {name!r}", hint=nearest(name, names), errors=[{"pointer": f"/chart/{pointer}", "detail": "no such column"}]
        )
    return names.index(name)


def _float(value: Any) -> float | None:
    """A value as a point on an axis; times as seconds. None for what is missing or not finite."""
    if isinstance(value, (int, float, Decimal)):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, datetime):
        return (value.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()
    if isinstance(value, date):
        return float(value.toordinal() * 86400)
    if isinstance(value, str):
        try:
            return (datetime.fromisoformat(value).replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()
        except ValueError:
            return None
    return None


def _histogram(column: dict[str, Any], values: list[Any]) -> str:
    found = [value for value in map(_float, values) if value is not None]
    if not found:
        raise at("/chart/x", f"{column['name']} is {column['type']} and has no numbers", "A histogram takes a column of numbers.")
    low, high = min(found), max(found)
    bins = max(1, min(40, math.ceil(math.log2(len(found)) + 1)))
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in found:
        counts[min(int((value - low) / width), bins - 1)] += 1
    return histogram(column["name"], [low + width * index for index in range(bins + 1)], counts, column["name"])
