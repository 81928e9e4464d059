"""One attempt at one task, start to outcome. The journey: claim (pool) → here → agents/perform → settle."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass
from typing import Any

from pulser.agents.perform import Perform, Tell
from pulser.core import errors
from pulser.core.task import Claimed, Outcome
from pulser.observe import logs

log = logs.get("worker")


@dataclass(slots=True)
class Overtime:
    """Stops the work when its time is up, and remembers that it did."""

    work: asyncio.Task[Any]
    stopped: bool = False

    def stop(self) -> None:
        """The time is up."""
        self.stopped = True
        self.work.cancel()


async def run_one(task: Claimed, perform: Perform, tell: Tell, loop: asyncio.AbstractEventLoop) -> Outcome:
    """Perform ``task`` within its time limit; every way it can go becomes an outcome, and only cancellation comes out as itself."""
    me = asyncio.current_task(loop)
    assert me is not None  # noqa: S101 - a coroutine runs in a task
    overtime = Overtime(me)
    timer = loop.call_later(task.time_limit_s, overtime.stop)  # asyncio.timeout takes five times as long
    try:
        return await perform(task, tell)
    except asyncio.CancelledError:
        if not overtime.stopped:
            raise
        limit = f"it took longer than its limit of {task.time_limit_s:g} s"
        return _failed(task, errors.TimedOut(limit, hint="Raise time_limit_s, or give it less to do."))
    except errors.PulserError as error:
        return _failed(task, error)
    except Exception as error:
        log.exception("a tool broke", task_id=task.task_id, company_id=task.company_id, agent=task.agent, action=task.action)
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{last.name}, line {last.lineno}"
        return _failed(
            task, errors.Permanent(f"{type(error).__name__}: {error} (in {where})", hint="This is a fault in the tool, not in the request; please report it.")
        )
    finally:
        timer.cancel()


def _failed(task: Claimed, error: errors.PulserError) -> Outcome:
    """Retry what may pass and has retries left; bury the rest."""
    passing = error.retry if isinstance(error, errors.WorkFailed) else isinstance(error, errors.Unavailable)
    told: dict[str, Any] = {"code": error.code, "detail": error.detail, "hint": error.hint}
    if "errors" in error.fields:
        told["errors"] = error.fields["errors"]
    again = passing and task.retries < task.max_retries
    return Outcome(
        task,
        "retry" if again else "fail",
        error=told,
        result=error.fields.get("result"),
        artifacts=error.fields.get("artifacts", []),
        log=error.fields.get("log"),
    )
