"""Tasks that wait for tasks."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pulser.collab import steer
from pulser.core.errors import BadInput, IllegalMove
from tests.conformance.world import OTHER, World

pytestmark = pytest.mark.anyio


async def test_a_task_waits_until_all_it_depends_on_has_succeeded(world: World) -> None:
    hand = world.hand()
    a, b = await world.submit(), await world.submit()
    c = await world.submit(depends_on=[a, b])
    assert (await world.task(c))["waiting_for"] == "dependency"
    first, second = await hand.claim(5)
    await hand.finish(first)
    assert await world.stage(c) == "waiting"
    await hand.finish(second)
    assert await world.stage(c) == "queued"
    assert (await world.kinds(c))[-1] == "task_unblocked"
    assert [task.task_id for task in await hand.claim(5)] == [c]


async def test_a_task_that_depends_on_what_is_done_is_queued_at_once(world: World) -> None:
    hand = world.hand()
    a = await world.submit()
    [claimed] = await hand.claim()
    await hand.finish(claimed)
    assert await world.stage(await world.submit(depends_on=[a])) == "queued"


async def test_a_task_that_depends_on_what_has_failed_is_refused(world: World) -> None:
    hand = world.hand()
    a = await world.submit()
    [claimed] = await hand.claim()
    await hand.fail(claimed)
    with pytest.raises(BadInput, match="failed"):
        await world.submit(depends_on=[a])


async def test_another_companys_task_cannot_be_depended_on(world: World) -> None:
    theirs = await world.submit(company=OTHER)
    with pytest.raises(BadInput, match="neither"):
        await world.submit(depends_on=[theirs])


async def test_a_failed_task_cancels_what_depends_on_it_down_the_whole_graph_and_nothing_else(world: World) -> None:
    hand = world.hand()
    drafts = [
        world.draft(ref="a"),
        world.draft(ref="b", depends_on=["a"]),
        world.draft(ref="c", depends_on=["b"]),
        world.draft(ref="d", depends_on=["b", "x"]),
        world.draft(ref="x"),
        world.draft(ref="y", depends_on=["x"]),
    ]
    a, b, c, d, x, y = (await world.send(drafts)).task_ids
    for claimed in await hand.claim(2):
        await (hand.fail(claimed) if claimed.task_id == a else hand.finish(claimed))
    assert {each: await world.stage(each) for each in (a, b, c, d, x, y)} == {
        a: "failed", b: "cancelled", c: "cancelled", d: "cancelled", x: "done", y: "queued",
    }  # fmt: skip
    assert (await world.task(c))["error"]["code"] == "dependency_failed"
    assert (await world.events(b))[-1]["details"] == {"reason": "dependency_failed", "cause": a}
    for each in (a, b, c, d, x, y):
        versions = [event["version"] for event in await world.events(each)]
        assert versions == list(range(1, len(versions) + 1))


async def test_cancelling_a_task_cancels_what_depends_on_it(world: World) -> None:
    a = await world.submit()
    b = await world.submit(depends_on=[a])
    await world.write(steer.cancel, a)
    assert await world.stage(b) == "cancelled"


async def test_retrying_with_cascade_revives_what_the_failure_cancelled(world: World) -> None:
    hand = world.hand()
    drafts = [world.draft(ref="a"), world.draft(ref="b", depends_on=["a"]), world.draft(ref="c", depends_on=["a"]), world.draft(ref="d", depends_on=["b", "c"])]
    a, b, c, d = (await world.send(drafts)).task_ids
    [claimed] = await hand.claim()
    await hand.fail(claimed)
    assert await world.stages() == {"failed": 1, "cancelled": 3}
    again = await world.write(lambda tx: steer.retry(tx, a, cascade=True))
    assert again[0] == a and sorted(again) == sorted([a, b, c, d])
    assert await world.stages() == {"queued": 1, "waiting": 3}
    async with world.crew():
        await world.ended(a, b, c, d)
    assert await world.stages() == {"done": 4}


async def test_retrying_without_cascade_leaves_the_dependents_cancelled(world: World) -> None:
    hand = world.hand()
    a = await world.submit()
    b = await world.submit(depends_on=[a])
    [claimed] = await hand.claim()
    await hand.fail(claimed)
    assert await world.write(steer.retry, a) == [a]
    assert await world.stage(b) == "cancelled"


async def test_a_dependent_submitted_while_its_parent_ends_never_waits_for_ever(world: World) -> None:
    second = world.open()
    async with world.crew():
        for _ in range(15):
            parent = await world.submit()
            sent = await asyncio.gather(*[world.send([world.draft(depends_on=[parent])], store=store) for store in (world.store, second, second)])
            await world.ended(parent, *[each.task_ids[0] for each in sent])
    assert await world.stages() == {"done": 60}


async def test_a_dependent_that_is_retried_while_its_parent_ends_never_waits_for_ever(world: World) -> None:
    async with world.crew():
        for _ in range(15):
            parent = await world.submit(payload={"sleep_ms": 5})
            [child] = (await world.send([world.draft(depends_on=[parent])])).task_ids
            with contextlib.suppress(IllegalMove):  # it may be done by now
                await world.write(steer.cancel, child)
                await world.write(steer.retry, child)
            await world.ended(parent, child)
    assert await world.stages() == {"done": 30}


async def test_a_graph_of_a_hundred_tasks_runs_in_order(world: World) -> None:
    drafts = [world.draft(ref=f"t{n}", depends_on=[f"t{m}" for m in range(max(0, n - 3), n)]) for n in range(100)]
    async with world.crew():
        ids = (await world.send(drafts)).task_ids
        await world.ended(*ids)
    told = [(event["event"], event["target"]) for event in await world.events()]
    for n in range(1, 100):
        assert told.index(("executor_succeeded", ids[n - 1])) < told.index(("executor_started", ids[n]))
