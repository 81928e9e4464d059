"""The event log: newest first, live at its top, older by cursor."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from pulser.console import render
from pulser.console.pages.data import Caller, Data, Shape
from pulser.events.catalogue import KINDS

FILTERS = ("kind", "task_id", "actor")
PAGE = 50


def older(found: Shape, limit: int) -> str | None:
    """The cursor of the next page; None after a page that was not full, for the log always names one."""
    return found.get("next") if len(found["items"]) >= limit else None


async def show(deps: Data, request: Request, caller: Caller) -> Response:
    """GET /events: ``?kind&task_id&actor`` narrow it, ``?before`` is the cursor of an older page."""
    chosen = {name: value[:200] for name in FILTERS if (value := request.query_params.get(name, "").strip())}
    before = request.query_params.get("before", "")
    filters = dict(chosen) | ({"before": before} if before else {})
    found = await deps.list_events(caller.company_id, order="desc", limit=PAGE, **filters)
    template = "events_more.html" if request.headers.get("hx-request") and before else "events.html"
    kinds = sorted(KINDS)
    return render.page(
        request, template, active="events", caller=caller, events=found["items"], older=older(found, PAGE), chosen=chosen, before=before, kinds=kinds
    )
