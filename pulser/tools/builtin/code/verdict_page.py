"""The result of ``code.test`` for a person: Markdown, and one HTML page that needs nothing else."""

from __future__ import annotations

from html import escape

from pulser.core.tool import Json

_STYLE = """
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem}
h1 .v{padding:.1em .5em;border-radius:.3em;color:#fff;background:#6f6f6f}.pass .v{background:#198038}.fail .v{background:#da1e28}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}pre{overflow:auto;background:#8881;padding:.7rem;border-radius:.3rem}
.bar{display:inline-block;width:8rem;height:.6em;background:#da1e2866;border-radius:.3em;overflow:hidden}.bar i{display:block;height:100%;background:#24a148}
"""


def as_markdown(result: Json) -> str:
    """A report in Markdown."""
    lines = ["# Tests", "", result["summary"], ""]
    tests = result["tests"]
    lines += ["| total | passed | failed | errors | skipped | seconds |", "|---:|---:|---:|---:|---:|---:|"]
    lines += [f"| {tests['total']} | {tests['passed']} | {tests['failed']} | {tests['errors']} | {tests['skipped']} | {tests['duration_s']:.2f} |", ""]
    for failure in result["failures"]:
        lines += [f"## {failure['test']}", "", *(f"    {line}" for line in (failure["detail"] or failure["message"]).splitlines()), ""]
    if result["coverage"]:
        lines += [f"## Coverage: {result['coverage']['percent']:.1f} %", "", "| file | covered | lines | missing |", "|---|---:|---:|---|"]
        lines += [f"| `{f['file']}` | {f['percent']:.1f} % | {f['lines']} | {f['missing']} |" for f in result["coverage"]["files"]]
    if result.get("note"):
        lines += ["", result["note"]]
    return "\n".join(lines).rstrip() + "\n"


def as_html(result: Json) -> str:
    """The same as a page; everything the project wrote is escaped."""
    tests = result["tests"]
    cells = "".join(f"<td class=n>{tests[k]}</td>" for k in ("total", "passed", "failed", "errors", "skipped"))
    body = [f"<h1 class={result['verdict']}><span class=v>{escape(result['verdict'])}</span> Tests</h1><p>{escape(result['summary'])}</p>"]
    heads = "".join(f"<th class=n>{h}</th>" for h in ("total", "passed", "failed", "errors", "skipped", "seconds"))
    body.append(f"<table><tr>{heads}</tr><tr>{cells}<td class=n>{tests['duration_s']:.2f}</td></tr></table>")
    if result["failures"]:
        body.append("<h2>Failures</h2>")
    for failure in result["failures"]:
        body.append(f"<h3>{escape(failure['test'])}</h3><pre>{escape(failure['detail'] or failure['message'])}</pre>")
    if result["coverage"]:
        body.append(f"<h2>Coverage: {result['coverage']['percent']:.1f} %</h2><table><tr><th>file<th class=n>covered<th><th class=n>lines<th>missing</tr>")
        for file in result["coverage"]["files"]:
            bar = f'<span class=bar><i style="width:{file["percent"]:.0f}%"></i></span>'
            row = f"<td class=n>{file['percent']:.1f} %<td>{bar}<td class=n>{file['lines']}<td>{escape(file['missing'])}"
            body.append(f"<tr><td><code>{escape(file['file'])}</code>{row}</tr>")
        body.append("</table>")
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>Tests: {escape(result['verdict'])}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(body)}</body></html>\n"
