"""For a process under test: every start and finish of a noop with ``seq`` becomes a line of a file that many processes append to."""

from __future__ import annotations

import faulthandler
import os
import signal
from typing import Any

from pulser.agents import noop

_file = os.open(os.environ["PULSER_TEST_RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
_run = noop.run
faulthandler.register(signal.SIGUSR1)  # a test that waited in vain asks where we are


async def _recorded(args: dict[str, Any], attempt: int, *, probes: bool) -> dict[str, Any]:
    os.write(_file, f"start {args.get('seq')} {os.getpid()}\n".encode())
    result = await _run(args, attempt, probes=probes)
    os.write(_file, f"end {args.get('seq')} {os.getpid()}\n".encode())
    return result


noop.run = _recorded
