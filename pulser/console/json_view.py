"""JSON for reading: indented, and with each kind of token in its own ``<span>``, every character escaped."""

from __future__ import annotations

import json
import re
from typing import Any

from markupsafe import Markup, escape

SHOWN_CHARS = 100_000
_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b')


def pretty(value: Any) -> str:
    """Indented JSON; one line where it is nested too deep to be indented."""
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, default=str)
    except RecursionError:
        return "(nested too deep to be shown; read it through the API)"


def highlight(value: Any) -> Markup:
    """Markup of :func:`pretty`, cut after ``SHOWN_CHARS`` characters."""
    text = pretty(value)
    cut = len(text) > SHOWN_CHARS
    text = text[:SHOWN_CHARS]
    parts: list[Markup] = []
    at = 0
    for match in _TOKEN.finditer(text):
        parts.append(escape(text[at : match.start()]))
        string, colon, number, word = match.groups()
        kind = "key" if colon else "str" if string else "num" if number else "word"
        parts.append(Markup('<span class="j-{}">{}</span>').format(kind, string or number or word))
        if colon:
            parts.append(escape(colon))
        at = match.end()
    parts.append(escape(text[at:]))
    if cut:
        parts.append(Markup("\n…"))
    return Markup("").join(parts)
