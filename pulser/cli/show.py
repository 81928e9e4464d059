"""Printing: tables on a terminal, plain columns when piped, one JSON document or JSON lines when asked.

Only results go to standard output. Text of others (titles, errors) is freed of control characters before a terminal sees it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

STYLES = {
    "queued": "dim", "waiting": "dim", "running": "cyan", "in_review": "magenta", "completed": "green", "failed": "red", "cancelled": "yellow",
    "ok": "green", "warn": "yellow", "fail": "red",
}  # fmt: skip
_CONTROL = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def terminal() -> bool:
    """True if a person reads standard output."""
    return sys.stdout.isatty()


def document(value: Any) -> None:
    """The one JSON document of ``--json``."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def json_line(value: Any) -> None:
    """One line of a stream."""
    print(json.dumps(value, ensure_ascii=False, default=str), flush=True)


def say(text: str = "") -> None:
    """A line of text."""
    print(clean(text), flush=True)


def note(text: str) -> None:
    """A line for the person, apart from the result."""
    print(clean(text), file=sys.stderr, flush=True)


def clean(text: str) -> str:
    """``text`` without what could steer a terminal."""
    return text.translate(_CONTROL)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str = "") -> None:
    """Columns of text. ``empty`` goes to standard error if there are no rows."""
    filled = [[clean("" if cell is None else str(cell)).replace("\n", " ") for cell in row] for row in rows]
    if not filled and empty:
        note(empty)
        return
    if terminal():
        from rich.console import Console

        Console().print(rich_table(columns, filled))
        return
    widths = [max([len(name), *(len(row[n]) for row in filled)]) for n, name in enumerate(columns)]
    for line in [[name.upper() for name in columns], *filled]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def rich_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Any:
    """The same for a terminal, with the status words in their colours."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        made.add_column(name, no_wrap=name in ("task", "status", "key"), justify="right" if name in ("took", "size", "score") else "left")
    for row in rows:
        made.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return made


def pairs(values: Mapping[str, Any]) -> None:
    """Name and value per line; empty values are left out."""
    shown = {name: value for name, value in values.items() if value not in (None, "", [], {})}
    width = max((len(name) for name in shown), default=0)
    for name, value in shown.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        print(f"{name.ljust(width)}  {clean(text)}")


def span(seconds: float | None) -> str:
    """A duration for people."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 90:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(count: int) -> str:
    """Bytes for people."""
    amount, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def between(start: str | None, end: str | None) -> float | None:
    """Seconds from one RFC 3339 time to another."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() if start and end else None


def when(at: str | None) -> str:
    """An RFC 3339 time in this machine's zone, to the second."""
    return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else ""
