"""The typed Python client: what the command line uses too.

>>> from pulser.client import Client
>>> with Client() as pulser:
...     task = pulser.submit("testing", {"action": "lint", "path": "src"})
...     done = pulser.wait(task["task_id"])

Refusals come back as the classes of :mod:`pulser.core.errors`. What may be repeated without harm (reading, and posts that carry an
``Idempotency-Key``, which ``submit`` makes by itself) is repeated with growing, jittered waits while the server is away or busy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

from pulser.client.answers import Agent, Artifact, Attempt, Event, File, Filters, Json, Submitted, Task, TaskFields, TaskRequest
from pulser.client.wire import Wire, frames, pause
from pulser.core.clock import monotonic
from pulser.core.errors import BadInput, Gone, Unavailable
from pulser.core.task import STATUS, TERMINAL

__all__ = ["Client", "Agent", "Artifact", "Attempt", "Event", "File", "Filters", "Json", "Submitted", "Task", "TaskFields", "TaskRequest", "SETTLED"]

API = "/api/v1"
SETTLED = frozenset({STATUS[stage] for stage in TERMINAL} | {"in_review"})  # what wait() waits for
WAIT_S = 25.0  # one long poll
BEGINNING = "1970-01-01T00:00:00Z"


class Client:
    """A connection to one Pulser. Synchronous, for one thread at a time; close it, or use it as a context manager.

    ``url``: else ``PULSER_URL``, else this machine's at ``PULSER_PORT``. ``token``: else ``PULSER_API_KEY``, else, towards this machine only,
    the file ``token`` of the data folder (``data_dir``). ``timeout`` is in seconds, per answer. ``retries`` are for what may be repeated.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, timeout: float = 30.0, *, retries: int = 4, data_dir: Path | None = None, transport: Any = None
    ) -> None:
        from pulser.app.settings import load

        settings = load().settings
        address = url or settings.server.url or f"http://127.0.0.1:{settings.server.port}"
        if not address.startswith(("http://", "https://")):
            raise BadInput(f"{address[:200]!r} is not the address of a Pulser", hint="Write http://… or https://…")
        self._wire = Wire(address, token or settings.server.api_key, (data_dir or settings.store.data_dir) / "token", timeout, retries, transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._wire.close()

    @property
    def url(self) -> str:
        """Where it is."""
        return self._wire.url

    # ---- tasks

    def submit(self, task_type: str, payload: Mapping[str, Any] | None = None, *, key: str | None = None, **fields: Unpack[TaskFields]) -> Submitted:
        """Submit a task: it is on disk when this returns. ``key`` is the Idempotency-Key; a fresh one if not given."""
        answer: Submitted = self._post("/tasks", {"task_type": task_type, "payload": dict(payload or {}), **fields}, key=key or os.urandom(16).hex())
        return answer

    def submit_batch(self, tasks: Sequence[TaskRequest], *, key: str | None = None) -> list[Submitted]:
        """Submit up to 1,000 tasks, all or none, answered in the same order."""
        made: list[Submitted] = self._post("/tasks/batch", {"tasks": list(tasks)}, key=key or os.urandom(16).hex())["tasks"]
        return made

    def task(self, task_id: str, *, wait_s: float | None = None) -> Task:
        """The task; with ``wait_s`` the server answers as soon as it has ended or is in review, or after that many seconds."""
        found: Task = self._get(f"/tasks/{_part(task_id)}", {"wait_s": wait_s}, timeout=self._wire.timeout + (wait_s or 0))
        return found

    def status(self, task_id: str) -> Json:
        """``{task_id, status, stage, progress, version}``."""
        told: Json = self._get(f"/tasks/{_part(task_id)}/status")
        return told

    def wait(self, task_id: str, timeout_s: float | None = None) -> Task:
        """The task as soon as it has ended or is in review; as it is after ``timeout_s`` seconds otherwise."""
        end = None if timeout_s is None else monotonic() + timeout_s
        while True:
            left = WAIT_S if end is None else max(0.0, min(WAIT_S, end - monotonic()))
            task = self.task(task_id, wait_s=round(left, 3))
            if task["status"] in SETTLED or (end is not None and monotonic() >= end):
                return task

    def tasks(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> Iterator[Task]:
        """Tasks, newest first, page after page; at most ``limit``."""
        return self._pages("/tasks", dict(filters), limit)

    def dead(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> Iterator[Task]:
        """Dead letters: failed, and not discarded."""
        return self._pages("/dead", dict(filters), limit)

    def requeue_dead(self, task_ids: Sequence[str] | None = None) -> Json:
        """Requeue these dead letters, or all: ``{requeued: [ids], skipped: [{task_id, reason}]}``."""
        told: Json = self._post("/dead/requeue", {"all": True} if task_ids is None else {"task_ids": list(task_ids)})
        return told

    def cancel(self, task_id: str) -> Task:
        """Stop it, running or not."""
        return self._move(task_id, "cancel")

    def retry(self, task_id: str) -> Task:
        """Run an ended task again, as its next generation."""
        return self._move(task_id, "retry")

    def requeue(self, task_id: str) -> Task:
        """Run a dead letter again."""
        return self._move(task_id, "requeue")

    def discard(self, task_id: str) -> Task:
        """Hide a dead letter; it is not deleted."""
        return self._move(task_id, "discard")

    def transition(self, task_id: str, to: str, note: str | None = None) -> Task:
        """Move it on the board: ``approved``, ``queued`` (send back), ``failed`` (reject) or ``cancelled``."""
        self._post(f"/tasks/{_part(task_id)}/transition", {"to": to} | ({"note": note} if note else {}))
        return self.task(task_id)

    def update(self, task_id: str, **fields: Unpack[TaskFields]) -> Task:
        """Change title, description, priority or checklist."""
        task: Task = self._wire.ask("PATCH", f"{API}/tasks/{_part(task_id)}", json=dict(fields)).json()
        return task

    def log(self, task_id: str, *, attempt: int | None = None, generation: int | None = None) -> str:
        """What an attempt printed; the newest if not said."""
        text: str = self._wire.ask("GET", f"{API}/tasks/{_part(task_id)}/log", params={"attempt": attempt, "generation": generation}, again=True).text
        return text

    def route(self, task_type: str, payload: Mapping[str, Any] | None = None, **fields: Unpack[TaskFields]) -> Json:
        """Who would do it and why; nothing is submitted."""
        told: Json = self._post("/route", {"task_type": task_type, "payload": dict(payload or {}), **fields}, again=True)
        return told

    def task_types(self) -> list[Json]:
        """Every task type with its agent, its actions and their arguments as JSON Schema."""
        items: list[Json] = self._get("/task-types")["items"]
        return items

    # ---- agents

    def agents(self) -> list[Agent]:
        """Every agent with its instances, load and figures."""
        items: list[Agent] = self._get("/agents")["items"]
        return items

    def agent(self, name: str) -> Agent:
        """One agent."""
        found: Agent = self._get(f"/agents/{_part(name)}")
        return found

    def pause(self, name: str) -> Agent:
        """Let it finish what it has and take nothing new."""
        found: Agent = self._post(f"/agents/{_part(name)}/pause", again=True)
        return found

    def resume(self, name: str) -> Agent:
        """The reverse of :meth:`pause`."""
        found: Agent = self._post(f"/agents/{_part(name)}/resume", again=True)
        return found

    def set_available(self, name: str, instance_id: str, available: bool) -> Json:
        """Whether that instance is offered work."""
        changed: Json = self._wire.ask("PATCH", f"{API}/agents/{_part(name)}/instances/{_part(instance_id)}", json={"available": available}, again=True).json()
        return changed

    # ---- events

    def events(
        self, *, after: str | None = None, task_id: str | None = None, kind: str | None = None, actor: str | None = None, limit: int | None = None
    ) -> Iterator[Event]:
        """Events after a cursor or an RFC 3339 time (the beginning if not given), oldest first, page after page, up to now."""
        params = {"after": after or BEGINNING, "task_id": task_id, "kind": kind, "actor": actor}
        while limit is None or limit > 0:
            page = self._get("/events", {**params, "limit": min(limit or 200, 200)})
            yield from page["items"]
            limit = None if limit is None else limit - len(page["items"])
            if not page["items"]:
                return
            params["after"] = page["next"]

    def latest_events(self, limit: int = 100, *, task_id: str | None = None, kind: str | None = None, actor: str | None = None) -> list[Event]:
        """The newest events (up to 500), oldest of them first."""
        items: list[Event] = self._get("/events", {"task_id": task_id, "kind": kind, "actor": actor, "limit": limit})["items"]
        return items[::-1]

    def tail(
        self, *, since: str | None = None, task_id: str | None = None, kind: str | None = None, actor: str | None = None, retries: int | None = None
    ) -> Iterator[Event]:
        """Events as they happen, from ``since`` (a cursor or an RFC 3339 time) or from now on; a broken connection is taken up where it broke.

        :class:`~pulser.core.errors.Gone` if the events to resume from have been pruned. Tries for ever unless ``retries`` (in a row) is given.
        """
        last, failures = "", 0
        params = {"task_id": task_id, "kind": kind, "actor": actor}
        while True:
            try:
                with self._wire.stream(f"{API}/events/tail", {**params, "since": None if last else since}, {"Last-Event-ID": last} if last else {}) as response:
                    since = since or _begun(response)  # should it break before the first event
                    for frame in frames(response.iter_lines()):
                        last, failures = frame.get("id") or last, 0
                        if frame.get("event") == "cursor_expired":
                            raise Gone("events after this cursor have been pruned", hint="Start again without a cursor.")
                        if frame.get("data"):
                            yield _event(frame["data"])
                raise Unavailable("the stream ended")  # the server stops, or dropped a slow reader
            except Unavailable as error:
                failures += 1
                if retries is not None and failures > retries:
                    raise
                pause(failures, error)

    # ---- files

    def upload(self, file: Path | str | bytes, name: str | None = None) -> File:
        """Keep a file on the server; its ``file`` goes where a payload wants a path."""
        name = name or (Path(file).name if not isinstance(file, bytes) else None)
        size = len(file) if isinstance(file, bytes) else Path(file).stat().st_size
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        content: Callable[[], Any] = (lambda: file) if isinstance(file, bytes) else (lambda: _pieces(Path(file)))
        kept: File = self._wire.ask("POST", f"{API}/files", params={"name": name}, content=content, headers=headers, again=True).json()
        return kept

    def download_artifact(self, task_id: str, name: str, to: Path | None = None) -> bytes | Path:
        """An artifact's bytes; with ``to`` (a file, or a folder that is there) it is written there, whole or not at all."""
        with self._wire.stream(f"{API}/tasks/{_part(task_id)}/artifacts/{_part(name)}", {}, {}) as response:
            if to is None:
                return b"".join(response.iter_bytes())
            target = to / name if to.is_dir() else to
            partial = target.with_name(f".{target.name}.partial")
            try:
                with partial.open("wb") as out:
                    for piece in response.iter_bytes():
                        out.write(piece)
                return partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)

    # ---- the server

    def health(self) -> Json:
        """``{"ok": true, …}``; :class:`~pulser.core.errors.Unavailable` if nothing answers."""
        answer: Json = self._wire.ask("GET", "/health", again=True).json()
        return answer

    def openapi(self) -> Json:
        """The server's OpenAPI document."""
        document: Json = self._wire.ask("GET", "/openapi.json", again=True).json()
        return document

    def start_link(self) -> str:
        """A link that opens the console signed in; works once, within 15 minutes."""
        secret = self._wire.ask("POST", "/session/link", json={}).json()["secret"]
        return f"{self.url}/#start={secret}"

    # ---- the wire

    def _get(self, path: str, params: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        return self._wire.ask("GET", API + path, params=params, again=True, timeout=timeout).json()

    def _post(self, path: str, body: Any = None, *, key: str | None = None, again: bool = False) -> Any:
        return self._wire.ask("POST", API + path, json=body, headers={"Idempotency-Key": key} if key else {}, again=again or bool(key)).json()

    def _move(self, task_id: str, verb: str) -> Task:
        task: Task = self._post(f"/tasks/{_part(task_id)}/{verb}", {})
        return task

    def _pages(self, path: str, filters: Json, limit: int | None) -> Iterator[Task]:
        cursor = None
        while limit is None or limit > 0:
            page = self._get(path, {**filters, "cursor": cursor, "limit": min(limit or 200, 200)})
            yield from page["items"]
            limit = None if limit is None else limit - len(page["items"])
            cursor = page["next"]
            if not cursor:
                return


def _part(text: str) -> str:
    """A part of a path."""
    from urllib.parse import quote

    return quote(text, safe="")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1 << 18):
            yield piece


def _event(data: str) -> Event:
    import json

    event: Event = json.loads(data)
    return event


def _begun(response: Any) -> str | None:
    """When the server began to answer, by its own clock."""
    from email.utils import parsedate_to_datetime

    date = response.headers.get("Date")
    return parsedate_to_datetime(date).isoformat().replace("+00:00", "Z") if date else None
