"""Submitting: one, many, all or nothing, and the same answer for the same key."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest

from pulser.collab import steer, views
from pulser.core.errors import BadInput, NotFound
from pulser.intake.submit import Key
from tests.conformance.world import OTHER, World

pytestmark = pytest.mark.anyio

BAD_IDS = ["", " ", "\t", "a\x00b", "\x00", "tsk_" + "A" * 10_000, "tsk_01ARZ3NDEKTSV4RRFFQ69G5FA", "'; DROP TABLE task_queue; --"]


def key(name: str = "k1", body: bytes = b"{}", principal: str = "operator", route: str = "POST /tasks") -> Key:
    return Key(principal, route, name, body)


async def count(world: World) -> int:
    [[number]] = await world.sql("SELECT count(*) FROM task_queue")
    return int(number)


async def test_a_receipt_says_what_became_of_the_task(world: World) -> None:
    submitted = await world.send([world.draft(priority="high", ref="first")], batch=False)
    receipt = msgspec.json.decode(submitted.body)
    assert (receipt["task_id"], receipt["status"], receipt["stage"], receipt["assigned_agent"]) == (submitted.task_ids[0], "queued", "queued", "pulser")
    assert (receipt["priority"], receipt["action"], receipt["ref"]) == ("high", "noop", "first")
    assert receipt["routing"]["rule"] and receipt["routing"]["reason"]
    task = await world.task(submitted.task_ids[0])
    assert task["created_at"] == receipt["created_at"] < receipt["estimated_completion"]


async def test_a_batch_is_written_whole_with_refs_resolved(world: World) -> None:
    drafts = [world.draft(ref="a"), world.draft(ref="b", depends_on=["a"]), world.draft(ref="c", depends_on=["a", "b"])]
    a, b, c = (await world.send(drafts)).task_ids
    assert [await world.stage(each) for each in (a, b, c)] == ["queued", "waiting", "waiting"]
    assert sorted((await world.task(c))["depends_on"]) == sorted([a, b])
    [_, _, waiting] = await world.events(b)
    assert (waiting["event"], waiting["details"]) == ("task_waiting", {"waiting_for": "dependency", "on": [a]})


@pytest.mark.parametrize(
    ("links", "says"),
    [
        ({"a": ["b"], "b": ["a"]}, "wait for each other"),
        ({"a": ["a"]}, "wait for each other"),
        ({"a": ["c"], "b": ["a"], "c": ["b"], "d": ["a"]}, "wait for each other"),
        ({"a": ["nobody"]}, "neither a task nor a ref"),
        ({"a": [], "b": ["tsk_01ARZ3NDEKTSV4RRFFQ69G5FAV"]}, "neither a task nor a ref"),
    ],
)
async def test_a_batch_that_cannot_be_is_refused_whole_and_leaves_nothing(world: World, links: dict[str, list[str]], says: str) -> None:
    drafts = [world.draft()] + [world.draft(ref=ref, depends_on=on) for ref, on in links.items()]
    with pytest.raises(BadInput, match=says) as refused:
        await world.send(drafts)
    assert refused.value.status == 422
    assert refused.value.fields["errors"][0]["pointer"].startswith("/tasks/")
    assert await count(world) == 0
    assert await world.events() == []


async def test_a_ref_used_twice_is_refused(world: World) -> None:
    with pytest.raises(BadInput, match="'a'"):
        await world.send([world.draft(ref="a"), world.draft(ref="a"), world.draft(depends_on=["a"])])
    assert await count(world) == 0


async def test_a_batch_that_is_refused_leaves_its_neighbours_alone(world: World) -> None:
    bad = [world.draft(ref="a", depends_on=["b"]), world.draft(ref="b", depends_on=["a"])]
    good = [[world.draft()] for _ in range(10)]
    answers = await asyncio.gather(*[world.send(each) for each in [*good[:5], bad, *good[5:]]], return_exceptions=True)
    assert [isinstance(answer, BaseException) for answer in answers] == [False] * 5 + [True] + [False] * 5
    assert await count(world) == 10


async def test_the_same_key_gives_the_same_answer_byte_for_byte_and_one_task(world: World) -> None:
    first = await world.send([world.draft()], key=key())
    world.pass_time(60)
    again = await world.send([world.draft()], key=key())
    assert (again.body, again.task_ids, again.replayed) == (first.body, first.task_ids, True)
    assert await count(world) == 1
    assert len(await world.events()) == 2


async def test_the_same_key_with_another_body_is_refused(world: World) -> None:
    await world.send([world.draft()], key=key())
    with pytest.raises(BadInput, match="another body"):
        await world.send([world.draft()], key=key(body=b'{"x":1}'))
    assert await count(world) == 1


async def test_a_key_counts_within_its_company_principal_and_route(world: World) -> None:
    sent = [
        await world.send([world.draft()], key=key()),
        await world.send([world.draft()], key=key(principal="key:ci")),
        await world.send([world.draft()], key=key(route="POST /tasks/batch")),
        await world.send([world.draft()], key=key("k2")),
        await world.send([world.draft()], key=key(), company=OTHER),
    ]
    assert not any(each.replayed for each in sent)
    assert len({each.task_ids[0] for each in sent}) == 5


async def test_one_key_sent_many_times_at_once_by_two_processes_makes_one_task(world: World) -> None:
    second = world.open()
    sent = await asyncio.gather(*[world.send([world.draft()], key=key(), store=store) for _ in range(20) for store in (world.store, second)])
    assert len({each.body for each in sent}) == 1
    assert sum(not each.replayed for each in sent) == 1
    assert await count(world) == 1


async def test_a_refused_request_does_not_use_up_its_key(world: World) -> None:
    with pytest.raises(BadInput):
        await world.send([world.draft(depends_on=["nobody"])], key=key())
    assert not (await world.send([world.draft()], key=key())).replayed


@pytest.mark.parametrize("bad", BAD_IDS)
async def test_ids_that_are_none_are_refused_wherever_one_is_named(world: World, bad: str) -> None:
    with pytest.raises((BadInput, ValueError)):  # pydantic's error is a ValueError; the door tells it as 422
        await world.submit(depends_on=[bad])
    with pytest.raises((BadInput, NotFound)):
        await world.store.read(views.task, bad, company="default")
    for fn in (steer.cancel, steer.retry, steer.discard):
        with pytest.raises((BadInput, NotFound)):
            await world.write(fn, bad)
    with contextlib.suppress(BadInput):
        assert (await world.write(steer.requeue, [bad]))["requeued"] == []
    assert await count(world) == 0


@pytest.mark.parametrize("field", ["task_type", "title", "requester", "agent", "ref", "description"])
@pytest.mark.parametrize("bad", ["a\x00b", "x" * 30_000, "\x1b[2J"])
async def test_texts_with_control_characters_or_without_end_are_refused(world: World, field: str, bad: str) -> None:
    with pytest.raises(ValueError, match=field):
        world.draft(**{field: bad})


async def test_a_nul_in_a_payload_is_stored_or_refused_but_never_breaks_its_neighbours(world: World) -> None:
    sends = [world.send([world.draft(payload={"data": f"{n}"})]) for n in range(3)]
    try:
        poisoned = world.draft(payload={"data": "a\x00b"})
    except BadInput:
        poisoned = None
    answers = await asyncio.gather(*sends, *([world.send([poisoned])] if poisoned else []), return_exceptions=True)
    assert not any(isinstance(answer, BaseException) for answer in answers[:3])
    if len(answers) > 3 and isinstance(answers[3], BaseException):
        assert isinstance(answers[3], BadInput), f"a fault of the request came out as {answers[3]!r}"
