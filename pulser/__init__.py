"""Pulser: a self-hosted runtime for teams of AI agents.

Work comes in, is routed to the right specialist, done durably, reviewed where a person should look, and every step can be seen afterwards.
Start with ``pulser serve``, or from Python with :class:`pulser.client.Client`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "__version__":  # reading the package's metadata takes longer than everything else here
        from importlib.metadata import version

        return version("pulser")
    raise AttributeError(name)
