"""What the demo gives the agents to do, and on what: this repository where it is run in a checkout, the shipped samples elsewhere."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from pulser import __version__

SAMPLES = Path(__file__).parent / "samples"
DATA = SAMPLES / "data"
_GIT_LIMIT_S = 30
_VERSIONS = (  # the sample project's history, where there is no repository to show: message, files, tag
    (
        "feat: prices with discounts",
        ("README.md", "pyproject.toml", "orders/__init__.py", "orders/price.py", "tests/conftest.py", "tests/test_price.py"),
        "v1.0.0",
    ),
    ("feat(stock): keep count of what is there", ("orders/stock.py", "tests/test_stock.py"), "v1.1.0"),
    ("Add invoices", ("orders/invoice.py",), ""),
    ("test: invoices add up", ("tests/test_invoice.py",), ""),
)


@dataclass(slots=True)
class Piece:
    """One task of the demo. A :class:`~pathlib.Path` in the payload is a place on this machine; ``needs`` names pieces that come first."""

    name: str
    task_type: str
    payload: dict[str, Any]
    needs: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)


def demo_roots() -> tuple[Path, ...]:
    """Folders the demo reads: the samples, the working directory, and a small repository made for it where that is none."""
    history = _history()
    own = (history,) if history is not None and history != Path.cwd() else ()
    return (SAMPLES, Path.cwd(), *own)


def checkout() -> Path | None:
    """The working directory, if it is a checkout of Pulser."""
    here = Path.cwd()
    return here if (here / "pulser" / "core" / "task.py").is_file() and (here / "docs").is_dir() else None


def pieces(openapi: str) -> Iterator[Piece | str]:
    """The tasks, in order; a text instead of one says what is left out and why. ``openapi`` refers to the server's own OpenAPI file."""
    here = checkout()
    yield Piece("a probe that fails once", "orchestration", {"action": "noop", "fail_times": 1}, fields={"priority": "high"})
    yield Piece("lint code", "testing", {"action": "lint", "path": here / "pulser" if here else SAMPLES / "project", "fix": True})
    yield Piece("test a project", "testing", {"action": "test", "path": SAMPLES / "project", "min_coverage": 85})
    history = _history()
    if history is not None:
        yield Piece("write a changelog", "documentation", {"action": "changelog", "path": history})
    else:
        yield "write a changelog: there is no git history here, and no git to make one"
    yield Piece("tidy Markdown", "documentation", {"action": "format", "path": here / "docs" if here else SAMPLES / "project" / "README.md"})
    if here:
        yield Piece("check links", "documentation", {"action": "check_links", "path": here / "docs"})
    yield Piece("write an API reference", "documentation", {"action": "api_docs", "path": openapi})
    yield Piece("profile data", "analytics", {"action": "profile", "path": DATA / "penguins.csv"})
    sql = "SELECT species, count(*) AS penguins, round(avg(body_mass_g)) AS grams FROM penguins GROUP BY species ORDER BY grams DESC"
    chart = {"kind": "bar", "x": "species", "y": "grams"}
    yield Piece("ask data a question", "analytics", {"action": "query", "sql": sql, "files": {"penguins": DATA / "penguins.csv"}, "chart": chart})
    yield Piece(
        "load dirty data", "data_pipeline", {"action": "etl", "source": DATA / "penguins_dirty.csv", "target": {"kind": "sqlite", "table": "penguins"}, **_ETL}
    )
    yield Piece(
        "judge data",
        "data_pipeline",
        {"action": "quality", "path": DATA / "penguins_dirty.csv", "rules": _RULES, "references": {"islands": DATA / "islands.csv"}},
    )
    yield Piece(
        "validate deployments",
        "infrastructure",
        {"action": "validate", "path": here / ".github" / "workflows" if here else SAMPLES / "deploy" / "compose.yaml"},
    )
    yield Piece("three agents together", "orchestration", {"action": "coordinate", "steps": _STEPS})
    yield Piece("learn from failures", "skills_mining", {"action": "mine_failures"}, needs=("a probe that fails once",))


def capacity(durations_s: list[float]) -> Piece:
    """A plan for 2,000 tasks an hour that take as long as the tasks of this very demo did."""
    mean_s = fmean(durations_s)
    load = {"tasks_per_h": 2000, "service_time_s": round(mean_s, 4), "variation": round(pstdev(durations_s) / mean_s, 3)}
    payload = {
        "action": "capacity",
        "load": load,
        "targets": {"utilisation": 0.7, "p95_wait_s": 5},
        "instance": {"slots": 4, "cost_usd_month": 12},
        "headroom": 0.3,
    }
    return Piece("plan capacity", "infrastructure", payload)


_ETL: dict[str, Any] = {
    "key": ["id"],
    "columns": {"id": {"type": "integer", "required": True}, "body_mass_g": {"type": "integer"}, "year": {"type": "integer"}},
}
_RULES: list[dict[str, Any]] = [
    {"rule": "not_null", "column": "species"},
    {"rule": "in_set", "column": "species", "values": ["Adelie", "Chinstrap", "Gentoo"]},
    {"rule": "reference", "column": "island", "reference": "islands"},
    {"rule": "unique", "column": "id"},
    {"rule": "range", "column": "body_mass_g", "min": 2000, "max": 7000},
    {"rule": "pattern", "column": "year", "pattern": "20[0-9]{2}"},
]
_STEPS: list[dict[str, Any]] = [
    {
        "name": "load",
        "title": "Load what is sound",
        "task_type": "data_pipeline",
        "payload": {"action": "etl", "source": DATA / "penguins_dirty.csv", "target": {"kind": "parquet", "table": "penguins"}, **_ETL},
    },
    {
        "name": "profile",
        "title": "Look at what was loaded",
        "task_type": "analytics",
        "depends_on": ["load"],
        "payload": {"action": "profile", "path": "step:load/penguins.parquet"},
    },
    {
        "name": "tidy",
        "title": "Tidy the report",
        "task_type": "documentation",
        "depends_on": ["profile"],
        "payload": {"action": "format", "path": "step:profile/profile.md"},
    },
]


@cache
def _history() -> Path | None:
    """A repository with commits: the working directory, or one made of the sample project, once per user. None without git."""
    git = shutil.which("git")
    if git is None:
        return None
    if (Path.cwd() / ".git").is_dir() and _has_commits(git, Path.cwd()):
        return Path.cwd()
    home = Path(tempfile.gettempdir()) / f"pulser-demo-{os.getuid()}-{__version__}"
    if _ours(home) and _has_commits(git, home):
        return home
    made = Path(tempfile.mkdtemp(prefix="pulser-demo-"))
    if not _commit_samples(git, made):
        shutil.rmtree(made, ignore_errors=True)
        return None
    made.chmod(0o755)  # tools run as somebody else where Pulser is root
    try:
        return made.rename(home)
    except OSError:  # the name is taken: by another demo just now, or by somebody else
        if _ours(home) and _has_commits(git, home):
            shutil.rmtree(made, ignore_errors=True)
            return home
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        return made


def _ours(folder: Path) -> bool:
    """True if it is a folder of this user that nobody else may change; the place for temporary files is everybody's."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _has_commits(git: str, folder: Path) -> bool:
    return _git(git, folder, "rev-parse", "--verify", "--quiet", "HEAD")


def _commit_samples(git: str, folder: Path) -> bool:
    """The sample project with a short history; False if git would not."""
    made = _git(git, folder, "init", "--quiet", "--initial-branch", "main")
    for number, (message, files, tag) in enumerate(_VERSIONS, 1):
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SAMPLES / "project" / name, folder / name)
        made = made and _git(git, folder, "add", "--", *files) and _git(git, folder, "commit", "--quiet", "-m", message, day=number)
        made = made and (not tag or _git(git, folder, "tag", tag))
    return made


def _git(git: str, folder: Path, *arguments: str, day: int = 1) -> bool:
    """Run git there with nobody's configuration; True if it succeeded."""
    at = f"2026-01-{day:02} 12:00:00 +0000"
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in (("NAME", "Demo"), ("EMAIL", "demo@example.org"), ("DATE", at))}
    environment = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "LC_ALL": "C", **who}
    try:
        done = subprocess.run(
            [git, "-C", str(folder), *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_GIT_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
