"""Pulser: a self-hosted runtime for teams of AI agents.

Work comes in, is routed to the right specialist, done durably, reviewed where a person should look, and every step can be seen afterwards.
Start with ``pulser serve``, or from Python with :class:`pulser.client.Client`.
"""

from importlib.metadata import version

__version__ = version("pulser")
__all__ = ["__version__"]
