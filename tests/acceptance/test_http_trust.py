"""Who may: the local operator's token, a browser's session, and what no page, no host and no child process may do."""

from __future__ import annotations

import re
import socket
import stat
from pathlib import Path

import httpx2
import pytest

from tests.acceptance.conftest import Work, problem
from tests.served import Served, pulser

NOBODY = "tsk_00000000000000000000000000"
TASK = {"task_type": "orchestration", "payload": {"action": "noop"}}
UNSAFE = [
    ("POST", "/api/v1/tasks"),
    ("POST", "/api/v1/tasks/batch"),
    ("POST", f"/api/v1/tasks/{NOBODY}/cancel"),
    ("POST", f"/api/v1/tasks/{NOBODY}/retry"),
    ("POST", f"/api/v1/tasks/{NOBODY}/requeue"),
    ("POST", f"/api/v1/tasks/{NOBODY}/discard"),
    ("POST", f"/api/v1/tasks/{NOBODY}/transition"),
    ("PATCH", f"/api/v1/tasks/{NOBODY}"),
    ("POST", "/api/v1/dead/requeue"),
    ("POST", "/api/v1/agents/maya/pause"),
    ("POST", "/api/v1/agents/maya/resume"),
    ("PATCH", "/api/v1/agents/maya/instances/x"),
    ("POST", "/api/v1/files"),
    ("POST", "/session/link"),
]
BODIES = {"/transition": {"to": "queued"}, NOBODY: {"title": "x"}, "/dead/requeue": {"all": True}, "instances/x": {"available": True}}


def ask(client: httpx2.Client, method: str, path: str, **more: object) -> httpx2.Response:
    body = next((value for end, value in BODIES.items() if path.endswith(end)), None)
    return client.request(method, path, **({"json": body} if body else {}), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("method", "path"), UNSAFE)
def test_changing_something_needs_the_token(anybody: httpx2.Client, method: str, path: str):
    answer = ask(anybody, method, path)
    body = problem(answer, 401, "not-signed-in")
    assert "token" in body["hint"] and answer.headers["www-authenticate"] == "Bearer"


def test_the_list_above_has_every_operation_that_changes_something(anybody: httpx2.Client):
    document = anybody.get("/openapi.json").json()
    listed = {(method, re.sub(r"tsk_0+|(?<=agents/)maya|(?<=instances/)x", "{}", path)) for method, path in UNSAFE}
    offered = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path)) for path, methods in document["paths"].items() for method in methods if method not in ("get", "delete")
    }
    assert offered - listed == {("POST", "/api/v1/route"), ("POST", "/session")}  # asks only; signs in


def test_looking_needs_nothing_on_this_machine(anybody: httpx2.Client):
    for path in ("/api/v1/tasks", "/api/v1/agents", "/api/v1/events", "/api/v1/dead", "/api/v1/task-types", "/metrics", "/session"):
        assert anybody.get(path).status_code == 200, path
    assert anybody.get("/session").json()["may_write"] is False


@pytest.mark.parametrize("value", ["Bearer wrong", "Bearer pt_" + "x" * 43, "Bearer pk_" + "a" * 32, "Basic b3A6b3A=", "Bearer", "nonsense"])
def test_a_credential_that_opens_nothing_is_refused_even_for_looking(anybody: httpx2.Client, value: str):
    problem(anybody.get("/api/v1/tasks", headers={"Authorization": value}), 401, "not-signed-in")
    problem(anybody.post("/api/v1/tasks", json=TASK, headers={"Authorization": value}), 401, "not-signed-in")


def test_the_token_lies_where_only_its_owner_reads_it(served: Served):
    path = served.data_dir / "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(served.data_dir.stat().st_mode) == 0o700
    assert len(served.token) > 40 and served.token not in served.log.read_text()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "[::2]", "0.0.0.0"])
def test_a_host_that_is_not_ours_is_refused_which_is_what_stops_dns_rebinding(api: httpx2.Client, host: str):
    for method, path in (("GET", "/api/v1/tasks"), ("POST", "/api/v1/tasks"), ("GET", "/healthz")):
        problem(api.request(method, path, json=TASK if method == "POST" else None, headers={"Host": host}), 403, "forbidden")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:1234", "[::1]:8000"])
def test_loopback_by_any_of_its_names_is_ours(api: httpx2.Client, host: str):
    assert api.get("/healthz", headers={"Host": host}).status_code == 200


PROXIED = [{"X-Forwarded-For": "203.0.113.7"}, {"X-Forwarded-Host": "pulser.example"}, {"Forwarded": "for=203.0.113.7"}, {"X-Real-IP": "203.0.113.7"}]


@pytest.mark.parametrize("headers", PROXIED)
def test_who_comes_through_a_proxy_is_not_on_this_machine(anybody: httpx2.Client, api: httpx2.Client, headers: dict[str, str]):
    for path in ("/api/v1/tasks", "/api/v1/events/tail", "/metrics", "/session"):
        problem(anybody.get(path, headers=headers), 401, "not-signed-in")
    assert api.get("/api/v1/tasks", headers=headers).status_code == 200, "who has the token may come through one"


def test_who_comes_by_a_public_name_signs_in_also_for_looking(tmp_path: Path):
    with pulser(tmp_path, settings={"PULSER_ALLOWED_HOSTS": "pulser.example"}) as served:
        named = {"Host": "pulser.example"}
        problem(served.client(None).get("/api/v1/tasks", headers=named), 401, "not-signed-in")
        assert served.client().get("/api/v1/tasks", headers=named).status_code == 200
        assert served.client(None).get("/api/v1/tasks").status_code == 200, "by its own name it is open, as before"


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}])
def test_a_page_of_another_origin_cannot_give_orders(served: Served, api: httpx2.Client, headers: dict[str, str]):
    problem(api.post("/api/v1/tasks", json=TASK, headers=headers), 403, "forbidden")
    session = signed_in(served)
    problem(session.post("/api/v1/tasks", json=TASK, headers=headers), 403, "forbidden")
    assert session.get("/session", headers=headers).json()["may_write"] is False, "its cookie is not believed either"


def test_another_port_of_this_machine_is_another_origin(served: Served):
    problem(signed_in(served).post("/api/v1/tasks", json=TASK, headers={"Origin": "http://127.0.0.1:1"}), 403, "forbidden")


def signed_in(served: Served) -> httpx2.Client:
    client = served.client(None)
    assert client.post("/session", json={"secret": served.token}).status_code == 204
    return client


def test_the_console_with_its_cookie_gives_orders_from_its_own_origin(served: Served):
    answer = signed_in(served).post("/api/v1/tasks", json=TASK, headers={"Origin": served.url, "Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 202


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites_and_does_not_last_for_ever(served: Served):
    cookie = served.client(None).post("/session", json={"secret": served.token}).headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie and "max-age=604800" in cookie
    assert served.token.lower() not in cookie
    behind = served.client(None).post("/session", json={"secret": served.token}, headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"].lower()
    assert "secure" in behind and "secure" not in cookie


def test_two_pulsers_of_one_host_have_a_cookie_each(served: Served):
    assert list(signed_in(served).cookies) == [f"pulser_session_{served.port}"]


def test_a_session_that_is_made_up_opens_nothing(served: Served):
    [(name, real)] = signed_in(served).cookies.items()
    nonce, issued_at, whose, signature = real.split(".")
    mine = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    younger = str(int(issued_at) + 1)
    for made_up in (
        "", "x", "x.y", "...", nonce, f"{nonce}.{issued_at}.{whose}.{mine}", f"{nonce}.{younger}.{whose}.{signature}", f"{nonce}.{issued_at}.{whose}.",
        f"{nonce}.{issued_at}.{'0' * 64}.{signature}", f"x.{real}", f"{nonce}..{whose}.{signature}",
    ):  # fmt: skip
        client = served.client(None, headers={"Cookie": f"{name}={made_up}"})
        problem(client.post("/api/v1/tasks", json=TASK), 401, "not-signed-in")
        assert client.get("/api/v1/tasks").status_code == 200, "looking stays open"
    assert served.client(None, headers={"Cookie": f"a=b; {name}={real}"}).post("/api/v1/tasks", json=TASK).status_code == 202


def test_signing_out_ends_the_session_wherever_its_cookie_was_copied_to(served: Served):
    client = signed_in(served)
    [(name, cookie)] = client.cookies.items()
    other = signed_in(served)
    assert client.delete("/session").status_code == 204 and not client.cookies
    for each in (client, served.client(None, headers={"Cookie": f"{name}={cookie}"})):
        problem(each.post("/api/v1/tasks", json=TASK), 401, "not-signed-in")
    assert other.post("/api/v1/tasks", json=TASK).status_code == 202, "other sessions go on"


def test_a_start_link_is_told_to_terminals_only_for_everything_else_keeps_what_it_hears(served: Served):
    assert served.start == ""


def test_another_start_link_is_made_by_the_operator_and_works_once(served: Served, api: httpx2.Client):
    link = api.post("/session/link").json()
    assert link["expires_in_s"] == 900
    assert [served.client(None).post("/session", json={"secret": link["secret"]}).status_code for _ in range(2)] == [204, 401]


def _raw(served: Served, lines: list[str], body: bytes = b"") -> bytes:
    head = "\r\n".join(["POST /api/v1/tasks HTTP/1.1", f"Host: 127.0.0.1:{served.port}", f"Authorization: Bearer {served.token}", *lines, "", ""])
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as sock:
        sock.sendall(head.encode() + body)
        return sock.recv(65536)


def test_two_ways_of_saying_where_a_body_ends_are_refused(served: Served):
    answer = _raw(served, ["Content-Length: 4", "Transfer-Encoding: chunked"], b"0\r\n\r\n")
    assert answer.split(b" ", 2)[1] == b"400"
    answer = _raw(served, ["Content-Length: 4", "Content-Length: 5"], b"abcde")
    assert answer.split(b" ", 2)[1] == b"400"


def test_every_answer_tells_browsers_not_to_guess_frame_or_leak(anybody: httpx2.Client):
    for path in ("/healthz", "/api/v1/tasks", "/nothing", "/docs", "/board"):
        headers = anybody.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY" and headers["x-request-id"]


SPY = """
import os, pathlib, socket
import pytest

DATA = pathlib.Path("{data}")


SERVER = pathlib.Path("/proc/{pid}")


@pytest.mark.parametrize("path", [DATA / "token", DATA / "pulser.db", SERVER / "environ", SERVER / "root" / str(DATA)[1:] / "token"])
def test_read(path):
    path.read_bytes()


def test_list():
    assert set(os.listdir(DATA)) - {{"scratch"}}  # where its own copy lies


def test_list_what_others_do():
    assert len(os.listdir(DATA / "scratch")) > 1


def test_connect():
    socket.create_connection(("127.0.0.1", {port}), timeout=3).close()


def test_environment():
    assert [name for name in os.environ if name.startswith("PULSER")]
"""


def test_the_tests_of_a_hostile_project_reach_neither_the_token_nor_the_api(served: Served, work: Work, samples: Path):
    project = samples / "spy"
    project.mkdir()
    (project / "test_spy.py").write_text(SPY.format(data=served.data_dir, pid=served.process.pid, port=served.port))
    task = work.run("testing", {"action": "test", "path": "spy"})
    assert task["stage"] == "done", task["error"]
    totals = task["result"]["tests"] if "tests" in task["result"] else task["result"]
    assert (totals["passed"], totals["failed"] + totals.get("errors", 0)) == (0, 8), [work.api.get(each["url"]).text for each in task["artifacts"]]
    everything = str(task) + "".join(work.api.get(each["url"]).text for each in task["artifacts"])
    assert served.token not in everything


def test_off_loopback_it_does_not_start_before_somebody_has_a_key(tmp_path: Path):
    with pytest.raises(AssertionError, match="is not loopback, and there is no API key"), pulser(tmp_path, settings={"PULSER_HOST": "0.0.0.0"}):
        raise RuntimeError("it started")
