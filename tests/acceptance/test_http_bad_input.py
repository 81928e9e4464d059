"""Bad input over HTTP: every refusal is a problem that says what, where and how to mend it, and tells nothing of our insides."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Work, problem
from tests.served import Served

JSON = {"Content-Type": "application/json"}
NOOP: dict[str, Any] = {"task_type": "orchestration", "payload": {"action": "noop"}}
NOBODY = "tsk_00000000000000000000000000"


def submit(api: httpx2.Client, **changes: Any) -> httpx2.Response:
    return api.post("/api/v1/tasks", json={**NOOP, **changes})


def raw(api: httpx2.Client, body: bytes | str, path: str = "/api/v1/tasks") -> httpx2.Response:
    return api.post(path, content=body, headers=JSON)


def pointers(body: dict[str, Any]) -> list[str]:
    return [each["pointer"] for each in body["errors"]]


def test_an_unknown_type_is_refused_with_what_there_is_and_the_nearest(api: httpx2.Client):
    body = problem(submit(api, task_type="documentatoin"), 422, "unknown-name")
    assert "Did you mean 'documentation'?" in body["hint"]
    assert all(known in body["hint"] for known in ("analytics", "orchestration", "testing"))
    assert pointers(body) == ["/task_type"]


def test_an_unknown_agent_and_action_are_refused_the_same_way(api: httpx2.Client):
    assert "'maya'" in problem(submit(api, agent="mayo"), 422, "unknown-name")["hint"]
    assert "'noop'" in problem(submit(api, payload={"action": "noopp"}), 422, "unknown-name")["hint"]


def test_an_unknown_type_in_a_batch_is_found_by_its_place(api: httpx2.Client):
    body = problem(api.post("/api/v1/tasks/batch", json={"tasks": [NOOP, {**NOOP, "task_type": "tseting"}]}), 422, "unknown-name")
    assert pointers(body) == ["/tasks/1/task_type"]


def test_a_payload_that_its_schema_refuses_is_answered_with_every_place_at_once(api: httpx2.Client):
    payload = {"action": "lint", "path": 7, "fix": "yes", "max_findings": -1, "pth": "src"}
    body = problem(submit(api, task_type="testing", payload=payload), 422, "bad-input")
    assert sorted(pointers(body)) == ["/payload/fix", "/payload/max_findings", "/payload/path", "/payload/pth"]
    assert "Did you mean 'path'?" in next(each["detail"] for each in body["errors"] if each["pointer"] == "/payload/pth")


def test_a_payload_without_what_its_action_needs_says_what(api: httpx2.Client):
    body = problem(submit(api, task_type="analytics", payload={"action": "query"}), 422, "bad-input")
    assert sorted(pointers(body)) == ["/payload/files", "/payload/sql"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task_type", ""),
        ("task_type", "x" * 64),
        ("task_type", 5),
        ("task_type", None),
        ("priority", "urgent"),
        ("payload", []),
        ("payload", "text"),
        ("time_limit_s", 0),
        ("time_limit_s", -1),
        ("time_limit_s", 86_401),
        ("max_retries", -1),
        ("max_retries", 101),
        ("max_retries", 1.5),
        ("max_retries", True),
        ("max_retries", 10**30),
        ("title", ""),
        ("title", "x" * 201),
        ("title", "a\x00b"),
        ("title", "bell\x07"),
        ("requester", "escape\x1b[31m"),
        ("description", "x" * 20_001),
        ("description", "del\x7f"),
        ("run_at", "tomorrow"),
        ("run_at", "2026-01-01T00:00:00"),
        ("run_at", "9999-12-31T23:59:59-23:59"),
        ("depends_on", [""]),
        ("depends_on", "tsk_1"),
        ("depends_on", [NOBODY]),
        ("checklist", [{"text": ""}]),
        ("checklist", [{"text": "x"}] * 101),
        ("checklist", [{"done": True}]),
        ("nonsense", 1),
        ("task_id", NOBODY),
        ("company_id", "other"),
    ],
)
def test_a_field_that_is_not_acceptable_is_named(api: httpx2.Client, field: str, value: Any):
    body = problem(submit(api, **{field: value}), 422, "bad-input")
    assert pointers(body)[0].startswith(f"/{field}")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(api: httpx2.Client, number: str):
    for body in (
        f'{{"task_type":"orchestration","payload":{{"action":"noop","data":[{number}]}}}}',
        f'{{"task_type":"orchestration","time_limit_s":{number}}}',
    ):
        answer = raw(api, body)
        assert answer.status_code in (400, 422)
        problem(answer, answer.status_code, "malformed" if answer.status_code == 400 else "bad-input")


@pytest.mark.parametrize("number", ["9" * 18, "9" * 19, "9" * 40, "-" + "9" * 40, "1" + "0" * 300, "1e308"])
def test_huge_whole_numbers_are_kept_exactly_or_refused(api: httpx2.Client, number: str):
    answer = raw(api, f'{{"task_type":"orchestration","payload":{{"action":"noop","data":{number}}}}}')
    if answer.status_code == 202:
        assert (
            f'"data":{number}' in api.get(answer.headers["location"]).text
            or json.loads(number) == api.get(answer.headers["location"]).json()["payload"]["data"]
        )
    else:
        problem(answer, 422, "bad-input")


@pytest.mark.parametrize("text", ["a\\u0000b", "half \\ud800"])
def test_poison_in_a_payload_is_refused_with_its_place(api: httpx2.Client, text: str):
    answer = raw(api, f'{{"task_type":"orchestration","payload":{{"action":"noop","data":{{"x":["{text}"]}}}}}}')
    assert answer.status_code in (400, 422)
    problem(answer, answer.status_code, "malformed" if answer.status_code == 400 else "bad-input")


def test_text_that_only_looks_odd_is_kept(api: httpx2.Client, work: Work):
    odd = "tab\tline\nemoji 😀 right-to-left \u202e combining e\u0301 'quote\" \\ ${x} {{y}} <script>"
    task = work.run(payload={"action": "noop", "data": odd}, title="<b>bold</b> 😀", description=odd)
    assert (task["payload"]["data"], task["title"], task["description"]) == (odd, "<b>bold</b> 😀", odd)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b'{"task_type": "orchestration", "payload": {"action": "noop", "data": "\xff\xfe"}}',
        b'{"task_type": "orchestration",}',
        b"{'task_type': 'orchestration'}",
        b"\x00\x01\x02",
        b'{"task_type": "orchestration"} trailing',
    ],
    ids=["empty", "cut off", "text", "10,000 lists", "10,000 objects", "not UTF-8", "comma", "single quotes", "binary", "two documents"],
)
@pytest.mark.parametrize("path", ["/api/v1/tasks", "/api/v1/tasks/batch", "/api/v1/dead/requeue", "/api/v1/route", f"/api/v1/tasks/{NOBODY}/transition"])
def test_a_body_that_is_no_json_is_malformed_at_every_door(api: httpx2.Client, path: str, body: bytes):
    answer = raw(api, body, path)
    if body == b"" and answer.status_code == 422:  # nothing was sent where something is needed
        problem(answer, 422, "bad-input")
    else:
        problem(answer, 400, "malformed")


def test_a_task_in_another_encoding_is_malformed(api: httpx2.Client):
    problem(raw(api, '{"task_type": "orchestration"}'.encode("utf-16")), 400, "malformed")


@pytest.mark.parametrize("body", [b"null", b"1", b'"text"', b"[]", b"true"])
def test_json_that_is_no_object_is_refused(api: httpx2.Client, body: bytes):
    for path in ("/api/v1/tasks", "/api/v1/tasks/batch", "/api/v1/route", "/api/v1/dead/requeue"):
        problem(raw(api, body, path), 422, "bad-input")


def test_a_form_is_no_task(api: httpx2.Client):
    problem(api.post("/api/v1/tasks", files={"file": b"x"}), 400, "malformed")
    problem(api.post("/api/v1/tasks", content=b"<task/>", headers={"Content-Type": "application/xml"}), 400, "malformed")
    problem(api.post("/api/v1/route", content=b'{"task_type":"auto"}', headers={"Content-Type": "text/plain"}), 422, "bad-input")


@pytest.mark.parametrize("depth", [63, 64, 65, 200])
def test_nesting_is_kept_up_to_its_limit_and_refused_beyond(api: httpx2.Client, depth: int):
    data: Any = 1
    for _ in range(depth - 1):  # the payload itself is the first level
        data = [data]
    answer = submit(api, payload={"action": "noop", "data": data})
    if depth <= 64:
        assert answer.status_code == 202
    elif answer.status_code == 422:
        assert "nested deeper than 64" in problem(answer, 422, "bad-input")["detail"]
    else:
        assert "64 levels" in problem(answer, 400, "malformed")["hint"]


def test_a_body_over_the_limit_is_refused_and_says_where_large_data_goes(api: httpx2.Client):
    body = problem(submit(api, payload={"action": "noop", "data": "x" * 1_100_000}), 413, "too-large")
    assert "/api/v1/files" in body["hint"] and body["limit_bytes"] == 1_048_576


def test_a_body_of_unsaid_length_is_counted_as_it_comes(api: httpx2.Client):
    def endless():
        for _ in range(200):
            yield b" " * 16_384

    try:
        answer = api.post("/api/v1/tasks", content=endless(), headers=JSON)
    except httpx2.TransportError:
        pytest.skip("the server hung up before the answer could be read: refused, but not told")
    problem(answer, 413, "too-large")


def test_a_payload_over_its_own_limit_is_refused(api: httpx2.Client):
    assert "payload" in problem(submit(api, payload={"action": "noop", "data": "x" * 300_000}), 413, "too-large")["detail"]


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "99999999999999999999"])
def test_a_length_that_is_none_is_refused(served: Served, length: str):
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as sock:
        sock.sendall(
            f"POST /api/v1/tasks HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nAuthorization: Bearer {served.token}\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        status = sock.recv(65536).split(b" ", 2)[1]
    assert status in (b"400", b"413")


@pytest.mark.parametrize(
    "payload",
    [
        {"data": {"api_key": "sk-proj-" + "a1B2c3D4e5F6g7H8" * 3}},
        {"data": "postgresql://app:" + "hunter2hunter2" + "@db/warehouse"},
        {"data": ["AKIA" + "Q3EGRT5XM2PLW7VB"]},
        {"data": {"password": "correct horse battery staple"}},
        {"data": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEow" + "IBAAKCAQEA\n"},
    ],
    ids=["API key", "URL", "AWS key", "password", "private key"],
)
def test_a_credential_in_a_payload_is_refused_and_not_repeated(served: Served, api: httpx2.Client, payload: dict[str, Any]):
    answer = submit(api, payload={"action": "noop", **payload})
    body = problem(answer, 422, "credential-in-payload")
    assert pointers(body)[0].startswith("/payload/data") and "settings" in body["hint"]
    for secret in ("hunter2hunter2", "Q3EGRT5XM2PLW7VB", "correct horse", "MIIEow", "a1B2c3D4e5F6"):
        assert secret not in answer.text and secret not in served.log.read_text()


def test_a_cycle_in_a_batch_is_refused_with_who_waits_for_whom(api: httpx2.Client):
    tasks = [{**NOOP, "ref": "a", "depends_on": ["b"]}, {**NOOP, "ref": "b", "depends_on": ["c"]}, {**NOOP, "ref": "c", "depends_on": ["a"]}, NOOP]
    body = problem(api.post("/api/v1/tasks/batch", json={"tasks": tasks}), 422, "bad-input")
    assert "a, b, c" in body["detail"] and pointers(body) == ["/tasks/0/depends_on"]
    problem(api.post("/api/v1/tasks/batch", json={"tasks": [{**NOOP, "ref": "me", "depends_on": ["me"]}]}), 422, "bad-input")


def test_refs_that_are_doubled_or_lead_nowhere_are_refused(api: httpx2.Client):
    twice = problem(api.post("/api/v1/tasks/batch", json={"tasks": [{**NOOP, "ref": "a"}, {**NOOP, "ref": "a", "depends_on": ["a"]}]}), 422, "bad-input")
    assert pointers(twice) == ["/tasks/1/ref"]
    lost = problem(api.post("/api/v1/tasks/batch", json={"tasks": [NOOP, {**NOOP, "depends_on": ["b"]}]}), 422, "bad-input")
    assert pointers(lost) == ["/tasks/1/depends_on"]
    problem(api.post("/api/v1/tasks/batch", json={"tasks": []}), 422, "bad-input")


def test_doubled_refs_are_refused_also_where_nothing_depends_on_them(api: httpx2.Client):
    problem(api.post("/api/v1/tasks/batch", json={"tasks": [{**NOOP, "ref": "a"}, {**NOOP, "ref": "a"}]}), 422, "bad-input")


def test_what_has_failed_cannot_be_waited_for(api: httpx2.Client, work: Work):
    failed = work.run(payload={"action": "noop", "fail": "permanent"})["task_id"]
    assert "failed" in problem(submit(api, depends_on=[failed]), 422, "bad-input")["detail"]


UNKNOWN = [
    ("GET", f"/api/v1/tasks/{NOBODY}"),
    ("GET", f"/api/v1/tasks/{NOBODY}?wait_s=1"),
    ("GET", f"/api/v1/tasks/{NOBODY}/status"),
    ("GET", f"/api/v1/tasks/{NOBODY}/artifacts/report.md"),
    ("GET", f"/api/v1/tasks/{NOBODY}/log"),
    ("POST", f"/api/v1/tasks/{NOBODY}/cancel"),
    ("POST", f"/api/v1/tasks/{NOBODY}/retry"),
    ("POST", f"/api/v1/tasks/{NOBODY}/requeue"),
    ("POST", f"/api/v1/tasks/{NOBODY}/discard"),
    ("GET", "/api/v1/files/" + "0" * 64),
    ("GET", "/api/v1/files/..%2f..%2ftoken"),
    ("GET", "/api/v1/tasks/' OR 1=1 --"),
    ("GET", "/api/v1/tasks/" + "x" * 5000),
    ("GET", "/api/v1/nothing"),
    ("GET", "/nothing"),
]


@pytest.mark.parametrize(("method", "path"), UNKNOWN)
def test_what_is_not_there_is_not_found(api: httpx2.Client, method: str, path: str):
    body = problem(api.request(method, path), 404, "not-found")
    assert body["hint"]


def test_a_nul_in_an_address_finds_nothing(api: httpx2.Client):
    for path in ("/api/v1/tasks/a%00b", "/api/v1/agents/a%00b", "/api/v1/files/a%00b", f"/api/v1/tasks/{NOBODY}/artifacts/a%00b"):
        answer = api.get(path)
        assert answer.status_code in (404, 422) and answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/api/v1/tasks"), ("PUT", "/api/v1/events"), ("POST", "/api/v1/agents"), ("PATCH", "/healthz")])
def test_a_method_that_is_not_there_says_which_are(api: httpx2.Client, method: str, path: str):
    answer = api.request(method, path)
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"]


@pytest.mark.parametrize("query", ["wait_s=-1", "wait_s=301", "wait_s=nan", "wait_s=inf", "wait_s=soon"])
def test_a_wait_that_is_none_is_refused(api: httpx2.Client, query: str):
    problem(api.get(f"/api/v1/tasks/{NOBODY}?{query}"), 422, "bad-input")
    problem(api.post(f"/api/v1/tasks?{query}", json=NOOP), 422, "bad-input")


@pytest.mark.parametrize(
    "query",
    [
        "after=nonsense", "after=c-", "after=cffffffffffffffff-ffffffffffffffff", "after=c0-" + "f" * 17, "before=nonsense", "before=cffffffffffffffff-0",
        "after=2026-01-01T00:00:00", "after=9999-12-31T23:59:59-23:59", "kind=no_such_kind", "limit=0", "limit=501", "limit=-5", "task_id=a%00b",
    ],
)  # fmt: skip
def test_a_page_of_the_log_that_cannot_be_is_refused(api: httpx2.Client, query: str):
    answer = api.get(f"/api/v1/events?{query}")
    assert answer.status_code in (200, 422), answer.text  # a cursor beyond the end is an empty page
    if answer.status_code == 422:
        problem(answer, 422, "bad-input")
    else:
        assert "ffffffffffffffff" in query and answer.json()["items"] == []


@pytest.mark.parametrize("query", ["since=9999-12-31T23:59:59-23:59", "until=0001-01-01T00:00:00%2B23:59"])
def test_times_at_the_edge_of_the_calendar_are_no_error_of_ours(api: httpx2.Client, query: str):
    assert api.get(f"/api/v1/tasks?{query}").status_code in (200, 422)


def test_the_last_year_of_the_calendar_is_no_error_of_ours(api: httpx2.Client):
    assert submit(api, run_at="9999-12-31T23:59:59Z").status_code in (202, 422)


def test_a_request_id_of_the_callers_is_kept_and_a_bad_one_is_not(api: httpx2.Client):
    assert api.get("/api/v1/tasks/x", headers={"X-Request-ID": "trace-0123456789"}).json()["request_id"] == "trace-0123456789"
    assert api.get("/api/v1/tasks/x", headers={"X-Request-ID": "no spaces please"}).json()["request_id"].startswith("req_")
