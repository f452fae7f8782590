"""Names of commits, and the commits themselves."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from starlette.responses import JSONResponse, Response

from patchpm.server.call import Call
from patchpm.server.history import History
from patchpm.server.immutable import is_release
from patchpm.server.refusal import RefusedError, conflict, malformed, no_revision
from patchpm.server.repository import BRANCH, MAIN, PULL, TAG, ReleasedError, TakenError
from patchpm.server.routes.repos import time_of

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+/-]{0,199}", re.ASCII)
_PAGE: Final = 100


def listing(call: Call) -> Response:
    """`GET /api/models/{id}/refs`."""
    found: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": []}
    pulls: list[dict[str, str]] = []
    for ref in call.site.ledger.refs(call.repo()):
        path = {BRANCH: f"refs/heads/{ref.name}", TAG: f"refs/tags/{ref.name}", PULL: f"refs/pr/{ref.name}"}[ref.kind]
        shown = {"name": path if ref.kind == PULL else ref.name, "ref": path, "targetCommit": ref.sha}
        {BRANCH: found["branches"], TAG: found["tags"], PULL: pulls}[ref.kind].append(shown)
    with_pulls = call.query.get("include_prs") in ("1", "true", "True")
    return JSONResponse(found | ({"pullRequests": pulls} if with_pulls else {}))


def history(call: Call) -> Response:
    """`GET /api/models/{id}/commits/{revision}`, in pages."""
    commit = call.commit(call.repo())
    before = call.query.get("before")
    if before is not None and not re.fullmatch("[0-9]{1,9}", before, re.ASCII):
        raise malformed("before is no number")
    with call.site.engine.connect() as db:
        found = list(islice(History(db).commits(commit, before=None if before is None else int(before)), _PAGE + 1))
    shown = [
        {
            "id": item.sha,
            "title": item.title,
            "message": item.message,
            "date": time_of(item.created),
            "authors": [{"user": item.author, "avatar": ""}],
        }
        for item in found[:_PAGE]
    ]
    headers = {}
    if len(found) > _PAGE:
        url = f"{call.base_url}/api/{call.path['kind']}/{call.path['namespace']}/{call.path['name']}"
        headers["Link"] = f'<{url}/commits/{commit.sha}?before={found[_PAGE - 1].number}>; rel="next"'
    return JSONResponse(shown, headers=headers)


def add_tag(call: Call) -> Response:
    """`POST /api/models/{id}/tag/{revision}`."""
    repo = call.repo(write=True)
    tag = _checked(call.text(call.json(), "tag"))
    commit = call.commit(repo)
    try:
        call.site.ledger.add_tag(repo, tag, commit)
    except TakenError:
        raise conflict(f"Tag reference exists already: {tag}") from None
    return JSONResponse({})


def remove_tag(call: Call) -> Response:
    """`DELETE /api/models/{id}/tag/{tag}`."""
    return _remove(call, TAG, call.path["tag"])


def add_branch(call: Call) -> Response:
    """`POST /api/models/{id}/branch/{branch}`."""
    repo = call.repo(write=True)
    branch = _checked(call.path["branch"].removeprefix("refs/heads/"))
    if is_release(branch):
        raise malformed(f"{branch} is the name of a release, and releases are tags")
    start = call.text(call.json(), "startingPoint", MAIN)
    commit = call.site.ledger.find(repo, start)
    if commit is None:
        raise no_revision(start)
    try:
        call.site.ledger.add_branch(repo, branch, commit)
    except TakenError:
        raise conflict(f"Reference already exists: {branch}") from None
    return JSONResponse({})


def remove_branch(call: Call) -> Response:
    """`DELETE /api/models/{id}/branch/{branch}`."""
    branch = call.path["branch"].removeprefix("refs/heads/")
    if branch == MAIN:
        raise RefusedError(403, f"{MAIN} stays")
    return _remove(call, BRANCH, branch)


def _remove(call: Call, kind: str, name: str) -> Response:
    repo = call.repo(write=True)
    try:
        if not call.site.ledger.remove_ref(repo, kind, name):
            raise no_revision(name)
    except ReleasedError:
        raise RefusedError(403, f"{name} is a release, which stays for those who locked it") from None
    return JSONResponse({})


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or name.startswith("refs/") or name.endswith(("/", ".", ".lock")):
        raise malformed("Invalid reference name")
    if any(bad in name for bad in ("..", "//", "/.", "./")) or re.fullmatch("[0-9a-f]{40}", name):
        raise malformed("Invalid reference name")
    return name
