"""``pulser serve``: API, console and workers in one process, on one port."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from pulser import __version__
from pulser.access import keys
from pulser.access.local import LocalToken
from pulser.access.sessions import Sessions
from pulser.api import agents, events, files, health, reference, tasks
from pulser.api.describe import describe
from pulser.api.room import Room
from pulser.app.build import Crew, Parts, build, start_crew
from pulser.app.console_data import ConsoleData
from pulser.console.pages import failed
from pulser.console.pages import routes as console_routes
from pulser.core.errors import OperatorError
from pulser.core.settings import Settings
from pulser.events.follow import Follower
from pulser.observe import logs
from pulser.tools.inputs import Places
from pulser.tools.paths import parse_root
from pulser.web import metrics, problems
from pulser.web.caller import Callers
from pulser.web.express import Express
from pulser.web.gate import LOOPBACK, Gate
from pulser.web.protocol import Protocol

log = logs.get("serve")
DESCRIPTION = "Tasks are submitted, routed to the right agent, done durably, and told as events. Errors are problem documents (RFC 9457)."


def doors(lifespan: Any = None) -> FastAPI:
    """The routes of the API and their description, with nothing behind them yet."""
    app = FastAPI(title="Pulser", version=__version__, description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None)
    describe(app)
    for each in (tasks, agents, events, files):
        app.include_router(each.router, prefix="/api/v1")
    app.include_router(health.router)
    app.include_router(reference.router)
    return app


def create_app(parts: Parts, *, workers: bool = True, ready: Callable[[], None] | None = None) -> Any:
    """The ASGI application over opened parts. It starts and stops with its lifespan."""
    settings = parts.settings
    loopback = settings.server.host in LOOPBACK
    parts.local = LocalToken(settings.store.data_dir) if loopback else None
    follower = Follower(parts.store)
    follower.watch(metrics.count, metrics.COUNTED)
    room = Room(settings, parts.store, parts.registry, parts.submitter, parts.blobs, follower, parts.local, None, lambda: None, _places(settings))

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await follower.start()
        crew: Crew | None = None
        if workers:
            crew = await start_crew(parts)
            room.pool, room.heartbeat_age_s = crew.pool, crew.heartbeat_age_s
        if ready is not None:
            ready()
        try:
            yield
        finally:
            await follower.stop()
            if crew is not None:
                await crew.stop()
            await asyncio.to_thread(parts.close)

    app = doors(lifespan)
    app.state.room = room
    app.state.callers = Callers(parts.store, parts.local, Sessions(settings.store.data_dir, parts.local))
    app.router.routes.extend(console_routes(ConsoleData(room)))
    problems.install(app, lambda request, error: failed(request, error, request.scope.get("pulser.actor")))
    if settings.server.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(settings.server.cors_origins), allow_methods=["*"], allow_headers=["*"], expose_headers=["Location", "ETag"]
        )
    return Gate(Express(app, app, {("POST", "/api/v1/tasks"): tasks.submit}), app.state.callers, settings.server, open_reads=loopback)


def _places(settings: Settings) -> Places | None:
    """Embedded, server and worker see the same folders, so a path can be looked at when it is submitted."""
    if settings.store.database_url:
        return None
    return Places(tuple(parse_root(root) for root in settings.tools.roots), settings.store.data_dir)


def serve(settings: Settings, *, workers: bool = True) -> int:
    """Serve until told to stop; returns the exit code. Off loopback it refuses to start without a key."""
    import uvicorn
    import uvloop

    logs.configure(settings.observe.log_level, settings.observe.log_format)
    listener = _listen(settings)
    parts = build(settings)
    if settings.server.host not in LOOPBACK and not parts.store.read_blocking(keys.count, scope="auth"):
        parts.close()
        raise OperatorError(
            f"{settings.server.host} is not loopback, and there is no API key: anybody could give orders",
            hint="Make one first: pulser key create --role admin --name first",
        )

    def ready() -> None:
        where = address(settings.server.host, listener.getsockname()[1])
        log.info("ready", url=where, workers=workers, database="sqlite" if parts.store.sqlite else "postgres", data=str(settings.store.data_dir))
        print(greeting(where, parts.local, sys.stdout.isatty()), flush=True)

    app = create_app(parts, workers=workers, ready=ready)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=3, server_header=False, http=Protocol)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)  # uvicorn raises it again when all has been taken down in order: that is no failure
    uvloop.run(uvicorn.Server(config).serve(sockets=[listener]))
    return 0


def address(host: str, port: int) -> str:
    """The URL of what listens there."""
    bare = host.strip("[]")
    return f"http://[{bare}]:{port}" if ":" in bare else f"http://{bare}:{port}"


def greeting(where: str, local: LocalToken | None, terminal: bool) -> str:
    """What is said when Pulser is ready. A start link opens the operator's session: a terminal may have it, a log that keeps it may not."""
    sign_in = "" if local is None else f"/#start={local.start_secret()}" if terminal else "   (sign in with: pulser open)"
    return f"Pulser {__version__} at {where}   console: {where}{sign_in}"


def _listen(settings: Settings) -> socket.socket:
    """The port is taken before anything else is opened, so that a second server says so at once."""
    family = socket.AF_INET6 if ":" in settings.server.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.server.host.strip("[]"), settings.server.port))
    except OSError as error:
        listener.close()
        raise OperatorError(
            f"cannot listen on {settings.server.host}:{settings.server.port}: {error.strerror}", hint="Choose another: --port 8001, or PULSER_PORT."
        ) from error
    listener.listen(2048)
    return listener
