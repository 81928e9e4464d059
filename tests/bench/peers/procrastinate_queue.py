# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"
"""procrastinate on Postgres."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector

from tests.bench.peers import probe

URL = os.environ["BENCH_POSTGRES"]
app = App(connector=PsycopgConnector(conninfo=URL))


@app.task(name="noop")
async def noop(payload: dict[str, Any]) -> dict[str, Any]:
    """The task."""
    return probe.task(payload)


class Peer:
    """See the package."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def reset(self) -> None:
        async def make() -> None:
            async with app.open_async():
                await app.schema_manager.apply_schema_async()

        with psycopg.connect(URL, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        self.loop.run_until_complete(make())

    def worker_command(self) -> list[str]:
        return [sys.executable, "-m", "procrastinate", "-a", "tests.bench.peers.procrastinate_queue.app", "worker", "--concurrency", "20"]

    def open(self) -> None:
        self.loop.run_until_complete(app.open_async().__aenter__())

    def submit(self, payload: dict[str, Any]) -> None:
        self.loop.run_until_complete(noop.defer_async(payload=payload))

    def submit_all(self, payloads: list[dict[str, Any]]) -> None:
        async def send() -> None:
            for each in payloads:
                await noop.defer_async(payload=each)

        self.loop.run_until_complete(send())

    def submit_many(self, payloads: list[dict[str, Any]]) -> None:
        async def send() -> None:
            for n in range(0, len(payloads), 500):
                await noop.batch_defer_async(*[{"payload": each} for each in payloads[n : n + 500]])

        self.loop.run_until_complete(send())
