"""Processes on one SQLite file: each has a datagram socket in the data folder and tells the others what its commits changed."""

from __future__ import annotations

import os
import secrets
import select
import socket
import threading
from pathlib import Path
from typing import Any

from pulser.delivery.message import Heard, Outbox, decode, encode
from pulser.observe import logs
from pulser.store.tx import Hints

log = logs.get("delivery")
FOLDER = "wake"
SUFFIX = ".sock"


class Neighbours:
    """The socket of this process and the thread that sends and hears. ``heard(hints)`` is called in that thread."""

    def __init__(self, data_dir: Path, heard: Heard) -> None:
        self._heard = heard
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        folder = data_dir / FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self._place(self.name + SUFFIX))
        self._outbox = Outbox()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="neighbours", daemon=True)

    def start(self) -> None:
        """Begin to send and hear."""
        self._thread.start()

    def send(self, hints: Hints) -> None:
        """Tell the others, soon; from any thread."""
        if self._outbox.add(hints):
            os.write(self._wake_write, b"!")

    def stop(self) -> None:
        """Say nothing more and take the socket down."""
        self._stopping = True
        os.write(self._wake_write, b"!")
        self._thread.join(timeout=5)
        self._drop(self.name + SUFFIX)
        self._socket.close()
        for descriptor in (self._wake_read, self._wake_write, self._folder):
            os.close(descriptor)

    def _place(self, name: str) -> str:
        return f"/proc/self/fd/{self._folder}/{name}"  # a socket's path may have 108 bytes; this one always fits

    def _run(self) -> None:
        while not self._stopping:
            waiting: list[Any] = [self._socket, self._wake_read]
            ready, _, _ = select.select(waiting, [], [])
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
                if (hints := self._outbox.take()) is not None:
                    self._tell(encode(self.name, hints))
            if self._socket in ready:
                self._hear()

    def _tell(self, body: bytes) -> None:
        for name in os.listdir(self._folder):
            if not name.endswith(SUFFIX) or name == self.name + SUFFIX:
                continue
            try:
                self._socket.sendto(body, self._place(name))
            except (ConnectionRefusedError, FileNotFoundError):  # its process is gone
                self._drop(name)
            except OSError:  # it does not read: it will poll
                continue

    def _hear(self) -> None:
        for _ in range(256):
            try:
                body = self._socket.recv(65_536)
            except BlockingIOError:
                return
            if (hints := decode(body, self.name)) is not None:
                self._heard(hints)

    def _drop(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._folder)
        except FileNotFoundError:
            return
