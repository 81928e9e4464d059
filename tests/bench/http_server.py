"""The server under load, in a process of its own on the last core: ``python -m tests.bench.http_server pulser|bare PORT FOLDER [DATABASE_URL]``.

``pulser`` is the application of ``pulser serve`` without workers, run as it is there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import uvicorn

from pulser.app import settings


def _app(mode: str, folder: Path, url: str) -> Any:
    if mode == "bare":
        from tests.bench.bare_fastapi import app

        return app
    from pulser.app.build import build
    from pulser.app.serve import create_app
    from pulser.observe import logs

    loaded = settings.load({}, {"store.data_dir": folder, "store.database_url": url}).settings
    logs.configure(loaded.observe.log_level, loaded.observe.log_format)
    return create_app(build(loaded), workers=False)


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    mode, port, folder, *url = sys.argv[1:]
    app = _app(mode, Path(folder), url[0] if url else "")
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_config=None, access_log=False, http="httptools", loop="uvloop", server_header=False)
