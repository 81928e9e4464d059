"""``pulser db``: the database's version."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulser.cli import show
from pulser.cli.connect import Json, Yes, settings, sure
from pulser.cli.exits import FAILED
from pulser.core.errors import Conflict, NotFound

if TYPE_CHECKING:
    from pulser.core.settings import Store

app = typer.Typer(help="Migrate the database, and compare it with the code.", no_args_is_help=True)


@contextmanager
def _engine(*, make: bool = False) -> Iterator[tuple[Any, Store]]:
    from pulser.store import migrate

    place = settings().settings.store
    if not place.database_url and not (place.data_dir / "pulser.db").exists():
        if not make:
            raise NotFound(f"there is no database in {place.data_dir}", hint="Make it with: pulser db upgrade. Another folder: PULSER_DATA_DIR.")
        place.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = migrate.open_engine(place.owner_url or place.database_url, place.data_dir)
    try:
        yield engine, place
    finally:
        engine.dispose()


def _tell(value: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        show.document(value)
    else:
        show.say(text)


@app.command()
def current(as_json: Json = False) -> None:
    """Print the database's version, and the one this Pulser needs."""
    from pulser.store import migrate

    with _engine() as (engine, _):
        at = migrate.current(engine)
    _tell({"current": at, "needed": migrate.HEAD}, f"{at or 'none'} (needed: {migrate.HEAD})", as_json)


@app.command()
def upgrade(as_json: Json = False) -> None:
    """Migrate to the version this Pulser needs; an embedded database is copied to backups/ first."""
    from pulser.app.backup import refuse_while_running
    from pulser.store import migrate

    with _engine(make=True) as (engine, place):
        before = migrate.current(engine)
        if before != migrate.HEAD:
            if not place.database_url and before is not None:
                refuse_while_running(place.data_dir)
                migrate.back_up(place.data_dir / "pulser.db", place.data_dir / "backups" / f"before-{migrate.HEAD}.db")
            migrate.upgrade(engine)
        after = migrate.current(engine)
    text = f"was {before or 'empty'}, is {after} now" if before != after else f"is {after} already"
    _tell({"before": before, "after": after}, text, as_json)


@app.command()
def downgrade(
    to: Annotated[str, typer.Argument(metavar="VERSION", help="A version, or base for nothing at all.")], yes: Yes = False, as_json: Json = False
) -> None:
    """Migrate down. What the newer version added is lost; an embedded database is copied to backups/ first."""
    from pulser.app.backup import refuse_while_running
    from pulser.store import migrate

    with _engine() as (engine, place):
        before = migrate.current(engine)
        if before is None or (to != "base" and to >= before):
            raise Conflict(f"the database is at version {before or 'none'}, which is not above {to}", hint="See: pulser db current")
        sure(f"Take the database down from {before} to {to}? What was added since is lost.", yes)
        if not place.database_url:
            refuse_while_running(place.data_dir)
            migrate.back_up(place.data_dir / "pulser.db", place.data_dir / "backups" / f"before-down-to-{to}.db")
        migrate.downgrade(engine, to)
        after = migrate.current(engine)
    _tell({"before": before, "after": after}, f"was {before}, is {after or 'empty'} now", as_json)


@app.command()
def check(as_json: Json = False) -> None:
    """Compare the database with the code's tables; exit code 1 if they differ."""
    from pulser.store import migrate

    with _engine() as (engine, _):
        at = migrate.current(engine)
        found = [str(each) for each in migrate.differences(engine)] if at == migrate.HEAD else [f"it is at version {at or 'none'}, {migrate.HEAD} is needed"]
    if as_json:
        show.document({"ok": not found, "current": at, "needed": migrate.HEAD, "differences": found})
    else:
        for line in found or ["The database is as the code expects it."]:
            show.say(line)
    raise typer.Exit(FAILED if found else 0)
