"""Values of a table as JSON, exactly: what a JSON number cannot hold is a string, what JSON cannot hold at all is null."""

from __future__ import annotations

import math
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

SAFE_INTEGER = 2**53 - 1
"""Beyond it a JSON reader that knows only doubles would change the number."""


def as_json(value: Any) -> Any:
    """DECIMAL and integers beyond 2**53 become strings, NaN and the infinities null, times ISO 8601, bytes hex."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return format(value, "f") if value.is_finite() else None
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [as_json(item) for item in value]
    return str(value)


def rows_as_json(rows: list[tuple[Any, ...]]) -> tuple[list[list[Any]], int]:
    """The rows, and how many cells were NaN or infinite and are null here."""
    lost = sum(1 for row in rows for cell in row if isinstance(cell, float) and not math.isfinite(cell))
    return [[as_json(cell) for cell in row] for row in rows], lost


def shown(value: Any, width: int = 60) -> str:
    """One short line of text for people."""
    value = as_json(value)
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    line = " ".join(str(value).split())
    return line if len(line) <= width else line[: width - 1] + "…"
