"""What a claim costs with 1,000 tasks queued and with many: ``python -m tests.bench.claim_depth '{…}'`` prints one line of JSON.

Two databases stand side by side and are asked in turn, so that a neighbour's load meets both. Timed is the claim inside its transaction (on Postgres with its
way there and back), 8 tasks each; the commit around it costs the same at any depth and would hide the difference.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from sqlalchemy import text

from pulser.agents.registry import Registry
from pulser.app import settings
from pulser.app.build import open_store
from pulser.core.actor import Actor
from pulser.core.settings import Settings
from pulser.store import claims, migrate
from pulser.store.store import Store
from pulser.store.tx import Tx
from tests.bench.figures import percentile

SHALLOW = 1_000
CLAIMED = 8
SAMPLES = 100  # 800 of the 1,000
COMPANIES = 3
WORKER = Actor("worker:bench", company_id="", role="operator", origin="worker")

COLUMNS = (
    "company_id, task_id, task_type, action, priority, assigned_agent, stage, ready, rank_at, time_limit_s, version, created_at, updated_at, routing, payload"
)
SQLITE = f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
 INSERT INTO task_queue ({COLUMNS}) SELECT 'c' || (i % {COMPANIES}), printf('tsk_%026d', i), 'orchestration', 'noop', 'medium',
 json_extract(:agents, '$[' || (i % :n) || ']'), 'queued', 1, 1700000000000000 + i, 600, 2, 1700000000000000 + i, 1700000000000000 + i,
 '{{"rule":"bench"}}', '{{"action":"noop","seq":' || i || '}}' FROM n"""
POSTGRES = f"""INSERT INTO task_queue ({COLUMNS}) SELECT 'c' || (i % {COMPANIES}), 'tsk_' || lpad(i::text, 26, '0'), 'orchestration', 'noop', 'medium',
 (CAST(:agents AS jsonb)) ->> (i % :n), 'queued', true, now() - interval '1 day' + i * interval '1 millisecond', 600, 2, now(), now(),
 '{{"rule":"bench"}}', jsonb_build_object('action', 'noop', 'seq', i) FROM generate_series(1, :count) i"""


def fill(chosen: Settings, count: int) -> Store:
    """A database with ``count`` queued tasks of three companies and all agents, and its statistics gathered."""
    folder, url = chosen.store.data_dir, chosen.store.database_url
    folder.mkdir(parents=True, exist_ok=True)
    engine = migrate.open_engine(url, folder)
    migrate.upgrade(engine)
    agents = [spec.name for spec in Registry.load("").agents()]
    with engine.connect() as connection:
        for n in range(COMPANIES):
            connection.execute(text("INSERT INTO companies VALUES (:id, :id, :at)"), {"id": f"c{n}", "at": "2023-11-14T00:00:00Z" if url else 0})
        connection.execute(text(POSTGRES if url else SQLITE), {"count": count, "agents": json.dumps(agents), "n": len(agents)})
        connection.commit()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE task_queue" if url else "PRAGMA wal_checkpoint(TRUNCATE)"))
    engine.dispose()
    return open_store(chosen)


def _claim(tx: Tx) -> tuple[int, float]:
    began = time.perf_counter()
    found = claims.claim(tx, "bench", None, CLAIMED, 30.0)
    return len(found), time.perf_counter() - began


async def measure(shallow: Store, deep: Store) -> dict[str, float]:
    """p95 of both."""
    took: dict[str, list[float]] = {"shallow": [], "deep": []}
    for n in range(SAMPLES + 10):
        for name, store in (("shallow", shallow), ("deep", deep)):
            count, passed_s = await store.write(_claim, scope="engine", actor=WORKER)
            if count != CLAIMED:
                raise RuntimeError(f"{count} tasks claimed, {CLAIMED} expected")
            if n >= 10:  # caches and plans are warm
                took[name].append(passed_s * 1e3)
    return {f"{name}_{share}_ms": percentile(values, part) for name, values in took.items() for share, part in (("p50", 0.5), ("p95", 0.95))}


def main(told: dict[str, Any]) -> dict[str, float]:
    """``folder``, ``deep`` (how many), and on Postgres ``urls`` of two empty databases."""
    folder, urls = Path(told["folder"]), told.get("urls") or ["", ""]
    stores = []
    for name, count, url in zip(("shallow", "deep"), (SHALLOW, told["deep"]), urls, strict=True):
        chosen = settings.load({}, {"store.data_dir": folder / name, "store.database_url": url, "store.writers": 1}).settings
        stores.append(fill(chosen, count))
    found = asyncio.run(measure(*stores))
    for store in stores:
        store.close()
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
