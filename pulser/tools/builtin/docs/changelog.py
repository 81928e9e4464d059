"""``docs.changelog``: CHANGELOG.md in the form of Keep a Changelog 1.1, from git history."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

from pulser.core.errors import BadInput
from pulser.core.tool import Call, Json, Tool
from pulser.tools.builtin.docs.entries import KINDS, Entry, entries_of
from pulser.tools.builtin.docs.history import History, Version, compare_link, read_history
from pulser.tools.builtin.folder import check_exists, read_text

_HEAD = """# Changelog

All notable changes to this project are documented in this file.
The format is based on [Keep a Changelog](https://keepachangelog.com/en/1.1.0/).
"""
_SECTION = re.compile(r"^## +\[?([^\]\s]+)\]?[^\n]*\n", re.MULTILINE)
_LINK = re.compile(r"^\[[^\]\n]+\]:[^\n]*\n?", re.MULTILINE)


def run(call: Call) -> Json:
    """Read the history, sort it into versions and kinds, and write CHANGELOG.md."""
    args = call.args
    path = Path(args["path"])
    check_exists(path)
    scratch = call.out / ".scratch"
    scratch.mkdir()
    if not path.is_dir():
        raise BadInput(f"{path.name} is a file, not a repository", hint="Name the top folder of a clone.")
    call.progress("Reading the history", 0.1)
    history = read_history(path, scratch, args.get("since", ""), args.get("until", ""))
    if args.get("version"):
        _name_the_unreleased(history, args["version"])
    sections: dict[str, str] = {}
    told: list[Json] = []
    left_out = 0
    for version in history.versions:
        entries, dropped = entries_of(version.commits)
        left_out += dropped
        if version.name == "Unreleased" or version.commits:
            sections[version.name] = _section(version, entries, args.get("group_by", "kind"))
            told.append({"version": version.name, "date": version.day or None, "entries": len(entries), "kinds": dict(Counter(e.kind for e in entries))})
    kept = _existing(args)
    text = _joined(sections, kept, history)
    call.artifact("CHANGELOG.md", "text/markdown").write_text(text, encoding="utf-8")
    call.artifact("changelog.json", "application/json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    shutil.rmtree(scratch)
    result: Json = {
        "versions": told[:200],
        "commits": sum(len(v.commits) for v in history.versions),
        "left_out": left_out,
        "kept_versions": sorted(set(kept[1]) - {"Unreleased"}) if kept else [],
        "shallow": history.shallow,
        "remote": history.remote or None,
    }
    return result | {"summary": _told(result)}


def _name_the_unreleased(history: History, name: str) -> None:
    unreleased = history.versions[0]
    if any(version.name == name.lstrip("v") or version.tag == name for version in history.versions[1:]):
        raise BadInput(f"version {name!r} is tagged already", hint="Name the next version, or leave version out.")
    if not unreleased.commits:
        raise BadInput("there is nothing unreleased to name", hint="Leave version out.")
    history.versions[0] = Version("Unreleased")
    history.versions.insert(1, Version(name.lstrip("v"), "", unreleased.commits[0].day, unreleased.commits))


def _section(version: Version, entries: list[Entry], group_by: str) -> str:
    lines = [f"## [{version.name}]" + (f" - {version.day}" if version.day else ""), ""]
    groups: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda e: not e.breaking):
        groups.setdefault({"kind": entry.kind, "scope": entry.scope or "General", "author": entry.author}[group_by], []).append(entry)
    for title in KINDS if group_by == "kind" else sorted(groups, key=lambda title: (title == "General", title.lower())):
        items = groups.get(title)
        if items:
            lines += [f"### {title}", "", *(_item(entry, group_by) for entry in items), ""]
    return "\n".join(lines)


def _item(entry: Entry, group_by: str) -> str:
    marks = ("**Breaking:** " if entry.breaking else "") + (f"**{entry.scope}:** " if entry.scope and group_by != "scope" else "")
    return f"- {marks}{entry.told}"


def _existing(args: Json) -> tuple[str, dict[str, str]] | None:
    """``(head, sections by version)`` of a changelog that is there; people's words in it win."""
    if not args.get("existing"):
        return None
    path = Path(args["existing"])
    check_exists(path)
    text, why_not = read_text(path, 4 * 1024 * 1024)
    if why_not:
        raise BadInput(f"existing: {path.name} is {why_not}")
    text = text.replace("\r\n", "\n")
    marks = list(_SECTION.finditer(text))
    if not marks:
        raise BadInput(f"existing: {path.name} has no version headings", hint="Versions are headings such as: ## [1.2.0] - 2024-01-31")
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    sections = {mark[1].lstrip("v"): _LINK.sub("", text[mark.start() : end]).rstrip() + "\n" for mark, end in zip(marks, ends, strict=True)}
    return text[: marks[0].start()], {("Unreleased" if name.lower() == "unreleased" else name): body for name, body in sections.items()}


def _joined(made: dict[str, str], kept: tuple[str, dict[str, str]] | None, history: History) -> str:
    head, old = kept if kept else (_HEAD + "\n", {})
    order = list(made) + [name for name in old if name not in made]
    sections = []
    for name in order:
        text = _merged(old["Unreleased"], made[name]) if name == "Unreleased" and name in old and name in made else old.get(name) or made[name]
        sections.append(text.rstrip() + "\n")
    links = _links(history, set(order)) if history.remote else []
    return head.rstrip() + "\n\n" + "\n".join(sections) + ("\n" + "\n".join(links) + "\n" if links else "")


def _merged(old: str, new: str) -> str:
    """The unreleased section with new items added to their headings; what is there stays."""
    for title, items in re.findall(r"^### (.+)\n\n?((?:- .*\n?)+)", new, re.MULTILINE):
        added = [item for item in items.splitlines() if item not in old.splitlines()]
        if not added:
            continue
        place = re.search(rf"^### {re.escape(title)}[ \t]*\n\n?", old, re.MULTILINE)
        before, after = (old[: place.end()], old[place.end() :]) if place else (f"{old.rstrip()}\n\n### {title}\n\n", "")
        old = before + "\n".join(added) + "\n" + after
    return old


def _links(history: History, shown: set[str]) -> list[str]:
    lines = []
    for at, version in enumerate(history.versions):
        before = next((older.tag for older in history.versions[at + 1 :] if older.tag), "")
        after = version.tag or (f"v{version.name}" if version.name != "Unreleased" else "HEAD")
        if version.name in shown and (before or version.tag):
            lines.append(f"[{version.name}]: {compare_link(history.remote, before, after)}")
    return lines


def _told(result: Json) -> str:
    released = [v for v in result["versions"] if v["version"] != "Unreleased"]
    entries = sum(v["entries"] for v in result["versions"])
    told = f"{entries} entries from {result['commits']} commits in {len(released)} version{'s' * (len(released) != 1)}"
    unreleased = next((v["entries"] for v in result["versions"] if v["version"] == "Unreleased"), 0)
    told += f", {unreleased} of them unreleased" if unreleased else ""
    told += f"; {result['left_out']} commits are not for readers (merges, chores, releases)." if result["left_out"] else "."
    if result["shallow"]:
        told += " The clone is shallow: older history is missing. Fetch it with: git fetch --unshallow --tags."
    return told


_REVISION = {"type": "string", "maxLength": 200, "pattern": "^[A-Za-z0-9][A-Za-z0-9._/+~^-]*$"}

TOOL = Tool(
    name="docs.changelog",
    summary="Write CHANGELOG.md in the form of Keep a Changelog from git history.",
    run=run,
    effect="read",
    inputs=("path", "existing"),
    arguments={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "The top folder of a git repository, or a bare one."},
            "since": _REVISION | {"description": "Leave out what this tag, branch, commit or day (2024-01-31) holds already."},
            "until": _REVISION | {"description": "Stop at this tag, branch, commit or day; HEAD if not given."},
            "version": {
                "type": "string",
                "maxLength": 60,
                "pattern": "^v?[0-9]+\\.[0-9]+[A-Za-z0-9.+-]*$",
                "description": "What the unreleased part is to be called, such as 1.3.0; its date is that of its newest commit.",
            },
            "existing": {
                "type": "string",
                "minLength": 1,
                "maxLength": 4096,
                "description": "A changelog to bring up to date: its words are kept, what is missing is added.",
            },
            "group_by": {
                "enum": ["kind", "scope", "author"],
                "default": "kind",
                "description": "Headings within a version: Added, Fixed, …, or scopes, or authors.",
            },
        },
    },
    examples=({"path": "."}, {"path": ".", "since": "v1.2.0", "version": "1.3.0"}),
)
