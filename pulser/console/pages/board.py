"""The board: a column for each status, newest first, each with its own pages."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from pulser.console import render, words
from pulser.console.pages.data import Caller, Data, Shape
from pulser.core.errors import NotFound

FILTERS = ("agent", "task_type", "priority", "q")
FIRST = 15
AT_MOST = 200


async def show(deps: Data, request: Request, caller: Caller) -> Response:
    """GET /board: ``?agent&task_type&priority&q`` narrow it, ``?shown`` is how many cards a column starts with."""
    chosen = _filters(request)
    shown = _shown(request)
    company = caller.company_id
    *pages, agents = await asyncio.gather(
        *(_column(deps, company, column.status, chosen, shown) for column in words.COLUMNS),
        deps.list_agents(company),
    )
    lists = [{"column": column, "items": found["items"], "next": found.get("next")} for column, found in zip(words.COLUMNS, pages, strict=True)]
    names = agents["items"]
    types = sorted({kind["task_type"] if isinstance(kind, dict) else kind for agent in names for kind in agent.get("task_types") or ()})
    empty = not chosen and not any(one["items"] for one in lists)
    return render.page(request, "board.html", active="board", caller=caller, lists=lists, agents=names, types=types, chosen=chosen, shown=shown, empty=empty)


async def more(deps: Data, request: Request, caller: Caller) -> Response:
    """GET /board/more/{status}?cursor=: the next cards of one column, as list items."""
    status = request.path_params["status"]
    if status not in words.STATUS_TITLES:
        raise NotFound(f"there is no column {status[:40]}")
    chosen = _filters(request)
    found = await _column(deps, caller.company_id, status, chosen, FIRST, request.query_params.get("cursor"))
    return render.page(request, "board_more.html", caller=caller, items=found["items"], next=found.get("next"), status=status, chosen=chosen)


def _filters(request: Request) -> dict[str, str]:
    return {name: value[:200] for name in FILTERS if (value := request.query_params.get(name, "").strip())}


def _shown(request: Request) -> int:
    asked = request.query_params.get("shown", "")
    return min(AT_MOST, max(FIRST, int(asked))) if asked.isascii() and asked.isdigit() and len(asked) < 4 else FIRST


async def _column(deps: Data, company: str, status: str, chosen: dict[str, str], limit: int, cursor: str | None = None) -> Shape:
    filters: dict[str, Any] = dict(chosen) | {"status": status, "limit": limit}
    if cursor:
        filters["cursor"] = cursor
    found = await deps.list_tasks(company, **filters)
    return found | {"items": [task for task in found["items"] if not task.get("discarded")]}
