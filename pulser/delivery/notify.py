"""Processes on one Postgres: LISTEN and NOTIFY, on one connection of its own.

Notifying inside a task's transaction would make all commits of the server wait for each other, so it is done after the commit, merged, and apart.
"""

from __future__ import annotations

import os
import secrets
import select
import threading
from typing import Any

from pulser.core.clock import monotonic
from pulser.delivery.message import Heard, Outbox, decode, encode
from pulser.observe import logs
from pulser.store.tx import Hints

log = logs.get("delivery")
CHANNEL = "pulser"
AGAIN_S = 1.0


class Notify:
    """The connection and its thread. ``heard(hints)`` is called in that thread; after a lost connection with ``*``, since something may have been missed."""

    def __init__(self, database_url: str, heard: Heard) -> None:
        self._url = database_url.replace("postgresql+psycopg://", "postgresql://")
        self._heard = heard
        self.name = f"{os.uname().nodename}-{os.getpid()}-{secrets.token_hex(4)}"
        self._outbox = Outbox()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)

    def start(self) -> None:
        """Begin to send and hear."""
        self._thread.start()

    def send(self, hints: Hints) -> None:
        """Tell the others, soon; from any thread."""
        if self._outbox.add(hints):
            os.write(self._wake_write, b"!")

    def stop(self) -> None:
        """Say nothing more and let the connection go."""
        self._stopping.set()
        os.write(self._wake_write, b"!")
        self._thread.join(timeout=5)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        import psycopg

        first = True
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, application_name="pulser-notify", connect_timeout=10) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    if not first:
                        self._heard(Hints({"*"}, events=True))
                    first = False
                    self._talk(connection)
            except psycopg.Error as error:
                log.warning("wake-ups are lost until the database is back", error=str(error).splitlines()[0])
                self._stopping.wait(AGAIN_S)

    def _talk(self, connection: Any) -> None:
        while not self._stopping.is_set():
            began = monotonic()
            ready, _, _ = select.select([connection.fileno(), self._wake_read], [], [], 30)
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                if (hints := self._outbox.take()) is not None:
                    connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, encode(self.name, hints).decode()))
            elif not ready and monotonic() - began > 29:
                connection.execute("SELECT 1")  # a connection that was cut shows only when it is used
            for notice in connection.notifies(timeout=0):
                if (heard := decode(notice.payload, self.name)) is not None:
                    self._heard(heard)
