"""The one reader of the log: it goes on whatever happens, and says so when it does not; a cursor from a future that was restored away is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from pulser.access import keys
from pulser.core.errors import Gone
from pulser.events import feed, follow
from pulser.events.append import emit
from pulser.events.follow import Follower
from pulser.store import migrate
from pulser.store.store import Store
from pulser.store.tx import Tx

pytestmark = pytest.mark.anyio
SOON_S = 20.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    migrate.ready("", "", tmp_path)
    opened = Store(database_url="", data_dir=tmp_path, writers=1, readers=2, queue_limit=100)
    opened.write_blocking(keys.ensure_default, scope="auth")
    yield opened
    opened.close()


def note(tx: Tx, text: str) -> None:
    emit(tx, "note", "default", "log", None, {"text": text})


async def heard(follower: Follower, store: Store, text: str) -> bool:
    """True once a stream has told of a note that is written while it listens."""
    async with asyncio.timeout(SOON_S), aclosing(follower.stream("default", None, feed.Wanted())) as frames:
        await anext(frames)
        started = asyncio.ensure_future(anext(frames))
        while not started.done():
            await store.write(note, text, company="default")
            await asyncio.wait([started], timeout=0.2)
        return text.encode() in started.result()


async def test_the_reader_goes_on_after_an_error_that_nobody_foresaw(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(follow, "POLL_S", 0.01)
    follower = Follower(store)
    failed = asyncio.Event()
    real = follower._page

    async def page() -> int:
        if not failed.is_set():
            failed.set()
            raise ValueError("a row that cannot be read")
        return await real()

    monkeypatch.setattr(follower, "_page", page)
    await follower.start()
    assert await heard(follower, store, "hello") and failed.is_set() and follower.alive
    await follower.stop()


async def test_one_who_counts_and_fails_does_not_keep_events_from_others(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(follow, "POLL_S", 0.01)
    follower = Follower(store)
    counted: list[str] = []

    def fails(*_: Any) -> None:
        raise KeyError("agent")

    follower.watch(fails, ("note",))
    follower.watch(lambda kind, *_: counted.append(kind), ("note",))
    await follower.start()
    assert await heard(follower, store, "hello")
    async with asyncio.timeout(SOON_S):
        while not counted:  # the stream may have had it from the log, before it was counted
            await asyncio.sleep(0)
    await follower.stop()


async def test_a_reader_that_has_stopped_is_not_alive(store: Store):
    follower = Follower(store)
    seen = [follower.alive]
    await follower.start()
    seen.append(follower.alive)
    await follower.stop()
    await asyncio.sleep(0)
    assert [*seen, follower.alive] == [False, True, False]


async def test_a_cursor_from_beyond_the_end_is_gone_and_the_last_one_is_not(store: Store):
    with pytest.raises(Gone):  # nothing has happened yet
        await store.read(feed.check_cursor, "c0-1", company="default")
    await store.write(note, "one", company="default")
    [event] = await store.read(feed.after, feed.START, 10, company="default")
    await store.read(feed.check_cursor, event["cursor"], company="default")
    xid, seq = feed.parse_cursor(event["cursor"])
    for beyond in (feed.cursor_of(xid, seq + 1), feed.cursor_of(xid + 1, 0)):
        with pytest.raises(Gone, match="restored"):
            await store.read(feed.check_cursor, beyond, company="default")


async def test_who_comes_while_the_log_is_being_counted_misses_nothing_of_what_was_counted(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(follow, "POLL_S", 0.01)
    follower = Follower(store)
    follower.watch(lambda event, details, after: None, ("note",))
    counting, go = asyncio.Event(), asyncio.Event()
    real = store.read

    async def read(fn: Any, *args: Any, **more: Any) -> Any:
        if fn is feed.brief:
            counting.set()
            await go.wait()
        return await real(fn, *args, **more)

    monkeypatch.setattr(store, "read", read)
    await follower.start()
    async with asyncio.timeout(SOON_S):
        await counting.wait()
        async with aclosing(follower.stream("default", None, feed.Wanted())) as frames:
            await anext(frames)
            told = asyncio.ensure_future(anext(frames))
            await asyncio.wait([told], timeout=0.3)  # it has looked into the log, and listens
            await store.write(note, "counted meanwhile", company="default")
            go.set()
            assert b"counted meanwhile" in await told
    await follower.stop()
