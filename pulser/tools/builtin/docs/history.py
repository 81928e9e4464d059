"""What a repository's history says: its versions (tags) and the commits that each brought, read with git."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from pulser.core.errors import BadInput, Permanent
from pulser.tools.builtin.git import ask, check_repository, commit_of, git

MAX_COMMITS = 50_000
_VERSION = re.compile(r"(?:[A-Za-z][A-Za-z0-9_.]*[-/])?[vV]?(\d+\.\d+(?:\.\d+){0,2}(?:[-.+]?[A-Za-z0-9][A-Za-z0-9.+-]*)?)\Z")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_KNOWN_REMOTE = re.compile(
    r"(?:https?://|ssh://|git://)(?:[^@/]*@)?([A-Za-z0-9.-]+)(?::\d+)?/(.+)|(?:[A-Za-z0-9_.-]+@)?([A-Za-z0-9.-]+\.[A-Za-z]{2,}):(?!//)(.+)"
)


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit, without its diff."""

    sha: str
    parents: tuple[str, ...]
    day: str
    author: str
    subject: str
    body: str


@dataclass(slots=True)
class Version:
    """A version and what came with it, newest first. ``tag`` is empty for what is not released yet."""

    name: str
    tag: str = ""
    day: str = ""
    commits: list[Commit] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class History:
    """Versions, newest first; ``remote`` is its page (``https://host/owner/name``) or empty."""

    versions: list[Version]
    head: str
    shallow: bool
    remote: str


def read_history(repository: Path, home: Path, since: str = "", until: str = "") -> History:
    """All versions between ``since`` (left out) and ``until`` (included): tags, branches, commits or days (2024-01-31).

    :class:`Permanent` if the folder is not a repository or has no commits.
    """
    check_repository(repository, home)
    if git(repository, home, "rev-parse", "--quiet", "--verify", "HEAD^{commit}").code and not until:
        raise Permanent("the repository has no commits", hint="Commit something first; a changelog is made from commits.")
    limits, tip = [], "HEAD"
    if until and _DAY.match(until):
        limits.append(f"--until={until}T23:59:59Z")
    elif until:
        tip = commit_of(repository, home, until, "until")
    if since and _DAY.match(since):
        limits.append(f"--since={since}T00:00:00Z")
    elif since:
        limits.append("^" + commit_of(repository, home, since, "since"))
    commits = _commits(repository, home, tip, limits)
    shallow = ask(repository, home, "rev-parse", "--is-shallow-repository").strip() == "true"
    return History(_by_version(commits, _tags(repository, home, tip)), tip, shallow, _remote(repository, home))


def _commits(repository: Path, home: Path, tip: str, limits: list[str]) -> list[Commit]:
    form = "--format=" + "%x00".join(("%H", "%P", "%cs", "%an", "%s", "%b", ""))  # a message holds anything but NUL
    revisions = [tip, *(limit for limit in limits if limit.startswith("^"))]
    options = [limit for limit in limits if not limit.startswith("^")]
    quiet = ("--no-show-signature", "--no-color", "--no-ext-diff", "--no-decorate", "--no-notes")
    text = ask(repository, home, "log", "--topo-order", *quiet, f"--max-count={MAX_COMMITS + 1}", form, *options, *revisions, "--")
    commits = []
    fields = text.split("\0")
    for at in range(0, len(fields) - 5, 6):
        sha, parents, day, author, subject, body = fields[at : at + 6]
        commits.append(Commit(sha.strip(), tuple(parents.split()), day, author, subject, body))
    if len(commits) > MAX_COMMITS:
        raise BadInput(f"there are more than {MAX_COMMITS:,} commits", hint="Narrow them with since, for example the last tag.")
    return commits


def _tags(repository: Path, home: Path, tip: str) -> list[tuple[str, str, str, str]]:
    """``(tag, version, commit, day)`` of every tag that looks like a version, oldest first."""
    form = "--format=%(refname:short)%1f%(objectname)%1f%(*objectname)%1f%(creatordate:short)"
    text = ask(repository, home, "for-each-ref", f"--merged={tip}", "--sort=creatordate", form, "refs/tags")
    tags = []
    for line in text.splitlines():
        name, direct, peeled, day = line.split("\x1f")
        name = name.removeprefix("tags/")
        if found := _VERSION.match(name):
            tags.append((name, found[1], peeled or direct, day))
    return sorted(tags, key=lambda tag: (tag[3], _order(tag[1])))


def _order(version: str) -> tuple[tuple[int, ...], bool, str]:
    """By number; a pre-release comes before its release."""
    numbers, rest = re.match(r"([\d.]*)(.*)", version).groups()  # type: ignore[union-attr]
    return tuple(int(n) for n in numbers.split(".") if n), not rest, rest


def _by_version(commits: list[Commit], tags: list[tuple[str, str, str, str]]) -> list[Version]:
    """Give each commit to the oldest version that reaches it; what none reaches is not released."""
    by_sha = {commit.sha: commit for commit in commits}
    owner: dict[str, str] = {}
    versions: dict[str, Version] = {}
    for tag, name, sha, day in tags:
        reached, todo = False, [sha]
        while todo:
            here = todo.pop()
            if here in by_sha and here not in owner:
                owner[here] = tag
                reached = True
                todo += by_sha[here].parents
        if reached:
            versions[tag] = Version(name, tag, day)
    unreleased = Version("Unreleased")
    for commit in commits:
        (versions[owner[commit.sha]] if commit.sha in owner else unreleased).commits.append(commit)
    return [unreleased, *reversed(versions.values())]


def _remote(repository: Path, home: Path) -> str:
    """The page of ``origin``, without user or password; empty for a folder or a form that is not known."""
    done = git(repository, home, "config", "--local", "--no-includes", "--get", "remote.origin.url")
    found = _KNOWN_REMOTE.fullmatch(done.out.decode("utf-8", "replace").strip())
    if not found:
        return ""
    host, path = (found[1] or found[3]).lower(), (found[2] or found[4]).strip("/").removesuffix(".git")
    if not re.fullmatch(r"[A-Za-z0-9_.~-]+(?:/[A-Za-z0-9_.~-]+)+", path):
        return ""
    return f"https://{host}/{path}"


def compare_link(remote: str, before: str, after: str) -> str:
    """Where the host shows what lies between two tags, or the tree of the first one."""
    if "gitlab" in remote.split("/")[2]:
        return f"{remote}/-/compare/{before}...{after}" if before else f"{remote}/-/tags/{after}"
    return f"{remote}/compare/{before}...{after}" if before else f"{remote}/releases/tag/{after}"
