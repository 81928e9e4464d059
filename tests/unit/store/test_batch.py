"""Many rows in one statement: what is written is what was meant, whatever the values hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pulser.store.batch import Change, Insertion, insert_many, update_many
from pulser.store.store import Store
from pulser.store.tables import task_queue
from tests import postgres as server
from tests.conformance.conftest import prepare

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=40)
ODD = ["", '"', "\\", '\\"', "{}", "{a,b}", "NULL", "null", "a,b", " blank ", "\n\t\r", "é😀", "'; --", "%s", ":x", "?1", "\x01"]
_COLUMNS = (
    "company_id", "task_id", "task_type", "action", "assigned_agent", "rank_at", "time_limit_s", "created_at", "updated_at", "routing", "payload", "title",
    "review", "max_retries", "available_at",
)  # fmt: skip
_ADD = Insertion(task_queue, _COLUMNS, skip_known=True)
_SET = Change(
    task_queue, key=("company_id", "task_id", "token"), data=("company_id", "task_id", "token", "title", "payload", "retry_count", "error"),
    sets={"title": "d.title", "payload": "d.payload", "retry_count": "t.retry_count + d.retry_count", "error": "d.error"}, returning=("task_id", "title"),
)  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("batch")
    if request.param == "sqlite":
        prepare("", folder)
        made = Store(database_url="", data_dir=folder, writers=1, readers=1, queue_limit=100)
        yield made
        made.close()
        return
    with server.database(request.getfixturevalue("postgres_server")) as url:
        prepare(url, Path("unused"))
        made = Store(database_url=url, data_dir=folder, writers=1, readers=1, queue_limit=100)
        yield made
        made.close()


def round_trip(store: Store, texts: list[str | None]) -> list[Any]:
    def run(tx: Any) -> list[Any]:
        now = tx.now_value
        documents = [tx.json({"text": text}) for text in texts]
        rows = [
            ("default", f"t{n}", "x", "noop", "pulser", now, 1.5, now, now, "{}", document, text, n % 2 == 0, n, None if n % 3 else now)
            for n, (text, document) in enumerate(zip(texts, documents, strict=True))
        ]
        insert_many(tx, _ADD, rows)
        insert_many(tx, _ADD, rows)  # those that are there are left as they are
        changed = update_many(tx, _SET, [("default", f"t{n}", 0, text, documents[n], 1, None) for n, text in enumerate(texts)])
        assert sorted(row[0] for row in changed) == sorted(f"t{n}" for n in range(len(texts)))
        assert update_many(tx, _SET, [("default", f"t{n}", 7, "wrong", "{}", 1, None) for n in range(len(texts))]) == [], "another token matched"
        found: list[Any] = tx.raw(
            "SELECT title, payload, review, max_retries, available_at IS NULL, retry_count FROM task_queue ORDER BY max_retries", (), "task_queue"
        )
        tx.raw("DELETE FROM task_queue RETURNING 1", (), "task_queue")
        return found

    found: list[Any] = store.write_blocking(run, scope="owner")
    return found


def check(store: Store, texts: list[str | None]) -> None:
    found = round_trip(store, texts)
    assert [row[0] for row in found] == texts
    assert [(json.loads(row[1]) if isinstance(row[1], str) else row[1])["text"] for row in found] == texts
    assert [bool(row[2]) for row in found] == [n % 2 == 0 for n in range(len(texts))]
    assert [row[3] for row in found] == list(range(len(texts)))
    assert [bool(row[4]) for row in found] == [n % 3 != 0 for n in range(len(texts))]
    assert {row[5] for row in found} == {1}


def test_odd_texts_come_back_as_they_were(store: Store) -> None:
    check(store, [*ODD, None])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(st.none() | TEXT, min_size=1, max_size=8))
def test_any_texts_come_back_as_they_were(store: Store, texts: list[str | None]) -> None:
    check(store, texts)


def test_no_rows_are_no_statement(store: Store) -> None:
    store.write_blocking(lambda tx: insert_many(tx, _ADD, []), scope="owner")
    assert store.write_blocking(lambda tx: update_many(tx, _SET, []), scope="owner") == []
