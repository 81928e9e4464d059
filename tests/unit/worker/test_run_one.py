"""One attempt: every way it can go becomes an outcome."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pulser.core import errors
from pulser.core.clock import EPOCH
from pulser.core.task import Artifact, Claimed, Outcome
from pulser.worker.run_one import run_one

pytestmark = pytest.mark.anyio


def claimed(**changes: Any) -> Claimed:
    values: dict[str, Any] = {
        "company_id": "a", "task_id": "tsk_1", "token": 1, "stage": "in_progress", "task_type": "x", "action": "x", "agent": "x", "payload": {}, "attempt": 1,
        "retries": 0, "max_retries": 3, "time_limit_s": 30.0, "review": False, "version": 4, "claimed_at": EPOCH, "created_at": EPOCH,
    }  # fmt: skip
    return Claimed(**(values | changes))


async def run(what: Any, **changes: Any) -> Outcome:
    async def perform(task: Claimed, tell: Any) -> Outcome:
        if isinstance(what, BaseException):
            raise what
        found: Outcome = await what(task)
        return found

    return await run_one(claimed(**changes), perform, lambda message, fraction: None, asyncio.get_running_loop())


@pytest.mark.parametrize(
    ("error", "changes", "end", "code"),
    [
        (errors.Transient("x"), {}, "retry", "transient"),
        (errors.Transient("x"), {"retries": 3}, "fail", "transient"),
        (errors.Transient("x"), {"max_retries": 0}, "fail", "transient"),
        (errors.TimedOut("x"), {"retries": 2}, "retry", "timed-out"),
        (errors.Unavailable("x"), {}, "retry", "unavailable"),
        (errors.Permanent("x"), {}, "fail", "permanent"),
        (errors.BadInput("x"), {}, "fail", "bad-input"),
        (errors.NotFound("x"), {}, "fail", "not-found"),
        (errors.Conflict("x"), {}, "fail", "conflict"),
        (errors.OperatorError("x"), {}, "fail", "operator-error"),
        (ZeroDivisionError("x"), {}, "fail", "permanent"),
        (KeyError("x"), {}, "fail", "permanent"),
    ],
)
async def test_an_error_is_tried_again_if_it_may_pass_and_tries_are_left(error: BaseException, changes: dict[str, Any], end: str, code: str) -> None:
    outcome = await run(error, **changes)
    assert (outcome.end, (outcome.error or {})["code"]) == (end, code)


async def test_a_timeout_error_of_the_tool_itself_is_not_taken_for_the_tasks_limit() -> None:
    outcome = await run(TimeoutError("the peer did not answer"))
    assert "limit" not in (outcome.error or {})["detail"]


async def test_work_beyond_its_limit_is_stopped() -> None:
    stopped = []

    async def slow(task: Claimed) -> Outcome:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(True)
            raise
        raise AssertionError

    outcome = await run(slow, time_limit_s=0.01)
    assert (outcome.end, (outcome.error or {})["code"], stopped) == ("retry", "timed-out", [True])


async def test_cancellation_from_outside_comes_out_as_itself() -> None:
    async def slow(task: Claimed) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    running = asyncio.ensure_future(run(slow))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_work_that_ends_in_time_leaves_no_timer_behind() -> None:
    async def quick(task: Claimed) -> Outcome:
        return Outcome(task, "finish")

    assert (await run(quick, time_limit_s=0.02)).end == "finish"
    await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=0.05)  # longer than the limit: nothing cancels us


async def test_what_a_failed_attempt_brought_is_kept() -> None:
    file = Artifact("part.txt", "0" * 64, 1, "text/plain")
    outcome = await run(errors.Permanent("x", hint="h", result={"n": 1}, artifacts=[file], log=file, errors=[{"pointer": "/a", "detail": "d"}]))
    assert (outcome.result, outcome.artifacts, outcome.log) == ({"n": 1}, [file], file)
    assert outcome.error == {"code": "permanent", "detail": "x", "hint": "h", "errors": [{"pointer": "/a", "detail": "d"}]}
