"""What runs inside the child: give up what it may not have, then run the tool, and say how it went on one descriptor.

The request comes as JSON on standard input. Messages go out as JSON lines: ``ready``, ``progress``, ``log``, ``artifact`` and, last, ``result``,
``error`` or ``memory``. The descriptor is one end of a socket pair: when the other end closes, Pulser is gone, and so is this group.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any, NoReturn

from pulser.core.errors import Permanent, PulserError, Transient
from pulser.tools.sandbox import privileges
from pulser.tools.sandbox.handle import Handle

_OUT_OF_MEMORY = b'{"kind":"memory"}\n'


class Channel:
    """Sends one message at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._turn = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """As one line of JSON; :class:`ValueError` or :class:`TypeError` if it is none."""
        self.raw(json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n")

    def raw(self, data: bytes) -> None:
        """A line that is ready."""
        with self._turn:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]


def main(descriptor: int) -> NoReturn:
    """Run the request on standard input and exit; never returns."""
    request = _read_request()
    os.set_inheritable(descriptor, False)
    channel = Channel(descriptor)
    try:
        _confine(request["confine"], request["limits"])
        threading.Thread(target=_die_with, args=(descriptor,), daemon=True).start()
        channel.send({"kind": "ready"})
        _say(channel, request)
    except MemoryError:
        channel.raw(_OUT_OF_MEMORY)
    except BaseException as error:
        _fail(channel, error)
    finally:
        _flush()
        os._exit(0)  # at once: what the tool left running is of no use to anybody


def _read_request() -> dict[str, Any]:
    with open(0, "rb", closefd=False) as file:
        request: dict[str, Any] = json.load(file)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return request


def _confine(how: dict[str, Any], limits: dict[str, Any]) -> None:
    """In this order: limits and the change of user need what the filter then forbids."""
    privileges.limit(limits, alone=how["uid"] is not None or how["level"] == "bwrap")
    if how["uid"] is not None:
        privileges.become(how["uid"])
    if how["level"] == "off":
        return
    privileges.no_new_privileges()
    privileges.not_looked_into()
    if how["landlock"] is not None:
        from pulser.tools.sandbox import landlock

        landlock.restrict([(path, allowed, tuple(identity) if identity else None) for path, allowed, identity in how["landlock"]])
    if how["seccomp"] is not None:
        from pulser.tools.sandbox import seccomp

        seccomp.install(seccomp.Rules(**how["seccomp"]))


def _say(channel: Channel, request: dict[str, Any]) -> None:
    for path, device, inode in request["reads"]:
        status = os.stat(path)
        if (status.st_dev, status.st_ino) != (device, inode):
            raise Transient(f"{path} was replaced while the tool was starting", hint="Try again.")
    for copy in request["git"]:
        from pulser.tools.sandbox.git import lay_out

        lay_out(copy["repository"], copy["revision"], copy["to"], copy["pointer"])
    if request["import_from"]:
        sys.path.append(request["import_from"])
    tool = _load(request["target"])
    folder = Path(request["folder"]) / "out"
    value = tool.run(Handle(request["args"], lambda: folder, channel.send))
    if not isinstance(value, dict):
        raise Permanent(f"the tool returned {type(value).__name__} where an object was due")
    try:
        channel.send({"kind": "result", "value": value})
    except (ValueError, TypeError) as error:
        raise Permanent(f"the tool's result is not JSON: {error}") from error


def _load(target: str) -> Any:
    from importlib import import_module

    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def _fail(channel: Channel, error: BaseException) -> None:
    """Tell of ``error`` as what it is; of one that is not Pulser's the traceback goes to the log."""
    if not isinstance(error, PulserError):
        import traceback

        for line in "".join(traceback.format_exception(error)).splitlines()[-40:]:
            channel.send({"kind": "log", "line": line[:1000]})
        name = type(error).__name__
        error = Permanent(f"the tool failed: {name}: {str(error)[:400]}", hint="Its log has the traceback.")
    message = {"kind": "error", "code": error.code, "detail": error.detail[:4000], "hint": error.hint[:4000]}
    try:
        channel.send({**message, "fields": error.fields})
    except (ValueError, TypeError):  # fields that are not JSON
        channel.send({**message, "fields": {name: repr(value)[:400] for name, value in error.fields.items()}})


def _die_with(descriptor: int) -> None:
    """Wait for the other end to close; then kill the group, whoever holds what."""
    try:
        while os.read(descriptor, 4096):
            pass
    except OSError:
        pass
    os.killpg(0, signal.SIGKILL)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue
