"""A report as one HTML file: everything escaped, nothing loaded from elsewhere, dark or light as the reader's system is."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from pulser.tools.builtin.data.values import shown

STYLE = """
:root{color-scheme:light dark;--ground:#fff;--text:#161616;--soft:#525252;--line:#e0e0e0;--tile:#f4f4f4;--good:#0e6027;--bad:#a2191f}
@media(prefers-color-scheme:dark){:root{--ground:#161616;--text:#f4f4f4;--soft:#c6c6c6;--line:#393939;--tile:#262626;--good:#42be65;--bad:#ff8389}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1100px;padding:24px;background:var(--ground);color:var(--text);font:15px/1.5 system-ui,sans-serif}
h1{font-size:26px;font-weight:400;margin:0 0 4px}h2{font-size:19px;font-weight:500;margin:32px 0 8px}h3{font-size:16px;margin:20px 0 4px}
p.sub{color:var(--soft);margin:0 0 16px}
table{border-collapse:collapse;width:100%;font-size:13px}
th,td{text-align:left;padding:6px 10px;border-bottom:1px solid var(--line);vertical-align:top}th{background:var(--tile);font-weight:600}
td.n{text-align:right;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}.charts{display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start}
.charts svg{background:var(--tile);max-width:100%;height:auto}
.tiles{display:flex;flex-wrap:wrap;gap:12px}.tile{background:var(--tile);padding:10px 16px;min-width:110px}
.tile b{display:block;font-size:22px;font-weight:400}.tile span{color:var(--soft);font-size:12px}
.good{color:var(--good)}.bad{color:var(--bad)}code,pre{font-family:ui-monospace,monospace;font-size:13px}pre{background:var(--tile);padding:12px;overflow-x:auto;white-space:pre-wrap}
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, subtitle: str, body: str) -> str:
    """The file. ``body`` is markup; ``title`` and ``subtitle`` are text."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title><style>{STYLE}</style></head>\n'
        f'<body><main><h1>{escape(title)}</h1><p class="sub">{escape(subtitle)}</p>\n{body}\n</main></body></html>\n'
    )


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], width: int = 60) -> str:
    """A table; numbers stand to the right, cells are cut to ``width`` characters."""
    top = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in head)
    body = "".join("<tr>" + "".join(_cell(value, width) for value in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Any, width: int) -> str:
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    mark = ' class="n"' if right else ""
    return f"<td{mark}>{escape(shown(value, width))}</td>"


def tiles(facts: dict[str, Any]) -> str:
    """A row of figures with their names."""
    return (
        '<div class="tiles">'
        + "".join(f'<div class="tile"><b>{escape(shown(value))}</b><span>{escape(name)}</span></div>' for name, value in facts.items())
        + "</div>"
    )


def notes(lines: Sequence[str]) -> str:
    """What the reader should know, as a list; nothing if there is nothing."""
    return "<h2>Notes</h2><ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def markdown_cell(value: Any, width: int = 60) -> str:
    """``value`` inside a Markdown table."""
    line = shown(value, width)
    for sign in ("\\", "|", "<", "*", "_", "`", "["):
        line = line.replace(sign, f"\\{sign}" if sign != "<" else "&lt;")
    return line


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(markdown_cell(name) for name in head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(markdown_cell(value) for value in row) + " |" for row in rows])
