"""API keys and companies over HTTP: a viewer only looks, another company sees nothing, a key that ended opens nothing."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Work, problem
from tests.served import Served, pulser

TASK = {"task_type": "orchestration", "payload": {"action": "noop"}}
DO = """
import sys, json
from datetime import datetime
from pathlib import Path
from pulser.access import keys
from pulser.store.store import Store
store = Store(database_url="", data_dir=Path(sys.argv[1]), writers=1, readers=1, queue_limit=100)
def do(tx):
    for name in json.loads(sys.argv[2]):
        if name[0] == "company": keys.create_company(tx, name[1], name[1])
        elif name[0] == "revoke": keys.revoke(tx, name[1], name[2])
        else: print(json.dumps(keys.create(tx, name[1], name[2], name[3], datetime.fromisoformat(name[4]) if name[4] else None)))
store.write_blocking(do, scope="auth")
store.close()
"""


def with_keys(data_dir: Path, *steps: list[str]) -> list[tuple[str, str]]:
    """Companies and keys made by another process, as the command line would; ``(id, secret)`` of each key."""
    import json

    done = subprocess.run(
        [sys.executable, "-c", DO, str(data_dir), json.dumps(steps)], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def secrets(served: Served) -> dict[str, str]:
    made = with_keys(
        served.data_dir, ["company", "acme"], ["company", "rival"], ["key", "acme", "boss", "admin", ""], ["key", "acme", "worker", "operator", ""],
        ["key", "acme", "guest", "viewer", ""], ["key", "rival", "spy", "admin", ""],
        ["key", "default", "chief", "admin", ""], ["key", "default", "clerk", "operator", ""], ["key", "default", "operator", "admin", ""],
    )  # fmt: skip
    return dict(zip(("boss", "worker", "guest", "spy", "chief", "clerk", "operator"), (secret for _, secret in made), strict=True))


@pytest.fixture(scope="module")
def boss(served: Served, secrets: dict[str, str]) -> httpx2.Client:
    return served.client(secrets["boss"])


@pytest.fixture(scope="module")
def spy(served: Served, secrets: dict[str, str]) -> httpx2.Client:
    return served.client(secrets["spy"])


def test_a_key_acts_in_its_company_under_its_name(boss: httpx2.Client):
    assert boss.get("/session").json() == {"name": "key:boss", "company_id": "acme", "role": "admin", "may_write": True}
    task = Work(boss).run()
    told = boss.get("/api/v1/events", params={"task_id": task["task_id"], "kind": "task_submitted"}).json()["items"]
    assert [(each["actor"], each["company_id"]) for each in told] == [("key:boss", "acme")]


def test_a_browser_signs_in_with_a_key_and_acts_as_it(served: Served, secrets: dict[str, str]):
    browser = served.client(None)
    assert browser.post("/session", json={"secret": secrets["boss"]}).status_code == 204
    assert secrets["boss"] not in str(browser.cookies)
    assert browser.get("/session").json() == {"name": "key:boss", "company_id": "acme", "role": "admin", "may_write": True}
    told = browser.post("/api/v1/tasks", json=TASK, headers={"Origin": served.url, "Sec-Fetch-Site": "same-origin"})
    assert told.status_code == 202
    problem(browser.post("/session/link"), 403, "forbidden")
    assert browser.delete("/session").status_code == 204
    assert browser.get("/session").json()["name"] == "anybody"
    problem(served.client(None).post("/session", json={"secret": "pk_" + "a" * 32}), 401, "not-signed-in")


def test_a_viewer_looks_and_changes_nothing(served: Served, secrets: dict[str, str], boss: httpx2.Client):
    guest = served.client(secrets["guest"])
    task_id = Work(boss).run(payload={"action": "noop", "fail": "permanent"})["task_id"]
    assert guest.get(f"/api/v1/tasks/{task_id}").status_code == 200
    assert guest.post("/api/v1/route", json={"task_type": "testing"}).status_code == 200, "asking who would do it changes nothing"
    for verb in ("cancel", "retry", "requeue", "discard"):
        problem(guest.post(f"/api/v1/tasks/{task_id}/{verb}"), 403, "forbidden")
    problem(guest.post("/api/v1/tasks", json=TASK), 403, "forbidden")
    problem(guest.patch(f"/api/v1/tasks/{task_id}", json={"title": "x"}), 403, "forbidden")
    problem(guest.post("/api/v1/files", content=b"x"), 403, "forbidden")
    problem(guest.post("/api/v1/agents/maya/pause"), 403, "forbidden")
    assert guest.get(f"/api/v1/tasks/{task_id}").json()["generation"] == 1


def test_an_instance_of_all_companies_is_switched_by_admins_of_the_default_company_only(
    served: Served, secrets: dict[str, str], boss: httpx2.Client, api: httpx2.Client
):
    operator = served.client(secrets["worker"])
    assert Work(operator).run()["stage"] == "done"
    [instance] = operator.get("/api/v1/agents/maya").json()["instances"]
    where = f"/api/v1/agents/maya/instances/{instance['instance_id']}"
    for company_s in (operator, boss, served.client(secrets["clerk"])):
        problem(company_s.patch(where, json={"available": False}), 403, "forbidden")
    assert [each["available"] for each in operator.get("/api/v1/agents/maya").json()["instances"]] == [True]
    for installation_s in (served.client(secrets["chief"]), api):
        assert installation_s.patch(where, json={"available": True}).status_code == 200


def test_the_numbers_of_all_companies_are_for_those_who_run_the_installation(
    served: Served, secrets: dict[str, str], anybody: httpx2.Client, api: httpx2.Client
):
    for name in ("guest", "worker", "boss"):
        problem(served.client(secrets[name]).get("/metrics"), 403, "forbidden")
    for one in (anybody, api, served.client(secrets["clerk"])):
        assert one.get("/metrics").status_code == 200, "on the machine itself they are open"
    proxied = {"X-Forwarded-For": "203.0.113.7"}
    problem(anybody.get("/metrics", headers=proxied), 401, "not-signed-in")
    problem(served.client(secrets["clerk"]).get("/metrics", headers=proxied), 403, "forbidden")
    assert served.client(secrets["chief"]).get("/metrics", headers=proxied).status_code == 200


def test_no_key_makes_a_link_that_opens_the_local_operators_session(served: Served, secrets: dict[str, str], api: httpx2.Client):
    for name in ("guest", "worker", "boss", "clerk", "chief", "operator"):
        problem(served.client(secrets[name]).post("/session/link"), 403, "forbidden")
    session = served.client(None)
    assert session.post("/session", json={"secret": api.post("/session/link").json()["secret"]}).status_code == 204
    assert session.post("/session/link").status_code == 200, "a session begun with the local token is the local operator too"


@pytest.fixture(scope="module")
def belongings(boss: httpx2.Client) -> dict[str, Any]:
    """What acme has: a task with files and a log, a dead letter, a stored file."""
    work = Work(boss)
    task = work.run("testing", {"action": "test", "path": "project"}, title="acme's own")
    assert task["stage"] == "done", task["error"]
    dead = work.run(payload={"action": "noop", "fail": "permanent"})
    stored = boss.post("/api/v1/files", params={"name": "plan.txt"}, content=b"acme's plan").json()
    return {"task_id": task["task_id"], "artifact": task["artifacts"][0]["name"], "dead": dead["task_id"], "sha256": stored["sha256"]}


def test_another_companys_things_are_not_there(spy: httpx2.Client, boss: httpx2.Client, belongings: dict[str, Any]):
    document = spy.get("/openapi.json").json()
    values = {"task_id": belongings["task_id"], "name": belongings["artifact"], "sha256": belongings["sha256"]}
    routes = [path for path, methods in document["paths"].items() if "get" in methods and "{" in path and not path.startswith("/api/v1/agents")]
    assert len(routes) >= 5
    for route in routes:
        path = route.format(**values)
        assert boss.get(path).status_code == 200, path
        problem(spy.get(path), 404, "not-found")
    problem(spy.get(f"/api/v1/tasks/{belongings['task_id']}", params={"wait_s": 1}), 404, "not-found")


def test_another_companys_tasks_cannot_be_steered_read_or_waited_for(spy: httpx2.Client, boss: httpx2.Client, belongings: dict[str, Any]):
    for task_id in (belongings["task_id"], belongings["dead"]):
        for verb in ("cancel", "retry", "requeue", "discard"):
            problem(spy.post(f"/api/v1/tasks/{task_id}/{verb}"), 404, "not-found")
        problem(spy.post(f"/api/v1/tasks/{task_id}/transition", json={"to": "queued"}), 404, "not-found")
        problem(spy.patch(f"/api/v1/tasks/{task_id}", json={"title": "mine"}), 404, "not-found")
    problem(spy.post("/api/v1/tasks", json={**TASK, "depends_on": [belongings["task_id"]]}), 422, "bad-input")
    answer = spy.post("/api/v1/dead/requeue", json={"task_ids": [belongings["dead"]]}).json()
    assert answer["requeued"] == [] and [each["task_id"] for each in answer["skipped"]] == [belongings["dead"]]
    assert spy.post("/api/v1/dead/requeue", json={"all": True}).json()["requeued"] == []
    assert boss.get(f"/api/v1/tasks/{belongings['dead']}").json()["generation"] == 1


def test_another_companys_files_cannot_be_worked_on(spy: httpx2.Client, belongings: dict[str, Any]):
    work = Work(spy)
    for path in (f"file:{belongings['sha256']}", f"artifact:{belongings['task_id']}/{belongings['artifact']}"):
        assert work.run("analytics", {"action": "profile", "path": path})["stage"] == "failed"


def test_lists_events_and_streams_show_ones_own_company_only(spy: httpx2.Client, boss: httpx2.Client, belongings: dict[str, Any]):
    mine = Work(spy).run()["task_id"]
    theirs = {each["task_id"] for each in boss.get("/api/v1/tasks", params={"limit": 200}).json()["items"]}
    shown = {each["task_id"] for each in spy.get("/api/v1/tasks", params={"limit": 200}).json()["items"]}
    assert mine in shown and not shown & theirs and belongings["task_id"] in theirs
    assert spy.get("/api/v1/tasks", params={"q": "acme's own"}).json()["items"] == []
    assert spy.get("/api/v1/dead").json()["items"] == [] or not {each["task_id"] for each in spy.get("/api/v1/dead").json()["items"]} & theirs
    assert {each["company_id"] for each in spy.get("/api/v1/events", params={"after": "c0-0", "limit": 500}).json()["items"]} == {"rival"}
    with spy.stream("GET", "/api/v1/events/tail", params={"since": "c0-0"}) as stream:
        for line in stream.iter_lines():
            if line.startswith("data:"):
                assert '"company_id":"rival"' in line
                if f'"{mine}"' in line and "lease_released" in line:
                    break


def test_pausing_an_agent_is_for_ones_own_company(spy: httpx2.Client, boss: httpx2.Client):
    assert spy.post("/api/v1/agents/pulser/pause").json()["paused"] is True
    try:
        assert boss.get("/api/v1/agents/pulser").json()["paused"] is False
        assert Work(boss).run()["stage"] == "done"
    finally:
        spy.post("/api/v1/agents/pulser/resume")


def test_one_idempotency_key_of_two_companies_is_two(spy: httpx2.Client, boss: httpx2.Client):
    first, second = (client.post("/api/v1/tasks", json=TASK, headers={"Idempotency-Key": "shared"}) for client in (spy, boss))
    assert first.json()["task_id"] != second.json()["task_id"] and "idempotent-replayed" not in second.headers


def test_a_key_opens_nothing_after_it_expired_or_was_revoked(tmp_path: Path):
    with pulser(tmp_path) as served:
        soon = (datetime.now().astimezone() + timedelta(seconds=2.5)).isoformat()
        [brief, (key_id, secret)] = with_keys(
            served.data_dir, ["company", "acme"], ["key", "acme", "brief", "viewer", soon], ["key", "acme", "gone", "admin", ""]
        )
        client = served.client(brief[1])
        assert client.get("/api/v1/tasks").status_code == 200
        with_keys(served.data_dir, ["revoke", "acme", key_id])
        problem(served.client(secret).get("/api/v1/tasks"), 401, "not-signed-in")
        with client.stream("GET", "/api/v1/events/tail") as stream:  # what it began while it was good may go on; what it asks later is refused
            assert stream.status_code == 200
        served.client().post("/api/v1/tasks", params={"wait_s": 10}, json={**TASK, "payload": {"action": "noop", "sleep_ms": 2600}})
        problem(client.get("/api/v1/tasks"), 401, "not-signed-in")


def test_off_loopback_everybody_needs_a_key_also_for_looking(tmp_path: Path):
    with pulser(tmp_path) as served:
        [(_, secret)] = with_keys(served.data_dir, ["key", "default", "first", "admin", ""])
    with pulser(tmp_path, settings={"PULSER_HOST": "0.0.0.0"}) as served:
        url = f"http://127.0.0.1:{served.port}"
        assert served.start == ""
        with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}) as keyed, httpx2.Client(base_url=url) as anybody:
            assert anybody.get("/healthz").status_code == 200
            for path in ("/api/v1/tasks", "/api/v1/events", "/api/v1/events/tail", "/api/v1/agents", "/metrics", "/session"):
                problem(anybody.get(path), 401, "not-signed-in")
            assert keyed.post("/api/v1/tasks", params={"wait_s": 30}, json=TASK).json()["stage"] == "done"
            token = (tmp_path / "data" / "token").read_text().strip()
            problem(anybody.get("/api/v1/tasks", headers={"Authorization": f"Bearer {token}"}), 401, "not-signed-in")
            problem(anybody.post("/session", json={"secret": token}), 401, "not-signed-in")
            page = anybody.get("/board")
            assert page.status_code == 401 and "API key" in page.text and "pulser open" not in page.text, "it offers only what works here"
            assert anybody.post("/session", json={"secret": secret}).status_code == 204
            assert anybody.get("/board").status_code == 200
