"""Steps become sub-tasks that wait for each other, and one result comes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pulser.agents import coordinate
from pulser.core.errors import BadInput, Permanent

PARENT = "tsk_01J00000000000000000000000"


def child(stage: str = "done", result: Any = None) -> dict[str, Any]:
    return {"task_id": "t", "assigned_agent": "echo", "stage": stage, "result": result or {"summary": "fine"}, "error": None, "artifacts": []}


def test_a_step_that_uses_anothers_file_waits_for_it():
    args = {"steps": [{"name": "b", "payload": {"paths": ["step:a/x.csv"]}}, {"name": "a"}]}
    ids = coordinate.child_ids(args, PARENT)
    first, second = coordinate.requests(args, ids)
    assert first["depends_on"] == ["a"] and second["depends_on"] == []
    assert first["payload"] == {"paths": [f"artifact:{ids['a']}/x.csv"]}
    assert ids == coordinate.child_ids(args, PARENT) and len(set(ids.values())) == 2


@pytest.mark.parametrize(
    "steps",
    [
        [{"name": "a"}, {"name": "a"}],
        [{"name": "a", "depends_on": ["b"]}],
        [{"name": "a", "payload": {"path": "step:b/x"}}],
        [{"name": "a", "payload": {"path": "step:a/x"}}],
        [{"name": "a", "payload": {"path": "step:a"}}],
    ],
)
def test_steps_that_make_no_sense_are_refused(steps: list[dict[str, Any]]):
    with pytest.raises(BadInput):
        coordinate.requests({"steps": steps}, coordinate.child_ids({"steps": steps}, PARENT))


def test_a_failed_step_fails_the_whole_unless_that_is_allowed_and_the_result_tells_which():
    args: dict[str, Any] = {"steps": [{"name": "a"}, {"name": "b"}]}
    children = {"a": child(), "b": child("failed")}
    with pytest.raises(Permanent, match="b") as caught:
        coordinate.join(args, children)
    allowed = coordinate.join(args | {"allow_failures": True}, children)
    assert allowed == caught.value.fields["result"] and allowed["counts"] == {"completed": 1, "failed": 1, "skipped": 0}


def test_the_joined_result_stays_small_whatever_the_steps_brought():
    args = {"steps": [{"name": str(n)} for n in range(50)]}
    huge = {"summary": "much", "rows": ["x" * 1000] * 900}
    joined = coordinate.join(args, {str(n): child(result=huge if n else None) for n in range(50)})
    assert len(json.dumps(joined)) < 1_000_000
    assert joined["steps"][0]["result"] == {"summary": "fine"} and joined["steps"][1]["result"]["summary"] == "much"
