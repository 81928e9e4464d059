"""Is it alive, is it ready, what are its numbers, what can one ask it: for probes, Prometheus, browsers and programs."""

from __future__ import annotations

import fcntl
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pulser.store import migrate
from tests.acceptance.conftest import Work, problem
from tests.served import Served, pulser


def test_a_live_process_says_so(anybody: httpx2.Client):
    assert anybody.get("/healthz").json() == {"ok": True}


def test_health_tells_version_checks_and_every_agent(anybody: httpx2.Client):
    health = anybody.get("/health").json()
    assert health["ok"] is True and re.match(r"\d+\.\d+\.\d+", health["version"])
    assert set(health["checks"].values()) == {"ok"}
    assert {name for name, agent in health["agents"].items() if agent == {"status": "healthy", "instances": 1}} == set(health["agents"])
    assert len(health["agents"]) == 7


def test_a_ready_server_names_what_it_checked(anybody: httpx2.Client):
    answer = anybody.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ok": True, "checks": {"writer": "ok", "database": "ok", "log": "ok", "workers": "ok"}})


@pytest.mark.parametrize("path", ["/healthz", "/health", "/readyz"])
def test_a_probe_may_ask_for_the_head_only(anybody: httpx2.Client, path: str):
    answer = anybody.head(path)
    assert (answer.status_code, answer.content) == (200, b"")


@contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """As another process would that writes and never ends."""
    with (data_dir / "write.lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def becomes_unready(api: httpx2.Client) -> httpx2.Response:
    """A good answer of the database is believed for a second."""
    deadline = time.monotonic() + 10
    while (answer := api.get("/readyz")).status_code == 200:
        assert time.monotonic() < deadline
    return answer


def test_many_who_ask_whether_all_is_well_write_once_a_second(served: Served, anybody: httpx2.Client):
    """Each write takes the lock that other processes of the folder wait for: while one holds it, what was fine a moment ago needs none."""
    began = time.monotonic()
    while time.monotonic() - began < 1.2:  # from a fresh second on
        anybody.get("/readyz")
        began_second = time.monotonic()
        with held(served.data_dir):
            answers = [anybody.get(path).status_code for path in ("/readyz", "/health", "/readyz")]
        if time.monotonic() - began_second < 0.5:
            assert answers == [200, 200, 200]
            return
    raise AssertionError("the machine is too slow to tell")


def test_over_the_network_who_has_not_signed_in_hears_only_whether_it_is_well(tmp_path: Path):
    with pulser(tmp_path) as served:
        assert set(served.client(None).get("/health").json()) == {"ok", "version", "checks", "agents"}, "on the machine itself there is nothing to hide"
        proxied_ = {"X-Forwarded-For": "203.0.113.7"}
        anybody, operator = served.client(None, headers=proxied_), served.client(headers=proxied_)
        assert set(anybody.get("/health").json()) == {"ok", "version"} and set(operator.get("/health").json()) == {"ok", "version", "checks", "agents"}
        assert anybody.get("/readyz").json() == {"ok": True} and operator.get("/readyz").json()["checks"]
        with held(served.data_dir):
            becomes_unready(operator)
            answer = anybody.get("/readyz")
            assert (answer.status_code, answer.json()) == (503, {"ok": False})


def test_a_database_that_does_not_answer_makes_it_unready_but_not_dead_and_it_recovers(tmp_path: Path):
    with pulser(tmp_path) as served:
        api = served.client()
        with held(served.data_dir):
            answer = api.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["ok"] is False and "no answer" in answer.json()["checks"]["database"]
            assert api.get("/healthz").status_code == 200
            assert api.get("/health").json()["ok"] is False
            assert api.get("/api/v1/tasks").status_code == 200, "reading goes on"
        assert Work(api).run()["stage"] == "done"
        assert api.get("/readyz").status_code == 200


class _Proxy:
    """Between Pulser and Postgres, to be cut."""

    def __init__(self, host: str, port: int) -> None:
        self.to, self.cut = (host, port), False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open: list[socket.socket] = []
        self.threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        self.threads.append(threading.Thread(target=work, args=args, daemon=True))
        self.threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.cut:
                client.close()
                continue
            server = socket.create_connection(self.to)
            self.open += [client, server]
            self._start(self._pipe, client, server)
            self._start(self._pipe, server, client)

    @staticmethod
    def _pipe(a: socket.socket, b: socket.socket) -> None:
        with suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
        with suppress(OSError):
            b.shutdown(socket.SHUT_RDWR)
        a.close()

    def sever(self) -> None:
        self.cut = True
        for each in self.open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.open.clear()

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.sever()
        for thread in self.threads:
            thread.join(10)
        self.listener.close()


@contextmanager
def proxied(url: str) -> Iterator[tuple[_Proxy, str]]:
    from sqlalchemy import make_url

    parsed = make_url(url)
    proxy = _Proxy(parsed.host or "127.0.0.1", parsed.port or 5432)
    try:
        yield proxy, parsed.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
    finally:
        proxy.close()


def test_postgres_may_go_and_come_back_and_readiness_tells(tmp_path: Path, postgres_database: str):
    if "host=" in postgres_database:
        pytest.skip("this Postgres is reached by a socket file, which the proxy cannot stand between")
    engine = migrate.open_engine(postgres_database, tmp_path)
    migrate.upgrade(engine)
    engine.dispose()
    with proxied(postgres_database) as (proxy, url), pulser(tmp_path, settings={"PULSER_DATABASE_URL": url}) as served:
        api = served.client()
        assert Work(api).run()["stage"] == "done"
        assert api.get("/readyz").json()["ok"] is True
        proxy.sever()
        becomes_unready(api)
        assert api.get("/healthz").status_code == 200
        answer = api.post("/api/v1/tasks", json={"task_type": "orchestration", "payload": {"action": "noop"}})
        problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        proxy.cut = False
        for _ in range(50):  # each answer takes as long as a connection takes to be made anew
            if api.get("/readyz").status_code == 200:
                break
        assert Work(api).run()["stage"] == "done"


def test_maintenance_refuses_new_work_and_lets_people_look(tmp_path: Path):
    with pulser(tmp_path, settings={"PULSER_MAINTENANCE": "true"}) as served:
        api = served.client()
        answer = api.post("/api/v1/tasks", json={"task_type": "orchestration", "payload": {"action": "noop"}})
        assert problem(answer, 503, "unavailable")["hint"] and answer.headers["retry-after"]
        assert api.get("/api/v1/tasks").status_code == 200


def test_a_stopping_server_gives_running_work_back_and_the_next_one_does_it(tmp_path: Path):
    with pulser(tmp_path, settings={"PULSER_WORKER_DRAIN_S": "0.1"}) as served:
        work = Work(served.client())
        task_id = work.submit(payload={"action": "noop", "sleep_ms": 1500})["task_id"]
        work.until(task_id, "in_progress")
    assert served.process.returncode == 0
    with pulser(tmp_path) as served:
        task = Work(served.client()).done(task_id)
    assert [each["outcome"] for each in task["attempts"]] == ["given_back", "succeeded"]


def numbers(api: httpx2.Client) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Samples by name and labels, as Prometheus reads them."""
    answer = api.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=")
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def until_told(api: httpx2.Client, task_id: str) -> None:
    """The numbers follow the log: when a stream has told of it, so have they."""
    with api.stream("GET", "/api/v1/events/tail", params={"task_id": task_id, "since": "c0-0", "kind": "lease_released"}) as stream:
        assert any(line.startswith("data:") for line in stream.iter_lines())


def test_the_numbers_have_the_documents_names_and_count_what_happened(served: Served, api: httpx2.Client, work: Work):
    before = numbers(api)
    for payload in ({"action": "noop"}, {"action": "noop", "fail": "permanent"}, {"action": "noop", "fail_times": 1}):
        until_told(api, work.run(payload=payload, priority="high")["task_id"])
    work.submit("testing", {"action": "lint", "path": "project"}, run_at="2999-01-01T00:00:00Z")
    with api.stream(
        "GET", "/api/v1/events/tail", params={"kind": "lease_released"}
    ) as stream:  # one more, followed live, so that the reader is past the others
        lines = stream.iter_lines()
        assert next(lines) == ": connected"
        work.run()
        assert any(line.startswith("data:") for line in lines)
    after = numbers(api)

    def grown(name: str, **labels: str) -> float:
        key = tuple(sorted(labels.items()))
        return after.get(name, {}).get(key, 0) - before.get(name, {}).get(key, 0)

    assert grown("pulser_tasks_total", task_type="orchestration", priority="high") == 3
    assert grown("pulser_tasks_total", task_type="testing", priority="medium") == 1
    assert grown("pulser_tasks_completed_total", agent="pulser") == 3
    assert grown("pulser_tasks_failed_total", agent="pulser") == 1
    assert grown("pulser_tasks_retried_total", agent="pulser") == 1
    assert grown("pulser_task_duration_seconds_count", agent="pulser") == 5
    assert after["pulser_queue_depth"][(("agent", "echo"), ("stage", "queued"))] == 1
    assert set(after["pulser_agent_health"].values()) == {1.0} and len(after["pulser_agent_health"]) == 7


def test_the_interface_describes_itself(anybody: httpx2.Client):
    document = anybody.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1.")
    submit = document["paths"]["/api/v1/tasks"]["post"]["requestBody"]["content"]["application/json"]
    assert submit["examples"] and submit["schema"] == {"$ref": "#/components/schemas/TaskRequest"}


def test_the_reference_page_needs_nothing_from_anywhere_else(anybody: httpx2.Client):
    page = anybody.get("/docs")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "/api/v1/tasks" in page.text and "changelog" in page.text, "operations, and their examples"
    outside = [address for address in re.findall(r"""(?:src|href)=["']([^"']+)""", page.text) if address.startswith(("http:", "https:", "//"))]
    assert outside == [] and "<script src" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


ORIGIN = "https://board.example"


def test_without_a_setting_no_other_origin_may_ask(api: httpx2.Client):
    answer = api.get("/api/v1/tasks", headers={"Origin": ORIGIN})
    assert "access-control-allow-origin" not in answer.headers
    problem(api.post("/api/v1/route", json={}, headers={"Origin": ORIGIN}), 403, "forbidden")


def test_an_origin_of_the_settings_may_ask_and_others_may_not(tmp_path: Path):
    with pulser(tmp_path, settings={"PULSER_CORS_ORIGINS": ORIGIN}) as served:
        api = served.client()
        answer = api.get("/api/v1/tasks", headers={"Origin": ORIGIN})
        assert answer.headers["access-control-allow-origin"] == ORIGIN and "access-control-allow-credentials" not in answer.headers
        asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type,idempotency-key"}
        preflight = served.client(None).options("/api/v1/tasks", headers=asked)
        assert preflight.status_code == 200 and "POST" in preflight.headers["access-control-allow-methods"]
        assert api.post("/api/v1/tasks", json={"task_type": "orchestration", "payload": {"action": "noop"}}, headers={"Origin": ORIGIN}).status_code == 202
        other = served.client(None).options("/api/v1/tasks", headers={**asked, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
        problem(api.post("/api/v1/tasks", json={}, headers={"Origin": "https://evil.example"}), 403, "forbidden")
        refused = served.client(None).post("/api/v1/tasks", json={}, headers={"Origin": ORIGIN})
        assert refused.headers["access-control-allow-origin"] == ORIGIN, "a page must be able to read why it was refused"


def test_two_servers_cannot_have_one_port_and_the_second_says_so_at_once(tmp_path: Path, served: Served):
    with pytest.raises(AssertionError, match=r"cannot listen|OperatorError"), pulser(tmp_path, settings={"PULSER_PORT": str(served.port)}):
        raise RuntimeError("it started")
