"""What a client remembers of a registry between runs: one file that is replaced as a whole, and files of vendors.

Bins are files of their own, since a client knows few of them. Each is written after the state that promises it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from patchpm.atomic_write import write_atomic
from patchpm.errors import CannotError, IntegrityError
from patchpm.patch import strict_json
from patchpm.patch.record import Record
from patchpm.trust.tuf_state import TrustedState

STATE: Final = "state.json"
_FORMAT: Final = "patchpm-registry-state-v1"
_MAX_BYTES: Final = 128 * 1024 * 1024
_MAX_TEXT: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Metadata of an earlier run."""

    roots: tuple[bytes, ...]
    """From the pinned root to the newest."""
    timestamp: bytes | None
    snapshot: bytes | None
    targets: bytes | None


def remembered(folder: Path) -> Memory | None:
    """What was remembered under `folder`, or None on the first run.

    Raises:
        IntegrityError: `state-corrupt`.
        CannotError: `unreadable-file`.
    """
    path = folder / STATE
    data = _read(path)
    if data is None:
        return None
    try:
        record = Record(
            strict_json.loads(data, source=STATE, max_bytes=_MAX_BYTES, max_depth=3), STATE, code="state-corrupt"
        )
        record.choice("format", (_FORMAT,))
        roots = record.texts("roots", max_length=_MAX_TEXT)
        parts = [
            record.text(role, max_length=_MAX_TEXT).encode() if record.has(role) else None
            for role in ("timestamp", "snapshot", "targets")
        ]
        record.done()
        if not roots:
            raise record.refuse("is empty", "roots")
    except IntegrityError as error:
        raise corrupt(folder, error) from None
    return Memory(tuple(root.encode() for root in roots), *parts)


def remember(folder: Path, state: TrustedState, before: Memory | None) -> Memory:
    """Keep what a state holds, unless it is what was kept before.

    Raises:
        CannotError: `disk-full`, `read-only` or `cannot-write`.
    """
    floor = state.floor
    now = Memory(
        tuple(root.data for root in state.roots),
        floor.timestamp.data if floor.timestamp else None,
        floor.snapshot.data if floor.snapshot else None,
        floor.targets.data if floor.targets else None,
    )
    if now != before:
        value: strict_json.JsonValue = {
            "format": _FORMAT,
            "roots": [root.decode() for root in now.roots],
            "timestamp": _text(now.timestamp),
            "snapshot": _text(now.snapshot),
            "targets": _text(now.targets),
        }
        write_atomic(folder / STATE, strict_json.compact(value), mode=0o600)
    return now


def remembered_role(folder: Path, vendor: str) -> bytes | None:
    """The copy of a vendor's role that was fetched last, or None. Whoever asks checks it against the snapshot."""
    return _read(folder / "vendors" / f"{vendor}.json")


def remember_role(folder: Path, vendor: str, data: bytes) -> None:
    """Keep a copy of a vendor's role."""
    write_atomic(folder / "vendors" / f"{vendor}.json", data, mode=0o600)


def remembered_bin(folder: Path, role: str) -> bytes | None:
    """A bin's part of snapshot or targets that was believed last, or None. The former is a floor against rollback."""
    return _read(folder / "bins" / f"{role}.json")


def remember_bin(folder: Path, role: str, data: bytes) -> None:
    """Keep a bin's part of snapshot or targets."""
    write_atomic(folder / "bins" / f"{role}.json", data, mode=0o600)


def forget_bins(folder: Path) -> None:
    """Forget all bins, after root gave other keys to the roles that seal them."""
    if (folder / "bins").exists():
        shutil.rmtree(folder / "bins")


def corrupt(folder: Path, error: IntegrityError, file: str = STATE) -> IntegrityError:
    """The error for a memory that is not what patchpm wrote."""
    return IntegrityError(
        "state-corrupt",
        "what patchpm remembers of a registry is damaged",
        why=f"{folder / file}: {error.what}; {error.why}",
        next=f"delete {folder}; protection against old metadata then starts anew",
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotError("unreadable-file", f"{path.name} cannot be read", why=f"{path}: {error.strerror}") from None


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode()
