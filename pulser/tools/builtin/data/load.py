"""One load as its targets see it, and the staged rows as text or values."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulser.core.tool import Json
from pulser.tools.builtin.data.engine import connect, quote, text

BATCH_ROWS = 2_000
LEDGER = "_pulser_loads"
"""A table beside the loaded ones: which loads were appended, so that a repeated one adds nothing."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to load: table, columns ``(name, DuckDB type)``, key, mode, and the load's own name."""

    table: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    mode: str
    load_id: str

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.columns]

    @property
    def others(self) -> list[str]:
        """Columns that are not in the key."""
        return [name for name in self.names if name not in self.key]


def load_of(args: Json, result: Json) -> Load:
    """From the arguments and what ``run`` found."""
    columns = tuple((str(column["name"]), str(column["type"])) for column in result["columns"])
    return Load(str(args["target"]["table"]), columns, tuple(args.get("key", [])), str(args.get("mode", "upsert")), str(result["load_id"]))


def staged_rows(staged: Path, load: Load, shapes: dict[str, str]) -> Iterator[list[tuple[Any, ...]]]:
    """The rows in batches, each column as the SQL in ``shapes`` says (by name), else as it is. Only ``staged`` can be read."""
    link = connect(None, locked=True, allowed=(staged,))
    try:
        parts = ", ".join(shapes.get(name, quote(name)) for name in load.names)
        cursor = link.execute(f"SELECT {parts} FROM read_parquet({text(str(staged))})")
        while rows := cursor.fetchmany(BATCH_ROWS):
            yield rows
    finally:
        link.close()
