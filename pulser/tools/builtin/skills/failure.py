"""One thing that went wrong, wherever it was told."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_LOGIN = re.compile(r"(?P<before>[a-z][a-z0-9+.-]{0,30}://[^\s/:@]*:)[^\s/@]+@")
_NAMED = re.compile(
    r"(?i)\b([\w-]{0,40}(?:password|passwd|secret|token|api[_-]?key|authorization|credential)s?[\"']?\s*[=:]\s*[\"']?)(?:bearer\s+|basic\s+)?[^\s\"',;&]{3,}"
)
_KNOWN = re.compile(r"\b(?:sk|pk|rk|ghp|gho|ghs|xox[abp]|AKIA|glpat)[-_A-Za-z0-9]{12,}\b|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+")


@dataclass(frozen=True, slots=True)
class Failure:
    """What was said and what is known around it. ``at`` is an ISO time in UTC, None if unknown; ``frame`` the innermost place in a traceback."""

    message: str
    at: str | None = None
    source: str = ""
    code: str = ""
    hint: str = ""
    agent: str = ""
    task_type: str = ""
    action: str = ""
    task_id: str = ""
    frame: str = ""


def moment(value: Any) -> str | None:
    """An ISO time in UTC from an ISO text (UTC unless it says otherwise) or seconds since 1970; None for anything else."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value, UTC)
        else:
            found = datetime.fromisoformat(str(value).strip().replace(",", "."))
            found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return found.strftime("%Y-%m-%dT%H:%M:%SZ")


def redacted(text: str) -> str:
    """``text`` without what looks like a password, a key or a token."""
    return _KNOWN.sub("[redacted]", _NAMED.sub(r"\1[redacted]", _LOGIN.sub(r"\g<before>[redacted]@", text)))


def of_dead_letter(entry: dict[str, Any]) -> Failure:
    """From what :meth:`~pulser.core.tool.Installation.failures` gives."""
    error = entry.get("error")
    inner = error if isinstance(error, dict) else {"detail": error}
    return Failure(
        message=str(inner.get("detail") or inner.get("code") or "failed without a word"),
        at=moment(entry.get("failed_at")),
        source="dead letters and failed attempts",
        code=str(inner.get("code") or ""),
        hint=str(inner.get("hint") or ""),
        **{name: str(entry.get(name) or "") for name in ("agent", "task_type", "action", "task_id")},
    )


def of_event(event: dict[str, Any]) -> Failure:
    """From an event ``executor_failed``, ``task_failed`` or ``lease_reclaimed``."""
    details: dict[str, Any] = event["details"] if isinstance(event.get("details"), dict) else {}
    kind = str(event.get("kind") or event.get("event") or "")
    lost = kind == "lease_reclaimed"
    return Failure(
        message="the worker fell silent and its lease was taken back" if lost else str(details.get("error") or "failed without a word"),
        at=moment(event.get("at") or event.get("ts") or event.get("created_at")),
        source="events",
        code="worker_lost" if lost else str(details.get("code") or ""),
        agent=str(details.get("agent") or ""),
        task_type=str(details.get("task_type") or ""),
        task_id=str(event.get("target") or event.get("task_id") or "").removeprefix("task:"),
    )
