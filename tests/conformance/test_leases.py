"""Leases on anything: one holder at a time, by the database's clock, under a token that only grows."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from pulser.collab import leases
from pulser.core.errors import BadInput, Conflict, LeaseLost
from tests.conformance.world import COMPANY, OTHER, World

pytestmark = pytest.mark.anyio


async def acquire(world: World, holder: str = "ann", resource: str = "repo:main", ttl_s: float = 30.0, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = await world.write(leases.acquire, resource, holder, ttl_s, **more)
    return found


async def test_a_lease_is_acquired_kept_alive_and_released_and_all_is_told(world: World) -> None:
    lease = await acquire(world)
    assert lease["lock_id"].startswith("lck_") and len(lease["lock_id"]) == 30
    assert {key: lease[key] for key in ("resource", "holder", "token", "ttl_seconds")} == {
        "resource": "repo:main", "holder": "ann", "token": 1, "ttl_seconds": 30.0,
    }  # fmt: skip
    assert await world.store.read(leases.held, company=COMPANY) == [lease]
    world.pass_time(20)
    kept = await world.write(leases.heartbeat, lease["lock_id"])
    assert kept["expires_at"] > lease["expires_at"] and kept["acquired_at"] == lease["acquired_at"]
    world.pass_time(20)
    await world.write(leases.release, lease["lock_id"])
    assert await world.store.read(leases.held, company=COMPANY) == []
    assert await world.kinds("repo:main") == ["lease_acquired", "lease_released"]
    details = (await world.events("repo:main"))[0]["details"]
    assert details == {"holder": "ann", "lock_id": lease["lock_id"], "token": 1, "ttl_seconds": 30.0}


async def test_what_is_held_cannot_be_acquired_not_even_by_its_holder(world: World) -> None:
    await acquire(world)
    for holder in ("ben", "ann"):
        with pytest.raises(Conflict, match="held by ann"):
            await acquire(world, holder)
    assert (await acquire(world, "ben", "repo:else"))["token"] == 1
    assert (await acquire(world, "ben", company=OTHER))["token"] == 1, "companies do not see each other's leases"


async def test_a_release_really_releases_and_the_token_goes_on_growing(world: World) -> None:
    tokens, locks = [], []
    for holder in ("ann", "ben", "ann"):
        lease = await acquire(world, holder)
        tokens.append(lease["token"])
        locks.append(lease["lock_id"])
        await world.write(leases.release, lease["lock_id"])
    assert tokens == [1, 2, 3]
    assert len(set(locks)) == 3


async def test_what_fell_silent_is_taken_over_and_the_late_holder_is_told_so(world: World) -> None:
    old = await acquire(world, ttl_s=10.0)
    world.pass_time(9.5)
    with pytest.raises(Conflict):
        await acquire(world, "ben")
    world.pass_time(0.6)
    with pytest.raises(LeaseLost):
        await world.write(leases.heartbeat, old["lock_id"])  # nobody has it yet, but its time has passed
    new = await acquire(world, "ben")
    assert new["token"] == 2
    for late in (leases.heartbeat, leases.release):
        with pytest.raises(LeaseLost) as lost:
            await world.write(late, old["lock_id"])
        assert lost.value.status == 409
    assert await world.store.read(leases.held, company=COMPANY) == [new]
    assert await world.kinds("repo:main") == ["lease_acquired", "lease_reclaimed", "lease_acquired"]


async def test_the_sweep_takes_back_what_fell_silent_in_all_companies_once(world: World) -> None:
    await acquire(world, ttl_s=10.0)
    await acquire(world, ttl_s=10.0, company=OTHER)
    await acquire(world, resource="repo:long", ttl_s=1000.0)
    assert await world.store.write(leases.reclaim_stale, scope="engine") == 0
    world.pass_time(11)
    other = world.open()
    counts = await asyncio.gather(*[store.write(leases.reclaim_stale, scope="engine") for store in (world.store, other)])
    assert sum(counts) == 2
    assert [lease["resource"] for lease in await world.store.read(leases.held, company=COMPANY)] == ["repo:long"]
    assert await world.kinds("repo:main", OTHER) == ["lease_acquired", "lease_reclaimed"]
    assert (await acquire(world, "ben"))["token"] == 2


async def test_a_stale_lease_is_taken_back_by_hand_and_a_living_one_only_by_force(world: World) -> None:
    lease = await acquire(world, ttl_s=10.0)
    with pytest.raises(Conflict, match="lives"):
        await world.write(leases.reclaim, "repo:main")
    assert await world.write(lambda tx: leases.reclaim(tx, "repo:main", force=True)) is True
    assert await world.write(leases.reclaim, "repo:main") is False
    assert await world.write(leases.reclaim, "repo:unheard-of") is False
    with pytest.raises(LeaseLost):
        await world.write(leases.heartbeat, lease["lock_id"])
    await acquire(world, "ben", ttl_s=10.0)
    world.pass_time(11)
    assert await world.write(leases.reclaim, "repo:main") is True


async def test_a_write_under_an_old_token_is_refused(world: World) -> None:
    old = await acquire(world, ttl_s=10.0)
    await world.write(leases.check, "repo:main", old["token"])
    world.pass_time(11)
    with pytest.raises(LeaseLost):
        await world.write(leases.check, "repo:main", old["token"])
    new = await acquire(world, "ben")
    await world.write(leases.check, "repo:main", new["token"])
    for token in (old["token"], new["token"] + 1, 0, -1):
        with pytest.raises(LeaseLost):
            await world.write(leases.check, "repo:main", token)
        with pytest.raises(LeaseLost):
            await world.write(leases.heartbeat, new["lock_id"], token)
    await world.write(leases.heartbeat, new["lock_id"], new["token"])


@pytest.mark.parametrize("bad", ["", " ", "\t", "a\x00b", "x" * 10_000, "a\n", " a", "\x7f"])
async def test_names_that_are_none_are_refused(world: World, bad: str) -> None:
    with pytest.raises(BadInput, match="/resource"):
        await acquire(world, resource=bad)
    with pytest.raises(BadInput, match="/holder"):
        await acquire(world, bad)
    for fn in (leases.heartbeat, leases.release):
        with pytest.raises(LeaseLost):
            await world.write(fn, bad)
    with pytest.raises(BadInput):
        await world.write(leases.reclaim, bad)
    assert await world.store.read(leases.held, company=COMPANY) == []


@pytest.mark.parametrize("ttl_s", [0, -1, float("nan"), float("inf"), 86_401])
async def test_times_to_live_that_are_none_are_refused(world: World, ttl_s: float) -> None:
    with pytest.raises(BadInput, match="/ttl_seconds"):
        await acquire(world, ttl_s=ttl_s)


def test_two_holders_never_both_succeed_however_hard_they_hammer(world: World) -> None:
    """Threads over two stores acquire, look whether they are alone, and release; the clock is not moved, so every overlap would be a fault."""
    stores = [world.store, world.open()]
    inside: list[str] = []
    overlaps: list[list[str]] = []
    held: list[int] = []
    wrong: list[BaseException] = []

    def hammer(name: str, store: Any) -> None:
        won = 0
        for _ in range(400):
            if won == 6:
                return
            try:
                lease = store.write_blocking(leases.acquire, "one", name, 30.0, company=COMPANY)
            except Conflict:
                continue
            except BaseException as error:
                wrong.append(error)
                return
            inside.append(name)
            if len(inside) > 1:
                overlaps.append(list(inside))
            held.append(lease["token"])
            inside.remove(name)
            store.write_blocking(leases.release, lease["lock_id"], lease["token"], company=COMPANY)
            won += 1

    threads = [threading.Thread(target=hammer, args=(f"t{n}", stores[n % 2])) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == [] and overlaps == []
    assert held == sorted(set(held)), "a token was given twice, or ran backwards"
    assert held == list(range(1, len(held) + 1)) and len(held) >= 6


def test_the_first_two_at_once_on_a_new_resource_let_one_in(world: World) -> None:
    stores = [world.store, world.open()]
    for turn in range(15):
        answers: list[Any] = []
        gate = threading.Barrier(4)

        def race(name: str, store: Any, resource: str, gate: threading.Barrier, answers: list[Any]) -> None:
            gate.wait(20)
            try:
                answers.append(store.write_blocking(leases.acquire, resource, name, 30.0, company=COMPANY))
            except BaseException as error:
                answers.append(error)

        threads = [threading.Thread(target=race, args=(f"t{n}", stores[n % 2], f"new{turn}", gate, answers)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "Conflict", "Conflict", "dict"], answers


async def test_a_running_crew_takes_back_by_itself_what_fell_silent(world: World) -> None:
    async with world.crew():
        await acquire(world, ttl_s=0.2)

        async def told() -> bool:
            return await world.kinds("repo:main") == ["lease_acquired", "lease_reclaimed"]

        await world.until(told)
