"""Unified diffs: made from texts, and applied to a folder file by file, all or nothing per file.

A patch names each file's git blob hash before and after (``index a..b``), so applying it is certain and may be repeated: a file
that has the hash before is changed, one that has the hash after is done already, anything else has changed since and is refused.
``git apply`` and ``patch`` read the same form; neither is used, because both follow what the patch says about paths.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulser.core.errors import BadInput, Permanent
from pulser.tools.paths import opened

LIMIT_BYTES = 64 * 1024 * 1024
_INDEX = re.compile(r"index ([0-9a-f]{40})\.\.([0-9a-f]{40})")
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_NEWLINE = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class Change:
    """One file before and after; ``name`` is relative, with forward slashes."""

    name: str
    before: str
    after: str


@dataclass(slots=True)
class FilePatch:
    """What a patch says of one file: hashes, and hunks as (first old line from 1, lines with their sign)."""

    name: str
    before: str = ""
    after: str = ""
    hunks: list[tuple[int, list[str]]] = field(default_factory=list)


def blob_hash(content: bytes) -> str:
    """git's name for this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def make_patch(changes: Iterable[Change]) -> str:
    """The unified diff of all changes, in the order given; empty if nothing differs."""
    return "".join(_one(change) for change in changes if change.before != change.after)


def added_and_removed(change: Change) -> tuple[int, int]:
    """How many lines the change adds and removes, as its diff counts them."""
    lines = [line for _, hunk in parse(_one(change))[0].hunks for line in hunk] if change.before != change.after else []
    return sum(line[0] == "+" for line in lines), sum(line[0] == "-" for line in lines)


def check_patchable(name: str) -> bool:
    """False for names that a diff cannot carry plainly (control characters, quotes, backslashes)."""
    return not re.search(r'[\x00-\x1f\x7f"\\]', name) and name.isprintable()


def _one(change: Change) -> str:
    if not check_patchable(change.name):
        raise BadInput(f"the file name {change.name!r} cannot stand in a patch", hint="Rename the file.")
    name = change.name
    tab = "\t" if " " in name else ""  # as git does, so that the name's end is certain
    head = f"diff --git a/{name} b/{name}\nindex {_hash(change.before)}..{_hash(change.after)}\n--- a/{name}{tab}\n+++ b/{name}{tab}\n"
    diff = difflib.unified_diff(_split(change.before), _split(change.after), n=3)
    body = []
    for line in list(diff)[2:]:
        body.append(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}\n")
    return head + "".join(body)


def _hash(text: str) -> str:
    return blob_hash(text.encode("utf-8"))


def _split(text: str) -> list[str]:
    """Lines as diff counts them: ended by LF alone, with their ends."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def parse(patch: str) -> list[FilePatch]:
    """The files of a patch that :func:`make_patch` made; :class:`BadInput` for another form or a path that leaves the folder."""
    files: list[FilePatch] = []
    lines = _split(patch)
    at = 0
    while at < len(lines):
        if not lines[at].startswith("diff --git ") or at + 3 >= len(lines):
            raise BadInput(f"line {at + 1} of the patch is not understood", hint="Apply a patch that a Pulser tool made, unchanged.")
        index, old, new = (_INDEX.fullmatch(lines[at + 1].rstrip("\n")), lines[at + 2], lines[at + 3])
        if not index or not old.startswith("--- a/") or old[6:] != new[6:] or not new.startswith("+++ b/"):
            raise BadInput(f"line {at + 2} of the patch is not understood", hint="Apply a patch that a Pulser tool made, unchanged.")
        file = FilePatch(_safe_name(old[6:].rstrip("\n").removesuffix("\t")), index[1], index[2])
        at = _hunks(lines, at + 4, file)
        files.append(file)
    return files


def _safe_name(name: str) -> str:
    parts = name.split("/")
    if not check_patchable(name) or name.startswith("/") or any(part in ("", ".", "..", ".git") for part in parts):
        raise BadInput(f"the patch names {name!r}, which is not a plain path inside the folder")
    return name


def _hunks(lines: list[str], at: int, file: FilePatch) -> int:
    while at < len(lines) and (head := _HUNK.match(lines[at])):
        start, old_left, new_left = int(head[1]), int(head[2] or 1), int(head[4] or 1)
        start = start if old_left else start + 1  # "-3,0" means after line 3
        body: list[str] = []
        at += 1
        while at < len(lines) and (old_left > 0 or new_left > 0 or lines[at].startswith("\\")):
            line = lines[at]
            if line.startswith("\\"):
                if not body:
                    raise BadInput(f"line {at + 1} of the patch is not understood")
                body[-1] = body[-1].removesuffix("\n")
            elif line[0] in " -+":
                body.append(line)
                old_left -= line[0] in " -"
                new_left -= line[0] in " +"
            else:
                break
            at += 1
        if old_left or new_left:
            raise BadInput(f"line {at + 1} of the patch: a hunk ends too early")
        file.hunks.append((start, body))
    return at


def patched(content: bytes, file: FilePatch) -> bytes:
    """``content`` with the hunks applied exactly where they say; :class:`Permanent` if it is not what they expect."""
    old = _split(content.decode("utf-8"))
    new: list[str] = []
    at = 0
    for start, body in file.hunks:
        new += old[at : start - 1]
        at = start - 1
        for line in body:
            if line[0] in " -":
                if at >= len(old) or old[at] != line[1:]:
                    raise _changed(file.name)
                at += 1
            if line[0] in " +":
                new.append(line[1:])
    result = "".join(new + old[at:]).encode("utf-8")
    if blob_hash(result) != file.after:
        raise _changed(file.name)
    return result


def apply_patch(patch: str, root: Path, only: str | None = None) -> dict[str, Any]:
    """Bring every file under ``root`` to the state after; ``{"applied": [...], "already": [...]}``.

    Every file is checked before the first is written. Each is replaced by rename, keeping its mode; no symlink is followed, at
    any step of the path. ``only`` refuses a patch that names any other file. May be repeated after a crash.
    """
    files = parse(patch)
    if len({file.name for file in files}) != len(files):
        raise BadInput("the patch names a file twice")
    if only is not None and any(file.name != only for file in files):
        raise BadInput(f"the patch names other files than {only}")
    with _opened_root(root) as folder:
        todo = [file for file in files if not _is_done(folder, file)]
        for file in todo:
            _replace(folder, file)
    names = {file.name for file in todo}
    return {"applied": [file.name for file in todo], "already": [file.name for file in files if file.name not in names]}


def apply_to(files: Mapping[str, Path], name: str, path: Path) -> dict[str, Any]:
    """Apply the artifact ``name`` to ``path``: a folder, or one file and no other. Says what was done."""
    if name not in files:
        return {"applied": [], "already": [], "note": "There was nothing to change."}
    if files[name].stat().st_size > LIMIT_BYTES:
        raise BadInput(f"{name} has more than {LIMIT_BYTES:,} bytes")
    patch = files[name].read_bytes().decode("utf-8")
    if path.is_symlink() or not path.exists():
        raise Permanent(f"{path} is not there any more, or is a symbolic link")
    done = apply_patch(patch, path) if path.is_dir() else apply_patch(patch, path.parent, only=path.name)
    count = len(done["applied"])
    told = f"Changed {count} file{'s' * (count != 1)}." if count or not done["already"] else "Applied already; nothing was changed."
    return done | {"note": told}


def _is_done(folder: int, file: FilePatch) -> bool:
    found = blob_hash(_read(folder, file.name))
    if found == file.after:
        return True
    if found != file.before:
        raise _changed(file.name)
    patched(_read(folder, file.name), file)
    return False


def _changed(name: str) -> Permanent:
    return Permanent(f"{name} has changed since the patch was made", hint="Run the task again and review the new patch.")


@contextmanager
def _opened_root(root: Path) -> Iterator[int]:
    """``root`` without a link at any step: the folders above it may be others' to rename."""
    try:
        with opened(Path("/"), str(root.absolute())[1:], os.O_RDONLY | os.O_DIRECTORY) as folder:
            yield folder
    except OSError as error:
        raise Permanent(f"{root} cannot be opened as a folder: {error.strerror}", hint="Links are not followed.") from None


@contextmanager
def _parent(folder: int, name: str) -> Iterator[tuple[int, str]]:
    """The opened folder that holds ``name``, reached step by step without following a link."""
    here = os.dup(folder)
    try:
        *steps, last = name.split("/")
        for step in steps:
            there = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = there
        yield here, last
    except OSError as error:
        raise Permanent(f"{name} cannot be changed: {error.strerror}", hint="Links are not followed. Run the task again if files moved.") from None
    finally:
        os.close(here)


def _read(folder: int, name: str) -> bytes:
    with _parent(folder, name) as (parent, last):
        opened = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
        with os.fdopen(opened, "rb") as file:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise Permanent(f"{name} is not a regular file")
            return file.read(LIMIT_BYTES)


def _replace(folder: int, file: FilePatch) -> None:
    before = _read(folder, file.name)
    if blob_hash(before) != file.before:  # changed between the check and now
        raise _changed(file.name)
    with _parent(folder, file.name) as (parent, last):
        mode = stat.S_IMODE(os.stat(last, dir_fd=parent, follow_symlinks=False).st_mode)
        temporary = f".{file.after[:16]}.pulser-new"
        with suppress(FileNotFoundError):  # left by a crash
            os.unlink(temporary, dir_fd=parent)
        opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        with os.fdopen(opened, "wb") as new:
            new.write(patched(before, file))
            new.flush()
            os.fchmod(opened, mode)
            os.fsync(opened)
        os.rename(temporary, last, src_dir_fd=parent, dst_dir_fd=parent)
        os.fsync(parent)
