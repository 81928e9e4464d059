"""What every peer's task does: append a 32-byte record to a file in memory and return; and the payload they are all given."""

from __future__ import annotations

import os
import struct
import time
from typing import Any

RECORD = struct.Struct("<qq")  # seq, nanoseconds of the machine's monotonic clock (the same for all processes)
_file: int | None = None


def task(payload: dict[str, Any]) -> dict[str, Any]:
    """The no-op; about 1 µs."""
    global _file
    if _file is None:
        _file = os.open(os.environ["BENCH_RECORDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    os.write(_file, RECORD.pack(payload["seq"], time.monotonic_ns()))
    return {"ok": True, "seq": payload["seq"]}


def payload(seq: int) -> dict[str, Any]:
    """About 1 KB, as Pulser's own measurement has it."""
    return {"action": "noop", "seq": seq, "data": "x" * 980}


def count(path: str) -> int:
    """How many tasks have started."""
    return os.path.getsize(path) // RECORD.size if os.path.exists(path) else 0


def read(path: str) -> list[tuple[int, int]]:
    """``(seq, ns)`` of all that have started."""
    with open(path, "rb") as file:
        content = file.read()
    return [(seq, ns) for seq, ns in RECORD.iter_unpack(content[: len(content) // RECORD.size * RECORD.size])]
