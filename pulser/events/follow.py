"""Following the log: one reader per process, frames encoded once, a bounded queue per listener that drops to resume from the log.

A listener that does not read costs at most ``BACKLOG`` references; when it reads on, what it missed comes from the log.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec

from pulser.core.errors import PulserError
from pulser.events import feed
from pulser.observe import logs
from pulser.store.store import Store
from pulser.store.tx import Hints

log = logs.get("events")
BACKLOG = 512
PAGE = 500
POLL_S = 0.5  # for commits of other processes
_encode = msgspec.json.Encoder().encode

Delivered = tuple[tuple[int, int], dict[str, Any], bytes]


class Listener:
    """One who follows a company's events."""

    def __init__(self, company: str, wanted: feed.Wanted) -> None:
        self.company, self.wanted = company, wanted
        self.waiting: deque[Delivered] = deque()
        self.missed = False
        self.ready = asyncio.Event()

    def offer(self, delivered: Delivered) -> None:
        """Take an event, or note that some were missed."""
        if len(self.waiting) >= BACKLOG:
            self.missed = True
        else:
            self.waiting.append(delivered)
        self.ready.set()


class Follower:
    """The reader of this process and its listeners."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: set[Listener] = set()
        self._watchers: list[tuple[Callable[[str, dict[str, Any], dict[str, Any]], None], tuple[str, ...]]] = []
        self._grown = asyncio.Event()
        self._arrived = asyncio.Event()  # a listener
        self._task: asyncio.Task[None] | None = None
        self.closed = False

    async def start(self) -> None:
        """Follow from now on."""
        loop = asyncio.get_running_loop()
        self._at = await self._store.read(feed.head, scope="engine")

        def told(hints: Hints) -> None:
            if hints.events and not loop.is_closed():
                loop.call_soon_threadsafe(self._grown.set)

        self._store.on_commit(told)
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """End all streams."""
        self.closed = True
        for listener in self._listeners:
            listener.ready.set()
        if self._task is not None:
            self._task.cancel()

    @property
    def alive(self) -> bool:
        """True while the log is read."""
        return self._task is not None and not self._task.done()

    def watch(self, watcher: Callable[[str, dict[str, Any], dict[str, Any]], None], kinds: tuple[str, ...]) -> None:
        """Call ``watcher(event, details, after)`` for every event of these kinds, of all companies (metrics); at the latest half a second after it."""
        self._watchers.append((watcher, kinds))

    async def _follow(self) -> None:
        while True:
            if self._listeners:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._grown.wait(), POLL_S)
            else:  # nobody is in a hurry: read what is counted, a few columns of it, twice a second
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._arrived.wait(), POLL_S)
            self._grown.clear()
            self._arrived.clear()
            try:
                while await (self._page() if self._listeners else self._count()) == PAGE:
                    await asyncio.sleep(0)
            except PulserError as error:
                log.error("could not read the log", error=error.detail)
                await asyncio.sleep(POLL_S)
            except Exception:  # without this reader no stream tells anything any more: it goes on whatever happens
                log.exception("could not read the log")
                await asyncio.sleep(POLL_S)

    async def _page(self) -> int:
        events = await self._store.read(feed.after, self._at, PAGE, scope="engine")
        for event in events:
            self._tell_watchers(event["event"], event["details"], event["after"] or {})
            frame: bytes | None = None
            for listener in self._listeners:
                if listener.company == event["company_id"] and listener.wanted.matches(event):
                    frame = frame or sse(event)
                    listener.offer((feed.parse_cursor(event["cursor"]), event, frame))
        if events:
            self._at = events[-1]["cursor"]
        return len(events)

    async def _count(self) -> int:
        kinds = tuple({kind for _, wanted in self._watchers for kind in wanted})
        if not kinds:
            return 0
        rows, self._at = await self._store.read(feed.brief, self._at, PAGE, kinds, scope="engine")
        for event, details, after in rows:
            self._tell_watchers(event, details, after)
        for listener in self._listeners if rows else ():  # they came while this read was under way, and were offered nothing of it
            listener.missed = True
            listener.ready.set()
        return len(rows)

    def _tell_watchers(self, event: str, details: dict[str, Any], after: dict[str, Any]) -> None:
        for watcher, kinds in self._watchers:
            if event in kinds:
                try:
                    watcher(event, details, after)
                except Exception:  # the event would be met again and again, and nobody hear of those after it
                    log.exception("could not count an event", kind=event)

    async def stream(self, company: str, cursor: str | None, wanted: feed.Wanted, keep_alive_s: float = 15.0) -> AsyncGenerator[bytes, None]:
        """Frames of server-sent events after ``cursor`` (from now on if None), without gap or double; a comment when nothing happens."""
        listener = Listener(company, wanted)
        self._listeners.add(listener)
        self._arrived.set()
        try:
            after = cursor if cursor is not None else await self._store.read(feed.head, scope="engine")
            yield b": connected\n\n"
            listener.missed = True  # begin with what the log has
            while not self.closed:
                if listener.missed:
                    listener.missed = False
                    listener.waiting.clear()
                    while events := await self._store.read(feed.after, after, PAGE, wanted, company=company):
                        yield b"".join([sse(event) for event in events])
                        after = events[-1]["cursor"]
                at = feed.parse_cursor(after)
                frames = []
                while listener.waiting:
                    place, event, frame = listener.waiting.popleft()
                    if place > at:
                        frames.append(frame)
                        at, after = place, event["cursor"]
                if frames:
                    yield b"".join(frames)
                if self.closed or listener.missed or listener.waiting:
                    continue
                listener.ready.clear()
                try:
                    await asyncio.wait_for(listener.ready.wait(), keep_alive_s)
                except TimeoutError:
                    yield b": keep-alive\n\n"
        finally:
            self._listeners.discard(listener)


def sse(event: dict[str, Any]) -> bytes:
    """An event as a frame."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event["cursor"].encode(), event["event"].encode(), _encode(event))
