"""The real door over a folder, for tests of tools in their confined child."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from pulser.tools.call import Context, Result, call
from pulser.tools.paths import Root
from tests.unit.tools.fake_call import FakeInstallation


class Kept:
    """Files by content, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def path_of(self, reference: str) -> Path:
        return self.folder / reference.removeprefix("file:")

    def put(self, path: Path) -> tuple[str, int]:
        content = path.read_bytes()
        name = hashlib.sha256(content).hexdigest()
        (self.folder / name).write_bytes(content)
        return name, len(content)


def door_to(place: Path, installation: FakeInstallation | None = None) -> Context:
    """A door to ``place/root``, which may be written; ``place/root/.data`` is Pulser's own."""
    root = place / "root"
    (root / ".data").mkdir(parents=True)
    return Context(
        company_id="c",
        task_id="tsk_1",
        attempt=1,
        scratch_dir=place / "scratch",
        data_dir=root / ".data",
        files=Kept(place / "kept"),
        installation=installation or FakeInstallation((root,)),
        roots=(Root(root, writable=True),),
    )


def made(context: Context, name: str, **args: object) -> Result:
    """What the call came to."""
    return asyncio.run(call(name, args, context))
