"""Ask git about a repository that a stranger made: its hooks, filters, helpers and settings must not run or matter."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

from pulser.core.errors import BadInput, Permanent
from pulser.tools.builtin.child import Finished, program, run_child

# The repository's own .git/config is a stranger's too: whatever in it names a program or a host is turned off here.
_SAFE = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.pager=cat",
    "core.sshCommand=false",
    "core.askPass=",
    "core.attributesFile=/dev/null",
    "core.alternateRefsCommand=true",
    "credential.helper=",
    "diff.external=",
    "gpg.program=false",
    "log.showSignature=false",
    "mailmap.file=",
    "mailmap.blob=",
    "protocol.allow=never",
    "safe.directory=*",
    "submodule.recurse=false",
    "i18n.logOutputEncoding=UTF-8",
)
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}(?:[~^][0-9]{0,4}){0,4}\Z")


def git(repository: Path, home: Path, *arguments: str, time_limit_s: float = 120, out_limit_bytes: int = 64 * 1024 * 1024) -> Finished:
    """Run one read-only git command in ``repository``; never asks, never pages, never looks above the folder."""
    env = {
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(repository.parent),
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
    }
    settings = [part for setting in _SAFE for part in ("-c", setting)]
    command = [program("git"), "--no-pager", "--no-optional-locks", *settings, *arguments]
    done = run_child(command, cwd=repository, home=home, time_limit_s=time_limit_s, env=env, out_limit_bytes=out_limit_bytes)
    if done.timed_out:
        raise Permanent(f"git {arguments[0]} took longer than {time_limit_s:.0f} s", hint="Narrow what is asked.")
    return done


def ask(repository: Path, home: Path, *arguments: str) -> str:
    """What git answers; :class:`Permanent` with what it said if it cannot."""
    done = git(repository, home, *arguments)
    if done.code:
        raise Permanent(f"git {arguments[0]} failed: {done.told[:400]}")
    if done.cut:
        raise Permanent(f"git {arguments[0]} told more than can be read", hint="Narrow it with since and until.")
    return done.out.decode("utf-8", "replace")


def check_repository(path: Path, home: Path) -> None:
    """:class:`Permanent` unless ``path`` is the top folder of a working tree or a bare repository; a folder further down is not."""
    if not (path / ".git").exists() and not is_bare(path):
        raise Permanent(f"{path.name} is not a git repository", hint="Name the top folder of a clone, where .git is, or a bare repository.")
    done = git(path, home, "rev-parse", "--git-dir")
    if done.code:
        raise Permanent(f"git cannot read {path.name}: {done.told[:300]}", hint="Try: git fsck; a worktree or submodule needs its main repository.")


def is_bare(path: Path) -> bool:
    """True if it is a repository without a working tree."""
    return not (path / ".git").exists() and (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()


def commit_of(repository: Path, home: Path, revision: str, what: str) -> str:
    """The commit that a tag, branch or hash names; :class:`BadInput` if it is not a name or names nothing."""
    if not _REVISION.match(revision) or ".." in revision:
        raise BadInput(f"{what} {revision[:80]!r} is not a tag, branch or commit", hint="Use a plain name such as v1.2.0, main or a hash.")
    done = git(repository, home, "rev-parse", "--quiet", "--verify", "--end-of-options", revision + "^{commit}")
    if done.code:
        raise BadInput(f"{what} {revision!r} names no commit of this repository", hint="List the names with: git tag; git branch.")
    return done.out.decode("ascii").strip()


def export(repository: Path, home: Path, into: Path) -> Path:
    """The files of HEAD of a bare repository, unpacked into ``into``; links and whatever would leave the folder are left out."""
    if git(repository, home, "rev-parse", "--quiet", "--verify", "HEAD^{commit}").code:
        raise Permanent("the repository has no commits", hint="Commit something first, or name a working folder.")
    archive = home / "export.tar"
    done = git(repository, home, "archive", "--format=tar", f"--output={archive}", "HEAD")
    if done.code:
        raise Permanent(f"git archive failed: {done.told[:400]}")
    into.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isreg() or member.isdir():
                tar.extract(member, into, filter="data")
    archive.unlink()
    return into
