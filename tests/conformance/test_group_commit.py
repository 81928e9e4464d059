"""The writer: what waits together is committed together, errors are each one's own, and an answer means it is on disk."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import insert, select

from pulser.core.errors import Unavailable
from pulser.events.append import emit
from pulser.store.store import Store
from pulser.store.tables import COMPANY, agent_pauses
from pulser.store.tx import Hints, Tx
from tests.conformance.world import COMPANY as OURS
from tests.conformance.world import OTHER, World

pytestmark = pytest.mark.anyio
p = agent_pauses.c
ROOT = Path(__file__).resolve().parents[2]


def put(tx: Tx, name: str) -> str:
    tx.execute(insert(agent_pauses), {"agent": name, "paused_at": tx.now, "paused_by": "x"})
    emit(tx, "note", tx.company or "", name, None, {"text": name})
    return name


def put_and_fail(tx: Tx, name: str) -> None:
    put(tx, name)
    tx.hints.agents.add("wrong")
    raise ZeroDivisionError(name)


def names(tx: Tx) -> list[str]:
    return sorted(tx.execute(select(p.agent).where(p.company_id == COMPANY)).scalars())


async def there(world: World, company: str = OURS) -> list[str]:
    found: list[str] = await world.store.read(names, company=company)
    return found


async def block(store: Store, company: str = OURS) -> threading.Event:
    """Keep the writers busy until the event is set, so that what comes meanwhile waits together."""
    busy, go = threading.Barrier(1 + store._writers), threading.Event()

    def hold(tx: Tx) -> None:
        busy.wait(20)
        assert go.wait(20)

    for n in range(store._writers):
        asyncio.ensure_future(store.write(hold, company=f"{company}{n}" if n else company))  # noqa: RUF006 - it ends with go
    await asyncio.to_thread(busy.wait, 20)
    return go


async def test_writes_that_wait_together_are_one_commit(world: World) -> None:
    go = await block(world.store)
    before = world.store.commits
    writes = [asyncio.ensure_future(world.write(put, f"n{n:03}")) for n in range(100)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*writes) == [f"n{n:03}" for n in range(100)]
    assert world.store.commits - before <= 2 + world.store._writers
    assert len(await there(world)) == 100


async def test_an_error_in_one_takes_back_only_its_own_rows_events_and_hints(world: World) -> None:
    heard: list[Hints] = []
    world.store.on_commit(heard.append)
    go = await block(world.store)
    writes = [asyncio.ensure_future(world.write(put_and_fail if n in (3, 7) else put, f"n{n}")) for n in range(10)]
    await asyncio.sleep(0)
    go.set()
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(answer, ZeroDivisionError) for answer in answers] == [n in (3, 7) for n in range(10)]
    good = sorted(f"n{n}" for n in range(10) if n not in (3, 7))
    assert await there(world) == good
    assert sorted(event["target"] for event in await world.events()) == good
    assert not any("wrong" in hints.agents for hints in heard)


async def test_write_each_hands_neighbours_over_together_and_answers_each(world: World) -> None:
    calls: list[int] = []

    def each(tx: Tx, items: list[Any]) -> list[Any]:
        calls.append(len(items))
        return [ValueError(f"not {item}") if item % 10 == 0 else item * 2 for item, _ in items]

    go = await block(world.store)
    writes = [asyncio.ensure_future(world.store.write_each(each, n, company=OURS)) for n in range(1, 51)]
    await asyncio.sleep(0)
    go.set()
    answers = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(calls) == 50 and len(calls) <= world.store._writers, f"they were not joined: {calls}"
    assert [str(answer) if isinstance(answer, ValueError) else answer for answer in answers] == [
        f"not {n}" if n % 10 == 0 else n * 2 for n in range(1, 51)
    ]  # fmt: skip


async def test_neighbours_of_different_companies_are_never_joined(world: World) -> None:
    seen: list[tuple[str | None, int]] = []

    def each(tx: Tx, items: list[Any]) -> list[Any]:
        seen.append((tx.company, len(items)))
        return [tx.company for _ in items]

    go = await block(world.store)
    writes = [asyncio.ensure_future(world.store.write_each(each, n, company=OTHER if n % 2 else OURS)) for n in range(20)]
    await asyncio.sleep(0)
    go.set()
    assert await asyncio.gather(*writes) == [OTHER if n % 2 else OURS for n in range(20)]
    assert sum(count for company, count in seen if company == OURS) == 10


async def test_companies_that_share_a_commit_do_not_share_rows(world: World) -> None:
    go = await block(world.store)
    writes = [asyncio.ensure_future(world.write(put, f"n{n}", company=OTHER if n % 2 else OURS)) for n in range(10)]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*writes)
    assert await there(world) == [f"n{n}" for n in range(0, 10, 2)]
    assert await there(world, OTHER) == [f"n{n}" for n in range(1, 10, 2)]
    assert sorted(event["target"] for event in await world.events(company=OTHER)) == [f"n{n}" for n in range(1, 10, 2)]


async def test_what_was_answered_can_be_read_by_anybody_at_once(world: World) -> None:
    second = world.open()
    for n in range(30):
        name = await world.write(put, f"n{n:02}")
        assert name in await second.read(names, company=OURS)


@pytest.mark.parametrize("where", ["before the commit", "after the answer"])
async def test_a_process_killed_before_the_commit_has_answered_nothing_and_after_the_answer_has_lost_nothing(world: World, where: str) -> None:
    place = world.settings.store
    script = f"""
import os, signal
from pathlib import Path
from pulser.store.store import Store
from tests.conformance.test_group_commit import put
store = Store(database_url={place.database_url!r}, data_dir=Path({str(place.data_dir)!r}), writers=1, readers=1, queue_limit=10)
def fn(tx):
    put(tx, "there")
    if {where == "before the commit"}:
        os.kill(os.getpid(), signal.SIGKILL)
store.write_blocking(fn, company="default")
print("answered", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == -9, done.stderr
    answered = where == "after the answer"
    assert done.stdout == ("answered\n" if answered else "")
    assert await there(world) == (["there"] if answered else [])
    assert len(await world.events()) == int(answered)


async def test_a_full_queue_is_told_and_never_grows(world: World) -> None:
    store = world.open(queue_limit=5, writers=1)
    go = await block(store)
    waiting = [asyncio.ensure_future(store.write(put, f"n{n}", company=OURS)) for n in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="5 writes are waiting") as full:
        await store.write(put, "too many", company=OURS)
    assert full.value.fields["retry_after_s"] == 1
    assert store.waiting == 5
    go.set()
    assert len(await asyncio.gather(*waiting)) == 5
    assert await store.write(put, "later", company=OURS) == "later"


async def test_what_must_not_wait_goes_before_what_waits_even_when_the_queue_is_full(world: World) -> None:
    store = world.open(queue_limit=2, writers=1)
    order: list[str] = []
    go = await block(store)
    waiting = [asyncio.ensure_future(store.write(lambda tx, n=n: order.append(f"n{n}"), company=OURS)) for n in range(2)]
    await asyncio.sleep(0)
    first = asyncio.ensure_future(asyncio.to_thread(store.write_blocking, lambda tx: order.append("heartbeat"), scope="engine", first=True))
    await world.until(lambda: full(store, 3))
    go.set()
    await asyncio.gather(*waiting, first)
    assert order[0] == "heartbeat"


async def full(store: Store, count: int) -> bool:
    return store.waiting == count


async def test_a_closed_store_says_so_and_finishes_what_it_took(world: World) -> None:
    store = world.open()
    taken = [asyncio.ensure_future(store.write(put, f"n{n}", company=OURS)) for n in range(20)]
    await asyncio.sleep(0)
    await asyncio.to_thread(store.close)
    assert len(await asyncio.gather(*taken)) == 20
    assert len(await there(world)) == 20
    with pytest.raises(Unavailable, match="closed"):
        await store.write(put, "late", company=OURS)
    with pytest.raises(Unavailable, match="closed"):
        await store.read(names, company=OURS)
    world.opened.remove(store)


async def test_a_read_sees_one_snapshot_and_cannot_write_on_sqlite(world: World) -> None:
    second = world.open()
    looked, written = threading.Event(), threading.Event()

    def twice(tx: Tx) -> tuple[list[str], list[str]]:
        before = names(tx)
        looked.set()
        assert written.wait(20)
        return before, names(tx)

    if not world.sqlite:
        return  # READ COMMITTED: each statement its own snapshot; functions that need one read once
    reading = asyncio.ensure_future(second.read(twice, company=OURS))
    await asyncio.to_thread(looked.wait, 20)
    await world.write(put, "new")
    written.set()
    assert await reading == ([], [])
    with pytest.raises(Exception, match=r"readonly|read-only|query_only"):
        await second.read(put, "x", company=OURS)


async def test_the_writers_survive_whatever_a_function_raises(world: World) -> None:
    class Odd(BaseException):
        pass

    def odd(tx: Tx) -> None:
        raise Odd("not even an Exception")

    for _ in range(3):
        with pytest.raises(Odd):
            await world.write(odd)
    assert await world.write(put, "after") == "after"
    assert world.store.alive


async def test_hints_are_told_after_the_commit_and_only_then(world: World) -> None:
    second = world.open()
    seen: list[list[str]] = []

    def told(hints: Hints) -> None:
        if hints.events:
            seen.append(second.read_blocking(names, company=OURS))

    world.store.on_commit(told)
    await world.write(put, "a")
    assert seen == [["a"]]


# Postgres: connections that break


async def cut(world: World) -> int:
    """Break every connection of the stores, as a restart of the server would; returns how many."""
    url = world.settings.store.database_url
    with psycopg.connect(url, autocommit=True) as connection:
        statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return len(connection.execute(statement).fetchall())


async def test_connections_that_were_cut_are_replaced_and_nobody_notices(postgres_world: World) -> None:
    world = postgres_world
    await world.write(put, "before")
    assert await cut(world) >= 1
    assert await there(world) == ["before"]
    answers = await asyncio.gather(*[world.write(put, f"n{n}") for n in range(8)], *[there(world) for _ in range(8)], return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, BaseException)] == []
    assert len(await there(world)) == 9
    assert world.store.alive


async def test_a_connection_cut_in_the_middle_of_a_transaction_runs_it_again_once(postgres_world: World) -> None:
    world = postgres_world
    runs: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def slow(tx: Tx) -> str:
        runs.append(1)
        put(tx, "slow")
        if len(runs) == 1:
            begun.set()
            assert go.wait(20)
            tx.execute(select(p.agent).where(p.company_id == COMPANY))
        return "done"

    writing = asyncio.ensure_future(world.write(slow))
    await asyncio.to_thread(begun.wait, 20)
    await cut(world)
    go.set()
    assert await writing == "done"
    assert (len(runs), await there(world)) == (2, ["slow"])
    assert len(await world.events()) == 1


async def test_a_crew_goes_on_after_its_connections_were_cut(postgres_world: World) -> None:
    world = postgres_world
    async with world.crew():
        ids = await world.submit_many(30, payload={"sleep_ms": 50})
        for _ in range(3):
            await cut(world)
            await asyncio.sleep(0)
        done = await world.ended(*ids)
    assert {task["stage"] for task in done} == {"done"}
