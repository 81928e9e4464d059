"""A profile as a page and as Markdown."""

from __future__ import annotations

from html import escape
from typing import Any

from pulser.core.tool import Json
from pulser.tools.builtin.data.chart import bars, heat_map, histogram
from pulser.tools.builtin.data.page import markdown_cell, markdown_table, notes, page, table, tiles

HEAD = ("column", "type", "missing", "distinct", "min", "median", "max", "mean", "outliers")


def overview(found: Json) -> list[list[Any]]:
    """One row per column for both reports."""
    rows = []
    for column in found["columns"]:
        missing = f"{column['missing']:,} ({column['missing_share']:.1%})" if column["missing"] else "0"
        median = column.get("quantiles", {}).get("p50")
        rows.append(
            [
                column["name"],
                column["type"],
                missing,
                column["distinct"],
                column.get("min"),
                median,
                column.get("max"),
                column.get("mean"),
                column.get("outliers", {}).get("iqr"),
            ]
        )
    return rows


def as_html(found: Json) -> str:
    """The page, charts included."""
    source = found["source"]
    missing = sum(column["missing"] for column in found["columns"])
    body = tiles(
        {"rows": source["rows"], "columns": source["columns"], "missing cells": missing, "duplicate rows": found["duplicates"], "bytes": source["bytes"]}
    )
    body += notes(found["notes"]) + "<h2>Columns</h2>" + table(HEAD, overview(found), 40)
    correlations = found["correlations"]
    if correlations["pearson"]:
        body += f'<h2>Correlations</h2><div class="charts">{heat_map("Pearson correlation", correlations["columns"], correlations["pearson"])}</div>'
    if found["associations"]:
        strongest = found["associations"][:12]
        names = [" × ".join(item["columns"]) for item in strongest]
        body += f'<h2>Associations</h2><div class="charts">{bars("Cramér’s V", names, [item["cramers_v"] for item in strongest], width=640)}</div>'
    gaps = [column for column in found["columns"] if column["missing"]]
    body += "<h2>Charts</h2><div class='charts'>"
    if gaps:
        body += bars("Missing values", [column["name"] for column in gaps], [column["missing"] for column in gaps])
    body += "".join(chart(column) for column in found["columns"]) + "</div>" + "".join(_details(column) for column in found["columns"])
    return page(f"Profile of {source['file']}", found["summary"], body)


def chart(column: Json) -> str:
    """The picture of one column: a histogram for numbers and dates, bars of frequent values for the rest."""
    if "histogram" in column:
        shape = column["histogram"]
        ends = (str(column["min"])[:19], str(column["max"])[:19]) if column["sort"] == "time" else None
        return histogram(column["name"], shape["edges"], shape["counts"], labels=ends)
    if column.get("top"):
        return bars(column["name"], [item["value"] for item in column["top"]], [item["count"] for item in column["top"]])
    return ""


def _details(column: Json) -> str:
    facts: list[tuple[str, Any]] = []
    if "quantiles" in column:
        facts += [(name, value) for name, value in column["quantiles"].items()]
        facts += [("deviation", column["deviation"]), ("sum", column["sum"]), ("zeros", column["zeros"]), ("negative", column["negative"])]
        outliers = column["outliers"]
        facts += [
            ("outliers by fences", outliers["iqr"]),
            ("outliers by robust z", outliers["robust_z"]),
            ("furthest", ", ".join(map(str, outliers["examples"]))),
        ]
    if "length" in column:
        facts += [(f"length {name}", value) for name, value in column["length"].items()] + [("blank", column["blank"])]
    if "span_days" in column:
        facts.append(("days from first to last", column["span_days"]))
    top = table(("frequent value", "count"), [[item["value"], item["count"]] for item in column["top"]]) if column.get("top") else ""
    return f"<h3>{escape(column['name'])}</h3>" + (table(("figure", "value"), facts) if facts else "") + top


def as_markdown(found: Json) -> str:
    """The same without pictures."""
    parts = [
        f"# Profile of {markdown_cell(found['source']['file'])}",
        found["summary"].replace("<", "&lt;"),
        "## Columns",
        markdown_table(HEAD, overview(found)),
    ]
    if found["notes"]:
        parts += ["## Notes", "\n".join(f"- {markdown_cell(line, 300)}" for line in found["notes"])]
    correlations = found["correlations"]
    if correlations["pearson"]:
        rows = [[name, *values] for name, values in zip(correlations["columns"], correlations["pearson"], strict=True)]
        parts += ["## Correlations (Pearson)", markdown_table(["", *correlations["columns"]], rows)]
    if found["associations"]:
        parts += [
            "## Associations (Cramér’s V)",
            markdown_table(("columns", "V"), [[" × ".join(item["columns"]), item["cramers_v"]] for item in found["associations"]]),
        ]
    frequent = [column for column in found["columns"] if column["sort"] in ("text", "boolean") and column.get("top")]
    if frequent:
        parts.append("## Frequent values")
        parts += [
            f"**{markdown_cell(column['name'])}**: " + ", ".join(f"{markdown_cell(item['value'], 30)} ({item['count']:,})" for item in column["top"])
            for column in frequent
        ]
    return "\n\n".join(parts) + "\n"
