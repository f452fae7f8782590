"""A registry server on loopback, with an organisation `acme`, its member `ann` and a stranger `bob`."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from patchpm.server.accounts import ORG, USER
from patchpm.server.app import build_app
from patchpm.server.site import Limits, Options, Site, open_site


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
def hub_server(folder: Path, *, closed: bool = False, limits: Limits | None = None) -> Iterator[HubServer]:
    """Run one."""
    folder.mkdir(parents=True, exist_ok=True)
    site = open_site(Options(f"sqlite:///{folder / 'registry.db'}", str(folder / "blobs"), closed, limits or Limits()))
    site.accounts.add(ORG, "acme")
    for user in ("ann", "bob"):
        site.accounts.add(USER, user)
    site.accounts.set_member("acme", "ann", "admin")
    tokens = [site.accounts.issue(user, "test", scope="write")[1] for user in ("ann", "bob")]
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(build_app(site), log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield HubServer(site, f"http://127.0.0.1:{listener.getsockname()[1]}", *tokens)
    server.should_exit = True
    thread.join()
    site.engine.dispose()
