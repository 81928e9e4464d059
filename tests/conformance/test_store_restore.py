"""A backup of Postgres, restored into another server, tells its whole log, in its order."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pulser.app.backup import back_up
from pulser.app.restore import restore
from pulser.core.settings import Store
from pulser.events import feed
from pulser.store import migrate, postgres
from tests.conformance.conftest import prepare
from tests.conformance.world import COMPANY, World
from tests.postgres import database

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(shutil.which("pg_dump") is None, reason="there is no pg_dump here")]


async def told(world: World) -> list[tuple[str, str]]:
    return [(each["event"], each["target"]) for each in await world.events()]


@pytest.mark.parametrize("ahead", [1 << 40, 0])
async def test_a_younger_server_shows_the_whole_log_and_what_is_new_after_it(postgres_server: str, tmp_path: Path, ahead: int) -> None:
    """``ahead``: by how many transactions the old server was ahead of this one; in the middle of its log there is a place of an earlier restore."""
    with database(postgres_server) as old_url, database(postgres_server) as new_url:
        prepare(old_url, tmp_path)
        old = World(old_url, tmp_path)
        try:
            ids = [await old.submit() for _ in range(3)]
            await old.sql("UPDATE events SET xid = 0, seq = seq + 4 WHERE target = :first", first=ids[0])  # as that leaves it
            await old.sql("UPDATE events SET xid = xid + :ahead WHERE target <> :first", ahead=ahead, first=ids[0])
            before = [tuple(row) for row in await old.sql("SELECT event, target FROM events ORDER BY xid, seq")]
        finally:
            old.close()
        archive = tmp_path / "backup.tar.gz"
        back_up(Store(data_dir=tmp_path, database_url=old_url), archive)
        folder = tmp_path / "new"
        restore(Store(data_dir=folder, database_url=new_url), archive)
        new = World(new_url, folder)
        try:
            assert await told(new) == before
            cursor = await new.store.read(feed.head, scope="engine")
            further = await new.submit()
            await new.told()
            after = await new.store.read(feed.after, cursor, 10, company=COMPANY)
            assert {each["target"] for each in after} == {further}
            if ahead:
                rows = await new.sql("SELECT seq FROM events ORDER BY xid, seq")
                assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
            engine = migrate.open_engine(new_url, folder)
            assert postgres.renumber_events(engine) is False, "it is done once"
            engine.dispose()
        finally:
            new.close()
