"""A task's life: submitted, routed, claimed, run, ended, and told."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from pulser.collab import steer, views
from pulser.core.errors import IllegalMove, NotFound
from pulser.core.settings import Queue
from pulser.core.task import Outcome
from pulser.store.listing import Filter
from pulser.worker.settle import Settler
from tests.conformance.world import World

pytestmark = pytest.mark.anyio


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_a_task_is_submitted_routed_claimed_run_and_done_and_told_in_order_without_gap(world: World) -> None:
    async with world.crew():
        task_id = await world.submit(payload={"seq": 7}, title="Count")
        [task] = await world.ended(task_id)
    assert (task["stage"], task["status"], task["assigned_agent"], task["result"]) == ("done", "completed", "pulser", {"ok": True, "seq": 7})
    events = await world.events(task_id)
    assert [event["event"] for event in events] == ["task_submitted", "task_routed", "task_claimed", "executor_started", "executor_succeeded", "lease_released"]
    assert [event["version"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert task["version"] == 6
    moves = [(event["before"] and event["before"]["stage"], event["after"]["stage"]) for event in events if event["after"]]
    assert moves == [(None, "queued"), ("queued", "claimed"), ("claimed", "in_progress"), ("in_progress", "done")]
    assert [event["actor"] for event in events] == ["operator"] * 2 + ["worker:crew"] * 4
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["succeeded"]


async def test_a_hundred_tasks_submitted_at_once_are_all_done_once(world: World) -> None:
    async with world.crew():
        ids = await world.submit_many(100)
        done = await world.ended(*ids)
    assert {task["stage"] for task in done} == {"done"}
    assert all(len(task["attempts"]) == 1 for task in done)
    for task_id in ids[::10]:
        assert [event["version"] for event in await world.events(task_id)] == list(range(1, 7))


async def test_a_transient_failure_is_tried_again_after_5_25_and_125_seconds_give_or_take_a_fifth(world: World) -> None:
    hand = world.hand()
    task_id = await world.submit(payload={"fail": "transient"})
    waits = []
    for base in (5.0, 25.0, 125.0):
        [claimed] = await hand.claim()
        assert await hand.fail(claimed, "retry") == []
        task = await world.task(task_id)
        assert task["stage"] == "queued"
        waits.append((seconds(task["available_at"]) - seconds(task["updated_at"])) / base)
        world.pass_time(base * 0.79)
        await world.sweep()
        assert await hand.claim() == [], "it came back before its time"
        world.pass_time(base * 0.42)
        await world.sweep()
    assert all(0.8 <= wait <= 1.2 for wait in waits)
    assert len(set(waits)) == 3, "there is no jitter"
    [claimed] = await hand.claim()
    assert claimed.retries == 3
    retried = [event["details"]["retry"] for event in await world.events(task_id) if event["event"] == "task_retried"]
    assert retried == [1, 2, 3]


async def test_work_that_fails_twice_succeeds_at_the_third_attempt_by_a_real_crew(world: World) -> None:
    async with world.crew():
        task_id = await world.submit(payload={"fail_times": 2})
        for retries in (1, 2):

            async def waits(retries: int = retries) -> bool:
                task = await world.task(task_id)
                return (task["stage"], task["retry_count"]) == ("queued", retries)

            await world.until(waits)
            world.pass_time(200)
        [task] = await world.ended(task_id)
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["retried", "retried", "succeeded"]
    assert task["stage"] == "done" and task["error"] is None


async def test_retries_that_run_out_make_a_dead_letter_with_every_attempts_error(world: World) -> None:
    async with world.crew():
        task_id = await world.submit(payload={"fail": "transient"}, max_retries=1)

        async def waits() -> bool:
            return bool((await world.task(task_id))["retry_count"] == 1)

        await world.until(waits)
        world.pass_time(10)
        [task] = await world.ended(task_id)
    assert (task["stage"], task["error"]["code"]) == ("failed", "transient")
    assert [attempt["error"]["detail"] for attempt in task["attempts"]] == ["told to fail", "told to fail"]
    dead = await world.store.read(views.page, Filter(stages=("failed",), discarded=False), 50, None, company="default")
    assert [item["task_id"] for item in dead["items"]] == [task_id]


async def test_a_permanent_failure_is_not_tried_again(world: World) -> None:
    async with world.crew():
        [task] = await world.ended(await world.submit(payload={"fail": "permanent"}))
    assert (task["stage"], len(task["attempts"]), task["retry_count"], task["error"]["code"]) == ("failed", 1, 0, "permanent")
    assert (await world.kinds(task["task_id"]))[-3:] == ["executor_failed", "lease_released", "task_failed"]


async def test_work_beyond_its_time_limit_is_stopped_and_tried_again(world: World) -> None:
    async with world.crew():
        task_id = await world.submit(payload={"sleep_ms": 60_000}, time_limit_s=0.05, max_retries=0)
        [task] = await world.ended(task_id)
    assert (task["stage"], task["error"]["code"]) == ("failed", "timed-out")
    assert "0.05 s" in task["error"]["detail"]


async def test_dead_letters_are_requeued_one_by_one_or_all_and_discarded_ones_stay_out_of_sight(world: World) -> None:
    hand = world.hand()
    ids = await world.submit_many(4)
    for claimed in await hand.claim(4):
        await hand.fail(claimed)
    await world.write(steer.discard, ids[3])
    assert await world.write(steer.requeue, [ids[0], "tsk_unknown"]) == {
        "requeued": [ids[0]],
        "skipped": [{"task_id": "tsk_unknown", "reason": "there is no task 'tsk_unknown'"}],
    }
    answer = await world.write(lambda tx: steer.requeue(tx, [], everything=True))
    assert sorted(answer["requeued"]) == sorted(ids[1:3])
    assert await world.stages() == {"queued": 3, "failed": 1}
    again = await world.task(ids[0])
    assert (again["generation"], again["retry_count"], again["error"]) == (2, 0, None)
    assert [attempt["error"]["detail"] for attempt in again["attempts"]] == ["attempt 1 went wrong"], "the first life's error is kept"
    assert (await world.task(ids[3]))["discarded"] is True
    [claimed, *_] = await hand.claim(1)
    assert (claimed.generation, claimed.attempt) == (2, 1)
    with pytest.raises(IllegalMove):
        await world.write(steer.discard, ids[0])


@pytest.mark.parametrize("stage", ["queued", "waiting", "in_progress"])
async def test_cancelling_acts_at_once_and_the_late_worker_changes_nothing(world: World, stage: str) -> None:
    hand = world.hand()
    parent = await world.submit()
    [claimed] = await hand.claim()
    task_id = parent
    if stage == "queued":
        task_id = await world.submit()
    elif stage == "waiting":
        task_id = await world.submit(depends_on=[parent])
    assert await world.stage(task_id) == stage
    await world.write(steer.cancel, task_id, "not needed")
    before = await world.task(task_id)
    assert before["stage"] == "cancelled"
    if stage == "in_progress":
        told = await world.events(task_id)
        assert await hand.finish(claimed) == [claimed], "a stale worker was let write"
        assert await world.task(task_id) == before
        assert await world.events(task_id) == told
        assert [attempt["outcome"] for attempt in before["attempts"]] == ["cancelled"]
    assert (await world.events(task_id))[-1]["details"]["reason"] == "not needed"
    with pytest.raises(IllegalMove):
        await world.write(steer.cancel, task_id)


async def test_cancelling_reaches_work_that_runs(world: World) -> None:
    async with world.crew() as crew:
        task_id = await world.submit(payload={"sleep_ms": 600_000})
        await world.reaches(task_id, "in_progress")
        await world.write(steer.cancel, task_id)

        async def stopped() -> bool:
            return not crew.pool.running

        await world.until(stopped)
        assert await world.stage(task_id) == "cancelled"
        [task] = await world.ended(await world.submit())
    assert task["stage"] == "done", "the slot of the cancelled task is free again"


async def test_a_reviewed_task_waits_for_a_person_is_approved_and_merged(world: World) -> None:
    hand = world.hand()
    task_id = await world.submit(review=True)
    [claimed] = await hand.claim()
    await hand.finish(claimed, draft="v1")
    task = await world.task(task_id)
    assert (task["stage"], task["status"], task["completed_at"]) == ("review", "in_review", None)
    assert await hand.claim() == [], "a task in review holds no slot and cannot be claimed"
    assert await world.write(steer.transition, task_id, "approved", "good") == ("review", "approved")
    [merging] = await hand.claim()
    assert (merging.stage, merging.result) == ("merging", {"draft": "v1"})
    await hand.settle(Outcome(merging, "finish", result={"draft": "v1", "applied": True}))
    task = await world.task(task_id)
    assert (task["stage"], task["result"]) == ("done", {"draft": "v1", "applied": True})
    assert [event["version"] for event in await world.events(task_id)] == list(range(1, task["version"] + 1))


async def test_a_reviewed_task_can_be_sent_back_and_rejected(world: World) -> None:
    hand = world.hand()
    task_id = await world.submit(review=True)
    [claimed] = await hand.claim()
    await hand.finish(claimed)
    assert await world.write(steer.transition, task_id, "queued", "once more") == ("review", "queued")
    [claimed] = await hand.claim()
    assert claimed.attempt == 2
    await hand.finish(claimed)
    assert await world.write(steer.transition, task_id, "failed", "no good") == ("review", "failed")
    task = await world.task(task_id)
    assert task["error"] == {"code": "rejected", "detail": "no good", "hint": ""}
    assert (await world.kinds(task_id))[-2:] == ["task_moved", "task_failed"]


@pytest.mark.parametrize("end", ["give_back", "retry"])
async def test_merging_that_is_given_back_or_fails_in_passing_is_merged_later(world: World, end: Any) -> None:
    hand = world.hand()
    task_id = await world.submit(review=True)
    [claimed] = await hand.claim()
    await hand.finish(claimed, draft="v1")
    await world.write(steer.transition, task_id, "approved")
    [merging] = await hand.claim()
    await hand.fail(merging, end)
    assert await world.stage(task_id) == "approved"
    world.pass_time(10)
    await world.sweep()
    [merging] = await hand.claim()
    assert (merging.stage, merging.result) == ("merging", {"draft": "v1"})


async def test_a_lost_worker_in_merging_gives_the_approval_back(world: World) -> None:
    hand = world.hand()
    task_id = await world.submit(review=True)
    [claimed] = await hand.claim()
    await hand.finish(claimed)
    await world.write(steer.transition, task_id, "approved")
    await hand.claim()
    world.pass_time(3)
    assert await world.sweep() == 1
    assert await world.stage(task_id) == "approved"
    assert [task.stage for task in await hand.claim()] == ["merging"]


async def test_progress_is_told_and_shown_while_the_lease_holds(world: World) -> None:
    async def perform(task: Any, tell: Any) -> Outcome:
        tell("half way", 0.5)
        await world.until(lambda: told(task.task_id))
        return Outcome(task, "finish", result={})

    async def told(task_id: str) -> Any:
        return (await world.task(task_id))["progress"]

    async with world.pool(perform):
        task_id = await world.submit()
        [task] = await world.ended(task_id)
    assert task["progress"] is None, "it is over when the task has ended"
    [event] = [event for event in await world.events(task_id) if event["event"] == "executor_progress"]
    assert event["details"] == {"message": "half way", "fraction": 0.5}
    assert [event["version"] for event in await world.events(task_id)] == list(range(1, 8))


async def test_a_card_can_be_changed_and_the_change_is_told_with_before_and_after(world: World) -> None:
    task_id = await world.submit(title="Old", priority="low")
    await world.write(steer.change, task_id, {"title": "New", "priority": "high"})
    event = (await world.events(task_id))[-1]
    assert (event["before"], event["after"]) == ({"title": "Old", "priority": "low"}, {"title": "New", "priority": "high"})
    await world.write(steer.change, task_id, {"title": "New"})
    assert (await world.events(task_id))[-1] == event, "a change of nothing is not told"


async def test_unknown_ids_are_not_found_whatever_they_are_made_of(world: World) -> None:
    for task_id in ("", " ", "tsk_", "x" * 10_000, "tsk_01ARZ3NDEKTSV4RRFFQ69G5FAV"):
        with pytest.raises(NotFound):
            await world.write(steer.cancel, task_id)


def test_delays_come_from_the_settings() -> None:
    assert Queue().retry_delays_s == (5.0, 25.0, 125.0)
    settler = Settler(Queue(retry_delays_s=(1.0,)), lambda tx, task, drafts: [])
    assert settler._queue.retry_delays_s == (1.0,)
    assert timedelta(seconds=sum(Queue().retry_delays_s)) == timedelta(seconds=155)
