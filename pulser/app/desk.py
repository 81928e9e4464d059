"""What ``perform`` may use, from the parts of this process: the tools' door, the board, the files."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Literal

from pulser.agents.perform import Made, Tell
from pulser.agents.registry import Registry
from pulser.app.installation import CompanyInstallation
from pulser.core.errors import PulserError
from pulser.core.settings import Settings
from pulser.core.task import Artifact, Claimed
from pulser.intake.request import Draft, TaskRequest, draft
from pulser.intake.submit import Submission, Submitter
from pulser.store import tasks
from pulser.store.blobs import Blobs
from pulser.store.store import Store
from pulser.store.tx import Tx
from pulser.tools import call as door
from pulser.tools.paths import Root, parse_root


class Workbench:
    """The desk of this process's worker."""

    def __init__(self, settings: Settings, store: Store, registry: Registry, blobs: Blobs, submitter: Submitter) -> None:
        self.registry = registry
        self.probes = settings.worker.probes
        self._settings, self._store, self._blobs, self._submitter = settings, store, blobs, submitter
        self._roots: tuple[Root, ...] = tuple(parse_root(root) for root in settings.tools.roots)
        self._children = asyncio.Semaphore(settings.worker.children or cores())
        self._scratch = settings.store.data_dir / "scratch"
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def call(self, task: Claimed, tool: str, args: dict[str, Any], tell: Tell, phase: Literal["run", "apply"]) -> Made:
        """The tools' door, on behalf of ``task``."""
        files = self._blobs.of(task.company_id)
        context = door.Context(
            company_id=task.company_id,
            task_id=task.task_id,
            attempt=task.token,
            scratch_dir=self._scratch,
            data_dir=self._settings.store.data_dir,
            files=files,
            installation=CompanyInstallation(self._store, task.company_id, self._settings.tools, self._roots, self._settings.store.data_dir),
            roots=self._roots,
            on_progress=tell,
            time_limit_s=task.time_limit_s,
            sandbox=self._settings.tools.sandbox,
            children=self._children,
            result_limit_bytes=self._settings.queue.result_limit_bytes,
            apply=not task.review,
        )
        try:
            if phase == "apply":
                kept = await self._store.read(tasks.artifacts_of, task.task_id, company=task.company_id)
                made = [Artifact(a["name"], a["sha256"], a["size_bytes"], a["media_type"]) for a in kept if a["kind"] == "file"]
                return Made(await door.apply(tool, args, task.result or {}, made, context), [], await self._log(files, context))
            done = await door.call(tool, args, context)
        except PulserError as error:
            error.fields["log"] = await self._log(files, context)
            raise
        return Made(done.result, done.artifacts, await self._log(files, context))

    async def _log(self, files: Any, context: door.Context) -> Artifact | None:
        path: Path = door.log_path(context)
        if not path.exists():
            return None
        digest, size = await asyncio.to_thread(files.put, path)
        path.unlink(missing_ok=True)
        return Artifact(path.name, digest, size, "text/plain")

    async def children(self, task: Claimed, ids: dict[str, str]) -> dict[str, dict[str, Any]]:
        """Sub-tasks by step name, those that exist."""

        def look(tx: Tx) -> dict[str, dict[str, Any]]:
            rows = {row["task_id"]: row for row in tasks.children(tx, task.task_id)}
            found = {name: rows[task_id] for name, task_id in ids.items() if task_id in rows}
            for row in found.values():
                row["artifacts"] = [a["name"] for a in tasks.artifacts_of(tx, row["task_id"]) if a["kind"] == "file"]
            return found

        children: dict[str, dict[str, Any]] = await self._store.read(look, company=task.company_id)
        return children

    def drafts(self, requests: list[dict[str, Any]], ids: dict[str, str], task: Claimed) -> list[Draft]:
        """Sub-task requests checked and routed, as children of ``task``."""
        made = []
        for n, request in enumerate(requests):
            each = draft(TaskRequest.model_validate(request), self.registry, self._settings.queue, pointer=f"/payload/steps/{n}")
            each.parent_id, each.task_id, each.requester = task.task_id, ids[request["ref"]], task.agent
            made.append(each)
        return made

    def spawn(self, tx: Tx, task: Claimed, drafts: list[Draft]) -> list[str]:
        """Submit sub-tasks in the transaction that parks their parent."""
        [answer] = self._submitter.submit_many(tx, [(Submission(drafts, batch=True), tx.actor)])
        if isinstance(answer, BaseException):
            raise answer
        return answer.task_ids


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
