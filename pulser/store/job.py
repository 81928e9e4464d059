"""A piece of work for a writer or reader thread, and the way its answer gets back to who waits."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from pulser.core.actor import Actor
from pulser.core.errors import Unavailable
from pulser.store.tx import Scope


class Job:
    """``fn(tx, …)`` in one scope. With ``each`` it may be joined with its neighbours of the same ``fn``: ``fn(tx, items)`` answers a list."""

    __slots__ = ("actor", "company", "each", "error", "fn", "future", "item", "loop", "result", "scope", "waiter")

    def __init__(self, fn: Callable[..., Any], item: Any, scope: Scope, company: str | None, actor: Actor, *, each: bool) -> None:
        self.fn = fn
        self.item = item
        self.scope = scope
        self.company = company
        self.actor = actor
        self.each = each
        self.result: Any = None
        self.error: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[Any] | None = None
        self.waiter: threading.Event | None = None

    def joins(self, other: Job) -> bool:
        """True if both can be one call of ``fn``."""
        return self.each and other.each and self.fn == other.fn and self.scope == other.scope and self.company == other.company


def _resolve(jobs: list[Job]) -> None:
    for job in jobs:
        future = job.future
        if future is not None and not future.done():
            if job.error is not None:
                future.set_exception(job.error)
            else:
                future.set_result(job.result)


def answer(jobs: Iterable[Job]) -> None:
    """Hand every job's result or error to who waits; one wake-up per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        if job.waiter is not None:
            job.waiter.set()
        elif job.loop is not None:
            by_loop.setdefault(job.loop, []).append(job)
    for loop, ours in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, ours)
        except RuntimeError:  # the loop closed while the work was under way: nobody waits any more
            continue


class Inbox:
    """A bounded queue of jobs between event loops and writer threads. Full means :class:`Unavailable`, never a longer queue."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: deque[Job] = deque()
        self._ready = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job, *, first: bool = False) -> None:
        """Add ``job``; ``first`` for what must not wait behind others (heartbeats)."""
        with self._ready:
            if self._closed:
                raise Unavailable("the store is closed", hint="Pulser is stopping.", retry_after_s=2)
            if len(self._jobs) >= self._limit and not first:
                raise Unavailable(f"{self._limit} writes are waiting already", hint="Send fewer at once, or try again in a second.", retry_after_s=1)
            if first:
                self._jobs.appendleft(job)
            else:
                self._jobs.append(job)
            self._ready.notify()

    def take(self, most: int, *, same: bool = False) -> list[Job]:
        """Wait for jobs and take up to ``most``; with ``same``, only those of the first one's scope and company. Empty: closed."""
        with self._ready:
            while not self._jobs:
                if self._closed:
                    return []
                self._ready.wait()
            if not same:
                taken = [self._jobs.popleft() for _ in range(min(most, len(self._jobs)))]
            else:
                lead = self._jobs.popleft()
                taken = [lead]
                kept: list[Job] = []
                while self._jobs and len(taken) < most:
                    job = self._jobs.popleft()
                    (taken if (job.scope, job.company) == (lead.scope, lead.company) else kept).append(job)
                self._jobs.extendleft(reversed(kept))
            if self._jobs:
                self._ready.notify()
            return taken

    def close(self) -> None:
        """No more jobs; what waits is still done."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
