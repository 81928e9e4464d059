"""The description of the API is whole: every operation has what a reader and a generator need, and every reference leads somewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from pulser.api.describe import OPERATIONS
from pulser.api.reference import _page
from pulser.app.serve import doors
from pulser.core import errors
from pulser.intake.request import BatchRequest, TaskRequest

ROOT = Path(__file__).resolve().parents[3]


@cache
def document() -> dict[str, Any]:
    return doors().openapi()


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, operation) for path, methods in document()["paths"].items() for method, operation in methods.items()]


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from walk(each)
    elif isinstance(value, list):
        for each in value:
            yield from walk(each)


def test_it_is_openapi_3_1_and_names_version_and_licence():
    assert document()["openapi"] == "3.1.0"
    assert document()["info"]["license"]["identifier"] == "AGPL-3.0-or-later" and document()["info"]["version"]


def test_every_reference_leads_somewhere_and_no_component_stands_alone():
    wanted = {each["$ref"] for each in walk(document()) if isinstance(each.get("$ref"), str)}
    for reference in wanted:
        found: Any = document()
        for part in reference.removeprefix("#/").split("/"):
            assert part in found, reference
            found = found[part]
    there = {f"#/components/schemas/{name}" for name in document()["components"]["schemas"]}
    assert there - wanted == set()


def test_every_route_is_in_the_table_and_the_table_has_no_other():
    assert {(method, path) for method, path, _ in operations()} == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), list(OPERATIONS))
def test_every_operation_says_what_it_is_for_whom_and_what_it_answers(method: str, path: str):
    operation = document()["paths"][path][method]
    assert operation["summary"] and operation["description"] and operation["tags"] and operation["security"]
    assert {"bearer": []} in operation["security"]
    good = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
    assert good
    for status, answer in good.items():
        assert answer["description"] and (status == "204" or answer["content"])
    if path.startswith("/api"):
        assert {"401", "403", "422"} <= set(operation["responses"])
    if "{" in path:
        assert "404" in operation["responses"]
    for status, answer in operation["responses"].items():
        if status[0] in "45" and path != "/readyz":
            assert answer == {"$ref": f"#/components/responses/Problem{status}"}


def test_operation_ids_are_unique_and_stable_words():
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[a-z][A-Za-z]+", each) for each in ids)


def test_changing_something_needs_a_credential_and_looking_may_not():
    for method, path, operation in operations():
        asks = method == "get" or path in ("/api/v1/route", "/session")
        assert ({} in operation["security"]) == asks, (method, path)


@pytest.mark.parametrize(("method", "path"), [key for key, said in OPERATIONS.items() if said.examples])
def test_every_example_of_a_body_satisfies_its_schema(method: str, path: str):
    content = document()["paths"][path][method]["requestBody"]["content"]["application/json"]
    schema = {**content["schema"], "components": document()["components"]}
    validator = jsonschema_rs.Draft202012Validator(schema)
    assert content["examples"]
    for example in content["examples"].values():
        validator.validate(example["value"])


def test_every_json_body_has_an_example():
    for method, path, operation in operations():
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        assert content is None or content["examples"], (method, path)


def test_examples_of_tasks_are_tasks_that_the_door_takes():
    for example in OPERATIONS["post", "/api/v1/tasks"].examples.values():
        TaskRequest.model_validate_json(json.dumps(example))
    for example in OPERATIONS["post", "/api/v1/tasks/batch"].examples.values():
        BatchRequest.model_validate_json(json.dumps(example))


def test_every_problem_of_the_tree_that_a_caller_can_meet_is_described():
    described = {int(name.removeprefix("Problem")) for name in document()["components"]["responses"]}
    statuses = {kind.status for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.CallerError)}
    assert statuses - described <= {412}  # nothing is conditional yet
    for answer in document()["components"]["responses"].values():
        assert list(answer["content"]) == ["application/problem+json"]


def test_the_file_in_contracts_is_this_document():
    assert json.loads((ROOT / "contracts/openapi.json").read_text("utf-8")) == document(), "run `make docs`"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values["href"] or ""] if "href" in values else []
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_reference_page_shows_every_operation_and_each_of_its_links_leads_somewhere():
    page = "".join(_page(document()))
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert {operation["operationId"] for _, _, operation in operations()} <= set(tags.ids) and len(tags.ids) == len(set(tags.ids))
    assert {link for link in tags.links if link.startswith("#")} <= {f"#{each}" for each in tags.ids}
    assert {link for link in tags.links if not link.startswith("#")} == {"/openapi.json"}


def test_what_a_description_says_cannot_become_markup():
    made = json.loads(json.dumps(document()).replace("Submit work", "<script>alert(1)</script>"))
    assert "<script" not in "".join(_page(made))
