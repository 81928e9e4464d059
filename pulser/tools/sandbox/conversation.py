"""What a child says, taken with care: it may be anything, and as much as it likes."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from pulser.core.errors import CallerError, OperatorError, Permanent, PulserError, WorkFailed
from pulser.core.tool import Json
from pulser.tools.sandbox.handle import ARTIFACT_NAME, ARTIFACTS_LIMIT, MEDIA_TYPE
from pulser.tools.sandbox.log import BoundedLog
from pulser.tools.sandbox.request import Progress

SAID_LIMIT = 16 << 20  # bytes of messages besides the result
DEPTH_LIMIT = 200  # of a message; what is deeper breaks whoever reads it later
_TELLABLE = (CallerError, WorkFailed, OperatorError)  # a lost lease or an absent back end is not for a tool to claim
_POISON = re.compile(r"[\0\ud800-\udfff]")
_MAY_BE_POISON = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|[0-9][eE]\+?[0-9]{3}")


class Conversation:
    """Messages as they arrive; afterwards ``value`` or ``error``, and the artifacts that were named."""

    def __init__(self, log: BoundedLog, result_bytes: int) -> None:
        self.ready = False
        self.value: Json | None = None
        self.error: PulserError | None = None
        self.out_of_memory = False
        self.artifacts: dict[str, str] = {}
        self.progress: tuple[str, float | None] | None = None  # the newest that was not yet passed on
        self._log = log
        self._result_bytes = result_bytes
        self._rest = bytearray()
        self._total = 0

    def take(self, data: bytes) -> None:
        """The next bytes; :class:`Permanent` if it is too much or no message."""
        self._total += len(data)
        self._rest += data
        if self._total > SAID_LIMIT + self._result_bytes:
            raise Permanent(f"the tool said more than {SAID_LIMIT:,} bytes", hint="Log less; larger things belong into artifacts.")
        if b"\n" in data:
            *lines, rest = bytes(self._rest).split(b"\n")
            self._rest = bytearray(rest)
            for line in lines:
                self._message(line)
        if len(self._rest) > self._result_bytes + 65_536:
            self._too_large()

    def pass_on(self, on_progress: Progress | None) -> None:
        """Give the newest progress to ``on_progress``, once."""
        if self.progress is not None and on_progress is not None:
            message, fraction = self.progress
            self.progress = None
            on_progress(message, fraction)

    def _message(self, line: bytes) -> None:
        try:
            message = json.loads(line, parse_constant=_refuse_constant)
            if _MAY_BE_POISON.search(line) or line.count(b"[") + line.count(b"{") > DEPTH_LIMIT:
                message = _plain(message, 0)
            kind = message["kind"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Permanent("the tool's process said something that is no message") from None
        if kind == "ready":
            self.ready = True
        elif kind == "log":
            self._log.line(str(message.get("line")))
        elif kind == "progress":
            self.progress = (str(message.get("message"))[:500], _share(message.get("fraction")))
        elif kind == "artifact":
            self._artifact(str(message.get("name")), str(message.get("media_type")))
        elif kind == "result":
            if len(line) > self._result_bytes:
                self._too_large()
            self.value = message["value"] if isinstance(message.get("value"), dict) else None
        elif kind == "memory":
            self.out_of_memory = True
        elif kind == "error":
            self.error = rebuilt(message)

    def _artifact(self, name: str, media_type: str) -> None:
        if not ARTIFACT_NAME.match(name) or not MEDIA_TYPE.match(media_type):
            raise Permanent("the tool named an artifact that cannot be one")
        self.artifacts[name] = media_type
        if len(self.artifacts) > ARTIFACTS_LIMIT:
            raise Permanent(f"the tool named more than {ARTIFACTS_LIMIT} artifacts", hint="Put them into one archive.")

    def _too_large(self) -> None:
        raise Permanent(f"the tool's result is larger than {self._result_bytes:,} bytes", hint="Larger results belong into artifacts.")


def _share(fraction: Any) -> float | None:
    """A number brought into [0, 1]; None for anything else."""
    return float(min(max(fraction, 0), 1)) if isinstance(fraction, (int, float)) else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _plain(value: Any, depth: int) -> Any:
    """``value`` without what no store keeps: NUL and halves of surrogate pairs (names of files hold such) become U+FFFD."""
    if depth > DEPTH_LIMIT:
        raise ValueError("nested too deep")
    if isinstance(value, str):
        return _POISON.sub("\ufffd", value)
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_POISON.sub("\ufffd", key): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number beyond all numbers")
    return value


def rebuilt(message: dict[str, Any]) -> PulserError:
    """The error a child told of, as the class it was there; :class:`Permanent` if there is none of that code."""
    fields = message.get("fields")
    kind = _by_code().get(str(message.get("code")), Permanent)
    if not issubclass(kind, _TELLABLE):
        kind = Permanent
    kept = {name: value for name, value in fields.items() if name not in ("self", "detail", "hint")} if isinstance(fields, dict) else {}
    return kind(str(message.get("detail"))[:4000], hint=str(message.get("hint") or "")[:4000], **kept)


def _by_code() -> dict[str, type[PulserError]]:
    found: dict[str, type[PulserError]] = {}
    waiting: list[type[PulserError]] = [PulserError]
    while waiting:
        kind = waiting.pop()
        found[kind.code] = kind
        waiting.extend(kind.__subclasses__())
    return found
