"""noop: does nothing, for a given time or with a given failure; for probes, fault tests and benches."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from pulser.core.errors import BadInput, Permanent, Transient

ARGUMENTS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "sleep_ms": {"type": "number", "minimum": 0, "maximum": 3_600_000, "description": "How long to take."},
        "fail": {"enum": ["transient", "permanent", False, None], "description": "How to fail."},
        "fail_times": {"type": "integer", "minimum": 1, "description": "Fail transiently in that many attempts, then succeed."},
        "crash": {
            "enum": ["child", "worker", True, False, None],
            "description": "child (or true): a child process dies by SIGKILL. worker: this process does; needs PULSER_WORKER_PROBES.",
        },
        "seq": {"type": "integer", "description": "Comes back in the result."},
        "sleep": {"type": "number", "minimum": 0, "maximum": 3600, "description": "The same as sleep_ms, in seconds."},
        "data": {"description": "Anything; ignored."},
    },
}


async def run(args: dict[str, Any], attempt: int, *, probes: bool) -> dict[str, Any]:
    """Take ``sleep_ms`` milliseconds, then succeed or fail as told."""
    if crash := args.get("crash"):
        await _crash("child" if crash is True else crash, probes=probes)
    delay_s = args.get("sleep_ms", 0) / 1000 + args.get("sleep", 0)
    if delay_s:
        await asyncio.sleep(delay_s)
    if args.get("fail") == "permanent":
        raise Permanent("told to fail for good", hint="It was asked to: payload.fail is 'permanent'.")
    if args.get("fail") == "transient" or attempt <= args.get("fail_times", 0):
        raise Transient("told to fail", hint="It was asked to.")
    return {"ok": True, "seq": args["seq"]} if "seq" in args else {"ok": True}


async def _crash(whom: str, *, probes: bool) -> None:
    if whom == "worker":
        if not probes:
            raise BadInput("crash: worker is not allowed here", hint="Set PULSER_WORKER_PROBES=true where a worker may be killed.")
        os.kill(os.getpid(), signal.SIGKILL)
    child = await asyncio.create_subprocess_exec("/bin/sh", "-c", "kill -9 $$", env={})
    code = await child.wait()
    raise Transient(f"the child process died ({signal.Signals(-code).name})", hint="It was asked to: payload.crash.")
