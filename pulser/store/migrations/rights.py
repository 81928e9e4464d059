"""Postgres: the four roles, and row-level security forced on every company's table.

Roles belong to the whole server, so they are made if missing. The tables belong to ``pulser_owner``, who migrates; nobody that serves
requests owns anything. A company's row is seen only by a transaction that names the company.
"""

from __future__ import annotations

from collections.abc import Sequence

from alembic import op

_ROLE = """DO $$ BEGIN CREATE ROLE {role} NOLOGIN NOSUPERUSER NOBYPASSRLS; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"""
_MINE = "company_id = nullif(current_setting('pulser.company', true), '')"


def make_roles() -> None:
    """The four roles, and the right of who migrates to act as them."""
    for role in ("pulser_app", "pulser_engine", "pulser_auth", "pulser_owner"):
        op.execute(_ROLE.format(role=role))
        op.execute(f"DO $$ BEGIN EXECUTE format('GRANT {role} TO %I', current_user); EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$")
    op.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    op.execute("GRANT USAGE ON SCHEMA public TO pulser_app, pulser_engine, pulser_auth")
    op.execute("GRANT ALL ON SCHEMA public TO pulser_owner")


def secure(table: str, *, engine: bool = False, auth: bool = False, verbs: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """A company's table: its own rows for the app, all for the engine or the sign-in where they need them."""
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"GRANT {verbs} ON {table} TO pulser_app")
    op.execute(f"CREATE POLICY app ON {table} TO pulser_app USING ({_MINE}) WITH CHECK ({_MINE})")
    for role, wanted in (("pulser_engine", engine), ("pulser_auth", auth)):
        if wanted:
            op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {role}")
            op.execute(f"CREATE POLICY {role} ON {table} TO {role} USING (true) WITH CHECK (true)")
    own(table)


def own(table: str) -> None:
    """The table belongs to the owner's role, who sees all of it (migrations, dumps)."""
    op.execute(f"ALTER TABLE {table} OWNER TO pulser_owner")
    op.execute(f"CREATE POLICY owner ON {table} TO pulser_owner USING (true) WITH CHECK (true)")


def share(table: str, grants: Sequence[tuple[str, str]]) -> None:
    """An installation-wide table: who may do what."""
    for verbs, roles in grants:
        op.execute(f"GRANT {verbs} ON {table} TO {roles}")
    op.execute(f"ALTER TABLE {table} OWNER TO pulser_owner")
