"""Who calls: keys, sessions and their ends, also for answers that last."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from pulser.access import keys, sessions
from pulser.access.local import LocalToken
from pulser.access.sessions import LOCAL, MAX_AGE_S, Sessions
from pulser.api import room
from pulser.collab import views
from pulser.core.clock import now
from pulser.core.errors import NotSignedIn
from pulser.store import migrate
from pulser.store.store import Store
from pulser.web import caller
from pulser.web.caller import OPERATOR, Callers, may_go_on, session_of, while_signed_in

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Any:
    migrate.ready("", "", tmp_path)
    opened = Store(database_url="", data_dir=tmp_path, writers=1, readers=1, queue_limit=100)
    opened.write_blocking(keys.ensure_default, scope="auth")
    yield opened
    opened.close()


@pytest.fixture
def doors(store: Store, tmp_path: Path) -> Callers:
    local = LocalToken(tmp_path)
    return Callers(store, local, Sessions(tmp_path, local))


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of a key is asked anew each time, as it is after a quarter of a minute."""
    monkeypatch.setattr(caller, "CACHED_S", 0.0)
    monkeypatch.setattr(room, "CACHED_S", 0.0)


async def made(store: Store, **more: Any) -> tuple[str, str]:
    found: tuple[str, str] = await store.write(lambda tx: keys.create(tx, "default", "boss", "admin", **more), scope="auth")
    return found


def request(doors: Callers, authorization: str = "", session: str = "", actor: Any = None) -> Request:
    """As the gate hands it on."""
    headers = [(b"authorization", authorization.encode())] * bool(authorization) + [(b"cookie", f"pulser_session_8000={session}".encode())] * bool(session)
    app = SimpleNamespace(state=SimpleNamespace(callers=doors))
    return Request({"type": "http", "headers": headers, "server": ("127.0.0.1", 8000), "app": app, "pulser.actor": actor})


async def test_a_session_of_a_key_ends_with_the_key(doors: Callers, store: Store, forgetful: None):
    key_id, secret = await made(store)
    cookie = doors.sessions.begin(keys.digest(secret).hex())
    actor = await doors.of("", cookie, same_origin=True)
    assert actor is not None and (actor.name, actor.role) == ("key:boss", "admin") and actor is not OPERATOR
    assert await doors.of("", cookie, same_origin=False) is None
    await store.write(keys.revoke, "default", key_id, scope="auth")
    assert await doors.of("", cookie, same_origin=True) is None
    with pytest.raises(NotSignedIn):
        await doors.of(f"Bearer {secret}", "", same_origin=True)


async def test_a_session_of_a_key_that_expires_ends_then_though_the_key_is_still_remembered(doors: Callers, store: Store, monkeypatch: pytest.MonkeyPatch):
    _, secret = await made(store, expires_at=now() + timedelta(hours=1))
    cookie = doors.sessions.begin(keys.digest(secret).hex())
    assert await doors.of("", cookie, same_origin=True) is not None
    later = now() + timedelta(hours=2)
    monkeypatch.setattr(caller, "now", lambda: later)
    assert await doors.of("", cookie, same_origin=True) is None


async def test_a_session_is_believed_for_seven_days_and_no_longer(doors: Callers, monkeypatch: pytest.MonkeyPatch):
    cookie = doors.sessions.begin(LOCAL)
    began = now()
    for days, believed in ((6.9, True), (7.1, False)):
        at = began + timedelta(days=days)
        monkeypatch.setattr(sessions, "now", lambda at=at: at)
        assert (await doors.of("", cookie, same_origin=True) is OPERATOR) == believed
    assert timedelta(days=7).total_seconds() == MAX_AGE_S


async def test_a_local_session_outlives_a_restart_and_ends_with_the_token_or_off_loopback(doors: Callers, tmp_path: Path):
    cookie = doors.sessions.begin(LOCAL)
    again = LocalToken(tmp_path)
    assert Sessions(tmp_path, again).whose(cookie) == LOCAL
    assert Sessions(tmp_path, None).whose(cookie) is None
    again.path.unlink()
    assert Sessions(tmp_path, LocalToken(tmp_path)).whose(cookie) is None


async def test_an_ended_session_stays_ended_after_a_restart(doors: Callers, tmp_path: Path):
    kept, ended = doors.sessions.begin(LOCAL), doors.sessions.begin(LOCAL)
    doors.sessions.end(ended)
    doors.sessions.end("made.1.up.0")
    again = Sessions(tmp_path, LocalToken(tmp_path))
    assert (again.whose(kept), again.whose(ended)) == (LOCAL, None)
    assert len((tmp_path / "sessions-ended").read_text().splitlines()) == 1, "only what was a session is remembered"


async def test_what_signs_sessions_lies_where_only_its_owner_reads_it(doors: Callers, tmp_path: Path):
    assert (tmp_path / "session-secret").stat().st_mode & 0o777 == 0o600


def test_only_the_cookie_of_our_own_port_counts():
    scope = {"server": ("127.0.0.1", 8000)}
    assert session_of(scope, "pulser_session_8001=other; pulser_session=old; pulser_session_8000=ours") == "ours"
    assert session_of(scope, "pulser_session_8001=other") == ""


async def frames(count: int) -> AsyncGenerator[bytes, None]:
    for _ in range(count):
        yield b": keep-alive\n\n"


async def test_a_stream_ends_when_the_key_it_was_opened_with_is_revoked(doors: Callers, store: Store, forgetful: None):
    key_id, secret = await made(store)
    asked = request(doors, f"Bearer {secret}", actor=await doors.of(f"Bearer {secret}", "", same_origin=True))
    seen = 0
    async for _ in while_signed_in(asked, frames(10)):
        seen += 1
        if seen == 3:
            await store.write(keys.revoke, "default", key_id, scope="auth")
    assert seen == 3


async def test_a_stream_ends_when_its_session_is_ended_and_one_of_nobody_goes_on(doors: Callers, forgetful: None):
    cookie = doors.sessions.begin(LOCAL)
    asked = request(doors, session=cookie, actor=OPERATOR)
    assert await may_go_on(asked)
    doors.sessions.end(cookie)
    assert not await may_go_on(asked)
    assert len([frame async for frame in while_signed_in(request(doors), frames(5))]) == 5


class Waiting:
    """A room whose task has events, and how often what was read of it."""

    def __init__(self, doors: Callers, told: list[bytes], done_after: int = 10**9) -> None:
        self.read: list[Any] = []
        self.closed = False
        self._told, self._done_after = told, done_after
        self.store, self.follower = SimpleNamespace(read=self._read), SimpleNamespace(stream=self._stream)

    async def _read(self, fn: Any, *_args: Any, company: str) -> dict[str, Any]:
        self.read.append(fn)
        return {"stage": "done" if self.read.count(views.status) > self._done_after else "queued"}

    async def _stream(self, *_args: Any, **_more: Any) -> AsyncIterator[bytes]:
        try:
            for frame in self._told:
                yield frame
        finally:
            self.closed = True


@asynccontextmanager
async def asking(waiting: Waiting, asked: Request, *, gone: bool = False) -> AsyncIterator[Request]:
    asked.app.state.room = waiting

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect" if gone else "http.request"}

    asked._receive = receive
    yield asked


def settled(shown: dict[str, Any]) -> bool:
    return bool(shown["stage"] == "done")


CONNECTED, ALIVE, EVENT = b": connected\n\n", b": keep-alive\n\n", b"id: c1-1\nevent: task_claimed\ndata: {}\n\n"


async def test_who_waits_for_a_task_reads_little_and_only_when_something_happened(doors: Callers):
    waiting = Waiting(doors, [CONNECTED, *[ALIVE] * 50, EVENT, *[ALIVE] * 50, EVENT, EVENT], done_after=2)
    async with asking(waiting, request(doors)) as asked:
        assert (await room.until(asked, "default", "tsk_1", settled, 60))["stage"] == "done"
    assert waiting.read == [views.status, views.status, views.status, views.task]


async def test_nobody_is_waited_for_who_has_gone_away(doors: Callers, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(room, "LOOK_S", 0.0)
    waiting = Waiting(doors, [CONNECTED, *[EVENT] * 50])
    async with asking(waiting, request(doors), gone=True) as asked:
        await room.until(asked, "default", "tsk_1", settled, 60)
    assert waiting.read == [views.status, views.task] and waiting.closed


async def test_a_key_that_ends_while_one_waits_is_refused(doors: Callers, store: Store, forgetful: None):
    key_id, secret = await made(store)
    actor = await doors.of(f"Bearer {secret}", "", same_origin=True)
    await store.write(keys.revoke, "default", key_id, scope="auth")
    waiting = Waiting(doors, [CONNECTED, *[ALIVE] * 5])
    async with asking(waiting, request(doors, f"Bearer {secret}", actor=actor)) as asked:
        with pytest.raises(NotSignedIn):
            await room.until(asked, "default", "tsk_1", settled, 60)
    assert waiting.closed
