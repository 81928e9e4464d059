"""A server per file of tests, with sample files under its root, and connections to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.served import ROOT, Served, pulser

SAMPLES = ROOT / "pulser" / "app" / "samples"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped samples, copied to where a root is."""
    folder = tmp_path_factory.mktemp("samples")
    shutil.copytree(SAMPLES, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Iterator[Served]:
    with pulser(tmp_path_factory.mktemp("pulser"), [f"{samples}:rw", ROOT]) as running:
        yield running


@pytest.fixture(scope="module")
def api(served: Served) -> httpx2.Client:
    """The local operator."""
    return served.client()


@pytest.fixture(scope="module")
def anybody(served: Served) -> httpx2.Client:
    """Nobody in particular: no token, no key."""
    return served.client(None)


class Work:
    """Tasks over HTTP, in a word each."""

    def __init__(self, api: httpx2.Client) -> None:
        self.api = api

    def submit(self, task_type: str = "orchestration", payload: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        """Submit; the receipt."""
        answer = self.api.post("/api/v1/tasks", json={"task_type": task_type, "payload": payload or {"action": "noop"}, **fields})
        assert answer.status_code == 202, answer.text
        receipt: dict[str, Any] = answer.json()
        return receipt

    def done(self, task_id: str, wait_s: float = 60) -> dict[str, Any]:
        """The task when it has ended or is in review."""
        answer = self.api.get(f"/api/v1/tasks/{task_id}", params={"wait_s": wait_s})
        assert answer.status_code == 200, answer.text
        task: dict[str, Any] = answer.json()
        assert task["stage"] in ("done", "failed", "cancelled", "review"), f"not ended after {wait_s} s: {task['stage']}"
        return task

    def run(self, task_type: str = "orchestration", payload: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        """Submit and wait."""
        return self.done(self.submit(task_type, payload, **fields)["task_id"])

    def until(self, task_id: str, *stages: str) -> dict[str, Any]:
        """The task once it is in one of ``stages``: told by the events' stream, not by asking again and again."""
        with self.api.stream("GET", "/api/v1/events/tail", params={"task_id": task_id, "since": "c0-0"}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    task: dict[str, Any] = self.api.get(f"/api/v1/tasks/{task_id}").json()
                    if task["stage"] in stages:
                        return task
        raise AssertionError("the stream ended")


@pytest.fixture(scope="module")
def work(api: httpx2.Client) -> Work:
    return Work(api)


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document, checked for what every one must have and must not."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text[:600]}"
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"/problems/{code}"
    assert body["status"] == status
    assert body["title"] and body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    lowered = answer.text.lower()
    assert not [word for word in ("traceback", "sqlalchemy", "sqlite3", "psycopg", "pydantic", 'file \\"', "pulser.db", "/data/token") if word in lowered]
    return body
