"""What a tool is: a name, what it takes, how it affects the world, and a function. See docs/how-to/write-a-tool.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

Effect = Literal["read", "idempotent", "reconcilable", "irreversible"]
Json = dict[str, Any]


class Call(Protocol):
    """One call, as the tool's function sees it."""

    @property
    def args(self) -> Json:
        """The arguments, checked against the schema; those named in ``Tool.inputs`` are absolute paths by now."""

    @property
    def out(self) -> Path:
        """An empty folder of this call. Only what ``artifact`` names is kept."""

    def artifact(self, name: str, media_type: str) -> Path:
        """Where to write the artifact ``name`` (``report.html``); it is collected when the call succeeds."""

    def progress(self, message: str, fraction: float | None = None) -> None:
        """Tell how far it is; ``fraction`` in [0, 1]."""

    def log(self, line: str) -> None:
        """One line for the attempt's log."""


class Installation(Protocol):
    """What the trusted halves of a tool (``gather``, ``apply``) may ask of Pulser; its company only."""

    def failures(self, limit: int) -> list[Json]:
        """Dead letters and failed attempts, newest first: ``{task_id, task_type, agent, action, error, failed_at}``."""

    def events(self, kinds: list[str], limit: int) -> list[Json]:
        """Newest events of these kinds."""

    def target(self, name: str) -> str:
        """The URL of a load target named in the settings; :class:`~pulser.core.errors.UnknownName` lists what there is."""

    def writable(self, path: str) -> Path:
        """``path`` if it lies under a configured root that may be written; :class:`~pulser.core.errors.BadInput` otherwise."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool. ``run`` is called in a confined child process unless ``where`` is ``inline``.

    ``gather(args, installation, folder)`` runs before, in the worker, and may write files into ``folder`` (read-only to
    ``run``) and return extra arguments. ``apply(args, result, files, installation)`` runs after, in the worker, when the
    outcome is to take effect outside (load a database, apply a patch): ``files`` maps artifact names to paths; what it
    returns is merged into the result. It must be idempotent: it may run again after a crash.
    """

    name: str
    summary: str
    run: Callable[[Call], Json]
    arguments: Json
    effect: Effect = "read"
    where: Literal["child", "inline"] = "child"
    time_limit_s: float = 600
    memory_limit_bytes: int = 1 << 30
    inputs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()  # modules from an extra, e.g. ("duckdb",)
    extra: str = ""  # the extra that brings them
    gather: Callable[[Json, Installation, Path], Json] | None = None
    apply: Callable[[Json, Json, Mapping[str, Path], Installation], Json] | None = None
    examples: tuple[Json, ...] = field(default=())
