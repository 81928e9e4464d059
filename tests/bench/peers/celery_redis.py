# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"
"""Celery with Redis as broker and result back end; acknowledged late, so that a killed worker's tasks come back."""

from __future__ import annotations

import os
import sys
from typing import Any

import redis
from celery import Celery, group

from tests.bench.peers import probe

SERVER = os.environ["BENCH_REDIS"]
app = Celery("bench", broker=SERVER + "/1", backend=SERVER + "/2")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    task_ignore_result=False,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="noop")
def noop(payload: dict[str, Any]) -> dict[str, Any]:
    """The task."""
    return probe.task(payload)


class Peer:
    """See the package."""

    def reset(self) -> None:
        for number in (1, 2):
            redis.Redis.from_url(f"{SERVER}/{number}").flushdb()

    def worker_command(self) -> list[str]:
        options = ["-P", "prefork", "-c", "2", "-l", "WARNING", "--without-mingle", "--without-gossip"]
        return [sys.executable, "-m", "celery", "-A", "tests.bench.peers.celery_redis", "worker", *options]

    def open(self) -> None:
        app.connection().ensure_connection()

    def submit(self, payload: dict[str, Any]) -> None:
        noop.delay(payload)

    def submit_many(self, payloads: list[dict[str, Any]]) -> None:
        for n in range(0, len(payloads), 500):
            group(noop.s(each) for each in payloads[n : n + 500]).apply_async()
