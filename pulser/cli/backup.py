"""``pulser backup`` and ``pulser restore``: everything in one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pulser.cli import show
from pulser.cli.connect import Json, settings


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To write, such as pulser-monday.tar.gz; only you can read it.")], as_json: Json = False
) -> None:
    """Copy database and files into one archive, consistently, also while Pulser runs."""
    from pulser.app.backup import back_up

    made = back_up(settings().settings.store, file)
    if as_json:
        show.document(made)
    else:
        show.say(f"{made['file']}  {show.size(made['size_bytes'])}  {made['files']} files, database at version {made['version']}")


def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive that pulser backup made.")],
    force: Annotated[bool, typer.Option("--force", help="Also where there is data already; what is there is kept beside.")] = False,
    as_json: Json = False,
) -> None:
    """Put an archive's database and files into the data folder, after checking every checksum. Pulser must not run."""
    from pulser.app.restore import restore as run

    done = run(settings().settings.store, file, force=force)
    if as_json:
        show.document(done)
    else:
        show.say(f"restored {done['files']} files and the database, version {done['version']}, of {done['made_at']}")
        if done["kept"]:
            show.say(f"What was there lies in {done['kept']}.")
