# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"
"""DBOS on SQLite. It polls; here every 0.05 s instead of its 1 s, which is in its favour."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from dbos import DBOS, DBOSClient

from tests.bench.peers import probe

FILE = Path(os.environ["BENCH_FOLDER"]) / "dbos.sqlite"
URL = f"sqlite:///{FILE}"


@DBOS.workflow(name="noop")
def noop(payload: dict[str, Any]) -> dict[str, Any]:
    """The task."""
    return probe.task(payload)


class Peer:
    """See the package."""

    submit_many = None

    def reset(self) -> None:
        for each in FILE.parent.glob(FILE.name + "*"):
            each.unlink()
        subprocess.run([*self.worker_command(), "--migrate-only"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def worker_command(self) -> list[str]:
        return [sys.executable, "-m", "tests.bench.peers.dbos_queue"]

    def open(self) -> None:
        self.client = DBOSClient(system_database_url=URL)

    def submit(self, payload: dict[str, Any]) -> None:
        self.client.enqueue({"queue_name": "q", "workflow_name": "noop", "app_version": "1"}, payload)


if __name__ == "__main__":
    DBOS(config={"name": "bench", "system_database_url": URL, "application_version": "1", "log_level": "ERROR", "run_admin_server": False})
    DBOS.launch()
    DBOS.register_queue("q", worker_concurrency=50, polling_interval_sec=0.05, on_conflict="always_update")
    if "--migrate-only" in sys.argv:
        DBOS.destroy()
        sys.exit(0)
    threading.Event().wait()
