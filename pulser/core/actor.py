"""Who did it, from sign-in; never from what a request says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")


@dataclass(frozen=True, slots=True)
class Actor:
    """A principal and the request it acts in. ``name`` is ``operator``, ``key:<name>``, ``worker:<id>`` or ``system:<duty>``."""

    name: str
    company_id: str = "default"
    role: Role = "operator"
    request_id: str | None = None
    origin: str | None = None  # where from: an address, "cli", "schedule"

    @property
    def may_write(self) -> bool:
        """True unless it may only look."""
        return self.role != "viewer"


SYSTEM = Actor("system", company_id="", role="admin")
