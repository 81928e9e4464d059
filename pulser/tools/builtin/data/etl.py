"""``data.etl``: a file into SQLite, Parquet or Postgres, with inferred types, keys, and every rejected row kept with its reasons.

``run`` reads and judges in the confined child and leaves ``staged.parquet``; ``apply`` loads that, in the worker, in one transaction.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from pulser.core.errors import BadInput, Permanent
from pulser.core.tool import Call, Installation, Json, Tool
from pulser.tools.builtin.data import load_parquet, load_postgres, load_sqlite
from pulser.tools.builtin.data.engine import connect, deadline, one, scratch, text
from pulser.tools.builtin.data.load import load_of
from pulser.tools.builtin.data.read import READING, Loaded, read_table
from pulser.tools.builtin.data.recognise import at
from pulser.tools.builtin.data.stage import TYPE_PATTERN, Plan, plan, stage

if TYPE_CHECKING:
    import duckdb

TIME_LIMIT_S = 500.0
SAMPLES = 5


def run(call: Call) -> Json:
    """Judge every row; write ``staged.parquet``, ``rejected.csv``, ``schema.json`` and, for a file without a path, the file itself."""
    args, folder = call.args, scratch(call.out)
    keys, mode, target = list(args.get("key", [])), str(args.get("mode", "upsert")), dict(args["target"])
    if mode == "upsert" and not keys:
        raise at("/key", "upsert needs a key", "Name the columns that tell one row from another, or use mode append or replace.")
    link = connect(folder)
    with deadline(link, TIME_LIMIT_S, "The load"):
        call.progress("Reading", 0.05)
        loaded = read_table(link, folder, Path(args["source"]), "source", args, ragged="skip", as_text=True, with_lines=True, pointer="/source")
        call.progress("Judging rows", 0.4)
        plans = plan(link, loaded, dict(args.get("columns", {})), keys)
        stage(link, plans, keys, last_wins=True)
        staged = call.artifact("staged.parquet", "application/vnd.apache.parquet")
        link.execute(f"COPY staged TO {text(str(staged))} (FORMAT parquet, COMPRESSION zstd)")
        found = _result(call, link, args, loaded, plans)
    link.close()
    if found["rejected"] > int(args.get("reject_limit", 1000)):
        raise Permanent(
            f"{found['rejected']:,} rows are rejected, more than reject_limit allows ({int(args.get('reject_limit', 1000)):,}); "
            f"nothing is loaded. For example: {_example(found)}",
            hint="Mend the source, or set the types of the columns, or raise reject_limit.",
        )
    call.artifact("schema.json", "application/json").write_text(
        json.dumps({"columns": found["columns"], "key": keys}, indent=1, ensure_ascii=False), encoding="utf-8"
    )
    _identify(found, Path(args["source"]), args)
    if target["kind"] != "postgres" and not target.get("path"):
        _finished_file(call, staged, args, found)
    return found


def _result(call: Call, link: duckdb.DuckDBPyConnection, args: Json, loaded: Loaded, plans: list[Plan]) -> Json:
    unread = [(reject.line, reject.reason, reject.original) for reject in loaded.rejects]
    judged = link.execute("SELECT line, reason, original FROM rejected ORDER BY line").fetchall()
    kept = int(one(link, "SELECT count(*) FROM staged")[0])
    rejected = sorted([*unread, *judged])
    with call.artifact("rejected.csv", "text/csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["row", "reason", "original"])
        writer.writerows(rejected)
    count = loaded.rejected + len(judged)
    read = loaded.rows + loaded.rejected
    return {
        "summary": f"{loaded.source.path.name}: {read:,} rows read, {kept:,} fit, {count:,} rejected.",
        "source": loaded.facts(),
        "target": {name: args["target"][name] for name in ("kind", "table", "name", "path") if name in args["target"]},
        "mode": args.get("mode", "upsert"),
        "key": list(args.get("key", [])),
        "read": read,
        "staged": kept,
        "rejected": count,
        "rejected_samples": [{"row": line, "reason": reason, "original": original[:200]} for line, reason, original in rejected[:SAMPLES]],
        "columns": [{"name": item.target, "source": item.source, "type": item.type, "required": item.required} for item in plans],
        "notes": loaded.notes,
    }


def _example(found: Json) -> str:
    return "; ".join(f"row {item['row']}: {item['reason']}" for item in found["rejected_samples"][:3])


def _identify(found: Json, source: Path, args: Json) -> None:
    """The name of this load: the same file, read the same way into the same table under the same ``batch``, is the same load."""
    with source.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    said = json.dumps([content, found["columns"], found["key"], args["target"]["table"], args.get("batch", "")], sort_keys=True)
    found["load_id"] = hashlib.sha256(said.encode()).hexdigest()


def _finished_file(call: Call, staged: Path, args: Json, found: Json) -> None:
    load = load_of(args, found)
    if args["target"]["kind"] == "parquet":
        counts = {"inserted": found["staged"], "updated": 0, "unchanged": 0}
        name, media = f"{_file_name(load.table)}.parquet", "application/vnd.apache.parquet"
        call.artifact(name, media).write_bytes(staged.read_bytes())
    else:
        name, media = f"{_file_name(load.table)}.sqlite", "application/vnd.sqlite3"
        counts = load_sqlite.load(call.artifact(name, media), staged, load)
    _tell(found, counts, name)


def _file_name(table: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in table)[:80] or "table"


def _tell(found: Json, counts: Json, where: str) -> None:
    found |= counts
    found["written"] = counts["inserted"] + counts["updated"]
    already = " This load had been applied before; nothing was changed." if counts.get("already_loaded") else ""
    found["summary"] = (
        f"{found['read']:,} rows read; into {where}: {counts['inserted']:,} inserted, {counts['updated']:,} updated, "
        f"{counts['unchanged']:,} unchanged; {found['rejected']:,} rejected.{already}"
    )


def apply(args: Json, result: Json, files: Mapping[str, Path], installation: Installation) -> Json:
    """Load the staged rows into the target, in the worker. May run again: the second time changes nothing."""
    target = args["target"]
    staged, load = files["staged.parquet"], load_of(args, result)
    found: Json = dict(result)
    if target["kind"] == "postgres":
        counts = load_postgres.load(installation.target(str(target["name"])), staged, load)
        where = f"{target['name']}: {load.table}"
    elif not target.get("path"):
        return {}
    else:
        path = _place(str(target["path"]), installation)
        try:
            counts = (load_parquet if target["kind"] == "parquet" else load_sqlite).load(path, staged, load)
        except (OSError, sqlite3.OperationalError) as error:
            raise Permanent(f"{path.name} cannot be written: {error}", hint="Its folder must exist and be writable.") from error
        where = f"{path.name}: {load.table}" if target["kind"] == "sqlite" else path.name
    _tell(found, counts, where)
    return {name: found[name] for name in ("summary", "inserted", "updated", "unchanged", "written", "already_loaded", "deleted") if name in found}


def _place(path: str, installation: Installation) -> Path:
    """Where to write: a file that is there, or a new one in a folder that is."""
    try:
        return installation.writable(path)
    except BadInput as error:
        place = PurePath(path)
        if place.name in ("", "..") or str(place.parent) == path:
            raise
        new = installation.writable(str(place.parent)) / place.name
        if new.is_symlink() or new.exists():
            raise error from None
        return new


NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 63, "pattern": r"^[^\x00-\x1f]+$"}
TOOL = Tool(
    name="data.etl",
    summary="Load a CSV, JSON, Parquet or SQLite file into SQLite, Parquet or Postgres: inferred types, upsert on a key, rejected rows kept with reasons.",
    run=run,
    apply=apply,
    effect="idempotent",
    arguments={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["source", "target"],
        "properties": {
            "source": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "The file to load."},
            "target": {
                "type": "object",
                "additionalProperties": False,
                "required": ["kind", "table"],
                "description": "Where the rows go.",
                "properties": {
                    "kind": {"type": "string", "enum": ["sqlite", "parquet", "postgres"], "description": "What it is."},
                    "table": {**NAME, "description": "Table to load, made if it is not there; schema.table on Postgres."},
                    "name": {**NAME, "description": "postgres: the target's name in the settings."},
                    "path": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 4096,
                        "description": "sqlite, parquet: a file under a folder that may be written; an artifact if not given.",
                    },
                },
                "if": {"properties": {"kind": {"const": "postgres"}}},
                "then": {"required": ["name"], "properties": {"path": False}},
                "else": {"properties": {"name": False}},
            },
            "key": {
                "type": "array",
                "items": NAME,
                "minItems": 1,
                "maxItems": 10,
                "uniqueItems": True,
                "description": "Columns, by their names in the target, that tell one row from another.",
            },
            "mode": {
                "type": "string",
                "enum": ["upsert", "append", "replace"],
                "default": "upsert",
                "description": "Update rows with the same key, add all rows once, or put these rows in place of all.",
            },
            "columns": {
                "type": "object",
                "maxProperties": 500,
                "description": "What is asked of columns, by their names in the source; the rest is inferred.",
                "additionalProperties": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "type": {
                            "type": "string",
                            "pattern": TYPE_PATTERN,
                            "description": "text, integer, hugeint, number, boolean, date, timestamp, timestamptz, time or decimal(p,s).",
                        },
                        "rename": {**NAME, "description": "Its name in the target."},
                        "required": {"type": "boolean", "default": False, "description": "Reject rows where it is missing."},
                        "format": {"type": "string", "minLength": 2, "maxLength": 40, "description": "How a date is written, as in %d.%m.%Y."},
                        "drop": {"type": "boolean", "default": False, "description": "Leave the column out."},
                    },
                },
            },
            "reject_limit": {
                "type": "integer",
                "minimum": 0,
                "default": 1000,
                "description": "More rejected rows than this stop the load before anything is written.",
            },
            "batch": {"type": "string", "maxLength": 100, "description": "Append: the same rows under another batch are added again."},
            **{name: value for name, value in READING.items() if name != "ragged"},
        },
    },
    inputs=("source",),
    needs=("duckdb",),
    extra="data",
    examples=({"source": "samples/data/penguins_dirty.csv", "target": {"kind": "sqlite", "table": "penguins"}, "key": ["id"]},),
)
