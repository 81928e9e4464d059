"""What a person does to tasks over HTTP: cancel, retry, requeue, discard, move, change, pause."""

from __future__ import annotations

from pathlib import Path

import httpx2
import psutil
import pytest

from tests.acceptance.conftest import Work, problem
from tests.served import Served


def post(api: httpx2.Client, task_id: str, verb: str, **body: object) -> httpx2.Response:
    return api.post(f"/api/v1/tasks/{task_id}/{verb}", json=body) if body else api.post(f"/api/v1/tasks/{task_id}/{verb}")


def test_cancel_reaches_running_work_at_once(api: httpx2.Client, work: Work):
    task_id = work.submit(payload={"action": "noop", "sleep_ms": 600_000})["task_id"]
    work.until(task_id, "in_progress")
    answer = post(api, task_id, "cancel", reason="not needed any more")
    assert answer.status_code == 200 and answer.json()["status"] == "cancelled"
    assert answer.json()["attempts"][-1]["outcome"] == "cancelled"
    told = api.get("/api/v1/events", params={"task_id": task_id, "kind": "task_cancelled"}).json()["items"]
    assert [(each["details"]["reason"], each["actor"]) for each in told] == [("not needed any more", "operator")]
    held = [spec for spec in api.get("/api/v1/agents").json()["items"] if spec["load"]["running"]]
    assert held == []


def test_cancel_ends_the_child_process_that_does_the_work(served: Served, api: httpx2.Client, work: Work, samples: Path):
    project = samples / "endless"
    project.mkdir()
    (project / "test_endless.py").write_text("import threading\n\ndef test_endless():\n    threading.Event().wait()\n")
    task_id = work.submit("testing", {"action": "test", "path": "endless"})["task_id"]
    work.until(task_id, "in_progress")
    server = psutil.Process(served.process.pid)
    with api.stream("GET", "/api/v1/events/tail", params={"task_id": task_id, "since": "c0-0", "kind": "executor_progress"}) as stream:
        for line in stream.iter_lines():  # it tells when the child has begun
            if line.startswith("data:") and server.children(recursive=True):
                break
    children = server.children(recursive=True)
    assert post(api, task_id, "cancel").status_code == 200
    _, alive = psutil.wait_procs(children, timeout=15)
    assert children and alive == []


@pytest.mark.parametrize("ended", ["done", "failed", "cancelled"])
def test_what_has_ended_cannot_be_cancelled(api: httpx2.Client, work: Work, ended: str):
    task = work.run(payload={"action": "noop", "fail": "permanent" if ended == "failed" else False}, run_at=None)
    if ended == "cancelled":
        task = {"task_id": work.submit(run_at="2999-01-01T00:00:00Z")["task_id"]}
        post(api, task["task_id"], "cancel")
    body = problem(post(api, task["task_id"], "cancel"), 409, "illegal-move")
    assert body["stage"] == ended and body["allowed"] == ([] if ended == "done" else ["queued"])


def test_a_retry_is_the_same_task_in_its_next_generation(api: httpx2.Client, work: Work):
    task = work.run(payload={"action": "noop", "fail": "permanent"})
    assert (task["stage"], task["error"]["code"]) == ("failed", "permanent") and task["error"]["detail"]
    again = post(api, task["task_id"], "retry")
    assert again.status_code == 200 and again.json()["generation"] == 2
    ended = work.done(task["task_id"])
    assert [(each["generation"], each["outcome"]) for each in ended["attempts"]] == [(1, "failed"), (2, "failed")]


def test_a_transient_failure_is_tried_again_and_every_attempt_keeps_its_error(work: Work):
    task = work.run(payload={"action": "noop", "fail_times": 2})
    assert (task["stage"], task["retry_count"]) == ("done", 2)
    assert [each["outcome"] for each in task["attempts"]] == ["retried", "retried", "succeeded"]
    assert [each["error"]["code"] for each in task["attempts"][:2]] == ["transient", "transient"]


def test_a_task_that_fails_too_often_is_a_dead_letter_with_every_attempt(api: httpx2.Client, work: Work):
    task = work.run(payload={"action": "noop", "fail": "transient"}, max_retries=2, requester="dead letters")
    assert task["stage"] == "failed" and len(task["attempts"]) == 3
    assert task["task_id"] in [each["task_id"] for each in api.get("/api/v1/dead").json()["items"]]


def test_a_permanent_failure_is_not_tried_again(work: Work):
    task = work.run(payload={"action": "noop", "fail": "permanent"}, max_retries=3)
    assert (task["stage"], len(task["attempts"])) == ("failed", 1)


def test_a_time_limit_ends_an_attempt(work: Work):
    task = work.run(payload={"action": "noop", "sleep_ms": 60_000}, time_limit_s=0.1, max_retries=0)
    assert (task["stage"], task["error"]["code"]) == ("failed", "timed-out")


def test_dead_letters_are_requeued_by_id_and_the_answer_says_which_not(api: httpx2.Client, work: Work):
    failed = [work.run(payload={"action": "noop", "fail": "permanent"})["task_id"] for _ in range(2)]
    fine = work.run()["task_id"]
    answer = api.post("/api/v1/dead/requeue", json={"task_ids": [*failed, fine, "tsk_00000000000000000000000000"]}).json()
    assert sorted(answer["requeued"]) == sorted(failed)
    assert {each["task_id"] for each in answer["skipped"]} == {fine, "tsk_00000000000000000000000000"} and all(each["reason"] for each in answer["skipped"])
    assert [work.done(task_id)["generation"] for task_id in failed] == [2, 2]


def test_all_dead_letters_are_requeued_at_a_word_but_not_those_discarded(api: httpx2.Client, work: Work):
    kept, gone = (work.run(payload={"action": "noop", "fail": "permanent"})["task_id"] for _ in range(2))
    assert post(api, gone, "discard").json()["discarded"] is True
    assert gone not in [each["task_id"] for each in api.get("/api/v1/dead").json()["items"]]
    assert api.get(f"/api/v1/tasks/{gone}").status_code == 200
    requeued = api.post("/api/v1/dead/requeue", json={"all": True}).json()["requeued"]
    assert kept in requeued and gone not in requeued
    work.done(kept)


@pytest.mark.parametrize("body", [{}, {"task_ids": ["tsk_00000000000000000000000000"], "all": True}, {"all": False}])
def test_requeueing_nothing_in_particular_is_refused(api: httpx2.Client, body: dict):
    problem(api.post("/api/v1/dead/requeue", json=body), 422, "bad-input")


def test_one_dead_letter_is_requeued_by_its_address_and_what_is_not_dead_is_refused(api: httpx2.Client, work: Work):
    task_id = work.run(payload={"action": "noop", "fail": "permanent"})["task_id"]
    assert post(api, task_id, "requeue").json()["generation"] == 2
    fine = work.run()["task_id"]
    problem(post(api, fine, "requeue"), 409, "illegal-move")
    problem(post(api, fine, "discard"), 409, "illegal-move")


def test_what_failed_cancels_what_depends_on_it_and_a_cascading_retry_revives_both(api: httpx2.Client, work: Work):
    first = work.submit(payload={"action": "noop", "fail": "permanent", "sleep_ms": 50})["task_id"]
    second = work.submit(depends_on=[first])["task_id"]
    ended = work.done(second)
    assert ended["stage"] == "cancelled"
    answer = post(api, first, "retry", cascade=True)
    assert answer.status_code == 200
    assert api.get(f"/api/v1/tasks/{second}").json()["generation"] == 2
    assert (work.done(first)["generation"], work.done(second)["stage"]) == (2, "cancelled")


def test_a_reviewed_task_waits_for_a_person_and_approval_ends_it(api: httpx2.Client, work: Work):
    task = work.run(review=True)
    assert (task["stage"], task["status"]) == ("review", "in_review")
    moved = post(api, task["task_id"], "transition", to="approved", note="looks right")
    assert moved.json() == {"task_id": task["task_id"], "old_status": "review", "new_status": "approved"}
    assert work.until(task["task_id"], "done")["status"] == "completed"


def test_a_reviewed_patch_touches_the_file_only_after_approval(api: httpx2.Client, work: Work, samples: Path):
    page = samples / "untidy.md"
    page.write_text("Title\n=====\n\n* one\n* two\n")
    before = page.read_bytes()
    task = work.run("documentation", {"action": "format", "path": "untidy.md", "mode": "in_place"}, review=True)
    assert task["stage"] == "review", task["error"]
    assert page.read_bytes() == before
    post(api, task["task_id"], "transition", to="approved")
    assert work.until(task["task_id"], "done", "failed")["stage"] == "done"
    assert page.read_text().startswith("# Title")


def test_a_reviewer_sends_back_and_rejects(api: httpx2.Client, work: Work):
    task_id = work.run(review=True)["task_id"]
    assert post(api, task_id, "transition", to="queued", note="once more").json()["new_status"] == "queued"
    again = work.until(task_id, "review")
    assert len(again["attempts"]) == 2
    assert post(api, task_id, "transition", to="failed", note="wrong").json()["new_status"] == "failed"
    assert api.get(f"/api/v1/tasks/{task_id}").json()["error"] == {"code": "rejected", "detail": "wrong", "hint": ""}


@pytest.mark.parametrize("to", ["done", "claimed", "in_progress", "merging", "approved", "waiting", "review"])
def test_a_person_cannot_put_a_card_where_only_work_leads(api: httpx2.Client, work: Work, to: str):
    task_id = work.submit(run_at="2999-01-01T00:00:00Z")["task_id"]
    body = problem(post(api, task_id, "transition", to=to), 409, "illegal-move")
    assert body["stage"] == "queued" and "cancelled" in body["allowed"] and body["detail"]


def test_a_stage_that_is_none_is_refused(api: httpx2.Client, work: Work):
    task_id = work.submit(run_at="2999-01-01T00:00:00Z")["task_id"]
    assert problem(post(api, task_id, "transition", to="nirvana"), 422, "bad-input")["errors"][0]["pointer"] == "/to"


def test_a_card_changes_only_where_it_is_told_to(api: httpx2.Client, work: Work):
    task_id = work.submit(run_at="2999-01-01T00:00:00Z", title="Before", description="stays", checklist=[{"text": "read it"}])["task_id"]
    answer = api.patch(f"/api/v1/tasks/{task_id}", json={"title": "After", "checklist": [{"text": "read it", "done": True}]})
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["title"], shown["description"], shown["checklist"]) == ("After", "stays", [{"text": "read it", "done": True}])
    problem(api.patch(f"/api/v1/tasks/{task_id}", json={}), 422, "bad-input")
    problem(api.patch(f"/api/v1/tasks/{task_id}", json={"stage": "done"}), 422, "bad-input")


def test_the_priority_of_what_has_ended_matters_no_more(api: httpx2.Client, work: Work):
    problem(api.patch(f"/api/v1/tasks/{work.run()['task_id']}", json={"priority": "high"}), 409, "conflict")


def test_a_paused_agent_starts_nothing_until_it_is_resumed(api: httpx2.Client, work: Work):
    assert api.post("/api/v1/agents/learnbot/pause").json()["paused"] is True
    try:
        task_id = work.submit("skills_mining", {"action": "mine_failures"})["task_id"]
        work.run()  # others go on
        assert api.get(f"/api/v1/tasks/{task_id}").json()["stage"] == "queued"
    finally:
        assert api.post("/api/v1/agents/learnbot/resume").json()["paused"] is False
    assert work.done(task_id)["stage"] == "done"
    told = api.get("/api/v1/events", params={"kind": "agent_paused,agent_resumed"}).json()["items"]
    assert [each["event"] for each in told] == ["agent_resumed", "agent_paused"]


def test_an_instance_that_is_made_unavailable_takes_no_work_until_it_is_available(api: httpx2.Client, work: Work):
    [instance] = api.get("/api/v1/agents/learnbot").json()["instances"]
    where = f"/api/v1/agents/learnbot/instances/{instance['instance_id']}"
    assert api.patch(where, json={"available": False}).json()["instances"][0]["available"] is False
    assert api.patch(where, json={"available": True}).json()["instances"][0]["available"] is True
    assert work.run("skills_mining", {"action": "mine_failures"})["stage"] == "done"
    problem(api.patch("/api/v1/agents/learnbot/instances/nobody", json={"available": True}), 404, "not-found")


def test_an_agent_that_is_not_there_is_not_found(api: httpx2.Client):
    for answer in (api.get("/api/v1/agents/nobody"), api.post("/api/v1/agents/nobody/pause"), api.get("/api/v1/agents/nobody/avatar.svg")):
        assert "maya" in problem(answer, 404, "not-found")["hint"]


def test_every_agent_shows_its_face_load_and_numbers(anybody: httpx2.Client, work: Work):
    work.run()
    listed = anybody.get("/api/v1/agents").json()["items"]
    assert [each["name"] for each in listed] == ["arkie", "dash", "data_fabcon", "echo", "learnbot", "maya", "pulser"]
    for each in listed:
        assert each["role"] and each["skills"] and each["actions"] and each["instances"][0]["alive"] is True
        face = anybody.get(each["avatar_url"])
        assert (
            face.headers["content-type"] == "image/svg+xml"
            and face.text.lstrip().startswith("<svg")
            and "default-src 'none'" in face.headers["content-security-policy"]
        )
    assert next(each for each in listed if each["name"] == "pulser")["stats"]["completed"] >= 1
