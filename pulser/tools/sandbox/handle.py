"""The :class:`~pulser.core.tool.Call` a tool's function is handed, in a child and inline alike."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from pulser.core.errors import Permanent
from pulser.core.tool import Json

ARTIFACT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._@+,=-]{0,127}\Z")
MEDIA_TYPE = re.compile(r"[a-z]+/[A-Za-z0-9.+-]{1,100}(?:; ?[a-z]+=[A-Za-z0-9._-]{1,40})?\Z")
ARTIFACTS_LIMIT = 100


class Handle:
    """One call. ``out`` is asked for when first used; ``send`` gets ``{"kind": "progress" | "log" | "artifact", …}``."""

    def __init__(self, args: Json, out: Callable[[], Path], send: Callable[[Json], None]) -> None:
        self._args = args
        self._out = out
        self._send = send

    @property
    def args(self) -> Json:
        return self._args

    @property
    def out(self) -> Path:
        return self._out()

    def artifact(self, name: str, media_type: str) -> Path:
        if not ARTIFACT_NAME.match(name) or not MEDIA_TYPE.match(media_type):
            raise Permanent(f"{name[:80]!r} ({media_type[:80]}) cannot be an artifact", hint="Use a plain file name and a media type such as text/plain.")
        self._send({"kind": "artifact", "name": name, "media_type": media_type})
        return self._out() / name

    def progress(self, message: str, fraction: float | None = None) -> None:
        self._send({"kind": "progress", "message": message[:500], "fraction": fraction})

    def log(self, line: str) -> None:
        self._send({"kind": "log", "line": line[:4000]})
