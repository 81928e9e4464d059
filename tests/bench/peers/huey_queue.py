# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"
"""huey, on Redis or on SQLite (with its fsync)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from huey import RedisHuey, SqliteHuey

from tests.bench.peers import probe

if os.environ["BENCH_VARIANT"] == "redis":
    huey = RedisHuey("bench", url=os.environ["BENCH_REDIS"] + "/8")
else:
    huey = SqliteHuey("bench", filename=os.environ["BENCH_FOLDER"] + "/huey.db", fsync=True)


@huey.task()
def noop(payload: dict[str, Any]) -> dict[str, Any]:
    """The task."""
    return probe.task(payload)


class Peer:
    """See the package."""

    submit_many = None

    def reset(self) -> None:
        huey.storage.flush_all()

    def worker_command(self) -> list[str]:
        program = Path(sys.executable).parent / "huey_consumer"
        return [sys.executable, str(program), "tests.bench.peers.huey_queue.huey", "-w", "4", "-k", "thread", "-q"]

    def open(self) -> None:
        """Connects by itself."""

    def submit(self, payload: dict[str, Any]) -> None:
        noop(payload)
