"""What a commit means to a reader of the changelog: its kind by Keep a Changelog 1.1, and the sentence.

Conventional Commits 1.0 are understood (``feat(api)!: …``); without them the subject's verb decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pulser.tools.builtin.docs.history import Commit

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
_CONVENTIONAL = re.compile(r"(?P<type>[A-Za-z]{2,16})(?:\((?P<scope>[^()\r\n]{1,60})\))?(?P<breaking>!)?:\s+(?P<told>\S.*)")
_TYPES = {
    "feat": "Added", "feature": "Added", "add": "Added", "fix": "Fixed", "bugfix": "Fixed", "hotfix": "Fixed", "perf": "Changed", "refactor": "Changed",
    "change": "Changed", "improve": "Changed", "update": "Changed", "deps": "Changed", "revert": "Changed", "remove": "Removed", "deprecate": "Deprecated",
    "security": "Security", "sec": "Security",
    "docs": "", "doc": "", "chore": "", "test": "", "tests": "", "ci": "", "build": "", "style": "", "wip": "", "release": "", "lint": "",
}  # fmt: skip
_VERBS = {
    "Added": "add adds added adding introduce introduces introduced create creates created implement implements implemented support supports allow allows "
    "enable enables provide provides new initial",
    "Fixed": "fix fixes fixed fixing correct corrects corrected repair repairs resolve resolves resolved prevent prevents avoid avoids handle handles "
    "restore restores mend mends",
    "Removed": "remove removes removed removing drop drops dropped delete deletes deleted",
    "Deprecated": "deprecate deprecates deprecated deprecating",
}
_KIND_OF_VERB = {verb: kind for kind, verbs in _VERBS.items() for verb in verbs.split()}
_SECURITY = re.compile(r"\b(security|vulnerabilit(?:y|ies)|cve-\d{4}-\d+|ghsa-[\w-]+|xss|csrf|ssrf|(?:sql|command) injection)\b", re.IGNORECASE)
_NOISE = re.compile(r"(fixup!|squash!|amend!|wip\b|merge (branch|tag|remote|pull request)|(release|bump( the)? version( to)?|version|prepare( for)?( release)?)\s+v?\d[\w.+-]*$|v?\d+\.\d+(\.\d+)?[\w.+-]*$)", re.IGNORECASE)  # fmt: skip  # noqa: E501
_TRAILER = re.compile(r"^BREAKING[ -]CHANGE:\s*(\S.*)", re.MULTILINE)
_REVERTED = re.compile(r"This reverts commit ([0-9a-f]{7,40})")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a changelog. ``kind`` is one of :data:`KINDS`."""

    kind: str
    told: str
    scope: str
    author: str
    sha: str
    breaking: bool = False


def entries_of(commits: list[Commit]) -> tuple[list[Entry], int]:
    """``(entries, how many commits were left out)``: merges, releases, chores, and pairs of a commit and its revert."""
    undone = _undone(commits)
    entries, seen = [], set()
    for commit in commits:
        entry = None if len(commit.parents) > 1 or commit.sha in undone else entry_of(commit)
        if entry and (entry.kind, entry.told) not in seen:
            seen.add((entry.kind, entry.told))
            entries.append(entry)
    return entries, len(commits) - len(entries)


def entry_of(commit: Commit) -> Entry | None:
    """What one commit says to a reader, or None if it is not for readers."""
    subject = commit.subject.strip()
    if not subject or _NOISE.match(subject):
        return None
    told, scope, kind = subject, "", ""
    found = _CONVENTIONAL.fullmatch(subject)
    trailer = _TRAILER.search(commit.body)
    breaking = bool(trailer or (found and found["breaking"]))
    if found and found["type"].lower() in _TYPES:
        told, scope, kind = found["told"], found["scope"] or "", _TYPES[found["type"].lower()]
        if not kind and not breaking:
            return None
    kind = "Security" if _SECURITY.search(subject) else kind or _KIND_OF_VERB.get(_first_word(told), "Changed")
    told = _escaped(told[:1].upper() + told[1:].rstrip(". "))
    if trailer and trailer[1].strip() not in told:
        told += f" ({_escaped(trailer[1].strip())})"
    return Entry(kind, told, _escaped(scope), _escaped(commit.author), commit.sha, breaking)


def _first_word(told: str) -> str:
    found = re.match(r"[A-Za-z]+", told)
    return found[0].lower() if found else ""


def _undone(commits: list[Commit]) -> set[str]:
    """Commits that cancel out: each revert and what it takes back, where both are here."""
    here, undone = {commit.sha for commit in commits}, set()
    for commit in commits:  # newest first: the revert of a revert is met before what it takes back
        found = _REVERTED.search(commit.body)
        if found and commit.sha not in undone:
            target = next((sha for sha in here if sha.startswith(found[1])), "")
            if target:
                undone |= {commit.sha, target}
    return undone


def _escaped(text: str) -> str:
    """Text as Markdown shows it, code spans kept."""
    pieces = re.split(r"(`[^`]+`)", text)
    return "".join(p if p.startswith("`") and p.endswith("`") and len(p) > 2 else re.sub(r"([\\`*<\[\]]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", p) for p in pieces)
