"""Commits: announced, and made."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from patchpm.server.call import Call
from patchpm.server.card import CARD, CardError, read_card, tags_of
from patchpm.server.changes import checked
from patchpm.server.commit_body import CommitBody, Deletion, MalformedError, NewFile, check_path, read_commit
from patchpm.server.history import Commit, Entry, History
from patchpm.server.refusal import RefusedError, malformed, no_revision
from patchpm.server.repository import MAIN, Card, Description, Repo, TakenError

_MAX_FILES: Final = 10_000
_ATTEMPTS: Final = 10


def preupload(call: Call) -> Response:
    """`POST /api/models/{id}/preupload/{revision}`: how each file shall come."""
    repo = _writable(call)
    commit = call.commit(repo)
    files = call.json().get("files")
    if not isinstance(files, list) or len(files) > _MAX_FILES:
        raise malformed("files is no list, or too long")
    answers: list[dict[str, Any]] = []
    with call.site.engine.connect() as db:
        history = History(db)
        for file in files:
            path, size = _announced(file)
            if size > call.site.limits.file:
                raise RefusedError(413, f"{path} is larger than {call.site.limits.file:,} bytes")
            # What fits comes within the commit. Clients from 1.20 on would take any other way to a storage system that
            # is not spoken here.
            mode = "regular" if size <= call.site.limits.inline else "lfs"
            answer: dict[str, Any] = {"path": path, "uploadMode": mode, "shouldIgnore": False}
            there = history.entry(commit, path)
            if there is not None:
                answer["oid"] = there.sha256 if there.lfs else there.oid
            answers.append(answer)
    return JSONResponse({"files": answers})


def commit(call: Call) -> Response:
    """`POST /api/models/{id}/commit/{branch}`: lines of JSON; with `?create_pr=1`, a pull request."""
    repo = _writable(call)
    start = call.commit(repo)
    try:
        body = read_commit(call.body)
    except MalformedError as error:
        raise malformed(str(error)) from None
    changes = _stored(call, repo, body)
    card = _card(body)
    for _ in range(_ATTEMPTS):
        if body.parent not in (None, start.sha):
            break
        try:
            return _commit(call, repo, start, body, changes, card)
        except TakenError:
            start = call.commit(repo)  # who names no parent takes whatever is there
    call.site.metrics.committed("conflict")
    raise RefusedError(412, "A commit has happened since. Please refresh and try again.")


def _commit(
    call: Call, repo: Repo, start: Commit, body: CommitBody, changes: Sequence[Entry | Deletion], card: Card | None
) -> Response:
    user = call.require_user()
    branch = call.path["revision"].removeprefix("refs/heads/")
    with call.site.engine.connect() as db:
        single = checked(History(db), start, changes)
    description = Description(body.title or "Update", body.message, user)
    pull = None
    if _wants_pull(call):
        pull = call.site.pulls.open(repo, description.title, body.message, user, start.sha)
        branch = f"refs/pr/{pull.number}"
    try:
        made = call.site.ledger.commit(
            repo, branch, single, description, parent=start.sha, card=card if branch == MAIN else None
        )
    except LookupError:
        raise no_revision(branch) from None
    call.site.metrics.committed("made")
    offered = {} if pull is None else {"pullRequestUrl": _pull_url(call, repo, pull.number)}
    return JSONResponse(_made(call, repo, made) | offered)


def validate_card(call: Call) -> Response:
    """`POST /api/validate-yaml`: whether a README's front matter can be read."""
    call.require_user()
    try:
        read_card(call.text(call.json(), "content", ""))
    except CardError as error:
        return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
    return JSONResponse({"errors": [], "warnings": []})


def _writable(call: Call) -> Repo:
    """The repository; who may only read it may offer a pull request, or add to their own."""
    repo = call.repo()
    user = call.require_user()
    if call.caller.may_write(repo.namespace):
        return repo
    if call.caller.may_offer(repo.namespace):
        revision = call.path["revision"]
        if _wants_pull(call):
            return repo
        number = revision.removeprefix("refs/pr/")
        if number != revision and number.isdecimal():
            pull = call.site.pulls.get(repo, int(number[:9]))
            if pull is not None and pull.author == user and pull.status == "open":
                return repo
    raise RefusedError(403, f"You may not write to {repo.namespace} with this token; offer a pull request instead")


def _wants_pull(call: Call) -> bool:
    return call.query.get("create_pr") in ("1", "true", "True")


def _stored(call: Call, repo: Repo, body: CommitBody) -> list[Entry | Deletion]:
    """The changes, once all their bytes are in the store."""
    changes: list[Entry | Deletion] = []
    blobs = call.site.blobs
    kept: set[str] = set()
    for change in body.changes:
        if isinstance(change, NewFile):
            if len(change.data) > call.site.limits.inline:
                raise RefusedError(413, f"{change.path} is larger than {call.site.limits.inline:,} bytes")
            sha256 = hashlib.sha256(change.data).hexdigest()
            if sha256 not in kept:
                blobs.put(sha256, change.data)
                kept.add(sha256)
            changes.append(Entry(change.path, sha256, len(change.data), _git_oid(change.data), lfs=False))
        elif isinstance(change, Deletion):
            changes.append(change)
        else:
            size = blobs.size(change.sha256)
            if size is None or not call.site.received.may_use(repo, change.sha256, call.caller):
                raise malformed(f"{change.path} was not uploaded: there is no {change.sha256}")
            changes.append(Entry(change.path, change.sha256, size, _git_oid(_pointer(change.sha256, size)), lfs=True))
    return changes


def card_of(data: bytes | None) -> Card:
    """What a README says to machines; nothing where there is none.

    Raises:
        RefusedError: 400.
    """
    try:
        fields = {} if data is None else read_card(data.decode())
    except (CardError, UnicodeDecodeError) as error:
        raise malformed(f"{CARD}: {error}") from None
    return Card(fields, tags_of(fields))


def _card(body: CommitBody) -> Card | None:
    for change in reversed(body.changes):
        if change.path == CARD:
            return card_of(change.data if isinstance(change, NewFile) else None)
    return None


def _made(call: Call, repo: Repo, made: Commit) -> dict[str, Any]:
    kind = "" if repo.kind == "model" else f"{repo.kind}s/"
    url = f"{call.base_url}/{kind}{repo.full_name}/commit/{made.sha}"
    return {"success": True, "commitOid": made.sha, "commitUrl": url, "hookOutput": ""}


def _pull_url(call: Call, repo: Repo, number: int) -> str:
    kind = "" if repo.kind == "model" else f"{repo.kind}s/"
    return f"{call.base_url}/{kind}{repo.full_name}/discussions/{number}"


def _announced(file: object) -> tuple[str, int]:
    if not isinstance(file, dict):
        raise malformed("A file is no object")
    path, size = file.get("path"), file.get("size")
    if not isinstance(path, str) or type(size) is not int or not 0 <= size < 2**53:
        raise malformed("A file has no path or no size")
    try:
        return check_path(path), size
    except MalformedError as error:
        raise malformed(str(error)) from None


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _pointer(sha256: str, size: int) -> bytes:
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
