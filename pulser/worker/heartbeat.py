"""Renewing all leases of this worker in one statement, from a thread of its own so that busy work cannot starve it."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable

from pulser.core.clock import monotonic
from pulser.core.settings import Worker as Settings
from pulser.observe import logs
from pulser.store import claims, instances
from pulser.store.store import Store
from pulser.store.tx import Tx
from pulser.worker.pool import Pool

log = logs.get("heartbeat")


class Heartbeat:
    """The thread. It also says that the instances of this worker live, and how busy they are."""

    def __init__(self, store: Store, pool: Pool, settings: Settings, agents: Callable[[], list[str]]) -> None:
        self._store, self._pool, self._settings, self._agents = store, pool, settings, agents
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._loop = asyncio.get_running_loop()
        self.last_at = monotonic()

    def start(self) -> None:
        """Show the instances and begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and take the instances down."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _beat(self) -> None:
        while True:
            held = self._pool.held()
            try:
                began = monotonic()
                kept = self._store.write_apart(self._renew, held, actor=self._pool.actor, within_s=self._settings.lease_s / 3)
                self.last_at = began
                lost = [key for key in held if key[:2] not in kept]
            except Exception as error:  # whatever it is, this thread must live: without it every lease ends
                log.error("could not renew", error=str(error), leases=len(held))
                expired = monotonic() - self.last_at > self._settings.lease_s
                lost = held if expired else []  # somebody else may have them by now
            if lost and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._pool.lose, lost)
            if self._stop.wait(self._settings.renew_s):
                break
        try:
            self._store.write_apart(instances.remove, self._pool.worker_id, actor=self._pool.actor, within_s=5)
        except Exception:
            log.info("the instances will expire by themselves")

    def _renew(self, tx: Tx, held: list[tuple[str, str, int]]) -> set[tuple[str, str]]:
        running = {agent: 0 for agent in self._agents()}
        for each in list(self._pool.running.values()):
            running[each.task.agent] = running.get(each.task.agent, 0) + 1
        instances.seen(tx, self._pool.worker_id, socket.gethostname(), os.getpid(), self._settings.concurrency, running)
        return claims.renew(tx, held, self._settings.lease_s)
