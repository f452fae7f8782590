"""Everything that answering a request takes, made once when the server starts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sqlalchemy import Engine

from patchpm.server.accounts import Accounts
from patchpm.server.blobs import Blobs, open_blobs
from patchpm.server.database import open_database, shared_setting
from patchpm.server.downloads import Downloads
from patchpm.server.history import Entries
from patchpm.server.ledger import Ledger
from patchpm.server.listing import Listing
from patchpm.server.metrics import Metrics
from patchpm.server.pulls import Pulls
from patchpm.server.received import Received

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a client may ask for. Sizes are bytes, times are seconds."""

    inline: int = 16 * MEBIBYTE
    """Greatest file that comes within a commit; greater ones are uploaded by themselves."""
    commit: int = 64 * MEBIBYTE
    """All of a commit's body."""
    file: int = 2048 * MEBIBYTE
    """Greatest file."""
    json: int = MEBIBYTE
    """Any other body."""
    silence: float = 30.0
    """Longest time without a byte of a body."""
    redirect: int = 64 * 1024
    """Files of this size and more are given by the bucket itself, where there is one."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator decides."""

    database: str
    """`sqlite:///path` or `postgresql://...`."""
    store: str
    """Folder, or `s3:`, `gs:` or `az:` address, of the blobs."""
    closed: bool = False
    """Whether reading anything takes a token."""
    limits: Limits = Limits()

    def to_json(self) -> str:
        """For `from_json`, in another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        """What `to_json` wrote."""
        found = json.loads(text)
        return cls(**(found | {"limits": Limits(**found["limits"])}))


@dataclass(frozen=True, slots=True)
class Site:
    """An open server."""

    engine: Engine
    ledger: Ledger
    listing: Listing
    pulls: Pulls
    accounts: Accounts
    downloads: Downloads
    entries: Entries
    received: Received
    blobs: Blobs
    metrics: Metrics
    link_key: bytes
    """Signs upload links; the same for all workers."""
    closed: bool
    limits: Limits


def open_site(options: Options) -> Site:
    """Open database and store.

    Raises:
        UsageError: `unsupported-database` or `unsupported-registry`.
        CannotError: `newer-database` or `extra-missing`.
        NetworkError: `unreachable`.
    """
    engine = open_database(options.database)
    return Site(
        engine=engine,
        ledger=Ledger(engine),
        listing=Listing(engine),
        pulls=Pulls(engine),
        accounts=Accounts(engine),
        downloads=Downloads(engine),
        entries=Entries(engine),
        received=Received(engine),
        blobs=open_blobs(options.store),
        metrics=Metrics(),
        link_key=bytes.fromhex(shared_setting(engine, "link-key")),
        closed=options.closed,
        limits=options.limits,
    )
