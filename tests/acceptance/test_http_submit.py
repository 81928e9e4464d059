"""Submitting over HTTP: what comes back, that it is done, once, in order and all or nothing."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from tests.acceptance.conftest import Work, problem
from tests.served import Served

NOOP = {"task_type": "orchestration", "payload": {"action": "noop"}}


def test_a_submitted_task_is_answered_with_its_receipt_and_where_to_find_it(api: httpx2.Client):
    answer = api.post("/api/v1/tasks", json={**NOOP, "priority": "high", "title": "A probe", "requester": "ada"})
    assert answer.status_code == 202
    receipt = answer.json()
    assert answer.headers["location"] == f"/api/v1/tasks/{receipt['task_id']}"
    assert receipt["task_id"].startswith("tsk_") and len(receipt["task_id"]) == 30
    assert (receipt["assigned_agent"], receipt["priority"], receipt["task_type"], receipt["action"]) == ("pulser", "high", "orchestration", "noop")
    assert datetime.fromisoformat(receipt["estimated_completion"]) > datetime.fromisoformat(receipt["created_at"])
    shown = api.get(answer.headers["location"], params={"wait_s": 30}).json()
    assert (shown["title"], shown["requester"], shown["status"], shown["result"]) == ("A probe", "ada", "completed", {"ok": True})


def test_the_whole_task_tells_who_did_it_when_and_why(work: Work):
    task = work.run(payload={"action": "noop", "seq": 7}, description="Nothing much")
    assert task["result"] == {"ok": True, "seq": 7}
    assert task["routing"]["agent"] == "pulser" and task["routing"]["reason"] and task["routing"]["alternatives"] == []
    [attempt] = task["attempts"]
    assert (attempt["generation"], attempt["attempt"], attempt["outcome"]) == (1, 1, "succeeded")
    assert attempt["worker_id"] and task["created_at"] <= attempt["started_at"] <= attempt["ended_at"] <= task["updated_at"]
    assert task["payload"] == {"action": "noop", "seq": 7} and task["description"] == "Nothing much"
    assert task["error"] is None and task["retry_count"] == 0 and task["generation"] == 1


def test_waiting_for_the_answer_gives_the_ended_task(api: httpx2.Client):
    answer = api.post("/api/v1/tasks", params={"wait_s": 30}, json={"task_type": "orchestration", "payload": {"action": "noop", "sleep_ms": 30}})
    assert answer.status_code == 200
    assert (answer.json()["stage"], answer.json()["result"]) == ("done", {"ok": True})
    assert answer.headers["location"].endswith(answer.json()["task_id"])


def test_a_wait_that_runs_out_gives_the_receipt_and_the_work_goes_on(api: httpx2.Client, work: Work):
    answer = api.post("/api/v1/tasks", params={"wait_s": 0.05}, json={"task_type": "orchestration", "payload": {"action": "noop", "sleep_ms": 60_000}})
    assert answer.status_code == 202
    task_id = answer.json()["task_id"]
    work.until(task_id, "in_progress")
    assert api.get(f"/api/v1/tasks/{task_id}", params={"wait_s": 0.05}).json()["status"] == "running"
    assert api.get(f"/api/v1/tasks/{task_id}/status").json()["status"] == "running"
    api.post(f"/api/v1/tasks/{task_id}/cancel")


def test_status_is_the_little_that_one_polls_for(api: httpx2.Client, work: Work):
    task = work.run()
    shown = api.get(f"/api/v1/tasks/{task['task_id']}/status").json()
    assert shown == {"task_id": task["task_id"], "status": "completed", "stage": "done", "progress": None, "version": task["version"]}


def test_a_batch_is_answered_in_its_order_and_a_ref_stands_for_a_task_of_it(api: httpx2.Client, work: Work):
    tasks = [{**NOOP, "ref": "last", "depends_on": ["first", "middle"]}, {**NOOP, "ref": "first"}, {**NOOP, "ref": "middle", "depends_on": ["first"]}]
    answer = api.post("/api/v1/tasks/batch", json={"tasks": tasks})
    assert answer.status_code == 202
    last, first, middle = answer.json()["tasks"]
    assert [last["ref"], first["ref"], middle["ref"]] == ["last", "first", "middle"]
    assert (last["status"], middle["status"]) == ("waiting", "waiting")
    ended = [work.done(each["task_id"]) for each in (first, middle, last)]
    assert [each["stage"] for each in ended] == ["done"] * 3
    assert ended[0]["completed_at"] <= ended[1]["claimed_at"] and ended[1]["completed_at"] <= ended[2]["claimed_at"]
    assert sorted(ended[2]["depends_on"]) == sorted([first["task_id"], middle["task_id"]])


def test_a_batch_with_one_bad_task_writes_none(api: httpx2.Client):
    before = api.get("/api/v1/tasks", params={"q": "all-or-nothing"}).json()["items"]
    fine = {**NOOP, "title": "all-or-nothing"}
    answer = api.post("/api/v1/tasks/batch", json={"tasks": [fine, {"task_type": "orchestration", "payload": {"action": "noop", "sleep_ms": -1}}]})
    assert problem(answer, 422, "bad-input")["errors"][0]["pointer"] == "/tasks/1/payload/sleep_ms"
    assert api.get("/api/v1/tasks", params={"q": "all-or-nothing"}).json()["items"] == before == []


def test_a_thousand_tasks_fit_a_batch_and_one_more_does_not(api: httpx2.Client):
    answer = api.post("/api/v1/tasks/batch", json={"tasks": [{**NOOP, "requester": "thousand"}] * 1000})
    assert answer.status_code == 202
    assert len({each["task_id"] for each in answer.json()["tasks"]}) == 1000
    problem(api.post("/api/v1/tasks/batch", json={"tasks": [NOOP] * 1001}), 413, "too-large")


def test_a_hundred_submits_at_once_are_all_done_exactly_once(served: Served, api: httpx2.Client):
    async def all_at_once() -> list[dict]:
        limits = httpx2.Limits(max_connections=100)
        headers = {"Authorization": f"Bearer {served.token}"}
        async with httpx2.AsyncClient(base_url=served.url, headers=headers, limits=limits, timeout=30) as client:
            bodies = [{"task_type": "orchestration", "requester": "hundred", "payload": {"action": "noop", "seq": n}} for n in range(100)]
            answers = await asyncio.gather(*[client.post("/api/v1/tasks", params={"wait_s": 5}, json=body) for body in bodies])
        return [answer.json() for answer in answers if answer.status_code == 200]

    ended = asyncio.run(all_at_once())
    assert sorted(task["result"]["seq"] for task in ended) == list(range(100))
    assert len({task["task_id"] for task in ended}) == 100
    assert {len(task["attempts"]) for task in ended} == {1}


def test_the_same_idempotency_key_gives_the_same_answer_byte_for_byte_and_one_task(api: httpx2.Client):
    headers = {"Idempotency-Key": "monday-1"}
    body = json.dumps({**NOOP, "requester": "idempotent"})
    first = api.post("/api/v1/tasks", content=body, headers={**headers, "Content-Type": "application/json"})
    again = api.post("/api/v1/tasks", content=body, headers={**headers, "Content-Type": "application/json"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.content == first.content and again.headers["location"] == first.headers["location"]
    assert "idempotent-replayed" not in first.headers and again.headers["idempotent-replayed"] == "true"
    assert len(api.get("/api/v1/tasks", params={"requester": "idempotent"}).json()["items"]) == 1


def test_an_idempotency_key_with_another_body_is_refused(api: httpx2.Client):
    headers = {"Idempotency-Key": "tuesday-1"}
    assert api.post("/api/v1/tasks", json=NOOP, headers=headers).status_code == 202
    problem(api.post("/api/v1/tasks", json={**NOOP, "priority": "low"}, headers=headers), 422, "bad-input")


def test_an_idempotency_key_of_a_batch_is_apart_from_that_of_a_task(api: httpx2.Client):
    headers = {"Idempotency-Key": "wednesday-1"}
    assert api.post("/api/v1/tasks", json=NOOP, headers=headers).status_code == 202
    first, again = (api.post("/api/v1/tasks/batch", json={"tasks": [NOOP, NOOP]}, headers=headers) for _ in range(2))
    assert first.status_code == 202 and again.content == first.content and len(first.json()["tasks"]) == 2


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_an_idempotency_key_that_is_no_key_is_refused(api: httpx2.Client, key: str):
    problem(api.post("/api/v1/tasks", json=NOOP, headers={"Idempotency-Key": key}), 422, "bad-input")


def test_a_task_for_later_waits_for_its_time(api: httpx2.Client, work: Work):
    at = datetime.now(UTC) + timedelta(hours=2)
    receipt = work.submit(run_at=at.isoformat())
    shown = api.get(f"/api/v1/tasks/{receipt['task_id']}").json()
    assert shown["status"] == "queued" and datetime.fromisoformat(shown["available_at"]) == at
    assert datetime.fromisoformat(receipt["estimated_completion"]) > at
    soon = datetime.now(UTC) + timedelta(milliseconds=150)
    task = work.run(run_at=soon.isoformat())
    assert task["stage"] == "done" and datetime.fromisoformat(task["claimed_at"]) >= soon


def test_free_text_finds_its_agent_and_the_dry_run_says_the_same(api: httpx2.Client):
    asked = {"task_type": "auto", "title": "Profile this table and plot the outliers", "payload": {"path": "data/penguins.csv"}}
    would = api.post("/api/v1/route", json=asked).json()
    receipt = api.post("/api/v1/tasks", json=asked).json()
    assert receipt["assigned_agent"] == would["agent"] == "dash"
    assert receipt["routing"]["reason"] == would["reason"] and would["alternatives"]


def test_an_agent_that_is_named_does_it(work: Work):
    receipt = work.submit("analytics", {"action": "quality", "path": "data/penguins.csv"}, agent="data_fabcon")
    assert receipt["assigned_agent"] == "data_fabcon" and receipt["routing"]["rule"] != "type"


def test_what_can_be_asked_for_is_listed_with_the_schema_of_its_arguments(anybody: httpx2.Client):
    items = {each["task_type"]: each for each in anybody.get("/api/v1/task-types").json()["items"]}
    assert {each["agent"] for each in items.values()} == {"arkie", "dash", "data_fabcon", "echo", "learnbot", "maya", "pulser"}
    lint = next(each for each in items["testing"]["actions"] if each["action"] == "lint")
    assert lint["arguments"]["properties"]["path"]["type"] == "string" and items["testing"]["default_action"] == "lint"
