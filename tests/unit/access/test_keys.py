"""What happens to keys is told in their company's log, on both back ends, and to nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pulser.access import keys
from pulser.core.actor import Actor
from pulser.core.errors import NotFound
from pulser.events import feed
from pulser.store import migrate
from pulser.store.store import Store

CHIEF = Actor("operator", role="admin")


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    engine = migrate.open_engine(url, tmp_path)
    migrate.upgrade(engine)
    engine.dispose()
    opened = Store(database_url=url, data_dir=tmp_path, writers=1, readers=1, queue_limit=100)
    for company in ("acme", "rival"):
        opened.write_blocking(keys.create_company, company, company, scope="auth")
    yield opened
    opened.close()


HIDDEN = "SELECT count(*) FROM events WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint"


def told(store: Store, company: str) -> list[tuple[str, str, str, dict[str, str]]]:
    for _ in range(20_000):  # on Postgres the log waits for older transactions, also of the server's other databases
        if store.sqlite or store.read_blocking(lambda tx: tx.raw(HIDDEN, (), "events"), scope="owner") == [(0,)]:
            break
    found = store.read_blocking(feed.after, feed.START, 100, company=company)
    return [(each["event"], each["actor"], each["target"], each["details"]) for each in found]


def test_making_and_revoking_a_key_is_told_with_who_did_it(store: Store):
    key_id, secret = store.write_blocking(keys.create, "acme", "boss", "admin", scope="auth", actor=CHIEF)
    store.write_blocking(keys.revoke, "acme", key_id, scope="auth", actor=CHIEF)
    assert told(store, "acme") == [("key_created", "operator", key_id, {"role": "admin"}), ("key_revoked", "operator", key_id, {})]
    assert told(store, "rival") == []
    assert secret not in str(store.read_blocking(feed.after, feed.START, 100, company="acme"))


def test_what_was_refused_is_not_told(store: Store):
    key_id, _ = store.write_blocking(keys.create, "acme", "boss", "admin", scope="auth")
    for company, wanted in (("rival", key_id), ("acme", "key_00000000000000000000000000")):
        with pytest.raises(NotFound):
            store.write_blocking(keys.revoke, company, wanted, scope="auth")
    assert [event for event, *_ in told(store, "acme") + told(store, "rival")] == ["key_created"]
