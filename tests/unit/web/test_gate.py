"""The gate by itself: hosts, origins, framing, length; and the problem document, which leaks nothing."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulser.core import errors
from pulser.core.actor import Actor
from pulser.core.settings import Server
from pulser.web import metrics, problems
from pulser.web.gate import Gate


class Anyone:
    """Believes nobody, and remembers whether a cookie might have been believed."""

    same_origin: bool | None = None

    async def of(self, authorization: str, cookies: str, *, same_origin: bool) -> Actor | None:
        self.same_origin = same_origin
        return None


def pass_through(
    method: str = "GET", path: str = "/api/v1/tasks", server: Server | None = None, *, open_reads: bool = True, body: tuple[bytes, ...] = (b"",), **headers: str
) -> Any:
    """``(status, headers, problem, what the application read)``."""
    sent: list[dict[str, Any]] = []
    read: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            while True:
                message = await receive()
                read.append(message["body"])
                if not message.get("more_body"):
                    break
        except errors.PulserError as error:
            await problems.response(error, scope["pulser.request_id"])(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    waiting = list(body)

    async def receive() -> dict[str, Any]:
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    named = {"host": "127.0.0.1:8000", **{key.replace("_", "-"): value for key, value in headers.items()}}
    scope = {"type": "http", "method": method, "path": path, "headers": [(key.encode(), value.encode("latin-1")) for key, value in named.items()]}
    gate = Gate(app, Anyone(), server or Server(), open_reads=open_reads)  # type: ignore[arg-type]
    anyio.run(gate, scope, receive, send)
    start = next(each for each in sent if each["type"] == "http.response.start")
    text = b"".join(each.get("body", b"") for each in sent)
    return start["status"], dict(start["headers"]), json.loads(text) if text else None, read


@given(st.text(st.characters(max_codepoint=255)))
def test_no_host_but_our_own_is_served(host: str):
    status, _, _, _ = pass_through(host=host)
    ours = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    assert (status == 200) == (ours in {"127.0.0.1", "localhost", "::1", "[::1]"})


def test_a_host_of_the_settings_is_served_and_off_loopback_any_unless_some_are_named():
    assert pass_through(server=Server(allowed_hosts=("pulser.example",)), host="pulser.example")[0] == 200
    everywhere = Server(host="0.0.0.0")
    assert pass_through(server=everywhere, host="anything.example", open_reads=False)[0] == 200
    assert pass_through(server=Server(host="0.0.0.0", allowed_hosts=("pulser.example",)), host="anything.example", open_reads=False)[0] == 403


@given(st.text(st.characters(max_codepoint=255)))
def test_no_origin_but_our_own_gives_orders(origin: str):
    status, _, _, _ = pass_through("POST", origin=origin, content_length="0")
    assert status == 403 or not origin or origin.partition("//")[2].partition("/")[0].partition("?")[0].partition("#")[0] == "127.0.0.1:8000"


def test_a_body_of_unsaid_length_is_counted_and_stopped_at_the_limit():
    server = Server(body_limit_bytes=10)
    assert pass_through("POST", server=server, body=(b"12345", b"67890"))[0] == 200
    status, _, problem, read = pass_through("POST", server=server, body=(b"12345", b"67890", b"1", b"never read"))
    assert (status, problem["type"], len(read)) == (413, "/problems/too-large", 2)


def test_a_file_may_be_longer_than_a_task():
    server = Server(body_limit_bytes=10, upload_limit_bytes=100)
    assert pass_through("POST", "/api/v1/files", server, content_length="50")[0] == 200
    assert pass_through("POST", "/api/v1/files/", server, content_length="50")[0] == 413
    assert pass_through("POST", "/api/v1/files", server, content_length="101")[0] == 413


@pytest.mark.parametrize("length", ["-1", "x", "", "1_0", "٣".encode().decode("latin-1")])
def test_a_length_that_is_none_is_malformed(length: str):
    assert pass_through("POST", content_length=length)[0] in (400, 413)


@given(st.text(st.characters(max_codepoint=255)))
def test_a_request_id_is_plain_or_made_anew(given_id: str):
    _, headers, _, _ = pass_through(x_request_id=given_id)
    shown = headers[b"x-request-id"].decode()
    assert shown == given_id or shown.startswith("req_")
    assert shown.isascii() and shown.isprintable() and " " not in shown and len(shown) <= 64


def test_a_problem_tells_its_fields_and_keeps_what_is_not_for_the_caller():
    error = errors.BadInput("no", hint="yes", errors=[{"pointer": "/x", "detail": "no"}], result={"secret": 1}, log="path", artifacts=[1], status="mine")
    status, body, _ = problems.document(error, "req_1")
    assert status == 422 and body["status"] == 422 and body["request_id"] == "req_1"
    assert not {"result", "log", "artifacts"} & set(body)


def test_a_busy_server_says_when_to_come_again_and_a_closed_door_what_opens_it():
    assert problems.document(errors.Unavailable("full", retry_after_s=7), None)[2] == {"Retry-After": "7"}
    assert problems.document(errors.NotSignedIn("who"), None)[2] == {"WWW-Authenticate": "Bearer"}


def test_endings_are_counted_for_their_agent_and_a_result_under_review_is_none_yet():
    failed, completed, retried = (each.labels("tester") for each in (metrics.FAILED, metrics.COMPLETED, metrics.RETRIED))
    before = failed._value.get(), completed._value.get(), retried._value.get()
    metrics.count("executor_succeeded", {"agent": "tester"}, {"stage": "review"})
    metrics.count("executor_succeeded", {"agent": "tester"}, {"stage": "done"})
    metrics.count("executor_failed", {"agent": "tester"}, {"stage": "failed"})  # told once more as task_failed
    metrics.count("task_failed", {"agent": "tester", "code": "permanent"}, {})
    metrics.count("task_retried", {"agent": "tester"}, {})
    assert (failed._value.get() - before[0], completed._value.get() - before[1], retried._value.get() - before[2]) == (1, 1, 1)


def test_an_empty_queue_is_a_number_and_an_agent_without_a_live_instance_is_unhealthy():
    metrics.set_queue(
        [("busy", "queued", 3)], [{"agent": "busy", "alive": True, "available": 1}, {"agent": "away", "alive": False, "available": 1}], ["busy", "idle", "away"]
    )
    assert [metrics.DEPTH.labels(agent, "queued")._value.get() for agent in ("busy", "idle", "away")] == [3, 0, 0]
    assert [metrics.HEALTH.labels(agent)._value.get() for agent in ("busy", "idle", "away")] == [1, 0, 0]
    metrics.DEPTH.clear()
    metrics.HEALTH.clear()
    metrics.INSTANCES.clear()
