"""Writing to the Hub with its own client, which is kept to the one server that is meant.

Each wait for the server is bounded. The client bounds neither how often it tries again nor the size of an answer, so
this is for servers that the publisher trusts with their time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as version_of
from typing import Final

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, ModelCardData, constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils._http import get_session
from yaml import YAMLError

from patchpm.errors import CannotError, NetworkError, PatchpmError
from patchpm.patch.manifest_json import read_manifest
from patchpm.registry.host import conflict
from patchpm.registry.hub_address import HubAddress
from patchpm.registry.model_card import card_of, is_newest

_SECONDS: Final = httpx2.Timeout(60.0, connect=5.0)
_STALE: Final = frozenset({409, 412})
_REFUSED: Final = frozenset({401, 403})
_LOCK: Final = threading.RLock()


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token stands for."""

    name: str
    organisations: tuple[tuple[str, str], ...]
    """With the role in each."""


class HubWriter:
    """Makes repositories, commits and tags.

    Args:
        address: The registry, which says which server.
        token: For that server.
    """

    def __init__(self, address: HubAddress, token: str | None) -> None:
        self._address = address
        self._api = HfApi(
            endpoint=address.endpoint,
            token=token or False,
            library_name="patchpm",
            library_version=version_of("patchpm"),
        )

    def create(self, repo: str, *, like: str | None) -> None:
        """Make a repository if there is none, as private as the one called `like`."""
        with self._manners(f"make the repository {repo}"):
            private = like is not None and bool(self._api.model_info(like).private)
            self._api.create_repo(repo, private=private or None, exist_ok=True)

    def commit(self, repo: str, files: Mapping[str, bytes], message: str, *, parent: str = "") -> str:
        """Put files on `main`; returns the commit.

        Args:
            repo: The repository.
            files: By path.
            message: For people.
            parent: The commit that `main` must be at; empty for wherever it is.

        Raises:
            CannotError: `publish-conflict` where it is elsewhere, or `not-allowed`.
            NetworkError: `unreachable`.
        """
        with self._manners(f"write to {repo}"):
            return self._commit(repo, files, message, parent)

    def pages(self, manifest: bytes, folder: str, card: bytes | None) -> dict[str, bytes]:
        """The page of a patch as a release makes it; empty where that of a newer version stays.

        Args:
            manifest: Of the release.
            folder: Of the release, in the repository.
            card: The repository's README.md so far.
        """
        content, known = read_manifest(manifest), _front_matter(card)
        return card_of(content, folder, known) if is_newest(content, known) else {}

    def release(self, repo: str, tag: str, version: str, files: Mapping[str, bytes]) -> None:
        """Put a release into the repository of its patch, and give it its tags.

        Args:
            repo: The patch.
            tag: Of the release.
            version: Of the patch.
            files: By path.

        Raises:
            CannotError: `publish-conflict` where someone else gave the tag, or `not-allowed`.
            NetworkError: `unreachable`.
        """
        with self._manners(f"write to {repo}"):
            made = self._commit(repo, files, f"Release {tag}", "")
            # The tag that is looked for comes last: where it is, all else was done.
            self._api.create_tag(repo, tag=f"v{version}", revision=made, exist_ok=True)
            self._api.create_tag(repo, tag=tag, revision=made)

    def propose(self, repo: str, files: Mapping[str, bytes], title: str) -> str:
        """Open a pull request; returns its address."""
        with self._manners(f"open a pull request at {repo}"):
            operations = [CommitOperationAdd(path, data) for path, data in files.items()]
            made = self._api.create_commit(repo, operations, commit_message=title, create_pr=True)
            return str(made.pr_url)

    def pulls(self, repo: str) -> list[tuple[int, str, str]]:
        """Number, title and author of every open pull request."""
        with self._manners(f"list the pull requests of {repo}"):
            found = self._api.get_repo_discussions(repo, discussion_type="pull_request", discussion_status="open")
            return [(pull.num, pull.title, pull.author) for pull in found]

    def close(self, repo: str, number: int, comment: str) -> None:
        """Close a pull request."""
        with self._manners(f"close pull request {number} of {repo}"):
            self._api.change_discussion_status(repo, number, "closed", comment=comment)

    def comment(self, repo: str, number: int, comment: str) -> None:
        """Say something about a pull request."""
        with self._manners(f"comment on pull request {number} of {repo}"):
            said = [event for event in self._api.get_discussion_details(repo, number).events if event.type == "comment"]
            if said and getattr(said[-1], "content", "") == comment:
                return  # a nightly job need not say the same every night
            self._api.comment_discussion(repo, number, comment=comment)

    def head(self, repo: str) -> str:
        """The commit that `main` is at."""
        with self._manners(f"read {repo}"):
            return str(self._api.model_info(repo).sha)

    def whoami(self) -> Identity:
        """Who the token stands for, as the server says it."""
        with self._manners("sign in"):
            said = self._api.whoami()
            orgs = [(str(org["name"]), str(org.get("roleInOrg", "member"))) for org in said.get("orgs") or ()]
            return Identity(str(said["name"]), tuple(orgs))

    def _commit(self, repo: str, files: Mapping[str, bytes], message: str, parent: str) -> str:
        operations = [CommitOperationAdd(path, data) for path, data in files.items()]
        made = self._api.create_commit(repo, operations, commit_message=message, parent_commit=parent or None)
        return str(made.oid)

    @contextmanager
    def _manners(self, doing: str) -> Iterator[None]:
        """Deadlines; no Xet and no telemetry for any server but the public Hub; errors in our words.

        A server that is asked for a Xet address may answer one that makes the client write into local folders.
        """
        with _LOCK:
            session = get_session()
            kept = session.timeout, constants.HF_HUB_DISABLE_XET, constants.HF_HUB_DISABLE_TELEMETRY
            session.timeout = _SECONDS
            if not self._address.is_public:
                constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_TELEMETRY = True
            try:
                yield
            except HfHubHTTPError as error:
                raise self._refused(doing, error) from None
            except (httpx2.HTTPError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise NetworkError(
                    "unreachable",
                    f"the server did not let patchpm {doing}",
                    why=f"{self._address.endpoint} gave no answer, or one that the Hub's client does not understand "
                    f"({type(error).__name__}: {str(error).strip()[:200]})",
                    next="check that it is a registry server, and run it again; what was done is found and kept",
                ) from None
            finally:
                session.timeout, constants.HF_HUB_DISABLE_XET, constants.HF_HUB_DISABLE_TELEMETRY = kept

    def _refused(self, doing: str, error: HfHubHTTPError) -> PatchpmError:
        status = error.response.status_code
        said = (error.server_message or str(error)).strip().split("\n", maxsplit=1)[0][:300]
        if status in _STALE:
            return conflict(str(self._address))
        if status in _REFUSED:
            return CannotError(
                "not-allowed",
                f"you may not {doing}",
                why=f"{self._address.endpoint} says {status}: {said}",
                next=f"sign in with `patchpm login {self._address.endpoint}` and a token that may,"
                " or use --pull-request",
            )
        return NetworkError(
            "unreachable", f"the server did not let patchpm {doing}", why=f"{self._address.endpoint}: {status} {said}"
        )


def _front_matter(card: bytes | None) -> ModelCardData | None:
    if card is None:
        return None
    try:
        found = ModelCard(card.decode()).data
        return found if isinstance(found, ModelCardData) else None
    except (ValueError, TypeError, AttributeError, YAMLError):  # what a stranger wrote there, the new card replaces
        return None
