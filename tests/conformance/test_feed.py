"""Reading the log: in order, no gap, no double, whoever commits late, however slowly one reads."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from pulser.core.errors import BadInput, Gone
from pulser.events import feed, follow
from pulser.events.append import emit
from pulser.events.feed import Wanted
from pulser.events.follow import Follower
from pulser.store.housekeeping import prune_events
from pulser.store.tx import Tx
from tests.conformance.world import COMPANY, OTHER, World

pytestmark = pytest.mark.anyio


def note(tx: Tx, text: str, target: str = "log") -> None:
    emit(tx, "note", tx.company or "", target, None, {"text": text})


def many_notes(tx: Tx, numbers: range) -> None:
    for n in numbers:
        note(tx, str(n))


async def notes(world: World, count: int, first: int = 0, **more: Any) -> None:
    for n in range(first, first + count):
        await world.write(note, str(n), **more)
    await world.told()


async def page(world: World, cursor: str, limit: int, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await world.store.read(feed.after, cursor, limit, company=COMPANY, **more)
    return found


def texts(events: list[dict[str, Any]]) -> list[str]:
    return [event["details"]["text"] for event in events]


async def test_pages_join_without_gap_or_double(world: World) -> None:
    await notes(world, 25)
    cursor, seen = feed.START, []
    while events := await page(world, cursor, 4):
        seen += texts(events)
        cursor = events[-1]["cursor"]
    assert seen == [str(n) for n in range(25)]


async def test_pages_backwards_show_the_newest_first_and_meet_the_first(world: World) -> None:
    await notes(world, 9)
    newest = await world.store.read(feed.before, None, 4, Wanted(), company=COMPANY)
    older = await world.store.read(feed.before, newest[-1]["cursor"], 10, Wanted(), company=COMPANY)
    assert texts(newest + older) == [str(n) for n in range(8, -1, -1)]


async def test_an_event_names_its_cursor_so_that_one_can_go_on_after_any(world: World) -> None:
    await notes(world, 10)
    events = await page(world, feed.START, 100)
    assert len({event["id"] for event in events}) == 10
    for n, event in enumerate(events):
        assert texts(await page(world, event["cursor"], 100)) == [str(m) for m in range(n + 1, 10)]


async def test_filters_leave_out_what_is_not_wanted(world: World) -> None:
    task_id = await world.submit()
    await notes(world, 2)
    assert [event["event"] for event in await world.events(task_id)] == ["task_submitted", "task_routed"]
    wanted = Wanted(kinds=("note", "task_routed"), actor="operator")
    found = await world.store.read(feed.after, feed.START, 10, wanted, company=COMPANY)
    assert [event["event"] for event in found] == ["task_routed", "note", "note"]
    assert await world.store.read(feed.after, feed.START, 10, Wanted(actor="nobody"), company=COMPANY) == []


@pytest.mark.parametrize("bad", ["", "c", "c1", "c-", "cg-1", "1-1", "c1-1-1", "c1-1\x00", "c" + "f" * 17 + "-1", "c1-1\n"])
async def test_what_is_no_cursor_is_refused(world: World, bad: str) -> None:
    with pytest.raises(BadInput, match="cursor"):
        await page(world, bad, 1)


async def test_a_transaction_held_open_and_committed_late_is_not_skipped(world: World) -> None:
    second = world.open()
    holding, let_go = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        note(tx, "slow")
        if not tx.sqlite:
            tx.cursor.execute("SELECT pg_current_xact_id()")  # it has its number before the quick ones
        holding.set()
        assert let_go.wait(20)

    if world.sqlite:  # there is one writer at a time: a late commit cannot be; its numbers are in the order of commits
        await asyncio.gather(world.write(note, "quick"), second.write(note, "slow", company=COMPANY))
        assert sorted(texts(await page(world, feed.START, 10))) == ["quick", "slow"]
        return
    late = asyncio.ensure_future(second.write(slow, company=COMPANY))
    await asyncio.to_thread(holding.wait, 20)
    for n in range(3):
        await world.write(note, str(n))
    seen = texts(first := await page(world, feed.START, 10))
    assert "slow" not in seen
    let_go.set()
    await late
    await world.told()
    cursor = first[-1]["cursor"] if first else feed.START
    seen += texts(await page(world, cursor, 10))
    assert sorted(seen) == ["0", "1", "2", "slow"], "something was skipped or told twice"


async def test_a_task_claimed_by_an_older_transaction_than_its_submit_is_still_told_in_order(world: World) -> None:
    if world.sqlite:
        hand = world.hand()
        task_id = await world.submit()
        await hand.claim()
        assert [event["version"] for event in await world.events(task_id)] == [1, 2, 3, 4]
        return
    second = world.open()
    hand = world.hand(store=second)
    begun, submitted = threading.Event(), threading.Event()

    def turn(tx: Tx) -> None:
        tx.cursor.execute("SELECT pg_current_xact_id()")  # as if it had settled something first
        begun.set()
        assert submitted.wait(20)
        hand.pool._claim(tx, 1)

    claiming = asyncio.ensure_future(second.write(turn, scope="engine", actor=hand.pool.actor))
    await asyncio.to_thread(begun.wait, 20)
    task_id = await world.submit()
    submitted.set()
    await claiming
    assert [event["version"] for event in await world.events(task_id)] == [1, 2, 3, 4]


async def test_many_writers_at_once_and_a_reader_beside_them_sees_each_event_once_and_each_writers_in_order(world: World) -> None:
    second = world.open()
    seen: list[tuple[str, str]] = []
    over = asyncio.Event()

    async def read() -> None:
        cursor = feed.START
        while True:
            last = over.is_set()
            while events := await page(world, cursor, 7):
                seen.extend((event["target"], event["details"]["text"]) for event in events)
                cursor = events[-1]["cursor"]
            if last:
                return
            await asyncio.sleep(0)

    async def write(name: str, store: Any) -> None:
        for n in range(25):
            await store.write(note, str(n), name, company=COMPANY)

    reading = asyncio.ensure_future(read())
    await asyncio.gather(*[write(f"w{n}", world.store if n % 2 else second) for n in range(6)])
    await world.told()
    over.set()
    await reading
    for name in {target for target, _ in seen}:
        assert [text for target, text in seen if target == name] == [str(n) for n in range(25)]
    assert len(seen) == 150


def parse(frames: bytes) -> list[dict[str, Any]]:
    found = []
    for frame in frames.split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n") if b": " in line and not line.startswith(b":"))
        if fields:
            event = msgspec.json.decode(fields[b"data"])
            assert fields[b"id"].decode() == event["cursor"]
            assert fields[b"event"].decode() == event["event"]
            found.append(event)
    return found


async def read_until(stream: Any, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while len(found) < count:
        found += parse(await asyncio.wait_for(anext(stream), 20))
    return found


@pytest.fixture
async def follower(world: World) -> Any:
    made = Follower(world.store)
    await made.start()
    yield made
    await made.stop()


async def test_a_stream_tells_what_happens_from_now_on(world: World, follower: Follower) -> None:
    await notes(world, 3)
    async with aclosing(follower.stream(COMPANY, None, Wanted())) as stream:
        assert await anext(stream) == b": connected\n\n"
        await notes(world, 4, 3)
        assert texts(await read_until(stream, 4)) == ["3", "4", "5", "6"]


async def test_a_stream_since_a_cursor_or_a_time_begins_there(world: World, follower: Follower) -> None:
    await notes(world, 3)
    world.pass_time(10)
    at = await world.store.read(lambda tx: tx.now, company=COMPANY)
    await notes(world, 3, 3)
    since = await world.store.read(feed.since, at, company=COMPANY)
    async with aclosing(follower.stream(COMPANY, since, Wanted())) as stream:
        assert texts(await read_until(stream, 3)) == ["3", "4", "5"]
    later = await world.store.read(feed.since, at + timedelta(hours=1), company=COMPANY)
    assert await page(world, later, 10) == []
    early = await world.store.read(feed.since, at - timedelta(hours=1), company=COMPANY)
    assert len(await page(world, early, 10)) == 6


async def test_reconnecting_with_the_last_id_again_and_again_loses_and_doubles_nothing(world: World, follower: Follower) -> None:
    async def write() -> None:
        await notes(world, 60)

    writing = asyncio.ensure_future(write())
    cursor = feed.START
    seen: list[str] = []
    while len(seen) < 60:
        async with aclosing(follower.stream(COMPANY, cursor, Wanted())) as stream:
            events = await read_until(stream, 1)
        seen += texts(events)
        cursor = events[-1]["cursor"]
    await writing
    assert seen == [str(n) for n in range(60)]


async def test_a_slow_listener_holds_a_bounded_backlog_and_loses_nothing(world: World, follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "BACKLOG", 16)
    async with aclosing(follower.stream(COMPANY, None, Wanted())) as stream:
        await anext(stream)
        await notes(world, 1)
        first = await read_until(stream, 1)
        for n in range(1, 201, 40):  # the listener does not read meanwhile
            await world.write(many_notes, range(n, n + 40))

        async def missed() -> bool:
            return any(listener.missed for listener in follower._listeners)

        await world.until(missed)
        assert all(len(listener.waiting) <= 16 for listener in follower._listeners)
        seen = texts(first) + texts(await read_until(stream, 200))
    assert seen == [str(n) for n in range(201)]
    assert not follower._listeners, "a listener that left is forgotten"


async def test_a_stream_keeps_the_line_alive_when_nothing_happens(world: World, follower: Follower) -> None:
    async with aclosing(follower.stream(COMPANY, None, Wanted(), keep_alive_s=0.01)) as stream:
        assert [await anext(stream), await anext(stream)] == [b": connected\n\n", b": keep-alive\n\n"]


async def test_a_stream_shows_only_its_company_and_what_it_wants(world: World, follower: Follower) -> None:
    async with aclosing(follower.stream(COMPANY, None, Wanted(target="mine"))) as stream:
        await anext(stream)
        await world.write(note, "theirs", "mine", company=OTHER)
        await world.write(note, "unwanted", "else")
        await world.write(note, "wanted", "mine")
        assert texts(await read_until(stream, 1)) == ["wanted"]


async def test_streams_end_when_the_follower_stops(world: World) -> None:
    follower = Follower(world.store)
    await follower.start()
    async with aclosing(follower.stream(COMPANY, None, Wanted())) as stream:
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        await follower.stop()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(waiting, 20)


async def test_a_cursor_whose_successors_were_pruned_is_gone_and_says_from_where_to_go_on(world: World) -> None:
    await notes(world, 5)
    old = await page(world, feed.START, 10)
    world.pass_time(91 * 86_400)
    await notes(world, 3, 5)
    assert await world.store.write(prune_events, 90, scope="owner") >= 4
    with pytest.raises(Gone) as gone:
        await world.store.read(feed.check_cursor, old[1]["cursor"], company=COMPANY)
    assert texts(await page(world, gone.value.fields["oldest"], 10))[-3:] == ["5", "6", "7"]


async def test_a_cursor_after_which_nothing_was_pruned_goes_on(world: World) -> None:
    await notes(world, 5)
    world.pass_time(91 * 86_400)
    await notes(world, 3, 5)
    kept = await page(world, feed.START, 10)
    await world.store.write(prune_events, 90, scope="owner")
    for event in kept[4:]:
        await world.store.read(feed.check_cursor, event["cursor"], company=COMPANY)
    assert texts(await page(world, kept[4]["cursor"], 10)) == ["5", "6", "7"]


async def test_a_company_that_has_told_nothing_yet_may_keep_its_cursor_while_others_talk(world: World) -> None:
    await notes(world, 1, company=OTHER)
    cursor = await world.store.read(feed.head, scope="engine")  # what a stream from now on begins with
    await notes(world, 5, company=OTHER)
    await notes(world, 2)
    await world.store.read(feed.check_cursor, cursor, company=COMPANY)
    assert texts(await page(world, cursor, 10)) == ["0", "1"]
