"""For an ASGI server: ``uvicorn pulser.main:app``. The application is made when it is first asked for, from the settings of the environment."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _app() -> Any:
    from pulser.app.build import build
    from pulser.app.serve import create_app
    from pulser.app.settings import load
    from pulser.observe import logs

    settings = load().settings
    logs.configure(settings.observe.log_level, settings.observe.log_format)
    return create_app(build(settings))


def __getattr__(name: str) -> Any:
    if name == "app":
        return _app()
    raise AttributeError(name)
