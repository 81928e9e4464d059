"""Every row has a company, and nobody sees another's: by the guard on both databases, and by Postgres itself when the guard is passed by."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import and_, delete, exists, func, insert, or_, select, text, union_all, update

from pulser.access import keys
from pulser.collab import leases as locks
from pulser.collab import team, views
from pulser.core.errors import NotFound
from pulser.core.task import Artifact, Outcome
from pulser.events import feed
from pulser.store import blobs, dependencies, tasks
from pulser.store.batch import Insertion, insert_many
from pulser.store.guard import ScopeError
from pulser.store.listing import Filter
from pulser.store.store import Store
from pulser.store.tables import AUTH, COMPANY, ENGINE, INSTALLATION, agent_pauses, api_keys, artifacts, companies, events, files, metadata, task_queue
from pulser.store.tx import Tx
from tests.conformance.world import COMPANY as OURS
from tests.conformance.world import OTHER, World

pytestmark = pytest.mark.anyio
t, a, p, e = task_queue.c, artifacts.c, agent_pauses.c, events.c
COMPANY_TABLES = sorted(table.name for table in metadata.sorted_tables if "company_id" in table.c and table.name not in INSTALLATION)


async def fill(world: World) -> dict[str, str]:
    """The other company has one of everything; ours has nothing."""
    hand = world.hand()
    parent = await world.submit(company=OTHER, title="secret plan", requester="them")
    [claimed] = await hand.claim()
    digest, size = await world.store.write(lambda tx: None, company=OTHER) or ("0" * 64, 3)
    await world.store.write(
        lambda tx: tx.execute(insert(files), {"sha256": digest, "size_bytes": size, "media_type": "text/plain", "name": "f", "created_at": tx.now}),
        company=OTHER,
    )
    outcome = Outcome(claimed, "finish", result={"secret": 1}, artifacts=[Artifact("secret.txt", digest, size, "text/plain")])
    await world.store.write(hand.pool.settler.settle, [outcome], company=OTHER, actor=hand.pool.actor)
    child = await world.submit(company=OTHER, depends_on=[await world.submit(company=OTHER)])
    await world.write(team.pause, "maya", company=OTHER)
    await world.write(locks.acquire, "their:thing", "them", 30.0, company=OTHER)
    return {"parent": parent, "child": child, "digest": digest}


async def test_a_second_company_sees_no_row_of_the_first_through_any_function_that_reads(world: World) -> None:
    there = await fill(world)

    async def ours(fn: Any, *args: Any) -> Any:
        return await world.store.read(fn, *args, company=OURS)

    for fn in (views.task, views.status):
        with pytest.raises(NotFound):
            await ours(fn, there["parent"])
    assert await ours(tasks.one, there["parent"]) is None
    assert await ours(views.page, Filter(), 50, None) == {"items": [], "next": None}
    assert await ours(tasks.page, Filter(text="secret"), 50, None) == []
    assert await ours(tasks.page, Filter(parent_id=there["parent"]), 50, None) == []
    assert await ours(tasks.children, there["parent"]) == []
    assert await ours(tasks.child_ids, there["parent"]) == []
    assert await ours(tasks.counts) == {}
    assert await ours(tasks.artifacts_of, there["parent"]) == []
    assert await ours(views.counts) == {"stages": {}, "agents": {}}
    shown = (await ours(views.agents, world.registry))["items"]
    assert {each["paused"] for each in shown} == {False}
    assert {each["stats"]["completed"] for each in shown} == {0}
    assert await ours(feed.after, feed.START, 100) == []
    assert await ours(feed.before, None, 100, feed.Wanted()) == []
    assert await ours(feed.after, feed.START, 100, feed.Wanted(target=there["parent"])) == []
    assert await ours(blobs.info, there["digest"]) is None
    assert await ours(blobs.artifact_digest, there["parent"], "secret.txt") is None
    assert await ours(lambda tx: dependencies.of(tx, OURS, there["child"])) == []
    assert await ours(lambda tx: dependencies.waiting_for(tx, OURS, there["parent"])) == []
    assert await ours(locks.held) == []
    with pytest.raises(ScopeError):
        await ours(lambda tx: dependencies.of(tx, OTHER, there["child"]))


async def test_reading_functions_of_the_store_and_the_board_are_all_covered_here() -> None:
    """A new function that reads must be added above: this list is compared with what there is."""
    named = set()
    for module in (tasks, blobs, dependencies, views):
        for name, fn in inspect.getmembers(module, inspect.isfunction):
            if fn.__module__ == module.__name__ and not name.startswith("_") and next(iter(inspect.signature(fn).parameters), "") == "tx":
                named.add(f"{module.__name__.rsplit('.', 1)[1]}.{name}")
    covered = {
        "tasks.one", "tasks.page", "tasks.children", "tasks.child_ids", "tasks.counts", "tasks.artifacts_of", "blobs.info", "blobs.artifact_digest",
        "dependencies.of", "dependencies.waiting_for", "views.task", "views.status", "views.page", "views.counts", "views.agents",
    }  # fmt: skip
    writing = {"tasks.insert_rows", "tasks.put", "tasks.put_artifacts", "dependencies.hold", "dependencies.add", "dependencies.ended", "dependencies.reopen"}
    engine = {"views.queue_depths"}
    assert named - covered - writing - engine == set()


LEAKS = {
    "a select without any predicate": select(task_queue),
    "a select of one column": select(t.title),
    "a count": select(func.count()).select_from(task_queue),
    "a predicate on something else": select(task_queue).where(t.task_id == "tsk_x"),
    "a company that is written out": select(task_queue).where(t.company_id == OTHER),
    "a company among several": select(task_queue).where(t.company_id.in_([OTHER])),
    "or instead of and": select(task_queue).where(or_(t.company_id == COMPANY, t.task_id == "tsk_x")),
    "not that company": select(task_queue).where(t.company_id != COMPANY),
    "negated": select(task_queue).where(~(t.company_id == COMPANY)),
    "a join whose other side is free": select(task_queue, artifacts).where(t.company_id == COMPANY, a.task_id == t.task_id),
    "a join that only says both are of one company": select(task_queue, artifacts).where(t.company_id == a.company_id, a.task_id == t.task_id),
    "a join with an installation's table": select(task_queue).select_from(companies.join(task_queue, companies.c.company_id == t.company_id)),
    "an explicit join": select(task_queue).select_from(task_queue.join(artifacts, t.company_id == a.company_id)),
    "an outer join that filters the wrong side": select(task_queue).select_from(
        task_queue.outerjoin(artifacts, and_(t.company_id == COMPANY, a.company_id == COMPANY))
    ),
    "a subquery in from": select(select(task_queue).subquery()),
    "a subquery in where": select(task_queue).where(t.company_id == COMPANY, t.task_id.in_(select(a.task_id))),
    "a scalar subquery": select(select(func.count()).select_from(task_queue).scalar_subquery()),
    "exists": select(task_queue).where(t.company_id == COMPANY, exists(select(a.task_id).where(a.task_id == t.task_id))),
    "a union's second half": union_all(select(t.title).where(t.company_id == COMPANY), select(t.title)),
    "a common table expression": select(select(t.title).cte("c").c.title),
    "an alias": select(task_queue.alias("x")),
    "an update of everything": update(task_queue).values(title="x"),
    "an update that reads another table": update(task_queue).where(t.company_id == COMPANY, t.task_id == a.task_id).values(title=a.name),
    "an update that moves a row to another company": update(task_queue).where(t.company_id == COMPANY).values(company_id=OTHER),
    "an update whose value is a free subquery": update(task_queue).where(t.company_id == COMPANY).values(title=select(func.max(a.name)).scalar_subquery()),
    "a delete of everything": delete(task_queue),
    "a delete of another's": delete(task_queue).where(t.company_id == OTHER),
    "an insert from a free select": insert(agent_pauses).from_select(
        ["company_id", "agent", "paused_at", "paused_by"], select(t.company_id, t.title, t.created_at, t.title)
    ),
    "an insert of another's rows": insert(agent_pauses).values([{"company_id": OTHER, "agent": "x", "paused_at": None, "paused_by": "x"}]),
    "hand-written SQL": text("SELECT * FROM task_queue"),
    "hand-written SQL in from": select(text("*")).select_from(text("task_queue")),
    "hand-written SQL as a column": select(text("title FROM task_queue")),
}


@pytest.mark.parametrize("what", LEAKS)
async def test_the_guard_refuses(world: World, what: str) -> None:
    with pytest.raises(ScopeError):
        await world.store.write(lambda tx: tx.execute(LEAKS[what]), company=OURS)


KEPT = {
    "a select of ours": select(task_queue).where(t.company_id == COMPANY),
    "a predicate the other way round": select(task_queue).where(operator.eq(COMPANY, t.company_id)),
    "and in and": select(task_queue).where(and_(t.stage == "queued", and_(t.company_id == COMPANY, t.ready))),
    "a join anchored on one side": select(task_queue, artifacts).where(t.company_id == COMPANY, a.company_id == t.company_id, a.task_id == t.task_id),
    "a join of three in a chain": select(task_queue).select_from(
        task_queue.join(artifacts, and_(a.company_id == t.company_id, a.task_id == t.task_id)).join(files, files.c.company_id == a.company_id)
    ).where(files.c.company_id == COMPANY),
    "an outer join": select(task_queue).select_from(task_queue.outerjoin(artifacts, a.company_id == t.company_id)).where(t.company_id == COMPANY),
    "a subquery of ours": select(task_queue).where(t.company_id == COMPANY, t.task_id.in_(select(a.task_id).where(a.company_id == COMPANY))),
    "a correlated one": select(task_queue).where(
        t.company_id == COMPANY, exists(select(a.task_id).where(a.company_id == t.company_id, a.task_id == t.task_id))
    ),
    "a union of ours": union_all(select(t.title).where(t.company_id == COMPANY), select(a.name).where(a.company_id == COMPANY)),
    "an installation's table": select(companies),
    "no table at all": select(func.count()),
}  # fmt: skip


@pytest.mark.parametrize("what", KEPT)
async def test_the_guard_lets_pass(world: World, what: str) -> None:
    await fill(world)
    rows = await world.store.read(lambda tx: tx.execute(KEPT[what]).all(), company=OURS)
    if what not in ("an installation's table", "no table at all"):
        assert rows == []


async def test_an_inserted_row_is_its_transactions_companys_whatever_it_says(world: World) -> None:
    row = {"agent": "maya", "paused_at": None, "paused_by": "x"}

    def add(tx: Tx) -> None:
        tx.execute(insert(agent_pauses), {**row, "paused_at": tx.now, "company_id": OTHER})
        tx.execute(insert(agent_pauses), [{**row, "agent": "dash", "paused_at": tx.now, "company_id": OTHER}])

    await world.store.write(add, company=OURS)
    assert sorted(await world.sql("SELECT company_id, agent FROM agent_pauses")) == [(OURS, "dash"), (OURS, "maya")]


async def test_many_rows_at_once_keep_to_their_company_too(world: World) -> None:
    insertion = Insertion(agent_pauses, ("company_id", "agent", "paused_at", "paused_by"))
    with pytest.raises(ScopeError):
        await world.store.write(lambda tx: insert_many(tx, insertion, [(OTHER, "x", tx.now_value, "x")]), company=OURS)


@pytest.mark.parametrize("scope", ["engine", "auth"])
async def test_engine_and_sign_in_reach_only_their_tables(world: World, scope: Any) -> None:
    allowed = {"engine": ENGINE, "auth": AUTH}[scope]
    for table in metadata.sorted_tables:
        if table.name in allowed:
            await world.store.read(lambda tx, table=table: tx.execute(select(table)).all(), scope=scope)
        else:
            with pytest.raises(ScopeError):
                await world.store.read(lambda tx, table=table: tx.execute(select(table)).all(), scope=scope)


async def test_a_transaction_of_a_company_must_name_it_and_only_such_a_one_may(world: World) -> None:
    refused: tuple[Any, ...] = ({}, {"company": ""}, {"company": OURS, "scope": "engine"}, {"company": OURS, "scope": "owner"})
    for wanted in refused:
        with pytest.raises(Exception, match="must name it"):
            await world.store.read(lambda tx: None, **wanted)


# Postgres itself, with the guard out of the way


@pytest.fixture
def postgres(postgres_world: World) -> World:
    """SQLite has no roles; there the guard is the wall."""
    return postgres_world


@pytest.fixture
def raw(postgres: World) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(postgres.settings.store.database_url, autocommit=True) as connection:
        yield connection


def become(connection: psycopg.Connection[Any], role: str, company: str | None = None) -> None:
    connection.execute("SELECT set_config('role', %s, false)", (role,))
    connection.execute("SELECT set_config('pulser.company', %s, false)", (company or "",))


async def test_the_app_sees_nothing_without_a_company_and_only_its_own_with_one(postgres: World, raw: psycopg.Connection[Any]) -> None:
    await fill(postgres)
    for company, sees in ((None, False), ("", False), ("unheard-of", False), (OURS, False), (OTHER, True)):
        become(raw, "pulser_app", company)
        for table in ("task_queue", "events", "files", "artifacts", "task_dependencies", "agent_pauses", "leases"):
            [count] = raw.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[misc]
            assert bool(count) == sees, f"{company!r} on {table}"
    become(raw, "pulser_app", OURS)
    assert raw.execute("UPDATE task_queue SET title = 'mine' RETURNING 1").fetchall() == []
    assert raw.execute("DELETE FROM task_queue RETURNING 1").fetchall() == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        raw.execute("INSERT INTO agent_pauses (company_id, agent, paused_at, paused_by) VALUES (%s, 'x', now(), 'x')", (OTHER,))
    become(raw, "pulser_app", OTHER)
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        raw.execute("UPDATE agent_pauses SET company_id = %s", (OURS,))


async def test_a_reused_pooled_connection_remembers_neither_role_nor_company(postgres: World) -> None:
    await fill(postgres)
    url = postgres.settings.store.database_url
    single = Store(database_url=url, data_dir=postgres.settings.store.data_dir, writers=1, readers=1, queue_limit=10)
    try:
        count = text("SELECT count(*) FROM task_queue")
        bare = text("SELECT current_user, current_setting('pulser.company', true)")

        def unguarded(tx: Tx, statement: Any) -> Any:
            return tx.connection.execute(statement).all()

        for read in (single.read, single.write):
            assert await read(unguarded, count, company=OTHER) == [(3,)]
            assert await read(unguarded, count, company=OURS) == [(0,)]
            assert await read(unguarded, bare, company=OURS) == [("pulser_app", OURS)]
            assert await read(unguarded, bare, scope="engine") == [("pulser_engine", "")]
            with pytest.raises(Exception):  # noqa: B017 - whatever it is, the next one must not inherit anything
                await read(unguarded, text("SELECT 1 / 0"), company=OTHER)
            assert await read(unguarded, count, company=OURS) == [(0,)]
    finally:
        single.close()


async def test_row_security_is_on_and_forced_for_every_companys_table_and_nobody_who_serves_owns_anything(
    postgres: World, raw: psycopg.Connection[Any]
) -> None:
    rows = raw.execute(
        "SELECT relname, relrowsecurity, relforcerowsecurity, pg_get_userbyid(relowner) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ).fetchall()
    found = {name: (on, forced) for name, on, forced, _ in rows}
    assert {name: found[name] for name in COMPANY_TABLES} == dict.fromkeys(COMPANY_TABLES, (True, True))
    assert {owner for name, _, _, owner in rows if name != "alembic_version"} == {"pulser_owner"}
    bypass = raw.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'pulser\\_%' AND (rolbypassrls OR rolsuper OR rolcanlogin)").fetchall()
    assert bypass == []


async def test_forced_means_that_even_the_owner_sees_by_policy_alone(postgres: World, raw: psycopg.Connection[Any]) -> None:
    await fill(postgres)
    become(raw, "pulser_owner")
    raw.execute("BEGIN")
    raw.execute("DROP POLICY owner ON task_queue")
    assert raw.execute("SELECT count(*) FROM task_queue").fetchone() == (0,)
    raw.execute("ROLLBACK")


@pytest.mark.parametrize(
    ("role", "sees", "not_"),
    [
        ("pulser_app", set(), {"alembic_dummy"}),
        ("pulser_engine", {"task_queue", "events"}, {"api_keys", "files", "file_chunks", "artifacts", "idempotency_keys", "agent_memory", "agent_telemetry"}),
        ("pulser_auth", {"companies"}, {"task_queue", "events", "files", "artifacts", "leases", "idempotency_keys", "agent_memory", "instances"}),
    ],
)
async def test_roles_cannot_reach_each_others_tables(postgres: World, raw: psycopg.Connection[Any], role: str, sees: set[str], not_: set[str]) -> None:
    await fill(postgres)
    become(raw, role)
    for table in sees:
        assert raw.execute(f"SELECT count(*) FROM {table}").fetchone() > (0,), table  # type: ignore[operator]
    for table in not_ - {"alembic_dummy"}:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            raw.execute(f"SELECT count(*) FROM {table}")


@pytest.mark.parametrize("role", ["pulser_app", "pulser_engine", "pulser_auth"])
async def test_nobody_who_serves_may_truncate_drop_or_rewrite_the_log(postgres: World, raw: psycopg.Connection[Any], role: str) -> None:
    await fill(postgres)
    become(raw, role, OTHER)
    for statement in (
        "TRUNCATE task_queue CASCADE",
        "TRUNCATE events",
        "DROP TABLE events",
        "ALTER TABLE task_queue DISABLE ROW LEVEL SECURITY",
        "DROP POLICY app ON task_queue",
        "UPDATE events SET actor = 'nobody'",
        "DELETE FROM events",
        "CREATE TABLE mine (x int)",
        "CREATE VIEW public.all_tasks AS SELECT * FROM task_queue",
        "GRANT pulser_owner TO pulser_app",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            raw.execute(statement)


async def test_the_app_cannot_read_the_secrets_of_keys_or_make_one(postgres: World, raw: psycopg.Connection[Any]) -> None:
    await postgres.store.write(keys.create, OTHER, "ci", "operator", scope="auth")
    become(raw, "pulser_app", OURS)
    assert raw.execute("SELECT count(*) FROM api_keys").fetchone() == (0,)
    become(raw, "pulser_app", OTHER)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        raw.execute("UPDATE api_keys SET role = 'admin'")
    with pytest.raises(ScopeError):
        await postgres.store.read(lambda tx: tx.execute(select(api_keys)).all(), company=OTHER)
