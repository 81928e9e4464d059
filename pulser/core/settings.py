"""The settings of every room, as frozen sections. ``pulser.app.settings`` fills them from the environment; nothing else reads it.

Each field has a type, a default, a unit in its name and a sentence; ``docs/reference/settings.md`` is generated from here.
The variable of ``Worker.lease_s`` is ``PULSER_WORKER_LEASE_S``; fields of ``Server`` and ``Store`` go without the section's name where ``env`` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


def setting(default: Any, meaning: str, *, env: str = "", also: tuple[str, ...] = (), secret: bool = False) -> Any:
    """A field with its sentence; ``env`` overrides the variable's name, ``also`` are names other documents use for it."""
    meta = {"meaning": meaning, "env": env, "also": also, "secret": secret}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: default.copy(), metadata=meta)
    return field(default=default, metadata=meta)


@dataclass(frozen=True, slots=True)
class Server:
    """Where the HTTP door listens and whom it trusts."""

    host: str = setting("127.0.0.1", "Address to listen on. Off loopback, an API key must exist first.", env="PULSER_HOST")
    port: int = setting(8000, "Port to listen on.", env="PULSER_PORT", also=("PULSER_API_PORT", "PORT"))
    allowed_hosts: tuple[str, ...] = setting((), "Host names, besides loopback's, that requests may name.", env="PULSER_ALLOWED_HOSTS")
    cors_origins: tuple[str, ...] = setting((), "Origins that browsers may call the API from; none by default.", env="PULSER_CORS_ORIGINS")
    body_limit_bytes: int = setting(1_048_576, "Largest JSON body that is read.", env="PULSER_BODY_LIMIT_BYTES")
    upload_limit_bytes: int = setting(104_857_600, "Largest file that can be uploaded.", env="PULSER_UPLOAD_LIMIT_BYTES")
    url: str = setting("", "Where the command line finds the server; http://127.0.0.1:8000 if empty.", env="PULSER_URL")
    api_key: str = setting("", "The key the command line signs in with, where the data folder's token is not at hand.", env="PULSER_API_KEY", secret=True)
    maintenance: bool = setting(False, "Refuse new work with 503 and finish the old.", env="PULSER_MAINTENANCE")


@dataclass(frozen=True, slots=True)
class Store:
    """Where the truth lies."""

    data_dir: Path = setting(Path(".pulser"), "Folder of the embedded database, the files and the local token.", env="PULSER_DATA_DIR")
    database_url: str = setting(
        "", "postgresql://… for Postgres; empty for the embedded SQLite file.", env="PULSER_DATABASE_URL", also=("DATABASE_URL",), secret=True
    )
    owner_url: str = setting("", "The role that migrates, where it differs from the one that runs.", env="PULSER_DATABASE_OWNER_URL", secret=True)
    writers: int = setting(2, "Connections that write, per process, on Postgres.")
    readers: int = setting(2, "Connections that read, per process.")
    queue_limit: int = setting(10_000, "Writes that may wait for the writer; more are answered with 503.")
    events_keep_days: int = setting(90, "Days that events are kept.")
    files_quota_bytes: int = setting(10_737_418_240, "Bytes of files and artifacts a company may keep.")


@dataclass(frozen=True, slots=True)
class Queue:
    """Order, retries and limits of tasks."""

    ageing_critical_s: float = setting(0.0, "Head start: a task is ranked by its submit time plus this.")
    ageing_high_s: float = setting(60.0, "The same for high.")
    ageing_medium_s: float = setting(300.0, "The same for medium.")
    ageing_low_s: float = setting(1800.0, "The same for low: after this long it goes before a critical one submitted now.")
    retry_delays_s: tuple[float, ...] = setting((5.0, 25.0, 125.0), "Waits before the first, second, third retry, each ±20 %.")
    max_retries: int = setting(3, "Retries of a transient error, unless the task says otherwise.")
    max_reclaims: int = setting(5, "Lost workers before a task is a dead letter.")
    payload_limit_bytes: int = setting(262_144, "Largest payload of one task.")
    result_limit_bytes: int = setting(1_048_576, "Largest result of one task; larger ones belong into artifacts.")
    batch_limit: int = setting(1_000, "Tasks in one batch.")
    idempotency_keep_s: float = setting(86_400.0, "How long an Idempotency-Key is remembered.")


@dataclass(frozen=True, slots=True)
class Worker:
    """Who does the work in this process."""

    concurrency: int = setting(16, "Tasks one process runs at once.", also=("CELERY_WORKER_CONCURRENCY",))
    children: int = setting(0, "Child processes at once; 0: one per core.")
    agents: tuple[str, ...] = setting((), "Agents this process serves; empty: all.")
    lease_s: float = setting(30.0, "How long a claim lasts without renewal.")
    renew_s: float = setting(10.0, "How often all leases of this process are renewed.")
    sweep_s: float = setting(5.0, "How often expired leases are swept and delayed tasks are looked for.")
    drain_s: float = setting(20.0, "How long a stopping worker lets its tasks finish before it gives them back.")
    probes: bool = setting(False, "Allow noop's crash: worker, which kills this process; for fault tests.")


@dataclass(frozen=True, slots=True)
class Tools:
    """What tools may touch."""

    roots: tuple[Path, ...] = setting(
        (), "Folders that payloads may name paths under, for reading; ':rw' at the end also for writing.", also=("ALLOWED_PATHS",)
    )
    targets: dict[str, str] = setting({}, 'Load targets by name, as JSON: {"warehouse": "postgresql://…"}.', secret=True)
    agents_dir: str = setting("", "Folder of further agent specs (*.yaml).")
    sandbox: str = setting("auto", "How child processes are confined: auto (the strongest that holds here), bwrap, landlock, or off.")


@dataclass(frozen=True, slots=True)
class Observe:
    """What is told."""

    log_level: str = setting("info", "debug, info, warning or error.", env="PULSER_LOG_LEVEL")
    log_format: str = setting("auto", "json, console, or auto: console on a terminal.", env="PULSER_LOG_FORMAT")


@dataclass(frozen=True, slots=True)
class Features:
    """Flags."""

    demo_mode: bool = setting(False, "Show the demo banner.", env="PULSER_DEMO_MODE", also=("demoMode",))
    scheduler_enabled: bool = setting(True, "Run schedules in this process.", env="PULSER_SCHEDULER_ENABLED", also=("schedulerEnabled",))


@dataclass(frozen=True, slots=True)
class Settings:
    """All sections."""

    server: Server = field(default_factory=Server)
    store: Store = field(default_factory=Store)
    queue: Queue = field(default_factory=Queue)
    worker: Worker = field(default_factory=Worker)
    tools: Tools = field(default_factory=Tools)
    observe: Observe = field(default_factory=Observe)
    features: Features = field(default_factory=Features)
