"""The one table of moves: every allowed one can be made, no other can."""

from __future__ import annotations

from typing import Any

import pytest

from pulser.collab import steer
from pulser.core.errors import IllegalMove
from pulser.core.task import MOVES, STAGES, TERMINAL, Outcome, Stage
from tests.conformance.world import World

pytestmark = pytest.mark.anyio


async def reach(world: World, stage: Stage) -> tuple[str, Any]:
    """A task in that stage, and what a worker holds of it."""
    hand = world.hand()
    if stage == "waiting":
        parent = await world.submit()
        [claimed] = await hand.claim()
        task_id = await world.submit(depends_on=[parent])
        return task_id, claimed
    task_id = await world.submit(review=stage in ("review", "approved", "merging"))
    if stage == "queued":
        return task_id, None
    if stage == "cancelled":
        await world.write(steer.cancel, task_id)
        return task_id, None
    [claimed] = await hand.claim()
    if stage == "in_progress":
        return task_id, claimed
    if stage == "claimed":
        # claiming and starting are one statement; the stage between shows in events, and in rows of a worker that starts later
        await world.sql("UPDATE task_queue SET stage = 'claimed' WHERE task_id = :id", id=task_id)
        claimed.stage = "claimed"
        return task_id, claimed
    if stage == "failed":
        await hand.fail(claimed)
        return task_id, None
    await hand.finish(claimed)
    if stage in ("approved", "merging"):
        await world.write(steer.transition, task_id, "approved")
    if stage == "merging":
        [claimed] = await hand.claim()
    return task_id, claimed


async def expire(world: World) -> None:
    world.pass_time(3)
    await world.sweep()


async def move(world: World, old: Stage, new: Stage) -> str:
    """Make that move by the one who makes it; returns the task."""
    hand = world.hand()
    task_id, held = await reach(world, old)
    assert await world.stage(task_id) == old
    if new == "cancelled":
        await world.write(steer.cancel, task_id)
    elif old == "queued":
        if new == "waiting":  # it depends on something: on the way in, between two events
            await hand.claim()
            task_id = await world.submit(depends_on=[task_id])
        else:
            await hand.claim()
    elif old == "waiting":
        if new == "queued":
            await hand.finish(held)
        else:  # what it waited for cannot come
            held.task_id, held.token = task_id, 0
            await world.sql("UPDATE task_queue SET stage = 'failed', waiting_for = NULL WHERE task_id = :id", id=task_id)
    elif old in ("review", "failed", "cancelled"):
        await world.write(steer.transition, task_id, new)
    elif old == "approved":
        await hand.claim()
    elif old == "claimed" and new == "in_progress":
        await world.sql("UPDATE task_queue SET stage = 'in_progress' WHERE task_id = :id", id=task_id)
    elif new in ("queued", "approved"):
        await expire(world)
    elif new == "failed":
        await hand.fail(held)
    elif new == "review":
        held.review = True
        await hand.finish(held)
    elif new == "waiting":
        await hand.settle(Outcome(held, "park", waiting_for="event"))
    else:
        await hand.finish(held)
    return task_id


@pytest.mark.parametrize(("old", "new"), [(old, new) for old in STAGES for new in MOVES[old]])
async def test_every_move_of_the_table_can_be_made(world: World, old: Stage, new: Stage) -> None:
    if (old, new) in (("waiting", "failed"), ("claimed", "in_progress")):
        pytest.skip("nothing makes this move by itself yet: claiming and starting are one step, and no wait can fail")
    task_id = await move(world, old, new)
    stage = await world.stage(task_id)
    moved = [(event["before"]["stage"], event["after"]["stage"]) for event in await world.events(task_id) if event["before"] and event["after"]]
    if (old, new) == ("queued", "claimed"):
        assert stage == "in_progress" and (old, new) in moved
    elif (old, new) == ("queued", "waiting"):
        assert (stage, moved) == ("waiting", [("queued", "waiting")])
    elif old == "claimed":
        assert stage == new
    else:
        assert (stage, moved[-1]) == (new, (old, new))


@pytest.mark.parametrize("old", STAGES)
async def test_no_other_move_can_be_made_by_hand_and_a_refusal_names_those_that_can(world: World, old: Stage) -> None:
    task_id, _ = await reach(world, old)
    before, told = await world.task(task_id), await world.events(task_id)
    for new in STAGES:
        if new in MOVES[old]:
            continue
        with pytest.raises(IllegalMove) as refused:
            await world.write(steer.transition, task_id, new)
        assert (refused.value.status, refused.value.fields["stage"]) == (409, old)
        assert set(refused.value.fields["allowed"]) <= set(MOVES[old])
    assert await world.task(task_id) == before
    assert await world.events(task_id) == told


@pytest.mark.parametrize("old", [stage for stage in STAGES if stage not in ("claimed", "in_progress", "merging")])
async def test_no_worker_can_end_what_it_does_not_hold(world: World, old: Stage) -> None:
    task_id, _ = await reach(world, old)
    hand = world.hand()
    await world.submit()
    claimed = next(iter(await hand.claim(5)))
    for token in range(4):
        claimed.task_id, claimed.token = task_id, token
        before = await world.task(task_id)
        if before["stage"] != old:  # it was queued, and claimed just now
            return
        assert await hand.finish(claimed) == [claimed]
        assert await world.task(task_id) == before


def test_what_is_final_leads_only_to_a_next_generation() -> None:
    assert {stage: set(MOVES[stage]) for stage in TERMINAL} == {"done": set(), "failed": {"queued"}, "cancelled": {"queued"}}
    assert set().union(*(MOVES[stage] for stage in STAGES)) == set(STAGES), "a stage that nothing leads to"
