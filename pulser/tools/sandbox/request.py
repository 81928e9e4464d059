"""What a child is asked to do, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pulser.core.tool import Json
from pulser.tools.sandbox.log import BoundedLog

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True)
class Readable:
    """A file or folder the child may read; ``device`` and ``inode`` pin it, so that nothing else can be put in its place."""

    path: Path
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class GitCopy:
    """A revision of a repository to lay out in ``to``, a folder under the call's ``tmp``, before the tool runs; by the child itself."""

    repository: Path
    revision: str
    to: Path
    pointer: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a child may use. Times in seconds, sizes in bytes."""

    time_s: float = 600.0
    memory_bytes: int = 1 << 30  # of the child and all its descendants
    disk_bytes: int = 512 << 20  # in ``out``; the same again in ``tmp``
    files: int = 20_000  # in ``out``; the same again in ``tmp``
    processes: int = 256  # and threads
    result_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class ChildRequest:
    """One call in a child. ``folder`` was made by :func:`pulser.tools.sandbox.folder.make`."""

    target: str  # module:ATTRIBUTE of the tool
    args: Json
    folder: Path
    reads: tuple[Readable, ...] = ()
    hidden: tuple[Path, ...] = ()  # never readable, even under a readable folder
    git: tuple[GitCopy, ...] = ()
    import_from: Path | None = None
    limits: Limits = field(default_factory=Limits)
    sandbox: str = "auto"
    log: BoundedLog = field(default_factory=BoundedLog)
    on_progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class ChildResult:
    """What the tool returned, and the artifacts it named: ``(name, media type)``."""

    value: Json
    artifacts: tuple[tuple[str, str], ...]
