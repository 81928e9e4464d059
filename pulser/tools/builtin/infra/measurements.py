"""Measured load: a CSV with one line per request or task, when it began and how long it took."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pulser.core.errors import BadInput
from pulser.tools.builtin.infra.queueing import Work

ROWS_LIMIT = 2_000_000
_STARTED = ("started_at", "timestamp", "time", "at", "start", "created_at", "date")
_TOOK = {
    "duration_s": 1.0,
    "service_time_s": 1.0,
    "seconds": 1.0,
    "duration_ms": 1e-3,
    "service_time_ms": 1e-3,
    "latency_ms": 1e-3,
    "ms": 1e-3,
    "duration": 1.0,
    "latency_s": 1.0,
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What a file of measurements says; ``work.per_s`` is that of a busy window, the 95th percentile of all."""

    work: Work
    rows: int
    bad_rows: int
    mean_per_s: float
    window_s: float
    span_s: float


def read(path: Path) -> Measured:
    """Load and service time from a CSV; :class:`BadInput` if a column is missing, or fewer than 20 lines can be used."""
    starts: list[float] = []
    took: list[float] = []
    bad = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = [name.strip().lower() for name in next(rows, [])]
            at, duration, unit_s = _columns(header, path.name)
            for row in rows:
                try:
                    start, length = _time(row[at]), float(row[duration]) * unit_s
                except (IndexError, ValueError, OverflowError):
                    bad += 1
                    continue
                if math.isfinite(start) and math.isfinite(length) and length >= 0:
                    starts.append(start)
                    took.append(length)
                else:
                    bad += 1
                if len(starts) > ROWS_LIMIT:
                    raise BadInput(f"{path.name} has more than {ROWS_LIMIT:,} lines", hint="A sample of a busy day is enough.")
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path.name} is not a CSV in UTF-8: {error}") from None
    except OSError as error:
        raise BadInput(f"{path.name} cannot be read: {error.strerror}") from None
    if len(starts) < 20:
        raise BadInput(
            f"{path.name} has {len(starts)} usable lines ({bad} not usable); at least 20 are needed", hint="One line per task: started_at,duration_s."
        )
    return _measured(starts, took, bad)


def _columns(header: list[str], name: str) -> tuple[int, int, float]:
    at = next((header.index(known) for known in _STARTED if known in header), None)
    duration = next((known for known in _TOOK if known in header), None)
    if at is None or duration is None:
        raise BadInput(
            f"{name} has no column for {'the start' if at is None else 'the duration'}; its columns are: {', '.join(header)[:200] or 'none'}",
            hint=f"Call them started_at (or {', '.join(_STARTED[1:4])}) and duration_s (or {', '.join(list(_TOOK)[1:5])}).",
        )
    return at, header.index(duration), _TOOK[duration]


def _time(text: str) -> float:
    """Seconds since 1970 of an ISO time (UTC unless it says otherwise) or a number of seconds."""
    try:
        return float(text)
    except ValueError:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _measured(starts: list[float], took: list[float], bad: int) -> Measured:
    first, span = min(starts), max(starts) - min(starts)
    if span <= 0:
        raise BadInput("all lines begin at the same moment", hint="The start of each task is needed, with its time of day.")
    window = min(60.0, span / 10)
    counts = [0] * (int(span / window) + 1)
    for start in starts:
        counts[int((start - first) / window)] += 1
    counts = sorted(counts[:-1] or counts)  # the last window is cut short
    busy = counts[min(len(counts) - 1, math.ceil(0.95 * len(counts)) - 1)] / window
    mean = math.fsum(took) / len(took)
    if mean <= 0:
        raise BadInput("the durations are all zero")
    variance = math.fsum((length - mean) ** 2 for length in took) / len(took)
    return Measured(Work(busy, mean, math.sqrt(variance) / mean), len(starts), bad, len(starts) / span, window, span)
