"""What requests ask for, where that is not the business of one route: plain filters, and answers they have already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from pulser.core.errors import BadInput

REVALIDATED = "private, no-cache"  # may be kept by the browser, but asked for again each time


def plain(filters: Mapping[str, Any]) -> None:
    """Raise :class:`BadInput` for a filter with a NUL character, which no text in the database has and Postgres does not take."""
    for name, value in filters.items():
        if isinstance(value, str) and "\x00" in value:
            raise BadInput(f"{name} has a NUL character", errors=[{"pointer": f"/{name}", "detail": "NUL"}])


def unchanged(request: Request, tag: str, headers: Mapping[str, str]) -> Response | None:
    """304 with ``headers``, if the request says that it has what ``tag`` (with its quotes) stands for."""
    known = request.headers.get("if-none-match", "")
    if known.strip() != "*" and tag not in [each.strip().removeprefix("W/") for each in known.split(",")]:
        return None
    return Response(status_code=304, headers={**headers, "ETag": tag})
