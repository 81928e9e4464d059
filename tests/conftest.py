"""What every test gets. Fixtures of one room stand in that room's folder."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests import postgres

# The tests say what the settings are; what the shell or a CI machine has set must not leak in.
for name in [name for name in os.environ if name.startswith("PULSER_") and not name.startswith("PULSER_TEST_")]:
    del os.environ[name]


# Started in the background of a shell, Ctrl-C is ignored, and every process that a test starts would ignore it as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    with contextlib.suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """URL of a server where a test may make databases and roles; skipped aloud where there is none, an error in CI."""
    url = postgres.server()
    if url is None:
        pytest.skip(postgres.ABSENT)
    return url


@pytest.fixture
def postgres_database(postgres_server: str) -> Iterator[str]:
    """URL of an empty database of this test's own."""
    with postgres.database(postgres_server) as url:
        yield url
