"""Checking from outside what a server serves, for `patchpm verify --endpoint`."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from patchpm.cli.chosen_base import chosen_base
from patchpm.cli.output import columns, emit, line, mark, note, plain
from patchpm.errors import CannotError, ExitCode, PatchpmError, StaleLockError
from patchpm.guard.attestation import Serving, read_attestation
from patchpm.guard.endpoint import Endpoint
from patchpm.guard.interview import MAX_ANSWER
from patchpm.guard.reference import Reference
from patchpm.guard.reference_json import FILE, MAX_BYTES, load_references
from patchpm.guard.served_words import told
from patchpm.guard.verdict import Counts, Finding
from patchpm.patch.strict_json import JsonValue
from patchpm.project.files import load_lock
from patchpm.project.lock import Lock
from patchpm.project.lock_toml import read_lock
from patchpm.settings import ENDPOINT_KEY
from patchpm.trust.keys import PublicKey

_COUNTED: Final = {
    Counts.NOT_TOLD: ("skip", "the server does not count prompt tokens"),
    Counts.WITH_PREFIX: ("pass", "as with the locked set"),
    Counts.WITHOUT_PREFIX: ("fail", "as without any patch"),
    Counts.OTHER: ("fail", "as with another prefix or template"),
}
_SHOWN: Final = 4
"""Distances that a person sees."""


@dataclass(frozen=True, slots=True)
class EndpointCheck:
    """What `--endpoint` was asked with."""

    url: str
    model: str | None
    """Name of the model in the requests."""
    lock: Path | None
    """A lock elsewhere than in the project."""
    probes: Path | None
    """A reference elsewhere than beside the lock."""
    base: str | None
    """Label of the base in the lock."""
    key: str | None
    """Public key of the server's statement."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Statement:
    """What the server says of itself."""

    status: str
    """`pass` where it names the locked set under a good signature, `skip` where that is not known, or `fail`."""
    detail: str
    serving: Serving | None = None


def run_check(asked: EndpointCheck, folder: Path, *, as_json: bool) -> ExitCode:
    """Ask a server the probes of a lock, and print what it serves.

    Args:
        asked: What to ask, and of whom.
        folder: Of the project.
        as_json: Print data.

    Returns:
        0 where it is the locked set and the server does not say otherwise itself.

    Raises:
        StaleLockError: `no-lock`, `no-probes`, `stale-probes`.
        UsageError: `which-base`, `invalid-endpoint`.
        NetworkError: `unreachable`.
        IntegrityError: `malformed-probes`, `unknown-format`.
        TrustError: `malformed-key`.
    """
    lock = load_lock(folder) if asked.lock is None else read_lock(_read(asked.lock).decode(errors="replace"))
    reference = _reference(asked, lock, folder if asked.lock is None else asked.lock.parent)
    key = None if asked.key is None else PublicKey.parse(asked.key)
    endpoint = Endpoint(asked.url, key=os.environ.get(ENDPOINT_KEY) or None, seconds=asked.seconds)
    finding = endpoint.find(reference, asked.model)
    statement = _statement(endpoint, reference, key)
    emit(_described(reference, finding, statement), lambda: _show(reference, finding, statement), as_json=as_json)
    good = finding.right and (statement is None or statement.status != "fail")
    return ExitCode.OK if good else ExitCode.INTEGRITY


def _show(reference: Reference, finding: Finding, statement: Statement | None) -> None:
    line(f"the server has {told(finding.served)}")
    if finding.detail:
        line(f"  {plain(finding.detail)}")
    rows = []
    if finding.distances:
        kind = "texts" if finding.by_text else "first tokens"
        near = ", ".join(f"{value:.3f} from {told(served)}" for served, value in finding.distances[:_SHOWN])
        detail = f"{finding.probes} probes; {near}; up to {finding.threshold:.3f} counts"
        rows.append((mark("pass" if finding.right else "fail"), kind, detail))
    status, words = _COUNTED[finding.counts]
    rows.append((mark(status), "prompt tokens", words))
    if statement is not None:
        rows.append((mark(statement.status), "statement", statement.detail))
    columns((f"  {row[0]}", *row[1:]) for row in rows)
    line(f"locked: {', '.join(reference.patches)}, set {reference.set}")
    if finding.by_text:
        note("this server gives no log-probabilities; equal texts and counts are weak evidence")


def _described(reference: Reference, finding: Finding, statement: Statement | None) -> JsonValue:
    return {
        "verdict": finding.served.kind,
        "right": finding.right,
        "says": told(finding.served),
        "set": str(reference.set),
        "probes": finding.probes,
        "evidence": "text" if finding.by_text else "log-probabilities",
        "threshold": finding.threshold,
        "distances": [
            {"kind": served.kind, "served": told(served), "distance": round(value, 4)}
            for served, value in finding.distances
        ],
        "prompt_tokens": finding.counts.value,
        "detail": finding.detail,
        "statement": None if statement is None else _statement_json(statement),
    }


def _statement_json(statement: Statement) -> JsonValue:
    serving = statement.serving
    return {
        "status": statement.status,
        "detail": statement.detail,
        "set": None if serving is None else str(serving.set),
        "engine": None if serving is None else serving.engine,
        "patches": [] if serving is None else [f"{one.name} {one.version}" for one in serving.patches],
    }


def _reference(asked: EndpointCheck, lock: Lock, beside: Path) -> Reference:
    sets = {one.base: one for one in lock.compositions}
    label = chosen_base(sets, asked.base)
    composition = sets[label]
    path = asked.probes or beside / FILE
    if not path.is_file():
        raise StaleLockError(
            "no-probes",
            "there is nothing to compare the server with",
            why=f"{path} is not there",
            next="run `patchpm probe` where the base model is, and commit its file",
        )
    base = next(one.fingerprint.tensors for one in lock.bases if one.label == label)
    for one in load_references(path):
        if one.set == composition.digest and one.base == base:
            return one
    raise StaleLockError(
        "stale-probes",
        f"{path.name} was made for another patch set than the lock has",
        why=f"it does not hold the set {composition.digest}",
        next="run `patchpm probe` again",
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CannotError("cannot-read", f"{path} cannot be read", why=str(error.strerror)) from None


def _statement(endpoint: Endpoint, reference: Reference, key: PublicKey | None) -> Statement | None:
    nonce = secrets.token_urlsafe(16)
    try:
        data = endpoint.well_known(nonce)
        if data is None or len(data) > MAX_ANSWER:
            return None if key is None else Statement("fail", "the server makes none, and --endpoint-key asks for one")
        serving = read_attestation(data, key, nonce=nonce)
    except PatchpmError as error:
        # A page that answers everything with 200 says nothing of patches; only who expects a statement is failed by it.
        return Statement("skip" if key is None else "fail", f"{error.what}: {error.why}")
    where = f"{serving.engine}, made {serving.time:%Y-%m-%d %H:%M:%S} UTC"
    if serving.set != reference.set:
        return Statement("fail", f"it names another set, {serving.set}; {where}", serving)
    if key is None:
        return Statement(
            "skip", f"it names the locked set; signature not checked without --endpoint-key; {where}", serving
        )
    return Statement("pass", f"it names the locked set, signed by {key}; {where}", serving)
