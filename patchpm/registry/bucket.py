"""A registry in object storage: S3 and what speaks it, Google Cloud Storage, Azure Blob Storage.

A commit is one object, `commits/after-<revision>`, that holds all its files. Whoever creates it decides what follows
that revision, since the store lets one writer only create an object. Its files are then put in place, the timestamp
last and only over the timestamp that it replaces, and what remains of the object is the revision that it made. It must
never go away: else a late writer could create it again, and a reader who still sees the old revision would put its
files over those of the winner. A writer that is killed leaves either nothing or a decided commit, which the next one
finishes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from patchpm.errors import CannotError, IntegrityError, NetworkError, UsageError
from patchpm.registry.folder import HEAD
from patchpm.registry.host import Change, check_path, conflict, plain_address, too_large

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutMode, UpdateVersion
    from obstore.store import ObjectStore

SCHEMES: Final = ("s3", "gs", "az")
_COMMITS: Final = "commits"
_MAX_HEAD_BYTES: Final = 1024 * 1024
_MAX_COMMIT_BYTES: Final = 256 * 1024 * 1024
_REVISION: Final = re.compile(rb"[0-9a-f]{64}")
_PARALLEL: Final = 8
_NO_ETAG: Final = '"00000000000000000000000000000000"'
_NO_VERSION: Final = "1"
"""By these, no object is known to a store."""
_SECONDS: Final = timedelta(seconds=30)
_CONNECT_SECONDS: Final = timedelta(seconds=5)
_RETRY_SECONDS: Final = timedelta(seconds=20)


class BucketHost:
    """The files of a registry in one bucket, or below a prefix in it.

    Args:
        store: The bucket.
        where: Its address, for messages.
    """

    def __init__(self, store: ObjectStore, where: str) -> None:
        self._store = store
        self._where = where
        self._is_safe = False

    @property
    def where(self) -> str:
        """The address."""
        return self._where

    @property
    def is_local(self) -> bool:
        """See `Host.is_local`."""
        return False

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """See `Host.read`."""
        found = self._get("/".join(check_path(path)), max_bytes)
        return None if found is None else found[0]

    def head(self) -> str:
        """See `Host.head`; finishes the commit of a writer that was killed, if there is one."""
        revision, version = self._state()
        while (decided := self._get(_after(revision), _MAX_COMMIT_BYTES)) is not None:
            seen = revision
            if _REVISION.fullmatch(decided[0]) is None:
                self._finish(self._unpacked(_after(seen), decided[0]), seen, version)
            revision, version = self._state()
            if revision == seen:
                raise IntegrityError(
                    "malformed-commit",
                    f"{HEAD} was put back to a state that another has followed",
                    why=f"{self.where}: {_after(seen)} names the digest of the one that followed",
                    next=f"bring that {HEAD} back, or delete the object to go on from a state that clients refuse",
                )
        return revision

    def commit(self, changes: Sequence[Change], expect: str) -> None:
        """See `Host.commit`.

        Raises:
            CannotError: Also `unsafe-store` where the store ignores the conditions of writes.
        """
        self._check_conditions()
        if self.head() != expect:
            raise conflict(self.where)
        if HEAD not in dict(changes):
            self._put_all(dict(changes))  # nothing refers to these yet, so there is nothing to decide
            return
        packed = _packed(changes)
        if len(packed) > _MAX_COMMIT_BYTES:
            raise too_large(_after(expect), _MAX_COMMIT_BYTES)
        if not self._put(_after(expect), packed, "create"):
            found = self._get(_after(expect), _MAX_COMMIT_BYTES)
            ours = (packed, _revision(dict(changes)[HEAD]).encode())  # an answer was lost
            if found is None or found[0] not in ours:
                raise conflict(self.where)
        revision, version = self._state()
        if revision == expect:  # else another writer has found ours and finished it
            self._finish(changes, expect, version)

    def _check_conditions(self) -> None:
        """Try out, once, whether the store keeps two writers from overwriting each other.

        Raises:
            CannotError: `unsafe-store`.
        """
        if self._is_safe:
            return
        probe = f"{_COMMITS}/probe-{secrets.token_hex(8)}"
        self._put(probe, b"1", "create")
        try:
            twice = self._put(probe, b"2", "create")
            stale = self._put(probe, b"3", {"e_tag": _NO_ETAG, "version": _NO_VERSION})
        finally:
            self._delete(probe)
        if twice or stale:
            raise CannotError(
                "unsafe-store",
                "this object store cannot keep a registry",
                why=f"{self.where}: it ignores {'If-None-Match' if twice else 'If-Match'}, so two publishers at once "
                "would overwrite each other",
                next="use a store with conditional writes (S3, GCS, Azure, MinIO), or serve a folder from it read-only",
            )
        self._is_safe = True

    def _finish(self, changes: Sequence[Change], expect: str, version: UpdateVersion | None) -> None:
        # Every file has one content for ever, so it does no harm if two writers finish the same commit at once.
        files = dict(changes)
        timestamp = files.pop(HEAD)
        self._put_all(files)
        self._put(HEAD, timestamp, "create" if version is None else version)
        self._put(_after(expect), _revision(timestamp).encode(), "overwrite")

    def _unpacked(self, path: str, data: bytes) -> list[Change]:
        try:
            found = [("/".join(check_path(name)), base64.b64decode(text)) for name, text in json.loads(data).items()]
            if HEAD not in dict(found):
                raise ValueError(f"it lacks {HEAD}")
        except (ValueError, AttributeError, TypeError, IntegrityError) as error:
            raise IntegrityError(
                "malformed-commit",
                f"{path} is no commit of a registry",
                why=f"{self.where}: {_short(error)}",
                next="find out who wrote it, and delete the object",
            ) from None
        return found

    def _put_all(self, files: Mapping[str, bytes]) -> None:
        with ThreadPoolExecutor(_PARALLEL) as pool:
            list(pool.map(lambda path: self._put("/".join(check_path(path)), files[path], "overwrite"), files))

    def _state(self) -> tuple[str, UpdateVersion | None]:
        """The revision, and what the timestamp is known by to the store."""
        found = self._get(HEAD, _MAX_HEAD_BYTES)
        return ("", None) if found is None else (_revision(found[0]), found[1])

    def _get(self, path: str, max_bytes: int) -> tuple[bytes, UpdateVersion] | None:
        try:
            with self._errors(path):
                found = self._store.get(path)
                if found.meta["size"] > max_bytes:
                    raise too_large(path, max_bytes)
                return bytes(found.bytes()), _version_of(found.meta)
        except FileNotFoundError:
            return None

    def _put(self, path: str, data: bytes, mode: PutMode) -> bool:
        """False where a condition does not hold."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            with self._errors(path):
                self._store.put(path, data, mode=mode, use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        except FileNotFoundError as error:
            raise NetworkError(
                "unreachable",
                "there is no such bucket",
                why=_short(error),
                next="make the bucket, or check the address",
            ) from None
        return True

    def _delete(self, path: str) -> None:
        with suppress(FileNotFoundError), self._errors(path):
            self._store.delete(path)

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        from obstore import exceptions

        try:
            yield
        except (FileNotFoundError, exceptions.AlreadyExistsError, exceptions.PreconditionError):
            raise
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise NetworkError(
                "unreachable",
                "the object store does not let you do this",
                why=f"{self.where}/{path}: {_short(error)}",
                next="check the credentials of your environment, and what they allow",
            ) from None
        except exceptions.BaseError as error:
            raise NetworkError(
                "unreachable",
                "the registry cannot be reached",
                why=f"{self.where}/{path}: {_short(error)}",
                next="check the address, and the credentials, the region and the endpoint of your environment",
            ) from None


def open_bucket(url: str) -> BucketHost:
    """The host of an `s3:`, `gs:` or `az:` address.

    Raises:
        UsageError: `unsupported-registry`.
        CannotError: `extra-missing` without the extra `cloud`.
    """
    return BucketHost(open_store(url), url.rstrip("/"))


def open_store(url: str) -> ObjectStore:
    """The bucket, or the place in it, of an `s3:`, `gs:` or `az:` address.

    Credentials, region and endpoint come from the environment, as for the tools of each cloud (`AWS_PROFILE` excepted,
    which the library does not read).

    Raises:
        UsageError: `unsupported-registry`.
        CannotError: `extra-missing` without the extra `cloud`.
    """
    plain_address(url)
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ModuleNotFoundError as error:
        raise CannotError(
            "extra-missing",
            "registries in object storage need the extra 'cloud'",
            why=str(error),
            next='run `pip install "patchpm[cloud]"`',
        ) from None
    try:
        return from_url(
            url.rstrip("/"),
            client_options={
                "timeout": _SECONDS,
                "connect_timeout": _CONNECT_SECONDS,
                # The library reads this itself only where it is given no options.
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true",
            },
            retry_config={"max_retries": 4, "retry_timeout": _RETRY_SECONDS},
        )
    except BaseError as error:
        raise UsageError(
            "unsupported-registry",
            f"{url[:200]!r} cannot be opened",
            why=_short(error),
            next="set what the cloud needs in the environment, such as AZURE_STORAGE_ACCOUNT_NAME",
        ) from None


def _after(revision: str) -> str:
    return f"{_COMMITS}/after-{revision or 'nothing'}"


def _version_of(meta: ObjectMeta) -> UpdateVersion:
    version: UpdateVersion = {}
    if meta["e_tag"] is not None:
        version["e_tag"] = meta["e_tag"]
    if meta["version"] is not None:
        version["version"] = meta["version"]
    return version


def _packed(changes: Sequence[Change]) -> bytes:
    files = {"/".join(check_path(path)): base64.b64encode(data).decode() for path, data in changes}
    return json.dumps(files).encode()


def _revision(timestamp: bytes) -> str:
    return hashlib.sha256(timestamp).hexdigest()


def _short(error: Exception) -> str:
    """The first line: what follows is the inside of a library."""
    return str(error).strip().split("\n", maxsplit=1)[0][:300]
