"""The floor: a claim loop written by hand on SQLite with full durability, 50 tasks a commit. No fencing, no events, no retries, no companies."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from tests.bench.peers import probe

FILE = Path(os.environ["BENCH_FOLDER"]) / "raw.sqlite"
BATCH = 50
CLAIM = """UPDATE jobs SET state = 1, lease = ?, attempt = attempt + 1 WHERE id IN (SELECT id FROM jobs WHERE state = 0 ORDER BY id LIMIT ?)
 RETURNING id, payload"""


def connect() -> sqlite3.Connection:
    """Full durability."""
    connection = sqlite3.connect(FILE, isolation_level=None, timeout=10)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000")
    return connection


class Peer:
    """See the package."""

    def reset(self) -> None:
        for each in FILE.parent.glob(FILE.name + "*"):
            each.unlink()
        connection = connect()
        connection.executescript(
            """CREATE TABLE jobs (id INTEGER PRIMARY KEY, state INT NOT NULL DEFAULT 0, payload TEXT NOT NULL, result TEXT, attempt INT DEFAULT 0, lease REAL,
             created REAL DEFAULT (julianday('now')));
            CREATE INDEX jobs_queued ON jobs (id) WHERE state = 0"""
        )
        connection.close()

    def worker_command(self) -> list[str]:
        return [sys.executable, "-m", "tests.bench.peers.raw_sqlite"]

    def open(self) -> None:
        self.connection = connect()

    def submit(self, payload: dict[str, Any]) -> None:
        self.connection.execute("INSERT INTO jobs (payload) VALUES (?)", (json.dumps(payload),))

    def submit_many(self, payloads: list[dict[str, Any]]) -> None:
        for n in range(0, len(payloads), 500):
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.executemany("INSERT INTO jobs (payload) VALUES (?)", [(json.dumps(each),) for each in payloads[n : n + 500]])
            self.connection.execute("COMMIT")


def work() -> None:
    """Claim, run, settle; looks for new work every 2 ms."""
    connection, seen = connect(), None
    while True:
        rows = connection.execute(CLAIM, (time.time() + 10, BATCH)).fetchall()
        if not rows:
            while (version := connection.execute("PRAGMA data_version").fetchone()[0]) == seen:
                time.sleep(0.002)
            seen = version
            continue
        done = [(json.dumps(probe.task(json.loads(body))), number) for number, body in rows]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("UPDATE jobs SET state = 2, result = ? WHERE id = ?", done)
        connection.execute("COMMIT")


if __name__ == "__main__":
    work()
