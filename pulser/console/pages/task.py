"""One task: what it is, who has it and why, what came of it, and everything that happened."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from pulser.console import render
from pulser.console.pages.data import Caller, Data, Shape
from pulser.console.pages.events import older
from pulser.core.task import STATUS

TIMELINE = 200
PREVIEWS = {"application/json": "json", "text/markdown": "markdown", "image/svg+xml": "image", "image/png": "image", "image/jpeg": "image", "text/html": "html"}


async def show(deps: Data, request: Request, caller: Caller) -> Response:
    """GET /tasks/{task_id}."""
    task_id = request.path_params["task_id"]
    company = caller.company_id
    found = await deps.get_task(company, task_id)
    events = await deps.list_events(company, task_id=task_id, order="desc", limit=TIMELINE)
    return render.page(
        request,
        "task.html",
        active="board",
        caller=caller,
        task=found,
        events=events["items"],
        older=older(events, TIMELINE),
        children=[child | {"status": STATUS[child["stage"]]} for child in found.get("children") or ()],
        preview=preview,
        attempts=list(reversed(found.get("attempts") or [])),
    )


def preview(artifact: Shape) -> str:
    """How an artifact can be shown: json, markdown, image, html, text; empty if only as a download."""
    kind = str(artifact.get("media_type") or "").partition(";")[0].strip().lower()
    if kind in PREVIEWS:
        return PREVIEWS[kind]
    return "text" if kind.startswith("text/") or kind in ("application/xml", "application/x-patch", "application/yaml", "application/x-ndjson") else ""
