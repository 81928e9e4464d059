"""The log over HTTP: pages, and the stream that resumes without gap or double and costs nothing when nobody reads."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Work, problem
from tests.served import ROOT, Served, pulser

TAIL = "/api/v1/events/tail"


def frames(stream: httpx2.Response) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """``(id, event, data)`` of each frame."""
    found: dict[str, str] = {}
    for line in stream.iter_lines():
        if not line and found:
            yield found.get("id", ""), found.get("event", ""), json.loads(found.get("data", "{}"))
            found = {}
        elif line and not line.startswith(":"):
            key, _, value = line.partition(": ")
            found[key] = value


def whole(api: httpx2.Client, **filters: Any) -> list[dict[str, Any]]:
    """Every event, oldest first, in pages of seven."""
    found: list[dict[str, Any]] = []
    cursor = "c0-0"
    while True:
        page = api.get("/api/v1/events", params={"after": cursor, "limit": 7, **filters}).json()
        found += page["items"]
        if len(page["items"]) < 7:
            return found
        cursor = page["next"]


def test_a_task_is_told_from_submit_to_end_with_who_and_by_which_request(api: httpx2.Client):
    answer = api.post(
        "/api/v1/tasks", params={"wait_s": 30}, json={"task_type": "orchestration", "payload": {"action": "noop"}}, headers={"X-Request-ID": "req-from-a-test"}
    )
    task = answer.json()
    told = whole(api, task_id=task["task_id"])
    assert [each["event"] for each in told] == ["task_submitted", "task_routed", "task_claimed", "executor_started", "executor_succeeded", "lease_released"]
    assert [each["version"] for each in told] == list(range(1, task["version"] + 1))
    assert (told[0]["actor"], told[0]["request_id"], told[0]["origin"]) == ("operator", "req-from-a-test", "http:127.0.0.1")
    assert told[2]["actor"].startswith("worker:")
    stages = [(each["before"]["stage"] if each["before"] else None, each["after"]["stage"]) for each in told if each["after"]]
    assert stages == [(None, "queued"), ("queued", "claimed"), ("claimed", "in_progress"), ("in_progress", "done")]
    for each in told:
        assert each["id"].startswith("evt_") and each["cursor"] and each["company_id"] == "default" and "{" not in each["says"]
        assert datetime.fromisoformat(each["ts"]).tzinfo is not None


def test_pages_go_forward_and_backward_over_the_same_events(api: httpx2.Client, work: Work):
    for _ in range(5):
        work.run()
    forward = [each["id"] for each in whole(api)]
    backward: list[str] = []
    before = ""
    while page := api.get("/api/v1/events", params={"before": before, "limit": 11}).json()["items"]:
        backward += [each["id"] for each in page]
        before = page[-1]["cursor"]
    assert len(forward) == len(set(forward)) >= 30
    assert backward[::-1] == forward


def test_a_page_can_begin_at_a_time_and_be_filtered(api: httpx2.Client, work: Work):
    first, second = work.run(), work.run()
    at = second["created_at"]
    assert {each["target"] for each in whole(api, task_id=second["task_id"])} == {second["task_id"]}
    later = api.get("/api/v1/events", params={"after": at}).json()["items"]
    assert first["task_id"] not in {each["target"] for each in later} and second["task_id"] in {each["target"] for each in later}
    kinds = {each["event"] for each in whole(api, kind="task_submitted,task_claimed")}
    assert kinds == {"task_submitted", "task_claimed"}
    assert {each["actor"] for each in whole(api, actor="operator")} == {"operator"}


def test_the_stream_tells_what_happens_as_it_happens_with_ids_kinds_and_json(api: httpx2.Client, anybody: httpx2.Client):
    with anybody.stream("GET", TAIL) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream") and stream.headers["cache-control"] == "no-store"
        task_id = api.post("/api/v1/tasks", json={"task_type": "orchestration", "payload": {"action": "noop"}}).json()["task_id"]
        for cursor, kind, event in frames(stream):
            assert (event["cursor"], event["event"]) == (cursor, kind)
            if event["target"] == task_id and kind == "lease_released":
                break


def test_last_event_id_resumes_without_gap_or_double(api: httpx2.Client, work: Work):
    for _ in range(20):
        work.submit()
    last = work.run()
    every = [each["cursor"] for each in whole(api)]
    end = every[-1]
    seen: list[str] = []
    place = "c0-0"
    while place != end:  # break off after every 13 events, and come again
        with api.stream("GET", TAIL, headers={"Last-Event-ID": place}) as stream:
            for count, (cursor, _, _) in enumerate(frames(stream), 1):
                seen.append(cursor)
                place = cursor
                if count == 13 or cursor == end:
                    break
    assert seen == every and last["stage"] == "done"


def test_a_stream_can_begin_at_a_time_or_a_cursor_and_be_filtered(api: httpx2.Client, work: Work):
    task = work.run()
    with api.stream("GET", TAIL, params={"since": task["created_at"], "task_id": task["task_id"]}) as stream:
        assert next(frames(stream))[1] == "task_submitted"
    with api.stream("GET", TAIL, params={"since": "c0-0", "kind": ["executor_succeeded"], "task_id": task["task_id"]}) as stream:
        _, kind, event = next(frames(stream))
    assert (kind, event["target"]) == ("executor_succeeded", task["task_id"])


@pytest.mark.parametrize("query", ["since=nonsense", "kind=nonsense", "since=2026-01-01T00:00:00"])
def test_a_stream_that_cannot_be_is_refused_before_it_begins(api: httpx2.Client, query: str):
    problem(api.get(f"{TAIL}?{query}"), 422, "bad-input")


def test_every_kind_that_is_told_is_in_the_catalogue_page(api: httpx2.Client):
    page = (ROOT / "docs/reference/events.md").read_text()
    kinds = set(re.findall(r"^## (\w+)$", page, re.MULTILINE))
    assert {each["event"] for each in whole(api)} <= kinds


def test_a_cursor_whose_events_were_pruned_is_gone_and_a_stream_says_so(tmp_path: Path):
    with pulser(tmp_path) as served:
        api = served.client()
        work = Work(api)
        old = whole(api, task_id=work.run()["task_id"])[0]["cursor"]
        for _ in range(3):
            kept = work.run()
        with sqlite3.connect(served.data_dir / "pulser.db", timeout=30) as database:
            first_kept = database.execute("SELECT min(seq) FROM events WHERE target = ?", (kept["task_id"],)).fetchone()[0]
            # as pulser/store/housekeeping.py does when days have passed
            database.execute("DELETE FROM events WHERE seq < ?", (first_kept - 1,))
            database.execute("UPDATE events SET event = 'log_pruned', target = 'log', version = NULL, details = NULL WHERE seq = ?", (first_kept - 1,))
        database.close()
        body = problem(api.get("/api/v1/events", params={"after": old}), 410, "gone")
        assert body["hint"] and body["oldest"]
        with api.stream("GET", TAIL, headers={"Last-Event-ID": old}) as stream:
            told = list(frames(stream))  # it ends by itself
        assert [(kind, data["oldest"]) for _, kind, data in told] == [("cursor_expired", body["oldest"])]
        resumed = api.get("/api/v1/events", params={"after": body["oldest"]}).json()["items"]
        assert resumed[0]["target"] == kept["task_id"]


@pytest.mark.slow
def test_readers_that_do_not_read_cost_no_memory_and_miss_nothing_when_they_do(served: Served, api: httpx2.Client, work: Work):
    body = {"tasks": [{"task_type": "orchestration", "payload": {"action": "noop"}, "title": "t" * 200}] * 1000}

    def thousand() -> None:
        last = api.post("/api/v1/tasks/batch", json=body).json()["tasks"]
        for each in last[-16:]:
            work.done(each["task_id"])

    thousand()
    head = api.get("/api/v1/events", params={"limit": 1}).json()["items"][0]["cursor"]
    idle = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(20)]
    try:
        for sock in idle:
            sock.sendall(f"GET {TAIL}?since={head} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n".encode())
        before = served.memory_mb()
        for _ in range(3):
            thousand()
        grown = served.memory_mb() - before
        told = len(json.dumps(api.get("/api/v1/events", params={"limit": 500}).json()["items"])) / 500 * 18_000 / 1e6
        assert told > 5, "what 3,000 tasks tell should be megabytes for each reader"
        assert grown < told * len(idle) / 2, f"{grown:.0f} MB for {len(idle)} readers of {told:.0f} MB each"
        wanted = [each["cursor"] for each in whole_after(api, head)]
        idle[0].settimeout(30)
        seen: list[str] = []
        buffer = b""
        while len(seen) < len(wanted):
            chunk = idle[0].recv(1 << 20)
            assert chunk, "the stream ended"
            buffer += chunk
            lines = buffer.split(b"\n")
            buffer = lines.pop()
            seen += [line[4:].strip().decode() for line in lines if line.startswith(b"id: ")]
        assert seen == wanted
    finally:
        for sock in idle:
            sock.close()


def whole_after(api: httpx2.Client, cursor: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while page := api.get("/api/v1/events", params={"after": cursor, "limit": 500}).json()["items"]:
        found += page
        cursor = page[-1]["cursor"]
    return found
