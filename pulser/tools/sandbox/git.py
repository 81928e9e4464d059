"""Lay out one revision of a repository, inside the child: whatever the repository's own configuration starts is confined too."""

from __future__ import annotations

import os
import subprocess

from pulser.core.errors import BadInput, Permanent

# In the environment of every child: a repository's configuration, hooks and helpers start nothing, and nothing is fetched or asked.
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_PAGER": "cat",
    "GIT_CONFIG_COUNT": "5",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "core.hooksPath",
    "GIT_CONFIG_VALUE_1": "/dev/null",
    "GIT_CONFIG_KEY_2": "core.fsmonitor",
    "GIT_CONFIG_VALUE_2": "false",
    "GIT_CONFIG_KEY_3": "gc.auto",
    "GIT_CONFIG_VALUE_3": "0",
    "GIT_CONFIG_KEY_4": "maintenance.auto",
    "GIT_CONFIG_VALUE_4": "false",
}


def lay_out(repository: str, revision: str, to: str, pointer: str) -> None:
    """Write the files of ``revision`` into ``to``; :class:`BadInput` if there is no such repository or revision."""
    inner = os.path.join(repository, ".git")
    folder = inner if os.path.isdir(inner) else repository
    os.makedirs(to)
    own = os.environ  # noqa: TID251 - the child's own, which is empty but for what it needs
    environment = {**own, "GIT_DIR": folder, "GIT_WORK_TREE": to, "GIT_INDEX_FILE": to + ".index"}
    tree = _git(environment, to, "rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{tree}")
    if tree.returncode != 0:
        said = tree.stderr.decode("utf-8", "replace").strip()[:300]
        detail = f"{repository} has no revision {revision!r}" if not said else f"{repository} cannot be read as a git repository: {said}"
        raise BadInput(detail, hint="Name a branch, a tag or a commit of a repository under the roots.", errors=[{"pointer": pointer, "detail": detail}])
    plain = _without_filters(environment, to)
    for arguments in (("read-tree", tree.stdout.decode().strip()), ("checkout-index", "--all", "--quiet", "--force")):
        done = _git(environment, to, *plain, *arguments)
        if done.returncode != 0:
            raise Permanent(f"git {arguments[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()[-300:]}")


def _without_filters(environment: dict[str, str], folder: str) -> list[str]:
    """Options that switch the repository's own filters off: files are laid out as they were committed, and a filter that is not here fails nothing."""
    known = _git(environment, folder, "config", "--name-only", "-z", "--get-regexp", r"^filter\.").stdout.decode("utf-8", "surrogateescape")
    names = [name for name in dict.fromkeys(known.split("\0")) if name and "=" not in name]
    return [word for name in names for word in ("-c", name + ("=false" if name.endswith(".required") else "="))]


def _git(environment: dict[str, str], folder: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise Permanent("git is not installed here", hint="Install git, or name a plain folder.") from None
