"""The sandbox as a fixture: one child at a time, at each level of confinement this machine offers; nothing may be left of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from pulser.core.errors import OperatorError
from pulser.tools.sandbox import folder as folders
from pulser.tools.sandbox.child import run_child
from pulser.tools.sandbox.confine import confinement
from pulser.tools.sandbox.log import BoundedLog
from pulser.tools.sandbox.request import ChildRequest, ChildResult, Limits, Readable

SAMPLES = Path(__file__).parent
HERE = ("bwrap", "landlock")


def offered(level: str) -> bool:
    try:
        return confinement(level).name == level
    except OperatorError:
        return False


@pytest.fixture(params=HERE)
def level(request: pytest.FixtureRequest) -> str:
    if not offered(request.param):
        pytest.skip(f"{request.param} does not hold on this machine")
    return str(request.param)


class Sandbox:
    """Runs code in a child and keeps what it left."""

    def __init__(self, level: str, place: Path) -> None:
        self.level = level
        self.place = place
        self.log = BoundedLog()
        self.progress: list[tuple[str, float | None]] = []
        self.folder = folders.make(place / "scratch")

    def request(self, code: str, tool: str = "EXECUTE", reads: tuple[Path, ...] = (), hidden: tuple[Path, ...] = (), **limits: Any) -> ChildRequest:
        pinned = tuple(Readable(path, path.stat().st_dev, path.stat().st_ino) for path in reads)
        return ChildRequest(
            target=f"sample_tools:{tool}",
            args={"code": code},
            folder=self.folder,
            reads=pinned,
            hidden=hidden,
            import_from=SAMPLES,
            limits=Limits(**({"time_s": 30, "memory_bytes": 512 << 20, "disk_bytes": 32 << 20} | limits)),
            sandbox=self.level,
            log=self.log,
            on_progress=lambda message, fraction: self.progress.append((message, fraction)),
        )

    def run(self, code: str, **how: Any) -> dict[str, Any]:
        return self.whole(code, **how).value

    def whole(self, code: str, **how: Any) -> ChildResult:
        return asyncio.run(run_child(self.request(code, **how)))


@pytest.fixture
def box(level: str, tmp_path: Path):
    box = Sandbox(level, tmp_path)
    descriptors = len(os.listdir("/proc/self/fd"))
    children = {child.pid for child in psutil.Process().children(recursive=True)}
    yield box
    assert len(os.listdir("/proc/self/fd")) == descriptors, "a descriptor stayed open"
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= children, "a process stayed behind"
    folders.remove(box.folder)
    assert not box.folder.exists()
