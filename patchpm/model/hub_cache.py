"""The Hub's local cache, read as it lies on disk: no network, and no import of the Hub's library.

    models--<org>--<name>/refs/<revision>         the commit that a branch or tag stood at
    models--<org>--<name>/snapshots/<commit>/...  links to ../../blobs/<etag>
    models--<org>--<name>/trees/<commit>.json     what the Hub said of each file; since huggingface_hub 1.33

The SHA-256 that the Hub states for a file is a claim: its own downloader checks sizes only. Hence assurance `declared`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from patchpm.errors import CannotError, IntegrityError, UsageError
from patchpm.model.outside_json import read_object
from patchpm.model.stored_tensor import reading, truncated
from patchpm.patch.digest import Digest

SCHEME: Final = "hf:"
"""What a name starts with that is to be looked up in the Hub's cache: `hf:org/name@revision`."""
_NAME: Final = re.compile(r"hf:((?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9][\w.-]{0,95})(?:@([\w./+-]{1,200}))?", re.ASCII)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_TREE: Final = 64 * 1024 * 1024


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the cache is: `HF_HUB_CACHE`, `HF_HOME/hub` or `~/.cache/huggingface/hub`, as the Hub's library has it."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if name in environment:
            return _expand(environment[name])
    if "HF_HOME" in environment:
        return _expand(environment["HF_HOME"]) / "hub"
    return _expand(environment.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface" / "hub"


def locate(path: Path | str) -> Path:
    """Give the path on disk of `path`, which is one already or `hf:org/name[@revision]`.

    Raises:
        UsageError: `invalid-hub-name`.
        CannotError: `not-in-hub-cache` for a repository or revision that was never downloaded.
        IntegrityError: `malformed-hub-cache`.
    """
    text = str(path)
    if not text.startswith(SCHEME):
        return Path(path)
    match = _NAME.fullmatch(text)
    if match is None or any(".." in part or "--" in part for part in (match[1], match[2] or "")):
        raise UsageError(
            "invalid-hub-name", f"{text!r} is not a model on the Hub", why="expected hf:org/name[@revision]"
        )
    name, revision = match[1], match[2] or "main"
    repository = cache_folder() / f"models--{name.replace('/', '--')}"
    commit = revision if _COMMIT.fullmatch(revision) else _ref(repository, name, revision)
    snapshot = repository / "snapshots" / commit
    if not snapshot.is_dir():
        raise _missing(name, revision, f"{snapshot} is not there")
    return snapshot


def is_snapshot(folder: Path) -> bool:
    """Whether `folder` is one revision of a repository in a Hub cache."""
    return folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name) is not None


def declared_files(
    snapshot: Path, names: tuple[str, ...], *, missing_ok: bool = False
) -> tuple[tuple[str, Digest], ...]:
    """What the Hub says is the SHA-256 of files in a snapshot, sorted by name. Sizes are checked, contents are not.

    Args:
        snapshot: Folder of the revision.
        names: Of files in it.
        missing_ok: Give nothing where the Hub's cache does not say it for every file.

    Raises:
        CannotError: `not-declared` where the Hub's cache does not say it.
        IntegrityError: `truncated-weights` where a size differs, `malformed-hub-cache`.
    """
    tree = _tree(snapshot)
    found = [(name, _declared(snapshot, name, tree)) for name in sorted(names)]
    known = tuple((name, digest) for name, digest in found if digest is not None)
    if len(known) == len(found):
        return known
    if missing_ok:
        return ()
    raise CannotError(
        "not-declared",
        f"the Hub's cache does not say what the files in {snapshot} should be",
        next="hash them instead: patchpm fingerprint PATH",
    )


def _declared(snapshot: Path, name: str, tree: dict[str, tuple[int, str]] | None) -> Digest | None:
    path = snapshot / name
    if tree is not None and name in tree:
        size, digest = tree[name]
        with reading(path):
            found = path.stat().st_size
        if found != size:
            raise truncated(path, f"the Hub says it has {size:,} bytes, and here it has {found:,}")
        return Digest(digest)
    # Older caches have no tree; there the blob is named by the etag, which is the SHA-256 for large files.
    target = path.readlink() if path.is_symlink() else Path()
    if target.parent.name == "blobs" and _SHA256.fullmatch(target.name):
        return Digest(target.name)
    return None


def _tree(snapshot: Path) -> dict[str, tuple[int, str]] | None:
    path = snapshot.parent.parent / "trees" / f"{snapshot.name}.json"
    if not path.is_file():
        return None
    files = read_object(path, max_bytes=_MAX_TREE, code="malformed-hub-cache").get("files")
    if not isinstance(files, dict):
        raise IntegrityError("malformed-hub-cache", f"{path} does not list files")
    tree: dict[str, tuple[int, str]] = {}
    for name, entry in files.items():
        size, digest = (entry.get("lfs_size"), entry.get("lfs_sha256")) if isinstance(entry, dict) else (None, None)
        if isinstance(size, int) and isinstance(digest, str) and _SHA256.fullmatch(digest):
            tree[name] = (size, digest)
    return tree


def _ref(repository: Path, name: str, revision: str) -> str:
    path = repository / "refs" / revision
    if not path.is_file():
        raise _missing(name, revision, f"{path} is not there")
    with reading(path), path.open("rb") as file:
        commit = file.read(64).decode("ascii", "replace").strip()
    if not _COMMIT.fullmatch(commit):
        raise IntegrityError("malformed-hub-cache", f"{path} does not name a commit", why=f"it says {commit!r}")
    return commit


def _missing(name: str, revision: str, why: str) -> CannotError:
    return CannotError(
        "not-in-hub-cache",
        f"{name} at {revision} is not in the Hub's local cache",
        why=why,
        next=f"hf download {name} --revision {revision}",
    )


def _expand(text: str) -> Path:
    return Path(os.path.expandvars(text)).expanduser()
