"""Which files are Markdown, and where a file's front matter ends."""

from __future__ import annotations

import re
from pathlib import Path

from pulser.core.errors import BadInput
from pulser.core.tool import Json
from pulser.tools.builtin.folder import check_exists, list_folder

SUFFIXES = (".md", ".markdown", ".mdown", ".mkd")
_ENDS = {"---": ("---", "..."), "+++": ("+++",)}
_FIELD = re.compile(r"[\w\"'-]+\s*[:=]")


def markdown_files(path: Path, max_files: int = 10_000) -> tuple[Path, list[str], list[Json]]:
    """``(root, names relative to it, skipped)`` of a folder, or of one file, which need not have a suffix (an upload has none)."""
    check_exists(path)
    if path.is_dir():
        listing = list_folder(path, SUFFIXES, max_files=max_files)
        return path, listing.files, list(listing.skipped)
    if path.suffix and path.suffix.lower() not in SUFFIXES:
        raise BadInput(f"{path.name} is not Markdown by its name", hint=f"Markdown files end in {', '.join(SUFFIXES)}.")
    return path.parent, [path.name], []


def front_matter(text: str) -> tuple[str, str]:
    """``(front matter, rest)``: the YAML or TOML block that a file may begin with, blank lines after it included."""
    lines = text.splitlines(keepends=True) if text.startswith(tuple(_ENDS)) else []
    ends = _ENDS.get(lines[0].rstrip(), ()) if lines else ()
    last = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() in ends), 0)
    if not last or not any(_FIELD.match(line) for line in lines[1:last]):
        return "", text
    while last + 1 < len(lines) and not lines[last + 1].strip():
        last += 1
    head = "".join(lines[: last + 1])
    return head, text[len(head) :]
