"""What an API's description leaves out or gets wrong: a lint of gaps, each with its place."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from pulser.core.tool import Json
from pulser.tools.builtin.docs.openapi import Operation, mapping, operations, references, resolve, sequence

Gap = Json  # {"kind", "where", "detail"}


def gaps_of(document: Json) -> list[Gap]:
    """All gaps, those of the document first, then operation by operation."""
    found = operations(document)
    return [*_of_document(document, found), *(gap for operation in found for gap in _of_operation(document, operation))]


def _of_document(document: Json, found: list[Operation]) -> Iterator[Gap]:
    info = mapping(document.get("info"))
    for name in ("title", "version", "description"):
        if not info.get(name):
            yield _gap("info", "info", f"there is no {name}")
    if not found and not mapping(document.get("webhooks")):
        yield _gap("no-operations", "paths", "no operation is described")
    used = Counter(references(document))
    for ref in used:
        if not ref.startswith("#/"):
            yield _gap("external-reference", ref[:200], "a reference outside this file is not followed")
        elif not resolve(document, {"$ref": ref}):
            yield _gap("broken-reference", ref[:200], "it leads nowhere, or in a circle")
    for section, components in mapping(document.get("components")).items():
        if section != "securitySchemes":
            for name in mapping(components):
                if f"#/components/{section}/{name}" not in used:
                    yield _gap("unused-component", f"components/{section}/{name}", "nothing refers to it")
    ids = Counter(str(operation.body["operationId"]) for operation in found if operation.body.get("operationId"))
    for name, count in ids.items():
        if count > 1:
            yield _gap("duplicate-operation-id", name, f"{count} operations have this operationId")


def _of_operation(document: Json, operation: Operation) -> Iterator[Gap]:
    body, where = operation.body, operation.where
    if not body.get("summary"):
        yield _gap("no-summary", where, "the operation has no summary")
    if not body.get("description") and not body.get("summary"):
        yield _gap("no-description", where, "the operation is not described")
    if not operation.tags:
        yield _gap("no-tag", where, "the operation has no tag")
    in_path = set(re.findall(r"\{([^{}/]+)\}", operation.path))
    declared = {str(p["name"]) for p in operation.parameters if p.get("in") == "path"}
    for name in sorted(in_path - declared):
        yield _gap("undeclared-path-parameter", where, f"{{{name}}} is in the path but not among the parameters")
    for name in sorted(declared - in_path):
        yield _gap("unused-path-parameter", where, f"the path parameter {name} is not in the path")
    for parameter in operation.parameters:
        if not parameter.get("description"):
            yield _gap("undescribed-parameter", where, f"the parameter {parameter['name']} is not described")
    yield from _of_bodies(document, operation)
    schemes = mapping(mapping(document.get("components")).get("securitySchemes"))
    for requirement in sequence(body.get("security", document.get("security"))):
        for name in mapping(requirement):
            if name not in schemes:
                yield _gap("unknown-security-scheme", where, f"the scheme {name} is not declared")


def _of_bodies(document: Json, operation: Operation) -> Iterator[Gap]:
    body, where = operation.body, operation.where
    if "requestBody" in body:
        for media, content in mapping(resolve(document, body["requestBody"]).get("content")).items():
            if not mapping(content).get("schema"):
                yield _gap("body-without-schema", where, f"the body as {media} has no schema")
    responses = mapping(body.get("responses"))
    if not any(code.startswith(("1", "2", "3")) for code in responses) and "default" not in responses:
        yield _gap("no-success-response", where, "no response of success is described")
    if not any(code.startswith("4") for code in responses) and "default" not in responses:
        yield _gap("no-error-response", where, "no response of refusal (4xx) is described")
    for code, raw in responses.items():
        response = resolve(document, raw)
        if not response.get("description"):
            yield _gap("undescribed-response", where, f"the response {code} is not described")
        for media, content in mapping(response.get("content")).items():
            if not mapping(content).get("schema"):
                yield _gap("response-without-schema", where, f"the response {code} as {media} has no schema")


def _gap(kind: str, where: str, detail: str) -> Gap:
    return {"kind": kind, "where": where, "detail": detail}
