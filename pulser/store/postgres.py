"""What Postgres needs: a role and a company per transaction, its clock, its way to claim.

The driver is imported when first used.
The login may be any role that is a member of the four (``pulser_app``, ``pulser_engine``, ``pulser_auth``, ``pulser_owner``); each
transaction takes the one it needs and its company in its first statement, for itself only, and reads the clock with it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.exc import DBAPIError

from pulser.core.errors import BadInput, Unavailable
from pulser.store.tx import Scope, Tx

# A connection that was cut without a word is noticed within 15 s, not after hours.
KEEP_ALIVE = {"keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3, "tcp_user_timeout": 15_000}
ROLES: dict[Scope, str] = {"app": "pulser_app", "engine": "pulser_engine", "auth": "pulser_auth", "owner": "pulser_owner"}

_ENTER = """SELECT set_config('role', %s, true), set_config('pulser.company', %s, true), (extract(epoch from clock_timestamp()) * 1000000)::bigint"""


def engine(url: str, connections: int) -> Engine:
    """A pool of ``connections``; JSON is decoded by msgspec."""
    from psycopg.types.json import set_json_loads

    set_json_loads(msgspec.json.decode)
    parsed = make_url(url).set(drivername="postgresql+psycopg")
    return create_engine(
        parsed,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=30,
        connect_args={
            "application_name": "pulser",
            "connect_timeout": 10,
            **KEEP_ALIVE,
            "options": "-c statement_timeout=30000 -c idle_in_transaction_session_timeout=60000 -c lock_timeout=10000",
        },
    )


def begin(connection: Connection, scope: Scope, company: str | None, offset_us: int) -> Tx:
    """Begin a transaction of ``scope``; its clock is the server's plus ``offset_us`` (tests move it)."""
    connection.begin()
    cursor: Any = connection.connection.cursor()
    now_us = cursor.execute(_ENTER, (ROLES[scope], company or ""), prepare=True).fetchone()[2]
    return Tx(connection, cursor, sqlite=False, now_us=now_us + offset_us)


def become(tx: Tx, scope: Scope) -> None:
    """Go on in another role within the same transaction: the engine's part of a company's commit."""
    tx.cursor.execute("SELECT set_config('role', %s, true)", (ROLES[scope],), prepare=True)


_TOO_HIGH = "SELECT EXISTS (SELECT FROM events WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint)"
_RENUMBER = (
    "SELECT set_config('role', 'pulser_owner', true)",
    # by way of -1, so that no row takes a number before the one that has it has moved on
    "UPDATE events e SET xid = -1, seq = n.n FROM (SELECT xid, seq, row_number() OVER (ORDER BY xid, seq) AS n FROM events) n"
    " WHERE e.xid = n.xid AND e.seq = n.seq",
    "UPDATE events SET xid = 0",
    "SELECT setval('events_seq_seq', (SELECT max(seq) FROM events))",
)


def renumber_events(engine: Engine) -> bool:
    """After a restore into a younger server: its transactions have lower numbers than those in the log, which would hide what is older until it
    has caught up. All of the log goes to the front, in its order. True if that was needed; cursors from before lead nowhere then."""
    with engine.begin() as connection:
        connection.exec_driver_sql(_RENUMBER[0])
        if not connection.exec_driver_sql(_TOO_HIGH).scalar():
            return False
        for statement in _RENUMBER[1:]:
            connection.exec_driver_sql(statement)
        return True


def may_retry(error: BaseException) -> bool:
    """True if the whole transaction may simply run again: it lost a race, or its connection before the commit."""
    import psycopg

    cause = error.orig if isinstance(error, DBAPIError) else error
    races = psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected | psycopg.errors.UniqueViolation | psycopg.errors.AdminShutdown
    return isinstance(cause, races) or lost(error)


def lost(error: BaseException) -> bool:
    """True if the connection is gone."""
    import psycopg

    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, psycopg.OperationalError) and getattr(cause, "sqlstate", None) in (None, "57P01", "57P02", "57P03", "08006", "08003", "08001")


def translate(error: BaseException) -> BaseException:
    """The driver's errors as ours."""
    import psycopg

    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, psycopg.errors.DiskFull):
        return Unavailable("the database's disk is full: nothing was written", hint="Free some space on the database server.", retry_after_s=10)
    if isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
        return Unavailable("the database took too long", hint="Try again in a moment.", retry_after_s=2)
    if isinstance(cause, psycopg.errors.ReadOnlySqlTransaction):
        return Unavailable("the database is read-only", hint="Is it failing over? Nothing was lost; try again in a moment.", retry_after_s=2)
    if isinstance(cause, psycopg.OperationalError | psycopg.InternalError):
        return Unavailable("the database cannot be reached", hint="Nothing was lost; try again in a moment.", retry_after_s=2)
    if isinstance(cause, psycopg.DataError):
        return BadInput(f"the database cannot hold a value: {str(cause).splitlines()[0]}", hint="Look for NUL characters, or numbers out of range.")
    return error


_CLAIM = """
WITH RECURSIVE closed AS MATERIALIZED (
  SELECT company_id, agent FROM agent_pauses UNION ALL SELECT '', agent FROM instances WHERE worker_id = %(worker)s AND NOT available
), lanes AS (
  (SELECT company_id, assigned_agent, rank_at FROM task_queue WHERE ready{critical} ORDER BY company_id, assigned_agent, rank_at LIMIT 1)
  UNION ALL
  SELECT n.company_id, n.assigned_agent, n.rank_at FROM lanes l CROSS JOIN LATERAL (
    SELECT company_id, assigned_agent, rank_at FROM task_queue
    WHERE ready{critical} AND (company_id, assigned_agent) > (l.company_id, l.assigned_agent) ORDER BY company_id, assigned_agent, rank_at LIMIT 1) n
), open AS MATERIALIZED (
  SELECT * FROM lanes l WHERE (%(agents)s::text[] IS NULL OR l.assigned_agent = ANY (%(agents)s::text[]))
    AND NOT EXISTS (SELECT FROM closed c WHERE c.company_id IN ('', l.company_id) AND c.agent = l.assigned_agent)
), running AS MATERIALIZED (
  SELECT company_id, count(*) AS tasks FROM task_queue
  WHERE lease_expires_at IS NOT NULL AND (SELECT min(company_id) < max(company_id) FROM open) GROUP BY company_id
), next AS MATERIALIZED (
  SELECT o.company_id, coalesce(max(r.tasks), 0) AS tasks FROM open o LEFT JOIN running r USING (company_id)
  GROUP BY o.company_id ORDER BY 2, min(o.rank_at) LIMIT %(depth)s
), seen AS MATERIALIZED (
  SELECT t.company_id, t.task_id, t.rank_at, n.tasks + row_number() OVER (PARTITION BY n.company_id ORDER BY t.rank_at) AS turn
  FROM next n JOIN open o USING (company_id) CROSS JOIN LATERAL (
    SELECT company_id, task_id, rank_at FROM task_queue q
    WHERE ready{critical} AND q.company_id = o.company_id AND q.assigned_agent = o.assigned_agent ORDER BY rank_at LIMIT %(depth)s) t
  ORDER BY turn, rank_at LIMIT %(depth)s
), picked AS MATERIALIZED (
  SELECT t.company_id, t.task_id FROM seen s JOIN task_queue t USING (company_id, task_id)
  WHERE t.ready ORDER BY s.turn, s.rank_at LIMIT %(limit)s FOR UPDATE OF t SKIP LOCKED
), claimed AS (
  {update}
)
SELECT (SELECT count(*) FROM seen), c.* FROM (VALUES (1)) one LEFT JOIN claimed c ON true
"""


def claim(tx: Tx, worker_id: str, agents: frozenset[str] | None, limit: int, expires: Any, update: str, *, critical: bool) -> list[Any]:
    """Run ``update`` (a statement over ``picked``) on up to ``limit`` claimable tasks and return its rows: companies take turns, who runs least
    first; each company's own in order of rank.

    Twice as many are looked at as are wanted, without a lock; of them those are locked and taken that nobody else is just taking. If that leaves
    too few, it looks further.
    """
    sql = _CLAIM.format(critical=" AND priority = 'critical'" if critical else "", update=update)
    parameters = {"worker": worker_id, "agents": sorted(agents) if agents is not None else None, "expires": expires, "now": tx.now_value}
    found: list[Any] = []
    depth = 2 * limit
    while True:
        rows = tx.cursor.execute(sql, {**parameters, "limit": limit - len(found), "depth": depth}, prepare=True).fetchall()
        taken = [row[1:] for row in rows if row[1] is not None]
        found += taken
        if len(found) == limit or rows[0][0] < depth:  # enough, or that was all there is
            return found
        depth *= 4
