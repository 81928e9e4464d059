"""Bad input in files: what can be seen is refused at once; what only the work shows fails the task, with a sentence, and is not tried again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Work
from tests.served import Served

NOBODY = "tsk_00000000000000000000000000"


LONG_AGO = "2020-01-01T00:00:00Z"  # a task for a given time is not looked at before: its files may come later


def refused(work: Work, task_type: str, payload: dict[str, Any]) -> dict[str, Any]:
    answer = work.api.post("/api/v1/tasks", json={"task_type": task_type, "payload": payload})
    assert answer.status_code == 422, answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["errors"][0]["pointer"].startswith("/payload/")
    return problem


def failed(work: Work, task_type: str, payload: dict[str, Any]) -> dict[str, Any]:
    task = work.run(task_type, payload, run_at=LONG_AGO)
    assert task["stage"] == "failed", task["result"]
    assert len(task["attempts"]) == 1, "what is wrong with the input is not tried again"
    error: dict[str, Any] = task["error"]
    assert error["detail"] and "Traceback" not in json.dumps(task)
    return error


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "project/../../..", "/proc/self/environ", "~/.ssh/id_rsa"])
def test_a_path_outside_the_roots_is_refused(served: Served, work: Work, path: str):
    for error in (refused(work, "testing", {"action": "lint", "path": path}), failed(work, "testing", {"action": "lint", "path": path})):
        assert "root" in error["detail"] + error["hint"]
        assert str(served.data_dir) not in json.dumps(error)


def test_the_data_folder_is_out_of_bounds(served: Served, work: Work):
    for path in (str(served.data_dir), str(served.data_dir / "token")):
        failed(work, "analytics", {"action": "profile", "path": path})
        refused(work, "analytics", {"action": "profile", "path": path})


def test_a_link_that_leads_out_of_a_root_is_refused(work: Work, samples: Path):
    (samples / "link").symlink_to("/etc")
    failed(work, "testing", {"action": "lint", "path": "link"})
    failed(work, "analytics", {"action": "profile", "path": "link/passwd"})


def test_a_file_that_is_not_there_is_said_to_be_missing(work: Work):
    for told in (refused, failed):
        assert "nowhere.csv" in told(work, "analytics", {"action": "profile", "path": "nowhere.csv"})["detail"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("picture.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8),
        ("empty.csv", b""),
        ("fake.parquet", b"PAR1 but no more"),
        ("broken.json", b'[{"a": 1}, {"a":'),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused_in_words(work: Work, samples: Path, name: str, content: bytes):
    (samples / name).write_bytes(content)
    error = failed(work, "analytics", {"action": "profile", "path": name})
    assert name in error["detail"]


def test_a_repository_with_no_commits_is_told_so(work: Work, samples: Path):
    bare = samples / "unborn"
    subprocess.run(["git", "init", "-q", str(bare)], check=True)
    assert "commit" in failed(work, "documentation", {"action": "changelog", "path": "unborn"})["detail"]


def test_a_folder_that_is_no_repository_is_told_so(work: Work):
    assert "git" in failed(work, "documentation", {"action": "changelog", "path": "data"})["detail"]


@pytest.mark.parametrize("sql", ["DROP TABLE penguins", "SELECT * FROM read_csv('/etc/passwd')", "SELECT 1; SELECT 2", "COPY penguins TO 'x.csv'", "not sql"])
def test_a_query_that_is_no_select_is_refused(work: Work, sql: str):
    failed(work, "analytics", {"action": "query", "sql": sql, "files": {"penguins": "data/penguins.csv"}})


@pytest.mark.parametrize("path", ["file:" + "0" * 64, "file:nonsense", f"artifact:{NOBODY}/report.md", "artifact:nonsense", "git:README.md@nowhere"])
def test_an_input_that_leads_nowhere_is_refused(work: Work, path: str):
    failed(work, "analytics", {"action": "profile", "path": path})
