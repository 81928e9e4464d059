"""How Alembic compares the tables of the code with those of a database: by names, since types differ by design."""

from __future__ import annotations

from typing import Any


def options(dialect: str) -> dict[str, Any]:
    """Options for a MigrationContext."""
    return {"compare_type": False, "compare_server_default": False, "render_as_batch": dialect == "sqlite"}
