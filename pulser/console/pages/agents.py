"""The agents: who they are, what they can do, and how busy they are."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from pulser.console import render
from pulser.console.pages.data import Caller, Data


async def show(deps: Data, request: Request, caller: Caller) -> Response:
    """GET /agents."""
    found = (await deps.list_agents(caller.company_id))["items"]
    totals = {
        "running": sum((agent.get("load") or {}).get("running") or 0 for agent in found),
        "queued": sum((agent.get("load") or {}).get("queued") or 0 for agent in found),
        "instances": sum(1 for agent in found for one in agent.get("instances") or () if one.get("alive")),
        "paused": sum(1 for agent in found if agent.get("paused")),
    }
    return render.page(request, "agents.html", active="agents", caller=caller, agents=found, totals=totals)
