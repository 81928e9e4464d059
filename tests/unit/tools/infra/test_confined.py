"""The tools of arkie and learnbot do their work through the door, in a confined child."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulser.core.errors import BadInput
from pulser.tools.call import Context
from tests.unit.tools.confined import door_to, made
from tests.unit.tools.fake_call import FakeInstallation

FAILURES = [
    {
        "task_id": f"tsk_{n}",
        "task_type": "testing",
        "agent": "echo",
        "action": "test",
        "error": {"code": "bad-input", "detail": f"no folder 'p{n}'"},
        "failed_at": "2026-01-01T00:00:00Z",
    }
    for n in range(3)
]


@pytest.fixture
def door(tmp_path: Path) -> Context:
    return door_to(tmp_path, FakeInstallation(known_failures=FAILURES))


def test_a_folder_that_holds_pulsers_data_is_validated_around_it(door: Context, tmp_path: Path) -> None:
    text = "services: {a: {image: nginx}}\n"
    (tmp_path / "root" / "compose.yaml").write_text(text)
    (tmp_path / "root" / ".data" / "compose.yaml").write_text(text)
    (tmp_path / "root" / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / "root" / ".github" / "workflows" / "ci.yml").write_text("on: push\njobs: {a: {runs-on: x, steps: [{run: make}]}}\n")
    done = made(door, "infra.validate", path=str(tmp_path / "root"))
    assert {entry["file"]: entry["kind"] for entry in done.result["files"]} == {"compose.yaml": "compose", ".github/workflows/ci.yml": "github_workflow"}
    assert {artifact.name for artifact in done.artifacts} == {"report.md", "findings.json"}


def test_capacity_is_planned_from_arguments_and_from_a_file(door: Context, tmp_path: Path) -> None:
    assert made(door, "infra.capacity", load={"requests_per_s": 7, "service_time_s": 1}).result["instances"] == 10
    (tmp_path / "root" / "m.csv").write_text("started_at,duration_s\n" + "".join(f"{n},2\n" for n in range(600)))
    assert made(door, "infra.capacity", measurements="m.csv").result["load"]["busy_slots"] == pytest.approx(2, rel=0.01)
    with pytest.raises(BadInput):
        made(door, "infra.capacity", measurements="../m.csv")


def test_failures_are_gathered_by_the_worker_and_mined_by_the_child(door: Context, tmp_path: Path) -> None:
    (tmp_path / "root" / "app.log").write_text("ERROR disk full\n")
    done = made(door, "skills.mine_failures", logs=["app.log"])
    assert done.result["failures"] == 4 and done.result["clusters"][0]["count"] == 3
    assert {artifact.name for artifact in done.artifacts} >= {"clusters.json", "report.md", "skills.zip"}
