"""coordinate: steps of several agents, run as a graph, their results joined."""

from __future__ import annotations

from typing import Any

import pytest

from pulser.collab import steer
from pulser.core.errors import BadInput
from tests.conformance.world import World

pytestmark = pytest.mark.anyio


def step(name: str, *depends_on: str, **payload: Any) -> dict[str, Any]:
    return {"name": name, "task_type": "orchestration", "payload": {"action": "noop", **payload}, "depends_on": list(depends_on), "max_retries": 0}


async def coordinate(world: World, *steps: dict[str, Any], **more: Any) -> str:
    return await world.submit(payload={"action": "coordinate", "steps": list(steps), **more})


def by_name(task: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in task["result"]["steps"]}


@pytest.fixture
def three_agents(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Two more agents that can do nothing, so that a graph can span three without any real work."""
    import dataclasses

    pulser = world.registry.agent("pulser")
    for name in ("left", "right"):
        [kind] = pulser.task_types.values()
        spec = dataclasses.replace(pulser, name=name, task_types={name: dataclasses.replace(kind, name=name, default_action="noop")})
        monkeypatch.setitem(world.registry.specs, name, spec)
        monkeypatch.setitem(world.registry.types, name, name)
    return world


async def test_steps_of_three_agents_run_in_the_order_of_their_graph_and_are_joined(three_agents: World) -> None:
    world = three_agents
    steps = [step("a", seq=1), {**step("b", "a", seq=2), "task_type": "left"}, {**step("c", "a", seq=3), "task_type": "right"}, step("d", "b", "c", seq=4)]
    async with world.crew():
        task_id = await coordinate(world, *steps)
        [task] = await world.ended(task_id)
    assert task["stage"] == "done"
    done = by_name(task)
    assert {name: each["result"]["seq"] for name, each in done.items()} == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert {each["agent"] for each in done.values()} == {"pulser", "left", "right"}
    assert task["result"]["counts"] == {"completed": 4, "failed": 0, "skipped": 0}
    told = [(event["event"], event["target"]) for event in await world.events()]
    for later, earlier in (("b", "a"), ("c", "a"), ("d", "b"), ("d", "c")):
        assert told.index(("executor_started", done[later]["task_id"])) > told.index(("executor_succeeded", done[earlier]["task_id"]))
    assert [attempt["outcome"] for attempt in task["attempts"]] == ["parked", "succeeded"]
    assert [child["stage"] for child in task["children"]] == ["done"] * 4
    assert [event["version"] for event in await world.events(task_id)] == list(range(1, task["version"] + 1))


async def test_a_failed_step_stops_only_what_depends_on_it(world: World) -> None:
    async with world.crew():
        steps = [step("bad", fail="permanent"), step("after", "bad"), step("last", "after"), step("free"), step("too", "free")]
        [task] = await world.ended(await coordinate(world, *steps))
    assert (task["stage"], task["error"]["code"]) == ("failed", "permanent")
    assert {name: each["stage"] for name, each in by_name(task).items()} == {
        "bad": "failed", "after": "cancelled", "last": "cancelled", "free": "done", "too": "done",
    }  # fmt: skip
    assert task["result"]["counts"] == {"completed": 2, "failed": 1, "skipped": 2}


async def test_failures_can_be_allowed(world: World) -> None:
    async with world.crew():
        [task] = await world.ended(await coordinate(world, step("bad", fail="permanent"), step("free"), allow_failures=True))
    assert (task["stage"], task["result"]["summary"]) == ("done", "2 steps: 1 completed, 1 failed")


async def test_a_coordinated_task_holds_no_slot_while_its_steps_run(world: World) -> None:
    async with world.crew(concurrency=1):
        [task] = await world.ended(await coordinate(world, step("a"), step("b", "a")))
    assert task["stage"] == "done"


async def test_a_retry_with_cascade_runs_the_failed_steps_again_and_keeps_what_was_done(world: World) -> None:
    async with world.crew():
        task_id = await coordinate(world, step("ok"), step("bad", fail_times=1), step("after", "bad"))
        [task] = await world.ended(task_id)
        assert task["stage"] == "failed"
        await world.sql("UPDATE task_queue SET payload = :p WHERE task_id = :id", p='{"action":"noop"}', id=by_name(task)["bad"]["task_id"])
        again = await world.write(lambda tx: steer.retry(tx, task_id, cascade=True))
        assert again[0] == task_id and len(again) == 3
        [task] = await world.ended(task_id)
    assert task["stage"] == "done"
    assert {name: each["stage"] for name, each in by_name(task).items()} == {"ok": "done", "bad": "done", "after": "done"}
    assert len((await world.task(by_name(task)["ok"]["task_id"]))["attempts"]) == 1, "a finished step ran again"


async def test_handing_out_twice_hands_out_the_same_steps_once(world: World) -> None:
    task_id = await coordinate(world, step("a"), step("b", "a"))
    hand = world.hand()
    from pulser.agents.perform import perform

    [first] = await hand.claim()
    stale = await perform(first, world.desk, lambda message, fraction: None)
    world.pass_time(3)
    await world.sweep()
    async with world.crew():
        [task] = await world.ended(task_id)
        assert await hand.settle(stale) == [first]
    assert len(task["children"]) == 2


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([step("a"), step("a")], "two steps are called 'a'"),
        ([step("a", "b")], "which is no step"),
        ([step("a", "b"), step("b", "a")], "wait for each other"),
        ([{"name": "a", "task_type": "nothing"}], "no task type"),
        ([{"name": "a", "task_type": "orchestration", "payload": {"action": "noop", "data": "step:zzz/x"}}], "asks for"),
    ],
)
async def test_steps_that_cannot_be_are_refused_or_fail_the_task_for_good_and_leave_no_children(world: World, steps: Any, says: str) -> None:
    async with world.crew():
        try:
            task_id = await coordinate(world, *steps)
        except BadInput as refused:
            assert says in refused.detail
            return
        [task] = await world.ended(task_id)
    assert (task["stage"], task["children"]) == ("failed", [])
    assert says in task["error"]["detail"]
    assert len(task["attempts"]) == 1, "what cannot be was tried again"
