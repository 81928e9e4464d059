"""Run a tool in a confined child process: the one way in."""

from __future__ import annotations

from pulser.tools.sandbox.confine import confinement_of
from pulser.tools.sandbox.process import run_in
from pulser.tools.sandbox.request import ChildRequest, ChildResult


async def run_child(request: ChildRequest) -> ChildResult:
    """Run ``request`` confined as its ``sandbox`` says. Errors are those of :func:`~pulser.tools.sandbox.process.run_in`;
    :class:`~pulser.core.errors.OperatorError` where nothing confines a child and that was not asked for."""
    return await run_in((await confinement_of(request.sandbox)).name, request)
