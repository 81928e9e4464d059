"""Lists and counts of tasks: right by every filter, page by page, and no dearer for what they do not show."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import insert

from pulser.collab import steer, team, views
from pulser.core.clock import to_us
from pulser.core.ids import new_id
from pulser.core.task import PRIORITIES, STAGES
from pulser.store import listing, tasks
from pulser.store.listing import Filter
from pulser.store.tables import task_queue
from pulser.store.tx import Tx
from tests.conformance.world import COMPANY, OTHER, World

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AGENTS = ("pulser", "maya", "echo")
ENDED = ("done", "failed", "cancelled")
PARENT = "tsk_01M00000000000000000000000"


def row(n: int, draw: random.Random, **fixed: Any) -> dict[str, Any]:
    """The ``n``-th task, of a stage and with what tasks of that stage have."""
    stage = fixed.get("stage") or draw.choice([*STAGES, "queued", "done", "done"])
    at = NOON + timedelta(seconds=n)
    delayed = stage in ("queued", "approved") and draw.random() < 0.3
    made: dict[str, Any] = {
        "company_id": COMPANY, "task_id": new_id("tsk", to_us(at) // 1000, draw.randbytes), "task_type": draw.choice(["orchestration", "documentation"]),
        "action": "noop", "priority": draw.choice(PRIORITIES), "assigned_agent": draw.choice(AGENTS), "stage": stage,
        "ready": stage in ("queued", "approved") and not delayed, "available_at": at + timedelta(hours=1) if delayed else None, "rank_at": at,
        "lease_expires_at": at if stage in ("claimed", "in_progress", "merging") else None, "completed_at": at if stage in ENDED else None,
        "claimed_at": at if stage in ENDED else None, "time_limit_s": 60.0, "created_at": at, "updated_at": at, "routing": {}, "payload": {},
        "title": draw.choice(["count penguins", "tidy shelves", "100 % wool"]), "requester": draw.choice(["ada", None]), "parent_id": None,
        "discarded": stage == "failed" and draw.random() < 0.5,
    }  # fmt: skip
    if draw.random() < 0.2:  # planned by a task of long before: its id is of that task's time
        made |= {"parent_id": PARENT, "task_id": new_id("tsk", to_us(NOON - timedelta(days=1)) // 1000, draw.randbytes)}
    return made | fixed


async def put(world: World, rows: list[dict[str, Any]]) -> None:
    await world.store.write(lambda tx: tx.execute(insert(task_queue), rows) and None, scope="owner")


@pytest.fixture
async def mixed(world: World) -> list[dict[str, Any]]:
    """300 tasks of every kind, and as many of another company."""
    draw = random.Random(7)
    rows = [row(n, draw) for n in range(300)]
    await put(world, rows)
    await put(world, [row(n, draw, company_id=OTHER) for n in range(300)])
    return rows


def _is_of(stage: str, row: dict[str, Any]) -> bool:
    return bool(row["stage"] == stage)


AT = NOON + timedelta(seconds=150)
WANTED: dict[str, tuple[Filter, Callable[[dict[str, Any]], Any]]] = {
    "all": (Filter(), lambda r: True),
    **{f"stage {stage}": (Filter(stages=(stage,)), partial(_is_of, stage)) for stage in STAGES},
    "every stage": (Filter(stages=STAGES), lambda r: True),
    "open ones": (Filter(stages=("queued", "in_progress", "waiting")), lambda r: r["stage"] in ("queued", "in_progress", "waiting")),
    "an agent's": (Filter(agent="maya"), lambda r: r["assigned_agent"] == "maya"),
    "queued for an agent": (Filter(stages=("queued",), agent="echo"), lambda r: (r["stage"], r["assigned_agent"]) == ("queued", "echo")),
    "running of an agent": (Filter(stages=("in_progress",), agent="echo"), lambda r: (r["stage"], r["assigned_agent"]) == ("in_progress", "echo")),
    "done by an agent": (Filter(stages=("done",), agent="echo"), lambda r: (r["stage"], r["assigned_agent"]) == ("done", "echo")),
    "urgent and queued": (Filter(stages=("queued",), priority="critical"), lambda r: (r["stage"], r["priority"]) == ("queued", "critical")),
    "a type": (Filter(task_type="documentation"), lambda r: r["task_type"] == "documentation"),
    "asked for by": (Filter(requester="ada"), lambda r: r["requester"] == "ada"),
    "children": (Filter(parent_id=PARENT), lambda r: r["parent_id"] == PARENT),
    "children that are done": (Filter(parent_id=PARENT, stages=("done",)), lambda r: (r["parent_id"], r["stage"]) == (PARENT, "done")),
    "a text": (Filter(text="Penguins"), lambda r: "penguins" in r["title"]),
    "a text with a sign of LIKE": (Filter(text="100 %"), lambda r: "100 %" in r["title"]),
    "a text in a stage": (Filter(text="wool", stages=("queued", "done")), lambda r: "wool" in r["title"] and r["stage"] in ("queued", "done")),
    "no text": (Filter(text="giraffe"), lambda r: False),
    "dead letters": (Filter(stages=("failed",), discarded=False), lambda r: r["stage"] == "failed" and not r["discarded"]),
    "since": (Filter(since=AT), lambda r: r["created_at"] >= AT),
    "until": (Filter(until=AT), lambda r: r["created_at"] < AT),
    "between, of a stage": (
        Filter(since=AT, until=AT + timedelta(seconds=60), stages=("queued", "done")),
        lambda r: AT <= r["created_at"] < AT + timedelta(seconds=60) and r["stage"] in ("queued", "done"),
    ),
    "children since": (Filter(parent_id=PARENT, since=AT), lambda r: r["parent_id"] == PARENT and r["created_at"] >= AT),
}


@pytest.mark.parametrize("name", WANTED)
@pytest.mark.parametrize("scan", [7, 20_000])
async def test_a_list_has_exactly_what_is_wanted_page_by_page(
    world: World, mixed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, name: str, scan: int
) -> None:
    monkeypatch.setattr(listing, "SCAN", scan)
    monkeypatch.setattr(listing, "PROBE", min(scan, 40))
    wanted, fits = WANTED[name]
    expected = sorted((r["task_id"] for r in mixed if fits(r)), reverse=True)
    shown: list[str] = []
    cursor, turns = None, 0
    while turns == 0 or cursor is not None:
        page = await world.store.read(views.page, wanted, 20, cursor, company=COMPANY)
        shown += [item["task_id"] for item in page["items"]]
        cursor, turns = page["next"], turns + 1
        assert turns < 200, "it goes round in circles"
    assert shown == expected
    if scan > len(mixed):
        assert turns == max(1, -(-len(expected) // 20)), "there was a page too many"
    assert [r["task_id"] for r in await world.store.read(tasks.page, wanted, 20, None, company=COMPANY)] == expected[:20]


async def test_a_list_looks_at_no_more_rows_than_it_may_and_says_where_to_go_on(
    world: World, mixed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SCAN", 50)
    page = await world.store.read(views.page, Filter(text="giraffe"), 20, None, company=COMPANY)
    assert page == {"items": [], "next": sorted((r["task_id"] for r in mixed), reverse=True)[49]}


async def test_counts_are_by_agent_and_stage_of_what_has_not_ended(world: World, mixed: list[dict[str, Any]]) -> None:
    expected = Counter((r["assigned_agent"], r["stage"]) for r in mixed if r["stage"] not in ENDED)
    assert await world.store.read(tasks.counts, company=COMPANY) == expected
    everywhere = await world.sql(
        "SELECT assigned_agent, stage, count(*) FROM task_queue WHERE stage NOT IN ('done', 'failed', 'cancelled') GROUP BY assigned_agent, stage"
    )
    assert Counter(await world.store.read(views.queue_depths, scope="engine")) == Counter(tuple(each) for each in everywhere)


async def test_an_agents_numbers_are_of_the_last_500_that_were_done_or_failed(world: World) -> None:
    draw = random.Random(3)
    old = [row(n, draw, stage="failed", assigned_agent="maya", parent_id=None) for n in range(100)]
    new = [row(n, draw, stage="done" if n % 5 else "failed", assigned_agent="echo", parent_id=None) for n in range(1000, 1500)]
    for n, each in enumerate([*old, *new]):
        each["task_id"] = new_id("tsk", to_us(each["created_at"]) // 1000, draw.randbytes)
        each["completed_at"] = each["claimed_at"] + timedelta(seconds=n % 10)
    await put(world, [*old, *new])
    shown = {each["name"]: each["stats"] for each in (await world.store.read(views.agents, world.registry, company=COMPANY))["items"]}
    assert shown["echo"] == {"completed": 400, "failed": 100, "p50_s": 5.0, "p95_s": 9.0}
    assert shown["maya"] == {"completed": 0, "failed": 0, "p50_s": None, "p95_s": None}


async def test_every_queued_task_can_be_claimed_or_has_a_time(world: World) -> None:
    """Lists and counts of queued tasks rely on it."""
    hand = world.hand()
    now = await world.store.read(lambda tx: tx.now, company=COMPANY)
    ids = [await world.submit(), await world.submit(run_at=now + timedelta(hours=1)), await world.submit(), await world.submit()]
    await world.submit(depends_on=[ids[0]])
    await world.write(team.pause, "maya")
    held = await hand.claim(3)
    await hand.fail(held[0], "retry")
    await hand.fail(held[1])
    await world.write(steer.retry, held[1].task_id)
    await world.write(steer.cancel, held[2].task_id)
    await world.write(steer.retry, held[2].task_id)
    queued = await world.sql("SELECT task_id, ready, available_at FROM task_queue WHERE stage = 'queued'")
    assert len(queued) == 4
    assert [each for each in queued if not each.ready and each.available_at is None] == []
    assert (await world.store.read(views.counts, company=COMPANY))["stages"]["queued"] == 4


BOARD: dict[str, tuple[Any, ...]] = {
    **{stage: (views.page, Filter(stages=(stage,)), 50, None) for stage in STAGES},
    "all": (views.page, Filter(), 50, None),
    "several": (views.page, Filter(stages=("queued", "in_progress", "review", "failed")), 50, None),
    "of an agent": (views.page, Filter(stages=("waiting",), agent="maya"), 50, None),
    "children": (views.page, Filter(parent_id=PARENT), 50, None),
    "lately": (views.page, Filter(since=NOON + timedelta(days=20)), 50, None),
    "counts": (views.counts,),
    "numbers": (views._numbers,),
}


async def test_the_board_and_the_counts_cost_the_same_with_ten_times_as_many_ended_tasks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    if not world.sqlite:
        pytest.skip("counts the steps of SQLite's machine")
    monkeypatch.setattr(listing, "PROBE", 100)
    draw = random.Random(11)

    def steps(tx: Tx, fn: Any, *args: Any) -> int:
        taken = [0]

        def count() -> None:
            taken[0] += 1

        raw: Any = tx.connection.connection.driver_connection
        raw.set_progress_handler(count, 10)
        try:
            fn(tx, *args)
        finally:
            raw.set_progress_handler(None, 0)
        return taken[0]

    async def measure() -> dict[str, int]:
        return {name: await world.store.read(steps, *case, company=COMPANY) for name, case in BOARD.items()}

    await put(world, [row(n, draw, stage=draw.choice(STAGES[:7]), parent_id=None) for n in range(150)])
    await put(world, [row(n, draw, stage="done", parent_id=None) for n in range(200, 800)])
    few = await measure()
    await put(world, [row(n, draw, stage="done", parent_id=None) for n in range(800, 8_000)])
    many = await measure()
    assert {name: (few[name], many[name]) for name in BOARD if many[name] > 2 * few[name] + 200} == {}
