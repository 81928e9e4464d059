"""Lists of tasks over HTTP: pages without gap or double, and every filter."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Work, problem


def pages(api: httpx2.Client, path: str = "/api/v1/tasks", **filters: Any) -> list[list[dict[str, Any]]]:
    """All pages."""
    found = []
    cursor = None
    while True:
        answer = api.get(path, params={**filters, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        found.append(answer.json()["items"])
        cursor = answer.json()["next"]
        if cursor is None:
            return found


def ids(api: httpx2.Client, **filters: Any) -> list[str]:
    return [item["task_id"] for page in pages(api, **filters) for item in page]


def test_pages_over_120_tasks_have_no_gap_and_no_double_even_while_more_come(api: httpx2.Client, work: Work):
    bodies = [{"task_type": "orchestration", "requester": "pages", "payload": {"action": "noop"}}] * 60
    made = [each["task_id"] for _ in range(2) for each in api.post("/api/v1/tasks/batch", json={"tasks": bodies}).json()["tasks"]]
    seen: list[str] = []
    cursor = None
    while True:
        answer = api.get("/api/v1/tasks", params={"requester": "pages", "limit": 25, **({"cursor": cursor} if cursor else {})}).json()
        assert len(answer["items"]) <= 25
        seen += [item["task_id"] for item in answer["items"]]
        work.submit(requester="pages")  # newer ones come before the first page: those that follow are not moved
        if (cursor := answer["next"]) is None:
            break
    assert sorted(seen) == sorted(made) and len(made) == 120
    assert seen == sorted(seen, reverse=True)


def test_a_page_is_as_long_as_asked_and_says_when_it_is_the_last(api: httpx2.Client, work: Work):
    for _ in range(4):
        work.submit(requester="four")
    assert [len(page) for page in pages(api, requester="four", limit=2)] == [2, 2]
    assert [len(page) for page in pages(api, requester="four", limit=4)] == [4]
    assert pages(api, requester="nobody at all") == [[]]


def test_a_list_shows_cards_and_not_what_is_heavy(api: httpx2.Client, work: Work):
    task = work.run(requester="cards", title="A card")
    [card] = api.get("/api/v1/tasks", params={"requester": "cards"}).json()["items"]
    assert not {"payload", "result", "attempts"} & set(card)
    assert {key: card[key] for key in ("task_id", "title", "status", "stage", "version")} == {
        key: task[key] for key in ("task_id", "title", "status", "stage", "version")
    }


@pytest.fixture(scope="module")
def zoo(work: Work) -> dict[str, str]:
    """One task of each kind."""
    later = (datetime.now().astimezone() + timedelta(days=1)).isoformat()
    noop = {"action": "noop"}
    made = {
        "done": work.run(payload=noop, title="Zebra crossing", requester="zoo")["task_id"],
        "failed": work.run(payload={**noop, "fail": "permanent"}, requester="zoo", priority="high")["task_id"],
        "queued": work.submit(payload=noop, run_at=later, requester="zoo", description="the zebra again", priority="low")["task_id"],
        "lint": work.submit("testing", {"path": "project"}, run_at=later, requester="zoo", priority="critical")["task_id"],
    }
    made["waiting"] = work.submit(payload=noop, depends_on=[made["queued"]], requester="zoo")["task_id"]
    cancelled = work.submit(payload=noop, run_at=later, requester="zoo")["task_id"]
    assert work.api.post(f"/api/v1/tasks/{cancelled}/cancel").status_code == 200
    made["cancelled"] = cancelled
    return made


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"status": "completed"}, {"done"}),
        ({"status": "failed,cancelled"}, {"failed", "cancelled"}),
        ({"status": ["failed", "waiting"]}, {"failed", "waiting"}),
        ({"stage": "queued"}, {"queued", "lint"}),
        ({"stage": "queued", "status": "completed"}, set()),
        ({"task_type": "testing"}, {"lint"}),
        ({"agent": "echo"}, {"lint"}),
        ({"agent": "pulser", "stage": "waiting"}, {"waiting"}),
        ({"priority": "high"}, {"failed"}),
        ({"q": "zebra"}, {"done", "queued"}),
        ({"q": "ZEBRA cross"}, {"done"}),
        ({"q": "lint"}, {"lint"}),
        ({"q": "100%_"}, set()),
        ({"since": "2999-01-01T00:00:00Z"}, set()),
        ({"until": "2000-01-01T00:00:00Z"}, set()),
        ({"since": "2000-01-01T00:00:00Z", "until": "2999-01-01T00:00:00+02:00", "priority": "low"}, {"queued"}),
    ],
)
def test_a_filter_finds_what_it_names_and_nothing_else(api: httpx2.Client, zoo: dict[str, str], filters: dict[str, Any], wanted: set[str]):
    names = {task_id: name for name, task_id in zoo.items()}
    assert {names[task_id] for task_id in ids(api, requester="zoo", **filters)} == wanted


def test_steps_of_a_coordinated_task_are_found_by_their_parent(api: httpx2.Client, work: Work):
    steps = [{"name": name, "task_type": "orchestration", "payload": {"action": "noop"}} for name in ("one", "two")]
    parent = work.run(payload={"action": "coordinate", "steps": steps})
    assert parent["stage"] == "done", parent["error"]
    assert sorted(ids(api, parent_id=parent["task_id"])) == sorted(each["task_id"] for each in parent["children"])
    assert len(parent["children"]) == 2


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"status": "finished"}, "/status"),
        ({"stage": "nowhere"}, "/stage"),
        ({"limit": 0}, "/limit"),
        ({"limit": 201}, "/limit"),
        ({"limit": "many"}, "/limit"),
        ({"limit": -1}, "/limit"),
        ({"since": "yesterday"}, "/since"),
        ({"since": "2026-01-01T00:00:00"}, "/since"),
        ({"until": "2026-01-01T00:00:00"}, "/until"),
        ({"q": "x" * 201}, "/q"),
        ({"agent": "a\x00b"}, "/agent"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_by_name(api: httpx2.Client, query: dict[str, Any], pointer: str):
    assert problem(api.get("/api/v1/tasks", params=query), 422, "bad-input")["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("cursor", ["nonsense", "tsk_", "tsk_0", "evt_01M7YQDTMK768K9321T7YYA63C", "' OR 1=1 --", "c0-0"])
def test_a_cursor_of_something_else_is_refused(api: httpx2.Client, cursor: str):
    problem(api.get("/api/v1/tasks", params={"cursor": cursor}), 422, "bad-input")
