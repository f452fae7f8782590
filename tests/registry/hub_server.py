"""A registry server on loopback, with an organisation `acme`, its member `ann` and a stranger `bob`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from patchpm.server.site import Limits, Options, Site
from tests.server.builders import options_in, serving


@dataclass(frozen=True, slots=True)
class HubServer:
    """A running server."""

    site: Site
    endpoint: str
    ann: str
    """Token of a member of `acme` who may write there."""
    bob: str
    """Token of someone else."""

    def registry(self, name: str = "acme/patchpm-registry") -> str:
        """The address of a registry on it."""
        return f"hf+{self.endpoint}/{name}"


@contextmanager
def hub_server(folder: Path, options: Options | None = None) -> Iterator[HubServer]:
    """Run one, on SQLite and a folder if nothing else is said."""
    with serving(options or options_in(folder, limits=Limits())) as running:
        ann, bob = (running.site.accounts.issue(user, "test", scope="write")[1] for user in ("ann", "bob"))
        yield HubServer(running.site, running.url, ann, bob)
