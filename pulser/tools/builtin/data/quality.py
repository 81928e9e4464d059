"""``data.quality``: rules about a table, how many rows break each, and a score."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulser.core.tool import Call, Json, Tool
from pulser.tools.builtin.data.engine import connect, deadline, one, quote, scratch
from pulser.tools.builtin.data.page import markdown_cell, markdown_table
from pulser.tools.builtin.data.read import LINE, READING, Loaded, read_table
from pulser.tools.builtin.data.rules import MAKERS, TYPES, Broken, Table, sample, translate
from pulser.tools.builtin.data.suggest import suggestions

if TYPE_CHECKING:
    import duckdb

SAMPLES = 5
KEPT_VIOLATIONS = 10_000
TIME_LIMIT_S = 300.0


def run(call: Call) -> Json:
    """Judge every rule, write ``quality.json``, ``quality.md`` and ``violations.csv``."""
    args, folder = call.args, scratch(call.out)
    link = connect(folder)
    with deadline(link, TIME_LIMIT_S, "The check"):
        call.progress("Reading", 0.05)
        loaded = read_table(link, folder, Path(args["path"]), "data", args, ragged="skip", as_text=True, with_lines=True)
        others = {}
        for name, path in dict(args.get("references", {})).items():
            other = read_table(link, folder, Path(path), f"ref_{name}", {}, as_text=True, pointer=f"/references/{name}")
            others[name] = {column.name: column.type for column in other.columns}
        as_of = str(args.get("as_of") or one(link, "SELECT CAST(CAST(now() AS TIMESTAMP) AS VARCHAR)")[0])
        table = Table(quote("data"), {column.name: column.type for column in loaded.columns}, loaded.rows, others, as_of)
        rules = list(args.get("rules", []))
        suggested = not rules or bool(args.get("suggest", False))
        proposed = suggestions(link, table.name, table.columns) if suggested else []
        with call.artifact("violations.csv", "text/csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["rule_number", "rule", "line", "column", "value"])
            judged = [_judge(link, rule, table, f"/rules/{index}", writer, index + 1) for index, rule in enumerate(rules or proposed)]
            if loaded.rejected:
                judged.append(_well_formed(loaded, writer, len(judged) + 1))
    link.close()
    found = _verdict(args, loaded, judged, applied=not rules, proposed=proposed)
    call.artifact("quality.json", "application/json").write_text(json.dumps(found, ensure_ascii=False, indent=1, allow_nan=False), encoding="utf-8")
    call.artifact("quality.md", "text/markdown").write_text(_markdown(found), encoding="utf-8")
    return found


def _judge(link: duckdb.DuckDBPyConnection, rule: Json, table: Table, pointer: str, writer: Any, number: int) -> Json:
    broken = translate(link, rule, table, pointer)
    found: Json = {"rule": rule["rule"], "says": rule.get("name") or broken.says, "definition": rule, "weight": rule.get("weight", 1)}
    if broken.verdict is not None:
        right, seen = broken.verdict
        if not right:
            writer.writerow([number, broken.says, "", "", seen])
        return {**found, "violations": 0 if right else 1, "share": 0.0 if right else 1.0, "passed": right, "seen": seen, "samples": []}
    count = int(one(link, f"SELECT count(*) FROM {table.name} WHERE {broken.where}")[0])
    rows = _violations(link, table, broken)
    for row in rows:
        for name, value in zip(broken.shows, row[1:], strict=True):
            writer.writerow([number, broken.says, row[0], name, value])
    allowed = float(rule.get("tolerance", 0))
    share = count / table.rows
    return {**found, "violations": count, "share": round(share, 6), "passed": share <= allowed, "samples": sample(rows[:SAMPLES], broken.shows)}


def _violations(link: duckdb.DuckDBPyConnection, table: Table, broken: Broken) -> list[tuple[Any, ...]]:
    shown = ", ".join(f"CAST({quote(name)} AS VARCHAR)" for name in broken.shows)
    return link.execute(f"SELECT {LINE}, {shown} FROM {table.name} WHERE {broken.where} ORDER BY {LINE} LIMIT {KEPT_VIOLATIONS}").fetchall()


def _well_formed(loaded: Loaded, writer: Any, number: int) -> Json:
    """Lines that could not be read as records are violations of a rule that nobody has to write down."""
    says = f"every line has {len(loaded.columns)} fields"
    for reject in loaded.rejects[:KEPT_VIOLATIONS]:
        writer.writerow([number, says, reject.line, "", reject.original])
    samples = [{"line": reject.line, "reason": reject.reason, "original": reject.original[:200]} for reject in loaded.rejects[:SAMPLES]]
    share = loaded.rejected / (loaded.rows + loaded.rejected)
    return {
        "rule": "well_formed",
        "says": says,
        "definition": {"rule": "well_formed"},
        "weight": 1,
        "violations": loaded.rejected,
        "share": round(share, 6),
        "passed": False,
        "samples": samples,
    }


def score(judged: list[Json]) -> float:
    """0 to 100: the weighted mean, over the rules, of the share of rows that keep them."""
    weights = sum(float(item["weight"]) for item in judged)
    if not weights:
        return 100.0
    return round(100 * sum(float(item["weight"]) * (1 - float(item["share"])) for item in judged) / weights, 2)


def _verdict(args: Json, loaded: Loaded, judged: list[Json], *, applied: bool, proposed: list[Json]) -> Json:
    reached, wanted = score(judged), float(args.get("min_score", 95))
    broken = [item for item in judged if not item["passed"]]
    verdict = "suggested" if applied else "passed" if reached >= wanted else "failed"
    total = sum(item["violations"] for item in judged)
    how = f"score {reached:g} of 100" + ("" if applied else f" ({verdict}, {wanted:g} wanted)")
    kind = "suggested rules" if applied else "rules"
    return {
        "summary": f"{loaded.source.path.name}: {how}; {len(judged) - len(broken)} of {len(judged)} {kind} kept, {total:,} violations in {loaded.rows:,} rows.",
        "source": loaded.facts(),
        "score": reached,
        "min_score": wanted,
        "verdict": verdict,
        "violations": total,
        "rules": judged,
        "suggestions": proposed,
        "notes": loaded.notes,
    }


def _markdown(found: Json) -> str:
    rows = [
        [item["rule"], item["says"], item["violations"], f"{item['share']:.2%}", item["weight"], "kept" if item["passed"] else "broken"]
        for item in found["rules"]
    ]
    parts = [f"# Quality of {markdown_cell(found['source']['file'])}", found["summary"].replace("<", "&lt;")]
    parts.append(markdown_table(("rule", "what it says", "violations", "share", "weight", "verdict"), rows))
    for item in found["rules"]:
        if item["samples"]:
            parts.append(f"## {markdown_cell(item['says'], 100)}")
            parts.append(markdown_table(list(item["samples"][0]), [list(line.values()) for line in item["samples"]]))
    if found["suggestions"]:
        parts += ["## Suggested rules", "```json\n" + json.dumps(found["suggestions"], ensure_ascii=False, indent=1).replace("```", "`` `") + "\n```"]
    return "\n\n".join(parts) + "\n"


COLUMN = {"type": "string", "minLength": 1, "maxLength": 200}
RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["rule"],
    "properties": {
        "rule": {"type": "string", "enum": list(MAKERS), "description": "What must hold."},
        "name": {"type": "string", "maxLength": 200, "description": "What the report calls it."},
        "column": {**COLUMN, "description": "The column it is about."},
        "columns": {"type": "array", "items": COLUMN, "minItems": 1, "maxItems": 10, "description": "Several: a composite key for unique and reference."},
        "min": {"type": ["number", "string"], "description": "range, row_count: at least; a number, or an ISO date."},
        "max": {"type": ["number", "string"], "description": "range, row_count: at most."},
        "pattern": {"type": "string", "maxLength": 1000, "description": "pattern: an RE2 expression that the whole value matches."},
        "values": {
            "type": "array",
            "items": {"type": ["string", "number", "boolean"]},
            "minItems": 1,
            "maxItems": 1000,
            "description": "in_set: the values there may be.",
        },
        "type": {"type": "string", "enum": list(TYPES), "description": "type: what every value is."},
        "reference": {"type": "string", "description": "reference: the name of a file in references."},
        "to": {
            "anyOf": [COLUMN, {"type": "array", "items": COLUMN, "minItems": 1, "maxItems": 10}],
            "description": "reference: its column; the same name if not given.",
        },
        "max_age_days": {"type": "number", "minimum": 0, "description": "freshness: how old the newest value may be."},
        "weight": {"type": "number", "exclusiveMinimum": 0, "maximum": 1000, "default": 1, "description": "How much it counts in the score."},
        "tolerance": {"type": "number", "minimum": 0, "maximum": 1, "default": 0, "description": "Share of rows that may break it."},
    },
    "allOf": [{"if": {"properties": {"rule": {"const": "row_count"}}}, "then": {"properties": {"min": {"type": "integer"}, "max": {"type": "integer"}}}}],
}
TOOL = Tool(
    name="data.quality",
    summary="Check a file against rules (not null, unique, range, pattern, set, type, reference, row count, freshness) and score it; "
    "suggests rules if none are given.",
    run=run,
    arguments={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "The file to check."},
            "rules": {"type": "array", "items": RULE, "maxItems": 200, "description": "What must hold; suggested and applied if not given."},
            "references": {
                "type": "object",
                "propertyNames": {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_]{0,62}$"},
                "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 4096},
                "maxProperties": 10,
                "description": "Files that reference rules look keys up in, by name.",
            },
            "min_score": {"type": "number", "minimum": 0, "maximum": 100, "default": 95, "description": "Score from which on the verdict is passed."},
            "suggest": {"type": "boolean", "default": False, "description": "Suggest rules also where some are given."},
            "as_of": {"type": "string", "format": "date-time", "maxLength": 40, "description": "The time freshness is judged at; now if not given."},
            **READING,
        },
    },
    inputs=("path", "references"),
    needs=("duckdb",),
    extra="data",
    examples=(
        {
            "path": "samples/data/penguins_dirty.csv",
            "rules": [{"rule": "not_null", "column": "species"}, {"rule": "range", "column": "body_mass_g", "min": 2000, "max": 7000}],
        },
    ),
)
