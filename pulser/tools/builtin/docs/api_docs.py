"""``docs.api_docs``: a Markdown reference from an OpenAPI file, and what the file leaves out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from pulser.core.tool import Call, Json, Tool
from pulser.tools.builtin.docs.api_gaps import gaps_of
from pulser.tools.builtin.docs.api_pages import as_markdown
from pulser.tools.builtin.docs.openapi import mapping, operations, read_openapi


def run(call: Call) -> Json:
    """Write API.md and gaps.json."""
    document = read_openapi(Path(call.args["path"]))
    call.progress("Writing the reference", 0.3)
    text = as_markdown(document, call.args.get("title", ""))
    call.artifact("API.md", "text/markdown").write_text(text, encoding="utf-8", errors="replace")
    call.progress("Looking for gaps", 0.8)
    gaps = gaps_of(document)
    call.artifact("gaps.json", "application/json").write_text(json.dumps(gaps, indent=1), encoding="utf-8")
    found = operations(document)
    counts = Counter(gap["kind"] for gap in gaps)
    title = str(call.args.get("title") or mapping(document.get("info")).get("title") or "API")
    result: Json = {
        "title": title[:200],
        "openapi": str(document["openapi"]),
        "operations": len(found),
        "schemas": len(mapping(mapping(document.get("components")).get("schemas"))),
        "gaps": gaps[:200],
        "gap_counts": dict(counts.most_common()),
        "truncated": len(gaps) > 200,
    }
    return result | {"summary": _told(result, len(gaps))}


def _told(result: Json, gaps: int) -> str:
    told = f"{result['title']}: {result['operations']} operations and {result['schemas']} schemas described in API.md; "
    if not gaps:
        return told + "no gaps."
    most = ", ".join(f"{kind} x {count}" for kind, count in list(result["gap_counts"].items())[:3])
    return told + f"{gaps} gap{'s' * (gaps != 1)} ({most})."


TOOL = Tool(
    name="docs.api_docs",
    summary="Write a Markdown reference from an OpenAPI file, and list what it leaves out.",
    run=run,
    effect="read",
    inputs=("path",),
    arguments={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "An OpenAPI 3.0 or 3.1 file, JSON or YAML."},
            "title": {"type": "string", "minLength": 1, "maxLength": 200, "description": "The reference's title; that of the file if not given."},
        },
    },
    examples=({"path": "openapi.yaml"},),
)
