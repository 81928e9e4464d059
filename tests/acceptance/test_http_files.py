"""Files over HTTP: what a task made, what an attempt printed, and what a caller brings."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.conftest import Work, problem
from tests.served import Served

PENGUINS = "data/penguins.csv"


@pytest.fixture(scope="module")
def profiled(work: Work) -> dict[str, Any]:
    task = work.run("analytics", {"action": "profile", "path": PENGUINS})
    assert task["stage"] == "done", task["error"]
    return task


def test_every_artifact_is_there_with_its_bytes_type_and_checksum(api: httpx2.Client, profiled: dict[str, Any]):
    assert len(profiled["artifacts"]) >= 2
    for each in profiled["artifacts"]:
        answer = api.get(each["url"])
        assert answer.status_code == 200
        assert hashlib.sha256(answer.content).hexdigest() == each["sha256"] and len(answer.content) == each["size_bytes"]
        assert answer.headers["etag"] == f'"{each["sha256"]}"'
        assert answer.headers["content-disposition"].endswith(f'filename="{Path(each["name"]).name}"')


def test_files_are_kept_by_the_browser_but_asked_for_again_and_everything_else_is_not_kept(api: httpx2.Client, work: Work, profiled: dict[str, Any]):
    printed = work.run("testing", {"action": "test", "path": "project"})["attempts"][0]["log_url"]
    stored = api.post("/api/v1/files", params={"name": "kept.txt"}, content=b"kept").json()["sha256"]
    for url in (profiled["artifacts"][0]["url"], printed, f"/api/v1/files/{stored}"):
        first = api.get(url)
        assert first.headers["cache-control"] == "private, no-cache"
        again = api.get(url, headers={"If-None-Match": f'"other", W/{first.headers["etag"]}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert api.get(url, headers={"If-None-Match": '"other"'}).content == first.content
    for url in ("/api/v1/tasks", f"/api/v1/tasks/{profiled['task_id']}", "/api/v1/nothing", "/api/v1/events"):
        assert api.get(url).headers["cache-control"] == "no-store"
    assert api.post("/api/v1/tasks", json={"task_type": "orchestration", "payload": {"action": "noop"}}).headers["cache-control"] == "no-store"


def test_who_may_not_have_a_file_is_not_told_that_it_is_unchanged(anybody: httpx2.Client, profiled: dict[str, Any]):
    url, tag = profiled["artifacts"][0]["url"], f'"{profiled["artifacts"][0]["sha256"]}"'
    problem(anybody.get(url, headers={"If-None-Match": tag, "X-Forwarded-For": "203.0.113.7"}), 401, "not-signed-in")
    problem(anybody.get(f"/api/v1/files/{'0' * 64}", headers={"If-None-Match": "*"}), 404, "not-found")


def test_a_page_that_a_task_made_can_do_nothing_in_a_browser(anybody: httpx2.Client, profiled: dict[str, Any]):
    page = next(each for each in profiled["artifacts"] if each["media_type"].startswith("text/html"))
    answer = anybody.get(page["url"])
    policy = {part.strip() for part in answer.headers["content-security-policy"].split(";")}
    assert {"sandbox", "default-src 'none'"} <= policy and not any("allow-scripts" in part for part in policy)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"].startswith("text/html")


def test_an_artifact_that_is_not_there_is_not_found(api: httpx2.Client, profiled: dict[str, Any]):
    base = f"/api/v1/tasks/{profiled['task_id']}/artifacts"
    for name in ("nothing.md", "..%2f..%2f..%2ftoken", "log/1-1.txt", "%2fetc%2fpasswd"):
        problem(api.get(f"{base}/{name}"), 404, "not-found")


def test_the_log_of_each_attempt_is_plain_text(api: httpx2.Client, work: Work):
    task = work.run("testing", {"action": "test", "path": "project"})
    assert task["stage"] == "done", task["error"]
    answer = api.get(task["attempts"][0]["log_url"])
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text
    assert api.get(f"/api/v1/tasks/{task['task_id']}/log").text == answer.text
    problem(api.get(f"/api/v1/tasks/{task['task_id']}/log", params={"attempt": 9}), 404, "not-found")


def test_a_task_that_printed_nothing_has_no_log(api: httpx2.Client, work: Work):
    task = work.run()
    assert task["attempts"][0]["log_url"] is None
    problem(api.get(f"/api/v1/tasks/{task['task_id']}/log"), 404, "not-found")


def test_an_uploaded_file_can_be_worked_on(api: httpx2.Client, work: Work, samples: Path):
    content = (samples / PENGUINS).read_bytes() + b"\n"
    answer = api.post("/api/v1/files", files={"file": ("my penguins.csv", content, "text/csv")})
    assert answer.status_code == 201, answer.text
    stored = answer.json()
    assert stored == {
        "file": f"file:{hashlib.sha256(content).hexdigest()}",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "media_type": "text/csv",
        "name": "my penguins.csv",
    }
    assert answer.headers["location"] == f"/api/v1/files/{stored['sha256']}"
    task = work.run("analytics", {"action": "profile", "path": stored["file"]})
    assert task["stage"] == "done", task["error"]
    back = api.get(answer.headers["location"])
    assert back.content == content and "attachment" in back.headers["content-disposition"] and back.headers["content-security-policy"].startswith("sandbox")


def test_raw_bytes_are_a_file_too_and_the_same_bytes_are_the_same_file(api: httpx2.Client):
    first, again = (api.post("/api/v1/files", params={"name": f"{n}.txt"}, content=b"the same", headers={"Content-Type": "text/plain"}) for n in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["sha256"] == again.json()["sha256"]


def test_what_one_task_made_is_what_the_next_one_reads(work: Work):
    linted = work.run("testing", {"action": "lint", "path": "project"})
    task = work.run(
        "analytics", {"action": "query", "sql": "SELECT count(*) AS n FROM found", "files": {"found": f"artifact:{linted['task_id']}/findings.json"}}
    )
    assert task["stage"] == "done", task["error"]


@pytest.mark.parametrize(("name", "kept"), [("../../etc/passwd", "passwd"), ("a\\b\\c.txt", "c.txt"), ("", "file"), ("ü 😀.txt", "ü 😀.txt")])
def test_the_name_of_a_file_is_a_name_and_no_path(api: httpx2.Client, name: str, kept: str):
    answer = api.post("/api/v1/files", params={"name": name}, content=f"content of {name}".encode())
    assert answer.status_code == 201 and answer.json()["name"] == kept
    assert api.get(answer.headers["location"]).status_code == 200


def test_a_name_with_control_characters_is_refused(api: httpx2.Client):
    problem(api.post("/api/v1/files", params={"name": "a\r\nSet-Cookie: x"}, content=b"x"), 422, "bad-input")


def test_a_form_without_a_file_is_refused(api: httpx2.Client):
    body = problem(api.post("/api/v1/files", files={"other": b"x"}), 422, "bad-input")
    assert body["errors"][0]["pointer"] == "/file"
    boundary = {"Content-Type": "multipart/form-data; boundary=xyz"}
    for cut in (b"", b"--xyz", b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'):
        answer = api.post("/api/v1/files", content=cut, headers=boundary)
        assert answer.status_code in (400, 422) and answer.headers["content-type"] == "application/problem+json"
    problem(api.post("/api/v1/files", content=b"x", headers={"Content-Type": "multipart/form-data"}), 400, "malformed")


def test_nothing_is_left_of_uploads_in_the_scratch_folder(served: Served, api: httpx2.Client):
    api.post("/api/v1/files", content=b"leaves nothing behind")
    assert [each.name for each in (served.data_dir / "scratch").iterdir() if each.is_file()] == []


def test_a_stored_file_and_its_task_outlive_the_server(tmp_path: Path):
    from tests.served import pulser

    with pulser(tmp_path) as first:
        stored = first.client().post("/api/v1/files", params={"name": "kept.txt"}, content=b"kept").json()
        task = Work(first.client()).run(title="kept")
        token = first.token
    with pulser(tmp_path) as second:
        api = second.client()
        assert api.get(f"/api/v1/files/{stored['sha256']}").content == b"kept"
        assert api.get(f"/api/v1/tasks/{task['task_id']}").json()["attempts"] == task["attempts"]
        assert second.token == token
