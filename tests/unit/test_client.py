"""The Python client against a stand-in that answers as the API does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from pulser.client import Client
from pulser.client import wire as wire_module
from pulser.core import errors

REAL_PAUSE = wire_module.pause
Handler = Callable[[httpx2.Request], httpx2.Response]


@pytest.fixture(autouse=True)
def paused(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The client's waits, counted and not waited for."""
    waits: list[int] = []
    import pulser.client as client_module

    def note(failures: int, error: errors.PulserError) -> None:
        waits.append(failures)

    monkeypatch.setattr(wire_module, "pause", note)
    monkeypatch.setattr(client_module, "pause", note)
    return waits


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Client]:
    monkeypatch.chdir(tmp_path)

    def made(handler: Handler, url: str = "http://127.0.0.1:8000", **options: Any) -> Client:
        return Client(url, data_dir=tmp_path, transport=httpx2.MockTransport(handler), **options)

    return made


def answers(*responses: httpx2.Response | Exception) -> tuple[Handler, list[httpx2.Request]]:
    """A handler that gives these one after the other, and the requests it got."""
    asked: list[httpx2.Request] = []
    left = list(responses)

    def handle(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handle, asked


def refusal(kind: type[errors.PulserError], **more: Any) -> httpx2.Response:
    return httpx2.Response(kind.status, json={"type": f"/problems/{kind.code}", "title": kind.title, "status": kind.status, "detail": "no", **more})


def test_a_submission_carries_its_payload_and_a_key_of_its_own(connect):
    handle, asked = answers(httpx2.Response(202, json={"task_id": "tsk_1"}), httpx2.Response(202, json={"task_id": "tsk_2"}))
    client = connect(handle)
    assert client.submit("testing", {"action": "lint"}, priority="high")["task_id"] == "tsk_1"
    client.submit("testing")
    assert json.loads(asked[0].content) == {"task_type": "testing", "payload": {"action": "lint"}, "priority": "high"}
    first, second = (request.headers["Idempotency-Key"] for request in asked)
    assert len(first) >= 16 and first != second


def test_a_submission_that_got_no_answer_is_repeated_with_the_same_key(connect, paused):
    handle, asked = answers(httpx2.ReadTimeout("late"), refusal(errors.KeyInUse), refusal(errors.Unavailable), httpx2.Response(202, json={"task_id": "tsk_1"}))
    assert connect(handle).submit("testing")["task_id"] == "tsk_1"
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
    assert paused == [1, 2, 3]


def test_what_may_have_taken_effect_is_not_repeated(connect):
    handle, asked = answers(httpx2.ReadTimeout("late"))
    with pytest.raises(errors.Unavailable, match="does not answer in time"):
        connect(handle).retry("tsk_1")
    assert len(asked) == 1


def test_what_was_never_sent_is_repeated(connect):
    handle, asked = answers(httpx2.ConnectError("refused"), httpx2.Response(200, json={"task_id": "tsk_1"}))
    assert connect(handle).cancel("tsk_1")["task_id"] == "tsk_1"
    assert len(asked) == 2


def test_it_gives_up_after_so_many_tries_and_says_where_it_knocked(connect):
    handle, asked = answers(*[httpx2.ConnectError("refused")] * 9)
    with pytest.raises(errors.Unavailable, match=r"http://127\.0\.0\.1:8000 cannot be reached") as told:
        connect(handle, retries=2).agents()
    assert len(asked) == 3
    assert "pulser serve" in told.value.hint


@pytest.mark.parametrize(
    "kind", [errors.BadInput, errors.UnknownName, errors.NotFound, errors.IllegalMove, errors.NotSignedIn, errors.Forbidden, errors.TooLarge]
)
def test_a_refusal_is_the_error_it_was(connect, kind):
    handle, _ = answers(refusal(kind, hint="mend it", errors=[{"pointer": "/payload/path", "detail": "outside"}], allowed=["queued"]))
    with pytest.raises(errors.PulserError) as told:
        connect(handle).task("tsk_1")
    assert type(told.value) is kind
    assert (told.value.detail, told.value.hint) == ("no", "mend it")
    assert told.value.fields["errors"][0]["pointer"] == "/payload/path"
    assert told.value.fields["allowed"] == ["queued"]


@pytest.mark.parametrize(("status", "kind"), [(404, errors.NotFound), (409, errors.Conflict), (418, errors.BadInput), (500, errors.PulserError)])
def test_an_answer_that_is_no_problem_document_is_told_by_its_status(connect, status, kind):
    handle, _ = answers(httpx2.Response(status, text="<html>"))
    with pytest.raises(errors.PulserError, match=str(status)) as told:
        connect(handle).task("tsk_1")
    assert type(told.value) is kind


def test_lists_go_on_page_after_page_up_to_the_limit(connect):
    pages: list[dict[str, Any]] = [{"items": [{"task_id": f"tsk_{page}{n}"} for n in range(2)], "next": f"c{page}" if page < 2 else None} for page in range(3)]
    handle, asked = answers(*[httpx2.Response(200, json=page) for page in pages])
    assert [task["task_id"] for task in connect(handle).tasks(status="failed")] == ["tsk_00", "tsk_01", "tsk_10", "tsk_11", "tsk_20", "tsk_21"]
    assert [request.url.params.get("cursor") for request in asked] == [None, "c0", "c1"]
    handle, asked = answers(httpx2.Response(200, json=pages[0]), httpx2.Response(200, json={**pages[1], "items": pages[1]["items"][:1]}))
    assert len(list(connect(handle).tasks(limit=3))) == 3
    assert [request.url.params["limit"] for request in asked] == ["3", "1"]


def test_waiting_asks_again_until_the_task_has_settled(connect):
    handle, asked = answers(*[httpx2.Response(200, json={"task_id": "tsk_1", "status": status}) for status in ("queued", "running", "completed")])
    assert connect(handle).wait("tsk_1")["status"] == "completed"
    assert all(float(request.url.params["wait_s"]) > 1 for request in asked)


def test_waiting_ends_with_its_time(connect):
    handle, _ = answers(*[httpx2.Response(200, json={"status": "running"})] * 3)
    assert connect(handle).wait("tsk_1", timeout_s=0)["status"] == "running"


def stream(*events: str) -> httpx2.Response:
    return httpx2.Response(200, headers={"Content-Type": "text/event-stream", "Date": "Sun, 04 Jan 2026 10:00:00 GMT"}, content="".join(events).encode())


def event(cursor: str, kind: str = "note") -> str:
    return f"id: {cursor}\nevent: {kind}\ndata: {json.dumps({'cursor': cursor, 'event': kind})}\n\n"


def test_a_tail_that_breaks_is_taken_up_after_the_last_event(connect):
    handle, asked = answers(stream(": connected\n\n", event("c1"), event("c2")), httpx2.ConnectError("gone"), stream(event("c3")))
    tail = connect(handle).tail(since="c0", kind="note")
    assert [next(tail)["cursor"] for _ in range(3)] == ["c1", "c2", "c3"]
    assert asked[0].url.params["since"] == "c0" and "Last-Event-ID" not in asked[0].headers
    assert [request.headers["Last-Event-ID"] for request in asked[1:]] == ["c2", "c2"]
    assert asked[2].url.params.get("since") is None and asked[2].url.params["kind"] == "note"


def test_a_tail_from_now_that_breaks_before_its_first_event_misses_nothing(connect):
    handle, asked = answers(stream(": connected\n\n"), stream(event("c1")))
    assert next(connect(handle).tail())["cursor"] == "c1"
    assert asked[1].url.params["since"] == "2026-01-04T10:00:00Z"


def test_a_tail_whose_cursor_was_pruned_says_so(connect):
    handle, _ = answers(stream('event: cursor_expired\ndata: {"detail": "pruned"}\n\n'))
    with pytest.raises(errors.Gone, match="pruned"):
        next(connect(handle).tail(since="c0"))


def test_a_tail_with_a_limit_of_tries_ends(connect):
    handle, _ = answers(*[httpx2.ConnectError("gone")] * 4)
    with pytest.raises(errors.Unavailable):
        next(connect(handle).tail(retries=2))


def test_an_artifact_is_written_whole_or_not_at_all(connect, tmp_path):
    handle, _ = answers(httpx2.Response(200, content=b"report"))
    assert connect(handle).download_artifact("tsk_1", "report.md", tmp_path) == tmp_path / "report.md"
    assert (tmp_path / "report.md").read_bytes() == b"report"

    class Breaks(httpx2.SyncByteStream):
        def __iter__(self):
            yield b"half"
            raise httpx2.ReadError("broken")

    handle, _ = answers(httpx2.Response(200, stream=Breaks()))
    with pytest.raises(errors.Unavailable):
        connect(handle).download_artifact("tsk_1", "other.md", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


def test_an_upload_sends_the_files_bytes_under_its_name(connect, tmp_path):
    (tmp_path / "data.csv").write_bytes(b"a,b\n")
    kept = httpx2.Response(201, json={"file": "file:00", "sha256": "00", "size_bytes": 4, "media_type": "text/csv", "name": "data.csv"})
    handle, asked = answers(httpx2.ConnectError("once"), kept)
    assert connect(handle).upload(tmp_path / "data.csv")["file"] == "file:00"
    assert asked[1].url.params["name"] == "data.csv" and asked[1].read() == b"a,b\n"
    assert asked[1].headers["Content-Length"] == "4"


def test_the_local_token_goes_to_this_machine_only(connect, tmp_path):
    (tmp_path / "token").write_text("pt_secret\n")
    handle, asked = answers(*[httpx2.Response(200, json={"items": []}) for _ in range(3)])
    connect(handle).agents()
    connect(handle, "https://pulser.example.org").agents()
    connect(handle, "https://pulser.example.org", token="pk_given").agents()
    assert [request.headers.get("Authorization") for request in asked] == ["Bearer pt_secret", None, "Bearer pk_given"]


def test_the_address_and_the_key_come_from_the_environment_unless_given(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PULSER_PORT", "9123")
    assert Client().url == "http://127.0.0.1:9123"
    monkeypatch.setenv("PULSER_URL", "https://pulser.example.org/")
    monkeypatch.setenv("PULSER_API_KEY", "pk_env")
    handle, asked = answers(httpx2.Response(200, json={"items": []}))
    Client(transport=httpx2.MockTransport(handle)).agents()
    assert (asked[0].url.host, asked[0].headers["Authorization"]) == ("pulser.example.org", "Bearer pk_env")
    assert Client("http://other:1").url == "http://other:1"
    with pytest.raises(errors.BadInput, match="not the address"):
        Client("ftp://elsewhere")


def test_ids_cannot_lead_to_another_route(connect):
    handle, asked = answers(httpx2.Response(200, json={}))
    connect(handle).task("../agents?x=1")
    assert asked[0].url.raw_path == b"/api/v1/tasks/..%2Fagents%3Fx%3D1"


def test_importing_the_client_imports_neither_http_nor_database(tmp_path):
    code = "import sys, pulser.client; print([name for name in ('httpx2', 'sqlalchemy', 'fastapi', 'rich', 'typer', 'pydantic') if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env={"PATH": os.environ["PATH"]})
    assert told.stdout.strip() == "[]"


def test_pauses_grow_have_jitter_and_heed_the_server(monkeypatch: pytest.MonkeyPatch):
    waited: list[float] = []

    def wait(self: threading.Event, timeout: float) -> bool:
        waited.append(timeout)
        return True

    monkeypatch.setattr(threading.Event, "wait", wait)
    for failures in (1, 2, 3, 20):
        REAL_PAUSE(failures, errors.Unavailable("busy"))
    REAL_PAUSE(1, errors.Unavailable("busy", retry_after_s=2))
    assert all(0 < seconds <= wire_module.FIRST_DELAY_S * 2**failures for seconds, failures in zip(waited[:3], (1, 2, 3), strict=True))
    assert waited[3] <= wire_module.LONGEST_DELAY_S
    assert 2 < waited[4] <= 2 + wire_module.FIRST_DELAY_S * 2
