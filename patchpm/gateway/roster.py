"""Who may ask, and which patches each of them gets: one value, exchanged as a whole when it changes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from patchpm.errors import PatchpmError
from patchpm.gateway.injection import Injection
from patchpm.gateway.refusal import RefusedError
from patchpm.guard.reference import Reference
from patchpm.json_log import GATEWAY_LOG as LOG
from patchpm.patch.digest import Digest

EVERYBODY: Final = "everybody"
"""Name of the one tenant of a gateway without tenants."""


@dataclass(frozen=True, slots=True, eq=False)
class Guarded:
    """A patch set that engines are probed with."""

    injection: Injection
    reference: Reference
    """What a right engine answers, as `patchpm probe` wrote it down."""

    @property
    def set(self) -> Digest:
        """Identity of the set."""
        return self.reference.set


@dataclass(frozen=True, slots=True, eq=False)
class Tenant:
    """Somebody with an API key and a patch set."""

    name: str
    injection: Injection
    reference: Reference | None = None
    """What a right engine answers with the set; None where nobody wrote it down."""


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """All tenants of one moment."""

    base: str
    """Digest of the weights of the base that all of them use; what the engines must serve."""
    open_to: Tenant | None
    """Whom every request belongs to, where there are no keys."""
    keys: Mapping[str, Tenant]
    """Tenants by the SHA-256 of their API keys, in hexadecimal."""

    @property
    def tenants(self) -> tuple[Tenant, ...]:
        """Each tenant once."""
        found = {tenant.name: tenant for tenant in self.keys.values()}
        if self.open_to is not None:
            found[self.open_to.name] = self.open_to
        return tuple(found[name] for name in sorted(found))

    @property
    def guarded(self) -> tuple[Guarded, ...]:
        """Each set that has a reference, once."""
        found = {
            tenant.reference.set: Guarded(tenant.injection, tenant.reference)
            for tenant in self.tenants
            if tenant.reference is not None
        }
        return tuple(found.values())

    def tenant_of(self, authorization: str | None) -> Tenant:
        """Whose request it is.

        Args:
            authorization: The header, `Bearer KEY`.

        Raises:
            RefusedError: 401.
        """
        if self.open_to is not None:
            return self.open_to
        kind, _, key = (authorization or "").partition(" ")
        found = self.keys.get(hash_of_key(key.strip())) if kind.lower() == "bearer" else None
        if found is None:
            raise RefusedError(
                401,
                "invalid_api_key",
                "Incorrect API key provided" if authorization else "You didn't provide an API key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return found


Load = Callable[[], Roster]
"""Reads and verifies everything anew; runs in a thread."""
Prepare = Callable[[Roster], Awaitable[None]]
"""Makes a roster's engine ready, before the roster holds; raises a `PatchpmError` where it cannot be."""


class LiveRoster:
    """The roster that holds now, and the way to the next one.

    A request keeps the tenant that it began with. A roster that cannot be loaded changes nothing.

    Args:
        load: Makes a roster of what is on disk.
        first: The one to begin with.
        reloaded: Told how each reload ended: `changed`, `same` or `refused`.
    """

    def __init__(self, load: Load, first: Roster, reloaded: Callable[[str], None]) -> None:
        self._load = load
        self._reloaded = reloaded
        self._lock = asyncio.Lock()
        self.prepare: Prepare | None = None
        """Called with each new roster before it holds; set by who has engines of its own."""
        self.current = first
        """What holds for requests that come now."""
        self.refused: str | None = None
        """Why the last reload was refused; None where it was not."""

    async def reload(self) -> None:
        """Load what is on disk and use it, or say why not and go on as before."""
        async with self._lock:
            try:
                found = await asyncio.to_thread(self._load)
                if self.prepare is not None:
                    await self.prepare(found)
            except PatchpmError as error:
                self.refused = f"{error.code}: {error.what}"
                LOG.error(
                    "reload refused", extra={"fields": {"code": error.code, "what": error.what, "why": error.why}}
                )
                self._reloaded("refused")
                return
            except Exception:  # a bug while reading must not end the server, nor its watch for the next change
                self.refused = "internal"
                LOG.exception("reload failed")
                self._reloaded("refused")
                return
            same = _seen(found) == _seen(self.current)
            self.current, self.refused = found, None
            LOG.info("reloaded", extra={"fields": {"tenants": _sets(found), "changed": not same}})
            self._reloaded("same" if same else "changed")


def hash_of_key(key: str) -> str:
    """What stands for an API key in `tenants.toml`: its SHA-256, in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def _sets(roster: Roster) -> dict[str, str]:
    return {tenant.name: str(tenant.injection.patches.digest) for tenant in roster.tenants}


def _seen(roster: Roster) -> tuple[dict[str, str], dict[str, str]]:
    """What a client could notice."""
    return _sets(roster), {key: tenant.name for key, tenant in roster.keys.items()}
