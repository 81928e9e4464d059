"""What is in a folder that a stranger named: regular files only, no links followed, bounded, in a fixed order."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pulser.core.errors import BadInput

# What no tool should read: version control, caches, installed packages.
NOT_OURS = frozenset({".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


@dataclass(slots=True)
class Listing:
    """Files relative to ``root`` with forward slashes, sorted; ``skipped`` says which were left out and why."""

    root: Path
    files: list[str] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    size_bytes: int = 0


def list_folder(
    root: Path, suffixes: Iterable[str] | None = None, *, max_files: int = 15_000, max_bytes: int = 256 * 1024 * 1024, hidden: bool = False
) -> Listing:
    """Files under ``root`` with one of ``suffixes`` (lower case; None: all). :class:`BadInput` if there are too many or it is no folder."""
    check_exists(root)
    if not root.is_dir():
        raise BadInput(f"{root.name} is a file, not a folder", hint="Name the folder that holds it.")
    wanted = tuple(suffixes) if suffixes is not None else None
    listing = Listing(root)
    for place, folders, names in os.walk(root, onerror=lambda e: listing.skipped.append({"file": _relative(root, str(e.filename)), "reason": "not readable"})):
        folders[:] = sorted(f for f in folders if f not in NOT_OURS and (hidden or not f.startswith(".")) and not os.path.islink(os.path.join(place, f)))
        for name in sorted(names):
            if wanted is None or name.lower().endswith(wanted):
                _take(listing, os.path.join(place, name), max_files, max_bytes)
    listing.files.sort()
    return listing


def _take(listing: Listing, path: str, max_files: int, max_bytes: int) -> None:
    relative = _relative(listing.root, path)
    if not relative.isprintable():  # surrogates for bytes that are not UTF-8, or control characters
        listing.skipped.append({"file": ascii(relative)[1:-1], "reason": "its name is not plain UTF-8"})
        return
    try:
        found = os.lstat(path)
    except OSError:
        return  # gone meanwhile
    if os.path.islink(path) or not os.path.isfile(path):
        listing.skipped.append({"file": relative, "reason": "a symbolic link, which is not followed" if os.path.islink(path) else "not a regular file"})
        return
    listing.files.append(relative)
    listing.size_bytes += found.st_size
    if len(listing.files) > max_files:
        raise BadInput(f"{listing.root.name} holds more than {max_files:,} files", hint="Name a folder further down.")
    if listing.size_bytes > max_bytes:
        raise BadInput(f"{listing.root.name} holds more than {max_bytes:,} bytes", hint="Name a folder further down.")


def _relative(root: Path, path: str) -> str:
    return os.path.relpath(path, root).replace(os.sep, "/")


def check_exists(path: Path) -> None:
    """:class:`BadInput` if there is nothing of that name."""
    if not path.exists():
        raise BadInput(f"there is no file or folder {path.name!r}", hint="Check the path; it must lie under a folder that Pulser may read.")


def read_text(path: Path, limit_bytes: int) -> tuple[str, str]:
    """``(text, "")``, with line ends as they are, or ``("", why not)`` for a file that is too large, not UTF-8 or not readable."""
    try:
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except OSError as error:
        return "", f"not readable: {error.strerror}"
    if len(content) > limit_bytes:
        return "", f"more than {limit_bytes:,} bytes"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        return "", f"not UTF-8: byte {error.start} is 0x{content[error.start]:02x}"
    return ("", "binary: it holds a NUL byte") if "\0" in text else (text, "")
