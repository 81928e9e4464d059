"""The only place that knows concrete classes: settings become a running Pulser, and a running Pulser is taken down in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulser.access import keys
from pulser.access.local import LocalToken
from pulser.agents.perform import perform
from pulser.agents.registry import Registry
from pulser.app.desk import Workbench
from pulser.collab import leases
from pulser.core.clock import monotonic
from pulser.core.errors import PulserError
from pulser.core.settings import Queue, Settings
from pulser.core.task import Claimed, Outcome
from pulser.delivery.neighbours import Neighbours
from pulser.delivery.notify import Notify
from pulser.intake.submit import Submitter
from pulser.observe import logs, redact
from pulser.store import housekeeping, migrate
from pulser.store.blobs import Blobs
from pulser.store.store import Store
from pulser.store.tx import Hints, Tx
from pulser.web import metrics
from pulser.worker.heartbeat import Heartbeat
from pulser.worker.pool import Pool
from pulser.worker.reaper import sweep
from pulser.worker.settle import Settler

log = logs.get("app")

TIDY_S = 600.0


def open_store(settings: Settings, *, offset_s: float = 0.0) -> Store:
    """The database, current and with the default company in it."""
    place = settings.store
    place.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _keep_private(place.data_dir)
    for secret in (settings.server.api_key, *settings.tools.targets.values()):
        if secret:
            redact.keep_out(secret)
    migrate.ready(place.database_url, place.owner_url, place.data_dir)
    store = Store(
        database_url=place.database_url, data_dir=place.data_dir, writers=place.writers, readers=place.readers, queue_limit=place.queue_limit, offset_s=offset_s
    )
    store.write_blocking(keys.ensure_default, scope="auth")
    return store


def _keep_private(folder: Path) -> None:
    """The data folder is this user's alone, also one that was made otherwise. One that all share (/tmp) or that is another's stays as it is."""
    found = folder.stat()
    if found.st_mode & 0o077 and not found.st_mode & stat.S_ISVTX and found.st_uid == os.geteuid():
        folder.chmod(0o700)


@dataclass(slots=True)
class Parts:
    """A Pulser, opened but not started."""

    settings: Settings
    store: Store
    registry: Registry
    blobs: Blobs
    submitter: Submitter
    local: LocalToken | None = None
    delivery: Neighbours | Notify | None = None

    def close(self) -> None:
        """Stop telling other processes, and close the store."""
        if self.delivery is not None:
            self.delivery.stop()
        self.store.close()


def build(settings: Settings, *, offset_s: float = 0.0) -> Parts:
    """Open the store and load the agents."""
    registry = Registry.load(settings.tools.agents_dir)
    store = open_store(settings, offset_s=offset_s)
    blobs = Blobs(store, settings.store.data_dir, settings.store.files_quota_bytes)
    parts = Parts(settings, store, registry, blobs, Submitter(settings.queue))
    place = settings.store
    parts.delivery = Notify(place.database_url, store.hear) if place.database_url else Neighbours(place.data_dir, store.hear)
    store.send_to(parts.delivery.send)
    parts.delivery.start()
    return parts


@dataclass(slots=True)
class Crew:
    """The worker of this process: its pool, heartbeat and sweeper."""

    parts: Parts
    pool: Pool
    heartbeat: Heartbeat
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def stop(self) -> None:
        """Drain, stop the sweeps and the heartbeat."""
        for task in self.tasks:
            task.cancel()
        await self.pool.drain(self.parts.settings.worker.drain_s)
        await asyncio.to_thread(self.heartbeat.stop)

    def heartbeat_age_s(self) -> float:
        """Seconds since the leases were last renewed."""
        return monotonic() - self.heartbeat.last_at


def calm_collector() -> None:
    """What is loaded stays: the collector need not look at it again, nor after every 700 new objects. Saves a tenth of a task's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def start_crew(parts: Parts, *, worker_id: str | None = None) -> Crew:
    """Start working, in the running loop."""
    calm_collector()
    settings = parts.settings
    desk = Workbench(settings, parts.store, parts.registry, parts.blobs, parts.submitter)
    settler = Settler(settings.queue, desk.spawn)
    name = worker_id or f"{os.uname().nodename}-{os.getpid()}"[:60]

    async def do(task: Claimed, tell: Any) -> Outcome:
        began = monotonic()
        with logs.about(task_id=task.task_id, company_id=task.company_id):
            try:
                return await perform(task, desk, tell)
            finally:
                metrics.observe(task.agent, monotonic() - began)

    served = frozenset(settings.worker.agents) if settings.worker.agents else None
    for agent in served or ():
        parts.registry.agent(agent)
    pool = Pool(parts.store, settler, do, settings.worker, name, served)
    heartbeat = Heartbeat(parts.store, pool, settings.worker, lambda: [spec.name for spec in parts.registry.agents() if served is None or spec.name in served])
    crew = Crew(parts, pool, heartbeat)
    heartbeat.start()
    pool.start()
    crew.tasks += [asyncio.create_task(_sweep(parts, pool)), asyncio.create_task(_tidy(parts))]
    return crew


def _sweep_all(tx: Tx, queue: Queue) -> bool:
    """One sweep over tasks and over leases on anything else; true if there may be more."""
    _, more = sweep(tx, queue)
    return leases.reclaim_stale(tx) == leases.SWEEP or more


async def _sweep(parts: Parts, pool: Pool) -> None:
    """Every ``sweep_s``, and when something is known to come due."""
    loop, store, settings = asyncio.get_running_loop(), parts.store, parts.settings
    soon = asyncio.Event()

    def told(hints: Hints) -> None:
        if hints.due is not None and not loop.is_closed():
            wait_s = (hints.due.timestamp() * 1e6 - store.clock_us()) / 1e6
            if wait_s < settings.worker.sweep_s:
                loop.call_soon_threadsafe(loop.call_later, max(wait_s, 0.0) + 0.002, soon.set)

    store.on_commit(told)
    while True:
        more = False
        try:
            more = await store.write(_sweep_all, settings.queue, scope="engine", actor=pool.actor)
        except PulserError as error:
            log.error("sweep failed", error=error.detail)
        except Exception:  # without the sweep no retry comes due and no lease is taken back: it goes on whatever happens
            log.exception("sweep failed")
        pool.wake()  # work that came from another process costs at most one period
        if not more:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(soon.wait(), min(settings.worker.sweep_s, 1.0))
            soon.clear()


async def _tidy(parts: Parts) -> None:
    """Housekeeping, now and every ``TIDY_S``; again soon while there is more to do."""
    while True:
        more = False
        try:
            more = await asyncio.to_thread(housekeeping.tidy, parts.store, parts.blobs, parts.settings)
        except PulserError as error:
            log.error("housekeeping failed", error=error.detail)
        except Exception:
            log.exception("housekeeping failed")
        await asyncio.sleep(5.0 if more else TIDY_S)
