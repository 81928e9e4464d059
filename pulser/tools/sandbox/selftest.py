"""What a level of confinement must withstand before it is offered: run inside, it tries to get out and tells what it reached."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

from pulser.core.tool import Call, Json, Tool


def _run(call: Call) -> Json:
    args = call.args
    tries: dict[str, Callable[[], object]] = {
        "read what is hidden": lambda: Path(args["hidden"]).read_bytes(),
        "read another user's environment": lambda: Path(f"/proc/{args['parent']}/environ").read_bytes(),
        "write to what it may only read": lambda: Path(args["shown"]).write_text("x"),
        "reach this machine's network": lambda: _connect(args["port"]),
        "signal its parent": lambda: os.kill(args["parent"], 0),
    }
    escaped = [what for what, attempt in tries.items() if _works(attempt)]
    if Path(args["shown"]).read_text() != "shown":
        escaped.append("not read what it may")
    _works(lambda: Path(args["outside"]).write_text("x"))  # whether it arrived is for Pulser to see: a namespace has folders of the same name
    (call.out / "mark").write_text("written")
    return {"escaped": escaped}


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _connect(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        pass


TOOL = Tool(name="sandbox.selftest", summary="Try to get out", run=_run, arguments={"type": "object"})
