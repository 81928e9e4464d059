"""Leases on tasks: one holder at a time, late ones change nothing, silent ones are replaced."""

from __future__ import annotations

import asyncio
import itertools
import threading
from typing import Any

import pytest

from pulser.collab import steer
from pulser.core.task import Claimed, Outcome
from pulser.store import claims
from tests.conformance.world import COMPANY, World

pytestmark = pytest.mark.anyio


async def renew(world: World, held: list[Claimed], lease_s: float = 2.0) -> set[tuple[str, str]]:
    keys = [(task.company_id, task.task_id, task.token) for task in held]
    kept: set[tuple[str, str]] = await world.store.write(claims.renew, keys, lease_s, scope="engine")
    return kept


async def test_two_claimers_at_once_never_get_the_same_task(world: World) -> None:
    ids = await world.submit_many(60)
    hands = [world.hand(f"h{n}", store=world.open()) for n in range(3)]

    async def greedy(hand: Any) -> list[Claimed]:
        taken: list[Claimed] = []
        while found := await hand.claim(7):
            taken += found
        return taken

    taken = list(itertools.chain.from_iterable(await asyncio.gather(*[greedy(hand) for hand in hands])))
    assert sorted(task.task_id for task in taken) == sorted(ids)


async def test_the_token_grows_with_every_claim_and_reclaim_and_over_generations(world: World) -> None:
    hand = world.hand()
    task_id = await world.submit()
    tokens = []
    for _ in range(3):
        [claimed] = await hand.claim()
        tokens.append(claimed.token)
        world.pass_time(3)
        await world.sweep()
        world.pass_time(125)
        await world.sweep()
    [claimed] = await hand.claim()
    tokens.append(claimed.token)
    await hand.fail(claimed)
    await world.write(steer.retry, task_id)
    [claimed] = await hand.claim()
    tokens.append(claimed.token)
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize("end", ["finish", "retry", "fail", "park", "give_back"])
async def test_a_stale_holders_end_changes_nothing_and_tells_nothing(world: World, end: Any) -> None:
    task_id = await world.submit()
    late, quick = world.hand("late"), world.hand("quick")
    [stale] = await late.claim()
    world.pass_time(3)
    await world.sweep()
    [fresh] = await quick.claim()
    before, told = await world.task(task_id), await world.events(task_id)
    outcome = Outcome(stale, end, result={"who": "late"}, error={"code": "x", "detail": "x", "hint": ""}, waiting_for="event" if end == "park" else None)
    assert await late.settle(outcome) == [stale]
    assert await world.task(task_id) == before
    assert await world.events(task_id) == told
    assert await quick.finish(fresh, who="quick") == []
    assert (await world.task(task_id))["result"] == {"who": "quick"}


async def test_settling_twice_counts_once(world: World) -> None:
    hand = world.hand()
    task_id = await world.submit()
    [claimed] = await hand.claim()
    assert await hand.finish(claimed, n=1) == []
    assert await hand.finish(claimed, n=2) == [claimed]
    assert await hand.fail(claimed) == [claimed]
    task = await world.task(task_id)
    assert (task["stage"], task["result"], len(task["attempts"])) == ("done", {"n": 1}, 1)


async def test_one_stale_end_in_a_batch_does_not_hold_up_the_others(world: World) -> None:
    hand = world.hand()
    ids = await world.submit_many(5)
    held = await hand.claim(5)
    await world.write(steer.cancel, held[2].task_id)
    assert await hand.settle(*[Outcome(task, "finish", result={}) for task in held]) == [held[2]]
    assert await world.stages() == {"done": 4, "cancelled": 1}
    assert {held[2].task_id} == {each for each in ids if await world.stage(each) == "cancelled"}


async def test_progress_of_a_stale_holder_is_dropped(world: World) -> None:
    task_id = await world.submit()
    [stale] = await world.hand().claim()
    world.pass_time(3)
    await world.sweep()
    assert await world.write(claims.progress, task_id, stale.token, {"message": "late"}) is None
    assert (await world.task(task_id))["progress"] is None


async def test_renewing_keeps_what_still_holds_and_names_only_that(world: World) -> None:
    hand = world.hand()
    await world.submit_many(4)
    held = await hand.claim(4)
    await hand.finish(held[0])
    await world.write(steer.cancel, held[1].task_id)
    world.pass_time(1.5)
    assert await renew(world, held) == {(COMPANY, held[2].task_id), (COMPANY, held[3].task_id)}
    world.pass_time(1.5)
    assert await world.sweep() == 0, "a renewed lease was taken"
    world.pass_time(0.6)
    assert await world.sweep() == 2


async def test_a_lease_that_was_taken_back_cannot_be_renewed(world: World) -> None:
    await world.submit()
    held = await world.hand().claim()
    world.pass_time(3)
    await world.sweep()
    assert await renew(world, held) == set()
    await world.hand("next").claim()
    assert await renew(world, held) == set()


async def test_a_lease_expires_by_the_databases_clock_and_not_before(world: World) -> None:
    task_id = await world.submit()
    await world.hand().claim()
    world.pass_time(1.5)
    assert await world.sweep() == 0
    world.pass_time(0.6)
    assert await world.sweep() == 1
    task = await world.task(task_id)
    assert (task["stage"], task["reclaims"], task["retry_count"]) == ("queued", 1, 0)
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["lost"]
    event = (await world.events(task_id))[-1]
    assert (event["event"], event["details"]["worker_id"], event["details"]["reclaims"]) == ("lease_reclaimed", "hand", 1)


async def test_two_sweepers_at_once_take_each_lease_back_once(world: World) -> None:
    await world.submit_many(40)
    await world.hand().claim(40)
    other = world.open()
    world.pass_time(3)
    from pulser.worker.reaper import sweep

    counts = await asyncio.gather(*[store.write(sweep, world.settings.queue, scope="engine") for store in (world.store, other, world.store, other)])
    assert sum(count for count, _ in counts) == 40
    [[reclaims]] = await world.sql("SELECT max(reclaims) FROM task_queue")
    assert reclaims == 1


async def test_a_task_whose_worker_is_lost_again_and_again_is_buried_and_its_dependents_are_told(world: World) -> None:
    hand = world.hand()
    poison = await world.submit()
    after = await world.submit(depends_on=[poison])
    for n in range(world.settings.queue.max_reclaims + 1):
        assert await world.stage(poison) == "queued", f"buried after {n}"
        await hand.claim()
        world.pass_time(3)
        await world.sweep()
        world.pass_time(125)
        await world.sweep()
    task = await world.task(poison)
    assert (task["stage"], task["error"]["code"], await world.stage(after)) == ("failed", "worker_lost", "cancelled")
    assert [event["version"] for event in await world.events(poison)] == list(range(1, task["version"] + 1))
    assert (await world.kinds(poison))[-2:] == ["lease_reclaimed", "task_failed"]


async def test_tasks_lost_together_come_back_at_once_the_first_time_and_apart_from_then_on(world: World) -> None:
    hand = world.hand()
    await world.submit_many(12)
    assert len(await hand.claim(12)) == 12
    world.pass_time(3)
    await world.sweep()
    assert len(await hand.claim(12)) == 12, "the first loss costs no wait beyond the lease"
    world.pass_time(3)
    await world.sweep()
    came = []
    for _ in range(54):
        came.append(len(await hand.claim(12)))
        world.pass_time(0.1)
        await world.sweep()
        await world.sql("UPDATE task_queue SET stage = 'cancelled', lease_expires_at = NULL WHERE stage = 'in_progress'")
    assert sum(came) == 12, "within the first retry delay all are back"
    assert max(came) <= 6 and sum(1 for count in came if count) >= 4, f"they came back together: {came}"


async def test_a_job_ten_times_longer_than_its_lease_runs_once_because_its_lease_is_renewed(world: World) -> None:
    async with world.crew(lease_s=0.3, renew_s=0.05, sweep_s=0.05):
        [task] = await world.ended(await world.submit(payload={"sleep_ms": 3000}))
    assert (task["stage"], task["reclaims"]) == ("done", 0)
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["succeeded"]


async def test_the_heartbeat_is_not_starved_by_work_that_blocks_the_loop(world: World) -> None:
    started = threading.Event()

    async def perform(task: Claimed, tell: Any) -> Outcome:
        started.set()
        blocker.wait(1.2)  # a tool that misbehaves: it holds the whole event loop
        return Outcome(task, "finish", result={})

    blocker = threading.Event()
    async with world.crew(lease_s=0.4, renew_s=0.05, sweep_s=0.05) as crew:
        crew.pool.perform = perform
        task_id = await world.submit()
        [task] = await world.ended(task_id)
    assert started.is_set()
    assert (task["stage"], task["reclaims"], len(task["attempts"])) == ("done", 0, 1)


async def test_a_worker_that_lost_its_lease_stops_the_work(world: World) -> None:
    stopped = asyncio.Event()

    async def perform(task: Claimed, tell: Any) -> Outcome:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            stopped.set()
            raise
        raise AssertionError("it slept through")

    async with world.crew(concurrency=1) as crew:
        crew.pool.perform = perform
        task_id = await world.submit()
        await world.reaches(task_id, "in_progress")
        await world.sql("UPDATE task_queue SET token = token + 1, worker_id = 'thief' WHERE task_id = :id", id=task_id)
        await asyncio.wait_for(stopped.wait(), 20)
        await world.sql("UPDATE task_queue SET stage = 'cancelled', lease_expires_at = NULL WHERE task_id = :id", id=task_id)


async def test_losing_an_old_lease_does_not_stop_the_new_one_on_the_same_task(world: World) -> None:
    async with world.crew(concurrency=1) as crew:
        task_id = await world.submit(payload={"sleep_ms": 600_000})

        async def running() -> Any:
            return list(crew.pool.running.values())

        [now] = await world.until(running)
        old = (COMPANY, task_id, now.task.token - 1)  # a heartbeat that took stock before the task was claimed again
        crew.pool.lose([old])
        await asyncio.sleep(0)
        assert not now.doing.cancelling(), "the new attempt was stopped for the old one's sake"
        crew.pool.lose([(COMPANY, task_id, now.task.token)])
        await asyncio.wait({now.doing}, timeout=20)
        assert now.doing.done()
        await world.write(steer.cancel, task_id)


async def test_a_worker_that_shuts_down_lets_work_finish(world: World) -> None:
    async with world.crew(drain_s=20.0):
        task_id = await world.submit(payload={"sleep_ms": 300})
        await world.reaches(task_id, "in_progress")
    assert await world.stage(task_id) == "done"


async def test_a_worker_that_shuts_down_gives_back_what_takes_too_long(world: World) -> None:
    async with world.crew(drain_s=0.05):
        task_id = await world.submit(payload={"sleep_ms": 600_000})
        await world.reaches(task_id, "in_progress")
    task = await world.task(task_id)
    assert (task["stage"], task["reclaims"], task["retry_count"]) == ("queued", 0, 0)
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["given_back"]
    assert [each.task_id for each in await world.hand().claim()] == [task_id], "it can be claimed at once, without waiting for the lease"


async def test_a_worker_that_shuts_down_under_load_leaves_no_lease_behind(world: World) -> None:
    for turn in range(5):
        crew_name = f"crew{turn}"
        async with world.crew(crew_name, store=world.open(), drain_s=0.05):
            sending = [asyncio.ensure_future(world.send([world.draft(payload={"sleep_ms": 1})])) for _ in range(40)]
            await sending[5]
        await asyncio.gather(*sending)
        held = await world.sql("SELECT task_id, stage FROM task_queue WHERE lease_expires_at IS NOT NULL")
        assert held == [], f"leases of {crew_name} were left behind"


async def test_one_task_that_breaks_its_tool_does_not_strand_the_rest_of_its_batch(world: World) -> None:
    async def perform(task: Claimed, tell: Any) -> Outcome:
        kind = task.payload.get("data")
        if kind == "raises":
            raise ZeroDivisionError("division by zero")
        if kind == "unwritable":
            return Outcome(task, "finish", result={"what": object()})
        if kind == "nul":
            return Outcome(task, "finish", result={"text": "a\x00b"})
        if kind == "surrogate":
            return Outcome(task, "finish", result={"text": "\ud800"})
        return Outcome(task, "finish", result={"ok": True})

    kinds = ["raises", "unwritable", "nul", "surrogate"]
    async with world.pool(perform):
        drafts = [world.draft(payload={"data": kind}) for kind in [*["good"] * 10, *kinds, *["good"] * 10]]
        ids = (await world.send(drafts)).task_ids
        done = await world.ended(*ids)
        assert [task["stage"] for task in done[:10] + done[14:]] == ["done"] * 20
        raises, unwritable, nul, surrogate = done[10:14]
        assert (raises["stage"], "ZeroDivisionError" in raises["error"]["detail"]) == ("failed", True)
        assert (unwritable["stage"], surrogate["stage"]) == ("failed", "failed")
        assert nul["stage"] in ("done", "failed")
        [after] = await world.ended(await world.submit())
        assert after["stage"] == "done", "the pool does not go on"


async def test_an_unknown_agent_or_action_in_a_stored_row_fails_alone_and_stops_neither_pool_nor_sweep(world: World) -> None:
    for column, value in (("assigned_agent", "nobody"), ("action", "nothing"), ("task_type", "unheard_of")):
        await world.submit()
        await world.sql(f"UPDATE task_queue SET {column} = :v WHERE stage = 'queued' AND assigned_agent = 'pulser' AND action = 'noop'", v=value)
    async with world.crew():
        good = await world.submit()
        assert (await world.ended(good))[0]["stage"] == "done"

        async def all_ended() -> bool:
            return set(await world.stages()) <= {"done", "failed"}

        await world.until(all_ended)
    assert await world.stages() == {"done": 2, "failed": 2}
    rows = await world.sql("SELECT assigned_agent, action, error_message FROM task_queue WHERE stage = 'failed' ORDER BY assigned_agent")
    assert ["there is no agent 'nobody'" in rows[0][2], "nothing" in rows[1][2]] == [True, True]


async def test_leases_of_an_unknown_agent_are_swept_like_any(world: World) -> None:
    await world.submit()
    await world.hand().claim()
    await world.sql("UPDATE task_queue SET assigned_agent = 'nobody', action = 'nothing', task_type = 'unheard_of'")
    world.pass_time(3)
    assert await world.sweep() == 1
