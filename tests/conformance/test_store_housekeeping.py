"""Housekeeping: in small pieces, of the right things, beside the work."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from pulser.core.errors import TooLarge
from pulser.core.task import Artifact, Outcome
from pulser.events import feed
from pulser.events.append import emit
from pulser.intake.submit import Key
from pulser.store import blobs, housekeeping
from pulser.store.blobs import Blobs
from pulser.store.tables import idempotency_keys
from pulser.store.tx import Tx
from tests.conformance.world import COMPANY, OTHER, World

pytestmark = pytest.mark.anyio
DAY = 86_400


async def note(world: World, count: int, company: str = COMPANY) -> None:
    def write(tx: Tx) -> None:
        for n in range(count):
            emit(tx, "agent_paused", company, f"agent-{n}", None, {})

    await world.write(write, company=company)


async def tidy(world: World) -> bool:
    return await asyncio.to_thread(housekeeping.tidy, world.store, world.blobs, world.settings)


async def left(world: World) -> Counter[tuple[str, str]]:
    return Counter((row.company_id, row.event) for row in await world.sql("SELECT company_id, event FROM events"))


async def test_old_events_are_pruned_piece_by_piece_and_each_company_keeps_one_mark(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "CHUNK", 5)
    for _ in range(4):
        await note(world, 3)
        await note(world, 4, OTHER)
    world.pass_time(91 * DAY)
    await note(world, 2)
    assert await world.store.write(housekeeping.prune_events, 90, scope="owner") == 5
    assert sum((await left(world)).values()) == 30 - 5 + 2, "five went, and a mark of each company came"
    assert await tidy(world) is False
    assert await left(world) == {(COMPANY, "log_pruned"): 1, (OTHER, "log_pruned"): 1, (COMPANY, "agent_paused"): 2}
    assert await tidy(world) is False
    assert sum((await left(world)).values()) == 4, "what is young, and the marks, stay"
    shown = await world.store.read(feed.after, feed.START, 10, company=COMPANY)
    assert [each["event"] for each in shown] == ["log_pruned", "agent_paused", "agent_paused"]


async def test_a_round_has_an_end_and_says_that_there_is_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "CHUNK", 2)
    monkeypatch.setattr(housekeeping, "CHUNKS", 3)
    await note(world, 10)
    world.pass_time(91 * DAY)
    assert await tidy(world) is True
    assert (await left(world))[COMPANY, "agent_paused"] == 4
    assert await tidy(world) is False
    assert await left(world) == {(COMPANY, "log_pruned"): 1}


async def test_idempotency_keys_are_forgotten_after_their_time_piece_by_piece(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "CHUNK", 4)
    kept = world.settings.queue.idempotency_keep_s
    now = await world.store.read(lambda tx: tx.now, company=COMPANY)
    rows = [
        {
            "company_id": company,
            "principal": "p",
            "route": "r",
            "key": str(n),
            "request_hash": b"h",
            "status": 202,
            "headers": {},
            "body": b"",
            "created_at": at,
        }
        for company in (COMPANY, OTHER)
        for n, at in enumerate(now - timedelta(seconds=kept + 55 - 10 * n) for n in range(12))
    ]
    await world.store.write(lambda tx: tx.execute(insert(idempotency_keys), rows) and None, scope="owner")
    await tidy(world)
    [[count]] = await world.sql("SELECT count(*) FROM idempotency_keys")
    assert count == 2 * 6
    task_id = await world.submit(key=Key("p", "POST /tasks", "k", b"{}"))
    await tidy(world)
    assert await world.submit(key=Key("p", "POST /tasks", "k", b"{}")) == task_id, "a young key was forgotten"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "source"
    path.write_bytes(content)
    return path


async def test_a_file_that_is_made_again_after_days_is_there_when_its_artifact_names_it(world: World, tmp_path: Path) -> None:
    await asyncio.to_thread(world.blobs.put, COMPANY, written(tmp_path, b"same"))
    hand = world.hand()
    task_id = await world.submit()
    world.pass_time(2 * DAY)
    [claimed] = await hand.claim()
    digest, size = await asyncio.to_thread(world.blobs.put, COMPANY, written(tmp_path, b"same"))
    assert await asyncio.to_thread(world.blobs.collect, [COMPANY]) == 0
    outcome = Outcome(claimed, "finish", result={}, artifacts=[Artifact("out.txt", digest, size, "text/plain")])
    await world.store.write(hand.pool.settler.settle, [outcome], company=COMPANY, actor=hand.pool.actor)
    found = await asyncio.to_thread(world.blobs.of(COMPANY).path_of, f"artifact:{task_id}/out.txt")
    assert found.read_bytes() == b"same"


async def test_a_file_that_is_collected_while_it_is_put_is_there_afterwards(world: World, tmp_path: Path) -> None:
    await asyncio.to_thread(world.blobs.put, COMPANY, written(tmp_path, b"again"))
    world.pass_time(2 * DAY)
    collected: list[int] = []

    class Raced(Blobs):
        def _register(self, *args: Any) -> bool:
            if not collected:
                collected.append(self.collect([COMPANY]))  # after the copy, before the row
            return super()._register(*args)

    digest, _ = await asyncio.to_thread(Raced(world.store, tmp_path, 1000).put, COMPANY, written(tmp_path, b"again"))
    assert collected == [1]
    assert (await asyncio.to_thread(world.blobs.path, COMPANY, digest)).read_bytes() == b"again"


async def test_files_are_collected_in_pieces_too(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "ORPHANS", 2)
    for n in range(5):
        await asyncio.to_thread(world.blobs.put, COMPANY, written(tmp_path, b"%d" % n))
    world.pass_time(2 * DAY)
    assert await asyncio.to_thread(world.blobs.collect, [COMPANY, OTHER]) == 5
    assert [path for path in (tmp_path / "files").glob("*/*") if path.is_file()] == []


async def test_the_files_of_a_company_are_summed_once_and_not_for_each_file_until_the_quota_is_near(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums: list[int] = []
    original = blobs._sum

    def counted(tx: Any) -> int:
        sums.append(original(tx))
        return sums[-1]

    monkeypatch.setattr(blobs, "_sum", counted)
    mine = Blobs(world.store, tmp_path, 1000)
    for n in range(9):
        await asyncio.to_thread(mine.put, COMPANY, written(tmp_path, b"%d" % n * 100))
    assert len(sums) == 1
    await asyncio.to_thread(world.blobs.put, COMPANY, written(tmp_path, b"another process's" * 4))
    seen = len(sums)
    with pytest.raises(TooLarge, match="keeps 968 bytes"):
        await asyncio.to_thread(mine.put, COMPANY, written(tmp_path, b"x" * 60))
    assert len(sums) > seen


async def test_delayed_work_starts_while_housekeeping_takes_its_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(*_: Any) -> bool:
        begun.set()
        assert go.wait(60)
        return False

    monkeypatch.setattr(housekeeping, "tidy", slow)
    try:
        async with world.crew():
            assert await asyncio.to_thread(begun.wait, 20)
            now = await world.store.read(lambda tx: tx.now, company=COMPANY)
            await world.ended(await world.submit(run_at=now + timedelta(seconds=0.2)))
            go.set()
    finally:
        go.set()
