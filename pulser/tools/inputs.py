"""What an argument that names an input leads to: a path beneath a root, a file or artifact that Pulser keeps, or a revision in a git repository.

==========================  =====================================================================================
``reports/a.csv``, ``/x/y`` a path beneath a configured root; a relative one under the first root that has it
``file:<sha256>``           an uploaded file; ``file:<sha256>/sales.csv`` also says what it is called
``artifact:<task>/<name>``  what another task made
``git:<path>@<revision>``   that revision of the repository at ``path``, laid out in a folder of the call's own
==========================  =====================================================================================
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol

from pulser.core.errors import BadInput
from pulser.core.tool import Json, Tool
from pulser.tools.paths import Root, find
from pulser.tools.sandbox.handle import ARTIFACT_NAME
from pulser.tools.sandbox.request import GitCopy, Readable

_FILE = re.compile(r"file:(?P<sha256>[0-9a-f]{64})(?:/(?P<name>[^/]+))?\Z")
_ARTIFACT = re.compile(r"artifact:(?P<task>[a-z]{2,5}_[0-9A-Z]{26})/(?P<name>[^/]+)\Z")
_REVISION = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_/+~^-]|\.(?!\.)){0,199}\Z")
_SCHEMES = ("file:", "artifact:", "git:")
_BEGINNINGS = ((b"PAR1", ".parquet"), (b"SQLite format 3\0", ".sqlite"), (b"PK\x03\x04", ".zip"), (b"\x1f\x8b", ".gz"), (b"%PDF", ".pdf"))


class Files(Protocol):
    """Where Pulser keeps files by content; bound to one company."""

    def path_of(self, reference: str) -> Path:
        """Where ``file:<sha256>`` or ``artifact:<task>/<name>`` lies; :class:`~pulser.core.errors.NotFound` if there is none."""

    def put(self, path: Path) -> tuple[str, int]:
        """Keep the file at ``path``; its SHA-256 in hex and its size in bytes."""


@dataclass(slots=True)
class Resolved:
    """The arguments with their inputs as absolute paths, and what must be in place for that."""

    args: Json
    reads: list[Readable] = field(default_factory=list)
    git: list[GitCopy] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Places:
    """Where paths of payloads may lead, on the machine that submits and works alike."""

    roots: tuple[Root, ...]
    data_dir: Path | None


def check(tool: Tool, args: Json, roots: Sequence[Root], data_dir: Path | None, pointer: str = "/payload") -> None:
    """Refuse at submission what could not be resolved later: bad references, and paths that are outside the roots or not there."""
    for where, text in _named(tool, args, pointer):
        if text.startswith("git:"):
            find(_git_parts(text, where)[0], roots, data_dir, pointer=where)
        elif text.startswith(_SCHEMES):
            _reference(text, where)
        else:
            find(text, roots, data_dir, pointer=where)


def resolve(tool: Tool, args: Json, roots: Sequence[Root], data_dir: Path | None, files: Files, folder: Path, pointer: str = "/payload") -> Resolved:
    """Turn every input of ``args`` into a path. Kept files are laid under ``folder/in``; a git revision will be under ``folder/tmp``."""
    done = Resolved(dict(args))

    def turn(where: str, text: str) -> str:
        number = len(done.git) + len(os.listdir(folder / "in"))
        if text.startswith("git:"):
            return _git(done, text, where, tool, roots, data_dir, folder / "tmp" / f"git-{number}")
        if text.startswith(_SCHEMES):
            return _kept(text, where, files, folder / "in" / str(number))
        found = find(text, roots, data_dir, pointer=where)
        done.reads.append(Readable(found.path, found.device, found.inode))
        return str(found.path)

    for name in tool.inputs:
        if name in args:
            done.args[name] = _turned(args[name], f"{pointer}/{name}", turn)
    return done


def _turned(value: object, where: str, turn: Callable[[str, str], str]) -> object:
    if isinstance(value, str):
        return turn(where, value)
    if isinstance(value, list):
        return [_turned(item, f"{where}/{n}", turn) for n, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _turned(item, f"{where}/{key}", turn) for key, item in value.items()}
    return value


def _named(tool: Tool, args: Json, pointer: str) -> Iterator[tuple[str, str]]:
    for name in tool.inputs:
        value = args.get(name)
        if isinstance(value, str):
            yield f"{pointer}/{name}", value
        elif isinstance(value, list | dict):
            items = enumerate(value) if isinstance(value, list) else value.items()
            yield from ((f"{pointer}/{name}/{key}", item) for key, item in items if isinstance(item, str))


def _reference(text: str, where: str) -> tuple[str, str]:
    """What to ask the files for, and what the input is called (empty: not said)."""
    match = _FILE.match(text) or _ARTIFACT.match(text)
    if match is None:
        _refuse(where, f"{text[:120]!r} is not a reference", "Write file:<sha256>, file:<sha256>/<name> or artifact:<task id>/<name>.")
    name = match["name"] or ""
    if name and not ARTIFACT_NAME.match(name):
        _refuse(where, f"{name[:80]!r} is not a plain file name", "Use letters, digits, '.', '_', '-' and spaces.")
    return (f"file:{match['sha256']}", name) if text.startswith("file:") else (text, name)


def _kept(text: str, where: str, files: Files, place: Path) -> str:
    reference, name = _reference(text, where)
    source = files.path_of(reference)
    if not name:
        name = reference.removeprefix("file:") + _suffix(source)
    place.mkdir(mode=0o755)
    try:
        os.link(source, place / name)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, place / name)
    return str(place / name)


def _suffix(path: Path) -> str:
    """A suffix from the first bytes, where they tell; tools go by the name."""
    with path.open("rb") as file:
        head = file.read(64)
    for beginning, suffix in _BEGINNINGS:
        if head.startswith(beginning):
            return suffix
    return ".json" if head.lstrip()[:1] in (b"{", b"[") else ""


def _git_parts(text: str, where: str) -> tuple[str, str]:
    path, at, revision = text.removeprefix("git:").rpartition("@")
    if not at or not path or not _REVISION.match(revision):
        _refuse(where, f"{text[:120]!r} does not name a revision", "Write git:<path>@<branch, tag or commit>.")
    return path, revision


def _git(done: Resolved, text: str, where: str, tool: Tool, roots: Sequence[Root], data_dir: Path | None, to: Path) -> str:
    path, revision = _git_parts(text, where)
    if tool.where != "child":
        _refuse(where, f"{tool.name} cannot take a git revision", "Name a path.")
    found = find(path, roots, data_dir, pointer=where)
    if found.kind != "folder":
        _refuse(where, f"{path[:120]!r} is not a repository", "Name the folder that holds .git, or a bare repository.")
    done.reads.append(Readable(found.path, found.device, found.inode))
    done.git.append(GitCopy(found.path, revision, to, where))
    return str(to)


def _refuse(pointer: str, detail: str, hint: str) -> NoReturn:
    raise BadInput(detail, hint=hint, errors=[{"pointer": pointer, "detail": detail}])
