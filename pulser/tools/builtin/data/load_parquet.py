"""Staged rows into a Parquet file: merged with what it holds, written beside it, and moved into its place."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pulser.core.errors import Permanent
from pulser.core.tool import Json
from pulser.tools.builtin.data.engine import connect, one, quote, text
from pulser.tools.builtin.data.load import LEDGER, Load

if TYPE_CHECKING:
    import duckdb


def load(path: Path, staged: Path, load: Load) -> Json:
    """``{inserted, updated, unchanged}``. Readers see the old file or the new one, never half of one."""
    folder = Path(tempfile.mkdtemp(prefix=".pulser-", dir=path.parent))
    link = connect(folder)
    try:
        made = folder / "merged.parquet"
        counts = _merge(link, path, staged, load, made)
        if not counts.get("already_loaded"):
            with made.open("rb+") as file:
                os.fsync(file.fileno())
            made.replace(path)
        return counts
    finally:
        link.close()
        shutil.rmtree(folder, ignore_errors=True)


def _merge(link: duckdb.DuckDBPyConnection, path: Path, staged: Path, load: Load, made: Path) -> Json:
    import duckdb

    link.execute(f"CREATE VIEW staged AS SELECT * FROM read_parquet({text(str(staged))})")
    total = int(one(link, "SELECT count(*) FROM staged")[0])
    known, loads = path.exists(), ""
    if known:
        try:
            link.execute(f"CREATE VIEW kept AS SELECT * FROM read_parquet({text(str(path))})")
            loads = _loads(link, path)
        except duckdb.Error as error:
            raise Permanent(f"{path.name} is there and is not a Parquet file", hint="Name another file.") from error
        _fits(link, path, load)
    counts: Json = {"inserted": total, "updated": 0, "unchanged": 0}
    if not known or load.mode == "replace":
        counts |= {"deleted": int(one(link, "SELECT count(*) FROM kept")[0])} if known else {}
        query = "SELECT * FROM staged"
    elif load.mode == "append":
        if load.load_id in loads.split(","):
            return {"inserted": 0, "updated": 0, "unchanged": 0, "already_loaded": True}
        query = "SELECT * FROM kept UNION ALL BY NAME SELECT * FROM staged"
    else:
        same = " AND ".join(f"k.{quote(name)} = s.{quote(name)}" for name in load.key)
        differs = " OR ".join(f"k.{quote(name)} IS DISTINCT FROM s.{quote(name)}" for name in load.others) or "false"
        there, changed = one(link, f"SELECT count(*), count(*) FILTER (WHERE {differs}) FROM staged s JOIN kept k ON {same}")
        counts = {"inserted": total - there, "updated": changed, "unchanged": there - changed}
        query = f"SELECT * FROM kept k WHERE NOT EXISTS (SELECT 1 FROM staged s WHERE {same}) UNION ALL BY NAME SELECT * FROM staged"
    remembered = ",".join(part for part in (loads, load.load_id if load.mode == "append" else "") if part)
    link.execute(f"COPY ({query}) TO {text(str(made))} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{LEDGER}: {text(remembered)}}})")
    return counts


def _loads(link: duckdb.DuckDBPyConnection, path: Path) -> str:
    """The appended loads that the file remembers, in its own metadata."""
    row = link.execute(f"SELECT CAST(value AS VARCHAR) FROM parquet_kv_metadata({text(str(path))}) WHERE CAST(key AS VARCHAR) = {text(LEDGER)}").fetchone()
    return str(row[0]) if row else ""


def _fits(link: duckdb.DuckDBPyConnection, path: Path, load: Load) -> None:
    known = {str(name) for (name,) in link.execute("SELECT name FROM (DESCRIBE kept) d(name, type, a, b, c, e)").fetchall()}
    if load.mode != "replace" and known != set(load.names):
        odd = ", ".join(sorted(known.symmetric_difference(load.names)))
        raise Permanent(f"{path.name} has other columns than these rows: {odd}", hint="Rename or drop columns in 'columns', or use mode replace.")
