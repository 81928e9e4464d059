"""How Alembic compares the tables of the code with those of a database."""

from __future__ import annotations

from typing import Any


def options(dialect: str) -> dict[str, Any]:
    """Options for a MigrationContext: an index that only Postgres has is not missed on SQLite."""

    def include(item: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
        return not (kind == "index" and name == "events_feed" and dialect == "sqlite")

    return {"include_object": include, "compare_type": False, "compare_server_default": False, "render_as_batch": dialect == "sqlite"}
