"""How requests arrive: a head may be only so long, and must come in time; what is within the limits is served as before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from pulser.web import protocol

pytestmark = pytest.mark.anyio
PROMPT_S = 20.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/slow":
        await asyncio.sleep(0.3)
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = f"{len(scope['headers'])} headers, {size} bytes".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def connection() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", http=protocol.Protocol, timeout_keep_alive=1000))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PROMPT_S):
            yield reader, writer
    finally:
        writer.close()
        server.force_exit = True
        await server.shutdown()


def head(*lines: str, method: str = "GET", path: str = "/") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


async def status(reader: asyncio.StreamReader) -> int:
    return int((await reader.readuntil(b"\r\n")).split(b" ")[1])


async def whole(reader: asyncio.StreamReader) -> str:
    """The body of the next answer."""
    assert await status(reader) == 200
    size = next(int(line.split(b":")[1]) for line in (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n") if line.startswith(b"content-length"))
    return (await reader.readexactly(size)).decode()


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(head("X: " + "x" * 70_000), id="one long value"),
        pytest.param(head(*(f"X-{n}: {'y' * 100}" for n in range(700))), id="many"),
        pytest.param(head(path="/" + "p" * 70_000), id="a long address"),
    ],
)
async def test_a_head_that_is_too_long_is_refused_and_the_connection_closed(request_: bytes):
    async with connection() as (reader, writer):
        writer.write(request_)
        assert await status(reader) == 431
        rest = await reader.read()
        assert b"connection: close" in rest and rest.endswith(b"too long.")


@pytest.mark.parametrize("beginning", [b"GET / HTTP/1.1\r\nX: ", b"GET /"])
async def test_a_head_without_end_is_not_listened_to(beginning: bytes):
    async with connection() as (reader, writer):
        writer.write(beginning)
        sent = 0
        with pytest.raises((ConnectionError, EOFError)):
            while sent < 50_000_000:
                writer.write(b"x" * 10_000)
                sent += 10_000
                await writer.drain()
                if reader.at_eof():
                    raise EOFError
                await asyncio.sleep(0)
        assert sent < 50_000_000


async def test_long_heads_within_the_limit_and_long_bodies_are_served_in_whatever_pieces_they_come():
    async with connection() as (reader, writer):
        for _ in range(2):
            request_ = head("X: " + "x" * 60_000, "Content-Length: 300000", method="POST") + b"b" * 300_000
            for start in range(0, len(request_), 7_000):
                writer.write(request_[start : start + 7_000])
                await writer.drain()
            assert await whole(reader) == "3 headers, 300000 bytes"


async def test_requests_that_come_together_are_each_answered():
    async with connection() as (reader, writer):
        writer.write(head("X: " + "x" * 30_000) * 5)
        assert [await whole(reader) for _ in range(5)] == ["2 headers, 0 bytes"] * 5


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n\r\n"])
async def test_a_head_that_does_not_come_in_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, sent: bytes):
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)
    async with connection() as (reader, writer):
        writer.write(sent)
        assert await status(reader) == 408
        assert (await reader.read()).endswith(b"did not come in time.")


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n"])
async def test_nor_is_the_second_of_a_connection(monkeypatch: pytest.MonkeyPatch, sent: bytes):
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)
    async with connection() as (reader, writer):
        writer.write(head())
        assert await whole(reader) == "1 headers, 0 bytes"
        writer.write(sent)
        assert await status(reader) == 408


async def test_an_answer_may_take_longer_than_a_head(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)
    async with connection() as (reader, writer):
        writer.write(head(path="/slow"))
        assert await whole(reader) == "1 headers, 0 bytes"


async def test_what_is_no_request_is_still_told_so():
    async with connection() as (reader, writer):
        writer.write(b"this is no HTTP\r\n\r\n")
        assert await status(reader) == 400
