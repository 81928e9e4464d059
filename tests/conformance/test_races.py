"""Races and odd errors that once left something behind: a slot, a stuck worker, a token for two, a task that waits for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pulser.agents.perform import perform
from pulser.collab import steer
from pulser.core.actor import Actor
from pulser.core.errors import BadInput, Conflict, Unavailable
from pulser.core.task import Claimed, Outcome
from pulser.intake.request import Draft
from pulser.intake.submit import Submission, _links
from tests.conformance.world import COMPANY, World

pytestmark = pytest.mark.anyio


def step(name: str, *depends_on: str, **payload: Any) -> dict[str, Any]:
    return {"name": name, "task_type": "orchestration", "payload": {"action": "noop", **payload}, "depends_on": list(depends_on), "max_retries": 0}


async def test_work_that_is_cancelled_before_it_began_gives_its_slot_back(world: World) -> None:
    async def forever(task: Claimed, tell: Any) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError("never")

    async with world.pool(forever, concurrency=4) as pool:
        for _ in range(20):
            await world.submit()
            pool.lose(list(pool.running))  # in the loop iteration that started it, or before it ever ran
        await world.sql("UPDATE task_queue SET stage = 'cancelled', ready = false, lease_expires_at = NULL")

        async def free() -> bool:
            pool.lose(list(pool.running))  # a claim that was under way may still begin
            return not pool.running and pool._free == 4

        await world.until(free)


async def test_an_odd_database_error_stops_neither_the_pool_nor_its_slots(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settle = type(world.hand().pool.settler).settle
    mended = asyncio.Event()

    def sometimes(self: Any, tx: Any, outcomes: Any) -> Any:
        if outcomes and not mended.is_set():
            raise RuntimeError("read-only, says the database")
        return settle(self, tx, outcomes)

    monkeypatch.setattr(type(world.hand().pool.settler), "settle", sometimes)
    async with world.crew(lease_s=0.6, renew_s=0.1) as crew:
        first = await world.submit()

        async def let_go() -> bool:
            return not crew.pool.running and crew.pool._turns == 0

        await world.until(let_go)
        mended.set()
        [task] = await world.ended(first)  # its lease ran out, and it was done again
        [other] = await world.ended(await world.submit())
        assert (task["stage"], other["stage"]) == ("done", "done")

        async def all_free() -> bool:  # a turn that looks for work holds the free slots meanwhile
            return crew.pool._free == crew.pool.settings.concurrency

        await world.until(all_free)


async def test_the_heartbeat_outlives_whatever_the_database_says(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([RuntimeError("odd"), Unavailable("down")])
    real = world.store.write_apart

    def flaky(*args: Any, **more: Any) -> Any:
        for error in failures:
            raise error
        return real(*args, **more)

    monkeypatch.setattr(world.store, "write_apart", flaky)
    async with world.crew(lease_s=5.0, renew_s=0.05) as crew:
        began = crew.heartbeat.last_at

        async def renewed() -> bool:
            return crew.heartbeat.last_at > began

        await world.until(renewed)


async def test_a_step_that_is_retried_while_its_parent_waits_is_waited_for_again(world: World) -> None:
    hand = world.hand()
    parent = await world.submit(payload={"action": "coordinate", "steps": [step("a"), step("b")]})
    [claimed] = await hand.claim()
    parked = await perform(claimed, world.desk, lambda message, fraction: None)
    await world.store.write(hand.pool.settler.settle, [parked], company=COMPANY, actor=hand.pool.actor)
    a, b = [*await hand.claim(), *await hand.claim()]
    await hand.fail(a)
    await world.write(steer.retry, a.task_id)
    [again] = await hand.claim()
    assert again.task_id == a.task_id
    await hand.finish(again)
    assert await world.stage(parent) == "waiting", "the other step is not done yet"
    await hand.finish(b)
    assert await world.stage(parent) == "queued"


async def test_cancelling_a_coordinator_cancels_what_it_handed_out(world: World) -> None:
    parent = await world.submit(payload={"action": "coordinate", "steps": [step("a", sleep_ms=60_000), step("b", "a")]})
    async with world.crew():
        await world.reaches(parent, "waiting")
        await world.write(steer.cancel, parent)
        children = [child["task_id"] for child in (await world.task(parent))["children"]]
        assert [task["stage"] for task in await world.ended(*children)] == ["cancelled", "cancelled"]


async def test_retrying_what_depends_on_a_failure_says_what_to_retry_first(world: World) -> None:
    hand = world.hand()
    first = await world.submit()
    second = await world.submit(depends_on=[first])
    [claimed] = await hand.claim()
    await hand.fail(claimed)
    with pytest.raises(Conflict, match=first):
        await world.write(steer.retry, second)
    assert await world.write(lambda tx: steer.retry(tx, first, cascade=True)) == [first, second]
    assert (await world.stage(first), await world.stage(second)) == ("queued", "waiting")


async def test_a_claim_that_fails_does_not_fail_the_submits_it_rides_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.crew() as crew:

        def broken(tx: Any, free: int) -> Any:
            monkeypatch.undo()
            raise RuntimeError("a row that cannot be read")

        monkeypatch.setattr(crew.pool, "_claim", broken)
        [task] = await world.ended(await world.submit())
        assert task["stage"] == "done"


def draft_of(n: int, on: list[str]) -> Draft:
    return Draft("orchestration", "noop", "pulser", "medium", "{}", "{}", "{}", 60.0, 3, False, 1.0, depends_on=on, ref=f"r{n}")


async def test_the_links_of_a_full_batch_are_followed_once_each() -> None:
    """A thousand tasks with 170 links each: every link is looked at a fixed number of times, whatever the number of tasks."""
    looks = 0

    class Counted(str):
        def __hash__(self) -> int:
            nonlocal looks
            looks += 1
            return super().__hash__()

        def __eq__(self, other: object) -> bool:
            return str.__eq__(self, other)

    ids = [Counted(f"tsk_{n}") for n in range(300)]
    drafts = [draft_of(n, [f"r{k}" for k in range(max(0, n - 50), n)]) for n in range(300)]
    links = _links(drafts, ids)
    assert looks < 12 * len(links)
    with pytest.raises(BadInput, match="wait for each other"):
        _links([draft_of(0, ["r1"]), draft_of(1, ["r0"])], ["tsk_a", "tsk_b"])


async def test_a_cascade_never_gives_two_workers_the_same_token(world: World) -> None:
    hand = world.hand()
    task_id = await world.submit()
    tokens: set[int] = set()
    for _ in range(4):
        [claimed] = await hand.claim()
        assert claimed.token not in tokens
        tokens.add(claimed.token)
        await hand.fail(claimed)
        await world.write(lambda tx: steer.retry(tx, task_id, cascade=True))
    await world.store.write_each(world.submitter.submit_many, Submission([world.draft()]), company=COMPANY, actor=Actor("test"))
