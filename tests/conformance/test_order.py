"""Who goes first: priorities that age, a slot for what is critical, companies in turn, time, pauses and instances."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from pulser.collab import steer, team
from pulser.core.errors import NotFound
from pulser.core.task import Outcome
from pulser.store import instances
from pulser.store.tables import companies
from tests.conformance.world import COMPANY, OTHER, World

pytestmark = pytest.mark.anyio


async def claimed_in_order(world: World, count: int) -> list[str]:
    hand = world.hand()
    order = []
    for _ in range(count):
        [task] = await hand.claim()
        order.append(task.task_id)
    return order


async def test_critical_goes_before_high_before_medium_before_low(world: World) -> None:
    ids = {priority: await world.submit(priority=priority) for priority in ("low", "medium", "high", "critical")}
    assert await claimed_in_order(world, 4) == [ids["critical"], ids["high"], ids["medium"], ids["low"]]


async def test_equals_are_served_first_come_first_served(world: World) -> None:
    ids = []
    for _ in range(6):
        ids.append(await world.submit())
        world.pass_time(0.001)
    assert await claimed_in_order(world, 6) == ids


async def test_low_never_starves_for_half_an_hour_makes_it_as_old_as_a_critical_one(world: World) -> None:
    low = await world.submit(priority="low")
    world.pass_time(1790)
    early = await world.submit(priority="critical")
    world.pass_time(20)
    late = await world.submit(priority="critical")
    assert await claimed_in_order(world, 3) == [early, low, late]


async def test_a_task_keeps_its_age_when_it_is_given_back(world: World) -> None:
    first = await world.submit()
    hand = world.hand()
    [claimed] = await hand.claim()
    world.pass_time(1)
    await world.submit()
    await hand.settle(Outcome(claimed, "give_back"))
    assert [task.task_id for task in await hand.claim()] == [first]


async def test_one_slot_is_kept_for_critical_under_a_full_queue_of_low(world: World) -> None:
    async with world.crew(concurrency=4) as crew:
        await world.submit_many(50, priority="low", payload={"sleep_ms": 600_000})

        async def full() -> bool:
            return len(crew.pool.running) == 3

        await world.until(full)
        [critical] = await world.ended(await world.submit(priority="critical"))
        assert critical["stage"] == "done"
        assert len(crew.pool.running) == 3, "the kept slot was given away"
        await world.sql("UPDATE task_queue SET stage = 'cancelled', lease_expires_at = NULL WHERE stage = 'in_progress'")  # spares the drain


async def test_companies_take_turns_so_that_one_with_many_tasks_does_not_delay_anothers_first(world: World) -> None:
    await world.submit_many(200)
    world.pass_time(100)
    small = await world.submit_many(3, company=OTHER)
    taken = await world.hand().claim(6)
    assert Counter(task.company_id for task in taken) == {COMPANY: 3, OTHER: 3}
    assert {task.task_id for task in taken if task.company_id == OTHER} == set(small)


async def test_a_task_with_run_at_waits_for_its_time(world: World) -> None:
    now = await world.store.read(lambda tx: tx.now, company=COMPANY)
    task_id = await world.submit(run_at=now + timedelta(hours=1))
    task = await world.task(task_id)
    assert (task["stage"], task["available_at"] is not None) == ("queued", True)
    hand = world.hand()
    assert await hand.claim() == []
    world.pass_time(3590)
    await world.sweep()
    assert await hand.claim() == []
    world.pass_time(11)
    await world.sweep()
    assert [each.task_id for each in await hand.claim()] == [task_id]


async def test_a_run_at_in_the_past_is_now(world: World) -> None:
    now = await world.store.read(lambda tx: tx.now, company=COMPANY)
    task_id = await world.submit(run_at=now - timedelta(days=1))
    assert [each.task_id for each in await world.hand().claim()] == [task_id]


async def test_a_crew_starts_delayed_work_by_itself_when_it_comes_due(world: World) -> None:
    async with world.crew():
        now = await world.store.read(lambda tx: tx.now, company=COMPANY)
        [task] = await world.ended(await world.submit(run_at=now + timedelta(seconds=0.3)))
    assert task["claimed_at"] >= (now + timedelta(seconds=0.3)).strftime("%Y-%m-%dT%H:%M:%S.%f")


async def test_a_paused_agent_starts_nothing_of_that_company_until_it_is_resumed(world: World) -> None:
    assert await world.write(team.pause, "pulser") is True
    assert await world.write(team.pause, "pulser") is False
    ours = await world.submit()
    theirs = await world.submit(company=OTHER)
    hand = world.hand()
    assert [task.task_id for task in await hand.claim(5)] == [theirs]
    assert await world.write(team.resume, "pulser") is True
    assert await world.write(team.resume, "pulser") is False
    assert [task.task_id for task in await hand.claim(5)] == [ours]
    assert await world.kinds("pulser") == ["agent_paused", "agent_resumed"]


async def test_a_running_crew_takes_up_a_resumed_agents_work_at_once(world: World) -> None:
    async with world.crew(sweep_s=30.0):
        await world.write(team.pause, "pulser")
        task_id = await world.submit()
        await world.write(team.resume, "pulser")
        assert (await world.ended(task_id))[0]["stage"] == "done"


async def test_a_worker_takes_only_its_agents_work(world: World) -> None:
    await world.submit()
    assert await world.hand("docs", agents=frozenset({"maya"})).claim() == []
    assert len(await world.hand("all", agents=frozenset({"maya", "pulser"})).claim()) == 1


async def alive(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await world.store.read(instances.alive, scope="engine")
    return found


async def test_an_instance_toggled_off_takes_nothing_and_goes_on_when_toggled_on(world: World) -> None:
    async with world.crew("w1"):

        async def shown() -> Any:
            return [each for each in await alive(world) if each["agent"] == "pulser"]

        [instance] = await world.until(shown)
        await world.write(team.toggle, "pulser", instance["instance_id"], False)
        task_id = await world.submit()
        await world.sweep()
        [on_the_side] = await world.hand("w2").claim()
        assert on_the_side.task_id == task_id, "the switched-off instance took it"
        waiting = await world.submit()
        await world.write(team.toggle, "pulser", instance["instance_id"], True)
        assert (await world.ended(waiting))[0]["stage"] == "done"
        with pytest.raises(NotFound):
            await world.write(team.toggle, "pulser", "ins_unknown", True)


async def test_an_instance_is_gone_when_its_crew_has_stopped(world: World) -> None:
    async with world.crew("w1"):
        await world.until(lambda: alive(world))
    assert await alive(world) == []


async def test_an_instance_long_silent_is_not_alive(world: World) -> None:
    await world.store.write(instances.seen, "gone", "host", 1, 4, {"pulser": 0}, scope="engine")
    assert [each["alive"] for each in await alive(world)] == [True]
    world.pass_time(61)
    assert [each["alive"] for each in await alive(world)] == [False]
    world.pass_time(60)
    await world.store.write(instances.seen, "here", "host", 2, 4, {"pulser": 0}, scope="engine")
    assert [each["worker_id"] for each in await alive(world)] == ["here"]


async def test_three_instances_one_slow_and_one_switched_off_share_the_load_by_what_they_can_do(world: World) -> None:
    import asyncio

    done: Counter[str] = Counter()

    def worker(name: str, delay_s: float) -> Any:
        async def perform(task: Any, tell: Any) -> Outcome:
            await asyncio.sleep(delay_s)
            done[name] += 1
            return Outcome(task, "finish", result={})

        return perform

    await world.store.write(instances.seen, "off", "host", 3, 2, {"pulser": 0}, scope="engine")
    [row] = await alive(world)
    await world.write(team.toggle, "pulser", row["instance_id"], False)
    ids = await world.submit_many(60)
    async with AsyncExitStack() as stack:
        for name, delay_s in (("off", 0.0), ("slow", 0.2), ("fast", 0.005)):
            store = world.open()
            await stack.enter_async_context(world.pool(worker(name, delay_s), name, store=store, concurrency=3))
        await world.ended(*ids)
    assert done["off"] == 0
    assert done["slow"] >= 1
    assert done["fast"] > 4 * done["slow"]
    assert sum(done.values()) == 60, f"something ran twice: {done}"


async def test_cancelled_and_requeued_work_keeps_its_place(world: World) -> None:
    first, second = await world.submit(), await world.submit()
    await world.write(steer.cancel, first)
    await world.write(steer.retry, first)
    assert await claimed_in_order(world, 2) == [first, second]


async def test_the_companies_are_there(world: World) -> None:
    names = await world.store.read(lambda tx: list(tx.execute(select(companies.c.company_id)).scalars()), scope="engine")
    assert sorted(names) == [COMPANY, OTHER]
