"""The disk is full: a clear refusal, nothing corrupted, nothing that was answered is lost; and it goes on when there is room."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.faults.ground import SERVE, Ground, ground, say
from tests.faults.test_kill import address

SIZE_MB = 16


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Ground]:
    """A ground whose data folder is a small file system of its own."""
    folder = tmp_path / "small"
    data_dir = folder / "data"
    data_dir.mkdir(parents=True)
    if os.geteuid() != 0:
        pytest.skip("needs root: mounts a small tmpfs")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(data_dir)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
    try:
        with ground("", folder) as made:
            yield made
    finally:
        subprocess.run(["umount", "-l", str(data_dir)], check=True)


@pytest.mark.root
def test_a_full_disk_is_told_as_503_corrupts_nothing_and_passes(small: Ground) -> None:
    server = small.start(SERVE)
    url = address(small)
    filler = small.data_dir / "filler"
    filler.write_bytes(b"x" * 6_000_000)
    answered: list[str] = []
    refused: list[httpx2.Response] = []
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {(small.data_dir / 'token').read_text().strip()}"}, timeout=30) as api:
        task = {"task_type": "orchestration", "payload": {"action": "noop", "data": "x" * 20_000}}

        def send() -> None:
            answer = api.post("/api/v1/tasks/batch", json={"tasks": [task] * 5})
            if answer.status_code == 202:
                answered.extend(each["task_id"] for each in answer.json()["tasks"])
            else:
                refused.append(answer)

        while not refused:
            send()
            assert len(answered) < 5_000, "the disk does not fill"
        problem = refused[0].json()
        assert refused[0].status_code == 503, refused[0].text
        assert problem["type"].endswith("/unavailable") and "disk is full" in problem["detail"] and problem["hint"]
        assert int(refused[0].headers["Retry-After"]) > 0
        assert api.get("/healthz").status_code == 200
        assert api.get("/api/v1/tasks", params={"limit": 5}).status_code == 200, "what is there cannot be read"
        for _ in range(5):
            send()
        assert small.query("PRAGMA integrity_check") == [("ok",)]

        filler.unlink()
        before = len(answered)

        def goes_on() -> bool:
            send()
            return len(answered) > before

        small.wait(goes_on, 30)
        small.wait(lambda: small.done() >= len(answered), 60)
        assert server.poll() is None, small.logs()
    known = {task_id for [task_id] in small.query("SELECT task_id FROM task_queue")}
    assert set(answered) == known, "an answered task is missing, or a refused one is there"
    counts = small.check(len(answered))
    server.terminate()
    server.wait(15)
    with contextlib.closing(sqlite3.connect(small.data_dir / "pulser.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    say("disk full", answered=len(answered), refused=len(refused), lost=0, reclaimed=counts["reclaimed"])
