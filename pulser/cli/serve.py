"""``pulser serve`` and ``pulser worker``: the processes that stay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pulser.cli.connect import settings

if TYPE_CHECKING:
    from pulser.core.settings import Settings

LogLevel = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error. [PULSER_LOG_LEVEL]")]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 if not set. [PULSER_HOST]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 8000 if not set. [PULSER_PORT]")] = None,
    data: Annotated[Path | None, typer.Option(help="The data folder; .pulser if not set. [PULSER_DATA_DIR]")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Run the demo, then keep serving.")] = False,
    no_workers: Annotated[bool, typer.Option("--no-workers", help="API and console only; the work is done by pulser worker.")] = False,
    log_level: LogLevel = None,
) -> None:
    """Run API, console and workers in one process, until Ctrl-C."""
    from pulser.app.serve import serve as run

    given = settings(server__host=host, server__port=port, store__data_dir=data, observe__log_level=log_level)
    if demo:
        from pulser.app.demo import demo_roots

        roots = (*given.settings.tools.roots, *demo_roots())
        given = settings(
            server__host=host, server__port=port, store__data_dir=data, observe__log_level=log_level or ("warning" if _plain(given.sources) else None),
            tools__roots=roots,
        )  # fmt: skip
        _start_demo(given.settings)
    raise typer.Exit(run(given.settings, workers=not no_workers))


def _plain(sources: object) -> bool:
    """True if nobody asked for a log level: the demo's table is what a person looks at then."""
    return isinstance(sources, dict) and sources.get("observe.log_level") == "default"


def _start_demo(given: Settings) -> None:
    """Run the demo beside the server as soon as it answers; the thread ends with the process."""
    import threading

    def run() -> None:
        from rich.console import Console

        from pulser.app.demo import run_demo
        from pulser.client import Client
        from pulser.core.errors import PulserError

        host = given.server.host if given.server.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104 - compared, not bound
        console = Console(stderr=False)
        try:
            with Client(f"http://{host}:{given.server.port}", data_dir=given.store.data_dir, retries=12) as client:
                client.health()
                run_demo(client, console, json=False)
        except PulserError as error:
            console.print(f"The demo did not run: {error.detail} {error.hint}", markup=False)

    threading.Thread(target=run, name="demo", daemon=True).start()


def worker(
    agents: Annotated[str | None, typer.Option(help="Names of agents to serve, with commas; all if not set. [PULSER_WORKER_AGENTS]")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Tasks at once. [PULSER_WORKER_CONCURRENCY]")] = None,
    data: Annotated[Path | None, typer.Option(help="The data folder; .pulser if not set. [PULSER_DATA_DIR]")] = None,
    log_level: LogLevel = None,
) -> None:
    """Do tasks, without API and console, beside other processes on the same database; SIGTERM drains."""
    from pulser.app.work import work

    named = tuple(name.strip() for name in agents.split(",") if name.strip()) if agents else None
    given = settings(worker__agents=named, worker__concurrency=concurrency, store__data_dir=data, observe__log_level=log_level)
    raise typer.Exit(work(given.settings))
