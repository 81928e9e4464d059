"""``pulser worker``: workers alone, beside other processes on the same database."""

from __future__ import annotations

import asyncio
import signal

from pulser.app.build import build, start_crew
from pulser.core.settings import Settings
from pulser.observe import logs

log = logs.get("worker")


def work(settings: Settings) -> int:
    """Work until told to stop: SIGTERM and SIGINT drain. Returns the exit code."""
    import uvloop

    logs.configure(settings.observe.log_level, settings.observe.log_format)
    uvloop.run(_work(settings))
    return 0


async def _work(settings: Settings) -> None:
    parts = await asyncio.to_thread(build, settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, stop.set)
    crew = await start_crew(parts)
    log.info("ready", worker_id=crew.pool.worker_id, concurrency=settings.worker.concurrency)
    await stop.wait()
    log.info("draining", running=len(crew.pool.running))
    await crew.stop()
    await asyncio.to_thread(parts.close)
