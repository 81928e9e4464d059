"""HTTP/1.1 as uvicorn reads it, with two limits that it does not have: how long a request's head may be, and how long it may take to come.

Both hold before anybody has signed in. The common case, a head that comes whole in one piece, starts no timer.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_BYTES = 65_536  # of address, names and values
HEAD_S = 10.0


class _TooLong(Exception):
    """The head is longer than it may be."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    _parsed = 0  # bytes of the head's address and headers
    _pieces = 0  # bytes of the pieces after the first that brought it
    _arriving = False  # a head has begun and is not complete
    _between = True  # no head has begun since the last message ended
    _refused = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody connects: what they want must follow."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(HEAD_S, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """They are gone."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A piece of a request. The parser keeps a value that has not ended to itself, so pieces of an unfinished head are counted whole."""
        arriving = self._arriving
        super().data_received(data)
        if self._refused:
            return
        if self._arriving:
            if arriving:
                self._pieces += len(data)
                if self._pieces > HEAD_BYTES:
                    self._refuse(431, "The request's head is too long.")
                    return
        elif not self._between or not (self.cycle is None or self.cycle.response_complete):
            return
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self._late)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._parsed = self._pieces = 0
        self._arriving, self._between = True, False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """A request is there, with its body."""
        self._between = True
        super().on_message_complete()

    def on_url(self, url: bytes) -> None:
        """A part of the address."""
        self._take(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header."""
        self._take(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._arriving = False
        self._stop_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What cannot be parsed: because of us, if it was too long."""
        if self._parsed > HEAD_BYTES:
            self._refuse(431, "The request's head is too long.")
        else:
            self._stop_timer()
            super().send_400_response(msg)

    def _take(self, size: int) -> None:
        self._parsed += size
        if self._parsed > HEAD_BYTES:
            raise _TooLong

    def _late(self) -> None:
        self._timer = None
        self._refuse(408, "The request did not come in time.")

    def _refuse(self, status: int, said: str) -> None:
        """Close; with an answer, unless that of an earlier request is still being written."""
        self._refused = True
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(said)
            self.transport.write(STATUS_LINE[status] + head + said.encode("ascii"))
        self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
