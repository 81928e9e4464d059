"""Random requests made from our own OpenAPI document against a real server: nothing of ours breaks, and answers are what was described."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans
from schemathesis import GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from pulser.api.describe import OPERATIONS
from tests.served import ROOT, Served, pulser

EXAMPLES = 20 if os.environ.get("PULSER_TEST_SHORT") else 250
ENDLESS = "followEvents"  # a stream; its parameters are those of listEvents


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pulser(tmp_path_factory.mktemp("fuzzed"), [ROOT / "pulser" / "app" / "samples"]) as running:
        yield running


@pytest.fixture(scope="module")
def real(served: Served) -> dict[str, str]:
    """Things that are there, so that not everything ends at 404."""
    api = served.client()
    task = api.post("/api/v1/tasks", params={"wait_s": 60}, json={"task_type": "testing", "payload": {"action": "lint", "path": "project"}}).json()
    stored = api.post("/api/v1/files", content=b"fuzz").json()
    return {"task_id": task["task_id"], "name": task["artifacts"][0]["name"], "sha256": stored["sha256"]}


@pytest.fixture(scope="module")
def document(served: Served) -> Any:
    return openapi.from_url(served.url + "/openapi.json")


@pytest.mark.parametrize(("method", "path"), [each for each, said in OPERATIONS.items() if said.name != ENDLESS])
def test_whatever_is_sent_nothing_of_ours_breaks_and_the_answer_is_as_described(
    method: str, path: str, document: Any, served: Served, real: dict[str, str]
) -> None:
    operation = document[path][method]
    described = operation.as_strategy()
    takes = operation.path_parameters or operation.query or operation.headers or operation.body
    cases = described | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE) if takes else described

    @settings(max_examples=EXAMPLES, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck), database=None)
    @given(case=cases, there=booleans())
    def ask(case: Any, there: bool) -> None:
        if isinstance(case.query, dict) and case.query.get("wait_s"):
            case.query["wait_s"] = 0  # up to five minutes otherwise
        if there and case.path_parameters:
            case.path_parameters = {
                name: "maya" if "/agents/{name}" in path and name == "name" else real.get(name, value) for name, value in case.path_parameters.items()
            }
        answer = case.call(base_url=served.url, headers={"Authorization": f"Bearer {served.token}"}, timeout=30)
        if answer.status_code == 503:
            assert answer.headers["content-type"][0] == "application/problem+json", answer.text  # said, not broken
        else:
            case.validate_response(answer, checks=[not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance])

    ask()


def test_the_server_has_survived_it_and_still_works(served: Served) -> None:
    api = served.client()
    for name in [each["name"] for each in api.get("/api/v1/agents").json()["items"]]:
        api.post(f"/api/v1/agents/{name}/resume")
        [instance] = api.get(f"/api/v1/agents/{name}").json()["instances"]
        api.patch(f"/api/v1/agents/{name}/instances/{instance['instance_id']}", json={"available": True})
    answer = api.post("/api/v1/tasks", params={"wait_s": 60}, json={"task_type": "orchestration", "priority": "critical", "payload": {"action": "noop"}})
    assert answer.json()["stage"] == "done"
    assert api.get("/readyz").status_code == 200
    assert "unexpected error" not in served.log.read_text()


@pytest.mark.parametrize(
    "query", ["since=%00", "since=" + "9" * 400, "kind=" + "x" * 5000, "task_id=%F0%28%8C%28", "actor=" + "a" * 5000, "since=c0-0&since=c1-1"]
)
def test_the_stream_takes_or_refuses_odd_parameters(served: Served, query: str) -> None:
    with served.client().stream("GET", f"/api/v1/events/tail?{query}") as answer:
        assert answer.status_code in (200, 422)
    assert isinstance(answer, httpx2.Response) and Path(served.log).read_text().count("unexpected error") == 0
