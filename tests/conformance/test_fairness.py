"""Companies share the workers: who runs least goes next, also when every slot is taken and one comes free at a time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from sqlalchemy import insert

from pulser.core.task import Claimed
from pulser.store import claims
from pulser.store.tables import companies
from pulser.store.tx import Tx
from tests.conformance.world import COMPANY, OTHER, World

pytestmark = pytest.mark.anyio


async def claim(world: World, limit: int, **how: Any) -> list[Claimed]:
    found: list[Claimed] = await world.store.write(lambda tx: claims.claim(tx, "w1", None, limit, 30.0, **how), scope="engine")
    return found


async def test_the_first_task_of_another_company_starts_among_the_next_two_when_one_has_filled_every_slot(world: World) -> None:
    hand = world.hand()
    await world.submit_many(60)
    held = await hand.claim(8)
    world.pass_time(5)
    first = await world.submit(company=OTHER)
    started: list[str] = []
    for _ in range(2):  # a saturated worker settles one and claims one
        await hand.finish(held.pop(0))
        [next_] = await hand.claim(1)
        held.append(next_)
        started.append(next_.task_id)
    assert first in started


async def test_two_companies_with_long_queues_come_to_share_the_slots_equally(world: World) -> None:
    hand = world.hand()
    await world.submit_many(60)
    held = await hand.claim(8)
    await world.submit_many(60, company=OTHER)
    for _ in range(8):
        await hand.finish(held.pop(0))
        held += await hand.claim(1)
    assert Counter(task.company_id for task in held) == {COMPANY: 4, OTHER: 4}


async def test_within_a_company_the_rank_decides_whatever_it_runs(world: World) -> None:
    hand = world.hand()
    await world.submit_many(3)
    await hand.claim(3)
    low, critical = await world.submit(priority="low"), await world.submit(priority="critical")
    await world.submit(company=OTHER)
    started = [task for _ in range(3) for task in await hand.claim()]
    assert [task.task_id for task in started if task.company_id == COMPANY] == [critical, low]


async def test_the_slot_for_critical_work_is_shared_too(world: World) -> None:
    await world.submit_many(5, priority="critical")
    assert len(await claim(world, 2, critical=True)) == 2
    theirs = await world.submit(priority="critical", company=OTHER)
    assert [task.task_id for task in await claim(world, 1, critical=True)] == [theirs]


async def test_one_company_takes_every_slot_when_nobody_else_has_work(world: World) -> None:
    await world.submit_many(30)
    await claim(world, 10)
    assert len(await claim(world, 16)) == 16


async def test_a_claim_looks_into_every_lane_until_it_has_enough(world: World) -> None:
    """Many companies with one task each, and one with many."""
    names = [f"c{n:02d}" for n in range(12)]
    await world.store.write(
        lambda tx: tx.execute(insert(companies), [{"company_id": name, "name": name, "created_at": tx.now} for name in names]), scope="owner"
    )
    for name in names:
        await world.submit(company=name)
    await world.submit_many(30)
    taken = Counter(task.company_id for task in await claim(world, 20))
    assert taken == {**dict.fromkeys(names, 1), COMPANY: 8}


async def test_a_claim_locks_what_it_takes_and_nothing_else(postgres_world: World) -> None:
    world = postgres_world
    await world.submit_many(100)
    await world.submit_many(100, company=OTHER)
    mine = "SELECT count(*) FROM task_queue WHERE xmax::text = pg_current_xact_id()::text"  # of ours: what it took, and what it only locked

    def run(tx: Tx) -> tuple[int, int]:
        found = claims.claim(tx, "w1", None, 10, 30.0)
        [[locked]] = tx.raw(f"SELECT ({mine})", (), "task_queue")
        return len(found), locked

    assert await world.store.write(run, scope="engine") == (10, 10)


async def test_workers_that_claim_at_the_same_moment_get_different_tasks_and_none_goes_without(postgres_world: World) -> None:
    world = postgres_world
    await world.submit_many(60)
    stores = [world.open() for _ in range(4)]

    def nested(tx: Tx, left: int) -> list[list[str]]:
        found = [task.task_id for task in claims.claim(tx, f"w{left}", None, 10, 30.0)]
        if not left:
            return [found]
        return [found, *stores[left - 1].write_blocking(nested, left - 1, scope="engine")]  # while this one's locks are held

    taken = await world.store.write(nested, len(stores), scope="engine")
    assert [len(each) for each in taken] == [10] * 5
    assert len({task_id for each in taken for task_id in each}) == 50


async def test_a_claim_ends_when_all_there_is_is_being_taken_by_others(postgres_world: World) -> None:
    world = postgres_world
    await world.submit_many(40)
    other = world.open()

    def all_of_them(tx: Tx) -> tuple[int, int]:
        mine = claims.claim(tx, "w1", None, 40, 30.0)
        return len(mine), len(other.write_blocking(lambda tx: claims.claim(tx, "w2", None, 4, 30.0), scope="engine"))

    assert await world.store.write(all_of_them, scope="engine") == (40, 0)
