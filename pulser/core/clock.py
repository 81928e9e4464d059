"""The process's clock, for what only this process sees: log times, durations, file names.

Leases, retries and schedules never ask it: they ask the database (``tx.now``), because workers' wall clocks jump.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

monotonic = time.monotonic


def now() -> datetime:
    """The wall clock, UTC and aware."""
    return datetime.now(UTC)


def to_us(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - EPOCH) // _MICROSECOND


def from_us(us: int) -> datetime:
    """The reverse of :func:`to_us`."""
    return EPOCH + timedelta(microseconds=us)


@lru_cache(maxsize=512)  # one transaction says its own time many times over
def iso(at: datetime) -> str:
    """RFC 3339 with microseconds and ``Z``."""
    return at.isoformat(timespec="microseconds")[:26] + "Z"  # strftime takes four times as long
