"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

READ, WRITE, ADMIN = "read", "write", "admin"
ROLES: Final = (READ, WRITE, ADMIN)
"""Of a member of an organisation, each with what the ones before it may do. `admin` may also delete repositories."""
SCOPES: Final = (READ, WRITE)
"""Of a token: what it may do at most, whatever its user may."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request."""

    name: str | None = None
    """The user; None for a request without a token."""
    is_admin: bool = False
    """Whether they run the server."""
    scope: str = READ
    only: str | None = None
    """The one namespace in which the token is more than an anonymous request."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """By organisation."""
    label: str = ""
    """What the token is called."""

    def may_read(self, namespace: str) -> bool:
        """Whether private repositories of a namespace may be read."""
        return self._role(namespace) is not None

    def may_write(self, namespace: str) -> bool:
        """Whether repositories of a namespace may be made and changed."""
        return self.scope == WRITE and self._role(namespace) in (WRITE, ADMIN)

    def may_offer(self, namespace: str) -> bool:
        """Whether pull requests may be offered to repositories of a namespace that may be read."""
        return self.name is not None and self.scope == WRITE and self.only in (None, namespace)

    def may_manage(self, namespace: str) -> bool:
        """Whether repositories of a namespace may be deleted, hidden and shown."""
        return self.scope == WRITE and self._role(namespace) == ADMIN

    def _role(self, namespace: str) -> str | None:
        if self.name is None or self.only not in (None, namespace):
            return None
        if self.is_admin or namespace == self.name:
            return ADMIN
        return self.roles.get(namespace)


ANYONE: Final = Caller()
