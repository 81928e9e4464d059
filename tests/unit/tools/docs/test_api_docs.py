"""docs.api_docs writes a reference and names the gaps."""

from __future__ import annotations

import json
import re

import pytest
from pydantic import BaseModel

from pulser.core.errors import BadInput
from pulser.tools.builtin.docs.api_docs import TOOL
from pulser.tools.builtin.docs.openapi import example_of
from tests.unit.tools.fake_call import run

SHELF = """
openapi: 3.1.0
info: {title: Shelf, version: '1.2', description: 'Books on a <script>shelf</script>.'}
servers: [{url: 'https://shelf.example.org'}]
tags: [{name: books, description: All about books.}]
security: [{token: []}]
paths:
  /books/{id}:
    parameters:
      - {$ref: '#/components/parameters/id'}
    get:
      tags: [books]
      summary: One book
      operationId: getBook
      responses:
        200:
          description: It
          content: {application/json: {schema: {$ref: '#/components/schemas/Book'}}}
        404: {description: There is none}
    put:
      responses: {}
components:
  securitySchemes: {token: {type: http, scheme: bearer}}
  parameters:
    id: {name: id, in: path, required: true, description: 'Its | id', schema: {type: integer, minimum: 1}}
  schemas:
    Book:
      type: object
      required: [title]
      properties:
        title: {type: string, example: Emma, description: What it is called}
        kind: {enum: [novel, essay]}
        sequel: {$ref: '#/components/schemas/Book'}
        tags: {type: array, items: {type: [string, 'null']}}
    Orphan: {type: string}
"""


@pytest.fixture
def shelf(tmp_path):
    path = tmp_path / "openapi.yaml"
    path.write_text(SHELF)
    return path


def test_operations_parameters_bodies_and_schemas_are_described(shelf, tmp_path):
    made = run(TOOL, tmp_path, path=str(shelf))
    text = made.text("API.md")
    assert "# Shelf" in text and "### GET `/books/{id}`" in text and "**One book**" in text and "All about books." in text
    assert "| `id` | path | integer | yes | Its \\| id minimum `1`. |" in text
    assert "[Book](#schema-book)" in text and '<a id="schema-book"></a>' in text
    assert "**token**: HTTP bearer" in text and "Needs: token" in text
    assert "<script>" not in text
    assert made.result["operations"] == 2 and made.result["schemas"] == 2


def test_every_link_of_the_contents_leads_somewhere(shelf, tmp_path):
    text = run(TOOL, tmp_path, path=str(shelf)).text("API.md")
    links = re.findall(r"\]\(#([^)]+)\)", text)
    assert links and set(links) <= set(re.findall(r'<a id="([^"]+)">', text))


def test_a_schema_that_holds_itself_ends_in_its_example(shelf, tmp_path):
    text = run(TOOL, tmp_path, path=str(shelf)).text("API.md")
    examples = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert json.loads(examples[0]) == {"title": "Emma", "kind": "novel", "sequel": None, "tags": ["string"]}


def test_gaps_are_named_with_their_place(shelf, tmp_path):
    gaps = run(TOOL, tmp_path, path=str(shelf)).json("gaps.json")
    of_put = {gap["kind"] for gap in gaps if gap["where"] == "PUT /books/{id}"}
    assert of_put == {"no-summary", "no-description", "no-tag", "no-success-response", "no-error-response"}
    assert [gap["where"] for gap in gaps if gap["kind"] == "unused-component"] == ["components/schemas/Orphan"]
    assert not [gap for gap in gaps if gap["where"] == "GET /books/{id}"]


def test_references_that_lead_nowhere_outside_or_in_a_circle_are_gaps(tmp_path):
    path = tmp_path / "api.yaml"
    a, b = {"$ref": "#/components/schemas/B"}, {"$ref": "#/components/schemas/A"}
    body = {"schema": {"oneOf": [a, {"$ref": "other.yaml#/X"}, {"$ref": "#/nowhere"}]}}
    get = {"responses": {"200": {"description": "x", "content": {"application/json": body}}}}
    path.write_text(json.dumps({"openapi": "3.0.3", "paths": {"/x": {"get": get}}, "components": {"schemas": {"A": a, "B": b}}}))
    kinds = run(TOOL, tmp_path, path=str(path)).result["gap_counts"]
    assert kinds["broken-reference"] == 3 and kinds["external-reference"] == 1


class Book(BaseModel):
    """For FastAPI; it holds itself."""

    title: str
    parts: list[Book] = []


def test_what_fastapi_generates_is_understood(tmp_path):
    from fastapi import FastAPI

    app = FastAPI(title="Books", separate_input_output_schemas=False)
    app.post("/books")(lambda book: book)
    app.get("/books/{id}", summary="One", tags=["books"])(lambda id: id)

    def put(book: Book) -> Book:
        return book

    app.put("/books")(put)
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(app.openapi()))
    made = run(TOOL, tmp_path, path=str(path), title="Our books")
    assert made.text("API.md").startswith("# Our books\n") and "| `parts` | array of [Book](#schema-book) |" in made.text("API.md")
    assert made.result["operations"] == 3


def test_examples_that_fan_out_are_bounded():
    schemas = {f"S{i}": {"type": "object", "properties": {f"p{j}": {"$ref": f"#/components/schemas/S{i + 1}"} for j in range(8)}} for i in range(10)}
    document = {"components": {"schemas": schemas | {"S10": {"type": "string"}}}}
    assert len(json.dumps(example_of(document, {"$ref": "#/components/schemas/S0"}))) < 20_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"swagger: '2.0'", "Swagger 2.0"),
        (b"a: [1", "not YAML"),
        (b"openapi: 4.0.0", "not OpenAPI 3.0 or 3.1"),
        (b"just words", "not an OpenAPI document"),
        (b"", "not an OpenAPI document"),
        (b'{"openapi": "3.1.0", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested"),
        (b"openapi: \xff", "not UTF-8"),
        (b'{"openapi": "\xff"}', "not UTF-8"),
    ],
)
def test_what_is_not_openapi_is_refused_with_the_reason(text, told, tmp_path):
    (tmp_path / "x.yaml").write_bytes(text)
    with pytest.raises(BadInput, match=told):
        run(TOOL, tmp_path, path=str(tmp_path / "x.yaml"))


def test_a_document_of_wrong_types_does_not_break_it(tmp_path):
    (tmp_path / "x.json").write_text(
        json.dumps(
            {
                "openapi": "3.1.0",
                "info": [],
                "tags": [1],
                "servers": 7,
                "paths": {"/x": {"get": {"parameters": [3, {"name": 5}], "responses": [], "tags": "x", "requestBody": 1}, "put": 3}, "/y": None},
                "components": {"schemas": {"A": 3, "B": {"properties": [], "type": 5, "enum": {}, "allOf": [1]}}, "securitySchemes": []},
            }
        )
    )
    assert run(TOOL, tmp_path, path=str(tmp_path / "x.json")).result["operations"] == 1


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadInput, match="there is no file"):
        run(TOOL, tmp_path, path=str(tmp_path / "nowhere.yaml"))


def test_code_cannot_be_ended_by_what_stands_in_it(tmp_path):
    (tmp_path / "api.json").write_text(json.dumps({"openapi": "3.1.0", "info": {}, "paths": {"/`` <b> ``": {"get": {"operationId": "`` <script> ```"}}}}))
    text = run(TOOL, tmp_path, path=str(tmp_path / "api.json")).text("API.md")
    assert "```` `` <script> ``` ````" in text and "### GET ``` /`` <b> `` ```" in text
