"""A registry on the Hugging Face Hub, or on a server that speaks its protocol.

The metadata is one model repository. Each patch is a model repository `vendor/name`; a release is the folder `<base12>`
in it, at the tag `v<version>+<base12>`. The first release of a version has the tag `v<version>` as well, for people.

Reading takes one plain request a file, and no library of the Hub's. Writing goes through its real client. A commit of
metadata names the commit that it was made for, so that of two publishers one is told to try again. Files of releases
come before it: a publisher that is killed leaves a tagged release that no metadata mentions, and finds it on its next
try.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from patchpm.errors import CannotError, NetworkError, UsageError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef
from patchpm.patch.name import is_segment
from patchpm.patch.release import MANIFEST
from patchpm.registry.folder import HEAD
from patchpm.registry.host import Change, Proposal, check_path, conflict
from patchpm.registry.http_files import Answer, HttpFiles
from patchpm.registry.hub_address import NAME, HubAddress, read_hub_address
from patchpm.registry.hub_token import token_for

if TYPE_CHECKING:
    from patchpm.registry.hub_writer import HubWriter

_METADATA: Final = "metadata"
_PATCHES: Final = "patches"
_MAIN: Final = "main"
COMMIT_PATTERN: Final = r"[0-9a-f]{40}"
_TITLE: Final = re.compile("([a-z0-9-]{1,39}) ([0-9]{1,9}): (.{1,500})", re.ASCII)
_FIRST_ROOT: Final = "metadata/1.root.json"
_MAX_RELEASE_BYTES: Final = 16 * 1024 * 1024
_MAX_HEAD_BYTES: Final = 1024 * 1024
_MAX_CARD_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a file of a registry stands on the Hub."""

    repo: str
    revision: str
    path: str

    @property
    def url(self) -> str:
        """Below the endpoint."""
        return f"{self.repo}/resolve/{quote(self.revision, safe='')}/{quote(self.path)}"


@dataclass(frozen=True, slots=True)
class _State:
    """The metadata repository as it is."""

    revision: str
    """See `Host.head`."""
    commit: str | None
    """Of the Hub; None where there is no repository yet, or the server does not say."""
    exists: bool


class HubHost:
    """The files of a registry on the Hub.

    Args:
        address: Of its metadata.
    """

    def __init__(self, address: HubAddress) -> None:
        self._address = address
        self._files = HttpFiles(address.endpoint, self._headers)
        self._commit: str | None = None
        self._kept: dict[_Place, bytes] = {}
        self._is_new = False
        """Whether there was no registry when its head was asked for, as before one is made."""

    @property
    def where(self) -> str:
        """The address."""
        return str(self._address)

    @property
    def is_local(self) -> bool:
        """See `Host.is_local`."""
        return False

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """See `Host.read`."""
        place = self._place(path)
        if self._commit is not None and place.repo != self._address.repo:
            pinned = replace(place, revision=self._commit)
            kept = self._kept.pop(pinned, None)
            if kept is not None:
                return kept
            answer = self._get(pinned, max_bytes)
            if answer.status == 200:
                return answer.data
        answer = self._get(place, max_bytes)
        is_first = path == _FIRST_ROOT  # the one file that whoever makes a registry does not ask for
        if place.repo == self._address.repo and _is_hidden(answer) and (is_first or not self._is_new):
            raise self._files.unreachable(
                place.url,
                f"there is no repository {place.repo}, or you may not see it",
                f"check the address, or sign in with `patchpm login {self.where}`",
            )
        return answer.data if answer.status == 200 else None

    def pin(self, release: str, manifest: FileRef) -> str | None:
        """The commit that the tag of a release names, by the answer for its manifest; None unless that is the one."""
        place = self._place(f"{_PATCHES}/{release}/{MANIFEST}")
        answer = self._get(place, _MAX_RELEASE_BYTES)
        commit = answer.headers.get("X-Repo-Commit", "")
        is_right = answer.status == 200 and Digest.of(answer.data) == manifest.digest
        if not is_right or not re.fullmatch(COMMIT_PATTERN, commit, re.ASCII):
            return None
        self._kept[replace(place, revision=commit)] = answer.data  # it is what is asked for next
        return commit

    def at(self, commit: str) -> HubHost:
        """The same host, which reads releases at a commit, and at their tags where that is gone."""
        pinned = copy(self)
        pinned._commit = commit
        return pinned

    def head(self) -> str:
        """See `Host.head`."""
        return self._state().revision

    def commit(self, changes: Sequence[Change], expect: str) -> None:
        """See `Host.commit`.

        Raises:
            CannotError: Also `already-published` where a tag holds other bytes, `not-allowed`, or `extra-missing`.
        """
        state = self._state()
        if state.revision != expect:
            raise conflict(self.where)
        writer = self._writer()
        if not state.exists:
            writer.create(self._address.repo, like=None)
        for release, files in _releases(changes).items():
            self._put_release(writer, release, files)
        metadata = {path: data for path, data in changes if path.startswith(f"{_METADATA}/")}
        if not metadata:
            return
        parent = state.commit or writer.head(self._address.repo)
        try:
            writer.commit(self._address.repo, metadata, "Update the registry's metadata", parent=parent)
        except (CannotError, NetworkError):
            if HEAD in metadata and self._state().revision == _digest(metadata[HEAD]):
                return  # it was made, and the answer was lost
            raise

    def propose(self, changes: Sequence[Change], vendor: str, title: str) -> str:
        """See `Forum.propose`: releases go to the vendor's own repositories, their role into a pull request."""
        writer = self._writer()
        for release, files in _releases(changes).items():
            self._put_release(writer, release, files)
        ((path, data),) = ((path, data) for path, data in changes if path.startswith(f"{_METADATA}/"))
        number = path.removeprefix(f"{_METADATA}/").partition(".")[0]
        return writer.propose(self._address.repo, {path: data}, f"{vendor} {number}: {title}")

    def proposals(self) -> Sequence[Proposal]:
        """See `Forum.proposals`: the open pull requests that `propose` made, by what their titles say."""
        found = []
        for number, title, author in self._writer().pulls(self._address.repo):
            parts = _TITLE.fullmatch(title)
            if parts and is_segment(parts[1]) and title.isprintable() and author.isprintable():
                found.append(Proposal(number, parts[1], int(parts[2]), parts[3], author))
        return sorted(found, key=lambda proposal: proposal.number)

    def proposed(self, number: int, path: str, max_bytes: int) -> bytes | None:
        """See `Forum.proposed`."""
        answer = self._get(_Place(self._address.repo, f"refs/pr/{number}", "/".join(check_path(path))), max_bytes)
        return answer.data if answer.status == 200 else None

    def close(self, number: int, comment: str) -> None:
        """See `Forum.close`."""
        self._writer().close(self._address.repo, number, comment)

    def comment(self, number: int, comment: str) -> None:
        """See `Forum.comment`."""
        self._writer().comment(self._address.repo, number, comment)

    def pages(self, changes: Sequence[Change]) -> tuple[Change, ...]:
        """What a commit of these changes would write beside them: the pages of patches, by repository and path.

        Raises:
            CannotError: `extra-missing`.
        """
        pages: list[Change] = []
        for (vendor, name, _, base), files in _releases(changes).items():
            repo = f"{vendor}/{name}"
            made = self._writer().pages(files[MANIFEST], base, self._card(repo))
            pages += [(f"{repo}/{path}", data) for path, data in made.items()]
        return tuple(pages)

    def _card(self, repo: str) -> bytes | None:
        found = self._get(_Place(repo, _MAIN, "README.md"), _MAX_CARD_BYTES)
        return found.data if found.status == 200 else None

    def _put_release(self, writer: HubWriter, release: tuple[str, ...], files: Mapping[str, bytes]) -> None:
        vendor, name, version, base = release
        repo, tag = f"{vendor}/{name}", f"v{version}+{base}"
        self._check_name(repo)
        there = self._get(_Place(repo, tag, f"{base}/{MANIFEST}"), _MAX_RELEASE_BYTES)
        if there.headers.get("X-Error-Code") == "EntryNotFound":
            raise self._taken(repo, version, f"the tag {tag} is there, and has no {base}/{MANIFEST}")
        if there.status == 200:
            self._check_same(release, files)
            return
        if _is_hidden(there):
            writer.create(repo, like=self._address.repo)
        pages = writer.pages(files[MANIFEST], base, self._card(repo))
        writer.release(repo, tag, version, {f"{base}/{file}": data for file, data in files.items()} | pages)

    def _check_same(self, release: tuple[str, ...], files: Mapping[str, bytes]) -> None:
        vendor, name, version, base = release
        for file, data in files.items():
            place = _Place(f"{vendor}/{name}", f"v{version}+{base}", f"{base}/{file}")
            if self._get(place, _MAX_RELEASE_BYTES).data != data:
                raise self._taken(f"{vendor}/{name}", version, f"{file} at the tag {place.revision} is another one")

    def _check_name(self, repo: str) -> None:
        if not all(map(NAME.fullmatch, repo.split("/"))) or repo == self._address.repo:
            raise UsageError(
                "invalid-name",
                f"{repo} cannot be a patch of this registry",
                why="the Hub takes no name with two dashes in a row, and the registry's own repository holds no patch",
            )

    def _taken(self, patch: str, version: str, why: str) -> CannotError:
        return CannotError(
            "already-published",
            f"{patch} {version} is on {self._address.endpoint} with other bytes",
            why=f"{why}, and a published release never changes",
            next="raise the version",
        )

    def _state(self) -> _State:
        answer = self._get(self._place(HEAD), _MAX_HEAD_BYTES)
        revision = _digest(answer.data) if answer.status == 200 else ""
        exists = not _is_hidden(answer)
        self._is_new = not exists
        return _State(revision, answer.headers.get("X-Repo-Commit") if exists else None, exists)

    def _place(self, path: str) -> _Place:
        segments = check_path(path)
        if segments[0] == _PATCHES and len(segments) == 6:
            _, vendor, name, version, base, file = segments
            return _Place(f"{vendor}/{name}", f"v{version}+{base}", f"{base}/{file}")
        return _Place(self._address.repo, _MAIN, path)

    def _get(self, place: _Place, max_bytes: int) -> Answer:
        """The answer for a file, 200 or 404.

        Raises:
            NetworkError: `unreachable` for any other one, and where the metadata cannot be seen.
        """
        answer = self._files.get(place.url, max_bytes)
        if answer.status in (200, 404):
            return answer
        hint = None
        if answer.status in (401, 403):
            if _is_hidden(answer):  # as the public Hub says it to strangers
                return Answer(404, answer.reason, answer.headers, b"")
            hint = f"sign in with `patchpm login {self.where}`, or ask for the right to read {place.repo}"
        why = answer.headers.get("X-Error-Message") or answer.reason
        raise self._files.unreachable(place.url, f"the server says {answer.status}: {why}", hint)

    def _headers(self) -> dict[str, str]:
        token = token_for(self._address.endpoint)
        return {} if token is None else {"Authorization": f"Bearer {token}"}

    def _writer(self) -> HubWriter:
        try:
            from patchpm.registry.hub_writer import HubWriter
        except ModuleNotFoundError as error:
            raise CannotError(
                "extra-missing",
                "publishing to the Hub needs the extra 'hub'",
                why=str(error),
                next='run `pip install "patchpm[hub]"`',
            ) from None
        return HubWriter(self._address, token_for(self._address.endpoint))


def open_hub(url: str) -> HubHost:
    """The host of an `hf:`, `hf+https:` or `hf+http:` address.

    Raises:
        UsageError: `unsupported-registry`.
    """
    return HubHost(read_hub_address(url))


def _releases(changes: Sequence[Change]) -> dict[tuple[str, ...], dict[str, bytes]]:
    """Files by release: vendor, name, version, base."""
    found: dict[tuple[str, ...], dict[str, bytes]] = {}
    for path, data in changes:
        room, *release, file = check_path(path)
        if room == _PATCHES:
            found.setdefault(tuple(release), {})[file] = data
    return found


def _is_hidden(answer: Answer) -> bool:
    """Whether there is no such repository, or none that the token may see: servers say the same of both."""
    return answer.headers.get("X-Error-Code") == "RepoNotFound"


def _digest(timestamp: bytes) -> str:
    return hashlib.sha256(timestamp).hexdigest()
