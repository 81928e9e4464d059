"""What the trusted halves of tools may ask of Pulser, for one company. Called from threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pulser.core.clock import iso
from pulser.core.errors import UnknownName, nearest
from pulser.core.settings import Tools
from pulser.events import feed
from pulser.store import tasks
from pulser.store.store import Store
from pulser.store.tx import Tx
from pulser.tools import paths
from pulser.tools.paths import Root


class CompanyInstallation:
    """See :class:`pulser.core.tool.Installation`."""

    def __init__(self, store: Store, company: str, settings: Tools, roots: Sequence[Root], data_dir: Path) -> None:
        self._store, self._company, self._settings, self._roots, self._data_dir = store, company, settings, roots, data_dir

    def failures(self, limit: int) -> list[dict[str, Any]]:
        """Dead letters and the failed attempts of living tasks, newest first."""
        found: list[dict[str, Any]] = self._store.read_blocking(_failures, limit, company=self._company)
        return found

    def events(self, kinds: list[str], limit: int) -> list[dict[str, Any]]:
        """Newest events of these kinds."""
        found: list[dict[str, Any]] = self._store.read_blocking(feed.before, None, limit, feed.Wanted(kinds=tuple(kinds)), company=self._company)
        return found

    def target(self, name: str) -> str:
        """The URL of a load target."""
        try:
            return self._settings.targets[name]
        except KeyError:
            raise UnknownName(
                f"there is no load target {name[:60]!r}", hint=nearest(name, list(self._settings.targets)) + " Targets are named in PULSER_TOOLS_TARGETS."
            ) from None

    def writable(self, path: str) -> Path:
        """A path under a root that may be written."""
        return paths.find(path, self._roots, self._data_dir, writable=True).path


def _failures(tx: Tx, limit: int) -> list[dict[str, Any]]:
    found = []
    for row in tasks.page(tx, tasks.Filter(stages=("failed",)), limit, None):
        error = row["error"] or {}
        found.append(
            {
                "task_id": row["task_id"],
                "task_type": row["task_type"],
                "agent": row["assigned_agent"],
                "action": row["action"],
                "error": error,
                "failed_at": iso(row["completed_at"] or row["updated_at"]),
            }
        )
    return found
