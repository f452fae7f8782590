"""Repositories: made, changed, dropped, described, found."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from starlette.responses import JSONResponse, Response

from patchpm.server.call import KINDS, Call
from patchpm.server.history import Commit, History
from patchpm.server.listing import MAX_PAGE, SORTS, CursorError, Query
from patchpm.server.refusal import RefusedError, conflict, malformed
from patchpm.server.repository import ReleasedError, Repo, TakenError

_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_]|[.-](?=[A-Za-z0-9_])){0,95}", re.ASCII)
_MAX_SIBLINGS: Final = 5000


def create(call: Call) -> Response:
    """`POST /api/repos/create`."""
    user = call.require_user()
    wanted = call.json()
    namespace = call.text(wanted, "organization", "") or user
    name = call.text(wanted, "name")
    kind = _kind(call, wanted)
    if not _NAME.fullmatch(name) or name.endswith((".git", ".ipynb")):
        raise malformed("Invalid repository name")
    address = _address(call, kind, f"{namespace}/{name}")
    call.require_write(namespace)
    if call.site.accounts.kind(namespace) is None:
        raise RefusedError(404, f"There is no user or organisation {namespace}")
    try:
        repo = call.site.ledger.create(kind, namespace, name, private=_is_private(wanted), author=user)
    except TakenError:
        raise conflict("You already created this repository", url=address) from None
    return JSONResponse({"url": address, "name": repo.full_name, "id": repo.full_name, "private": repo.private})


def delete(call: Call) -> Response:
    """`DELETE /api/repos/delete`."""
    wanted = call.json()
    namespace = call.text(wanted, "organization", "") or call.require_user()
    repo = _named(call, _kind(call, wanted), namespace, call.text(wanted, "name"))
    _require_manage(call, namespace)
    try:
        call.site.ledger.delete(repo)
    except ReleasedError:
        raise RefusedError(403, f"{repo.full_name} holds releases, which stay for those who locked them") from None
    return JSONResponse({})


def settings(call: Call) -> Response:
    """`PUT /api/models/{id}/settings`."""
    repo = call.repo()
    _require_manage(call, repo.namespace)
    wanted = call.json()
    if wanted.get("gated", False) is not False:
        raise malformed("This registry has no gated repositories")
    if "visibility" in wanted or "private" in wanted:
        call.site.ledger.set_private(repo, _is_private(wanted))
    return JSONResponse({})


def info(call: Call) -> Response:
    """`GET /api/models/{id}`, and the same at a revision."""
    repo = call.repo()
    commit = call.commit(repo)
    tags = call.site.listing.tags([repo])[repo.id]
    shown = _summary(repo, tags) | {"sha": commit.sha, "siblings": _siblings(call, commit)}
    return JSONResponse(shown | {"cardData": repo.card, "usedStorage": 0})


def listing(call: Call) -> Response:
    """`GET /api/models`, in pages."""
    query = _query(call)
    try:
        page = call.site.listing.page(query, call.caller)
    except CursorError as error:
        raise malformed(str(error)) from None
    tags = call.site.listing.tags(page.repos)
    with_cards = call.query.get("cardData", "").lower() == "true" or "cardData" in call.query.getlist("expand")
    shown = [_summary(repo, tags[repo.id]) | ({"cardData": repo.card} if with_cards else {}) for repo in page.repos]
    headers = {}
    if page.cursor is not None:
        again = [(key, value) for key, value in call.query.multi_items() if key != "cursor"]
        url = f"{call.base_url}/api/{call.path['kind']}?{urlencode([*again, ('cursor', page.cursor)])}"
        headers["Link"] = f'<{url}>; rel="next"'
    return JSONResponse(shown, headers=headers)


def time_of(moment: datetime) -> str:
    """A time as the Hub writes it."""
    # SQLite gives back times without their zone, which is always this one.
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def _query(call: Call) -> Query:
    asked = call.query
    sort = asked.get("sort") or "lastModified"
    sort = {"last_modified": "lastModified", "created_at": "createdAt", "trendingScore": "downloads"}.get(sort, sort)
    if sort not in SORTS:
        raise malformed(f"This registry sorts by {', '.join(SORTS)}")
    limit = asked.get("limit") or str(MAX_PAGE)
    if not re.fullmatch("[0-9]{1,6}", limit, re.ASCII) or limit == "0":
        raise malformed("limit is no number")
    tags = [tag for value in asked.getlist("filter") for tag in value.split(",") if tag]
    if len(tags) > 20:
        raise malformed("Too many filters")
    return Query(
        kind=call.kind,
        tags=tags,
        author=asked.get("author"),
        words=(asked.get("search") or "").split()[:10],
        sort=sort,
        limit=min(int(limit), MAX_PAGE),
        cursor=asked.get("cursor"),
    )


def _summary(repo: Repo, tags: Sequence[str]) -> dict[str, Any]:
    return {
        "_id": f"{repo.id:024x}",
        "id": repo.full_name,
        "modelId": repo.full_name,
        "author": repo.namespace,
        "private": repo.private,
        "gated": False,
        "disabled": False,
        "downloads": repo.downloads,
        "likes": 0,
        "tags": list(tags),
        "library_name": repo.card.get("library_name"),
        "pipeline_tag": repo.card.get("pipeline_tag"),
        "createdAt": time_of(repo.created),
        "lastModified": time_of(repo.changed),
    }


def _siblings(call: Call, commit: Commit) -> list[dict[str, Any]]:
    blobs = call.query.get("blobs", "").lower() == "true"
    found: list[dict[str, Any]] = []
    with call.site.engine.connect() as db:
        for entry in History(db).files(commit):
            shown: dict[str, Any] = {"rfilename": entry.path}
            if blobs:
                shown |= {"size": entry.size, "blobId": entry.oid}
                if entry.lfs:
                    shown["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": 134}
            found.append(shown)
            if len(found) == _MAX_SIBLINGS:
                break
    return found


def _kind(call: Call, wanted: dict[str, Any]) -> str:
    kind = call.text(wanted, "type", "model")
    if kind not in KINDS.values():
        raise malformed(f"This registry keeps {' and '.join(KINDS.values())} repositories only")
    return kind


def _named(call: Call, kind: str, namespace: str, name: str) -> Repo:
    path = {"kind": f"{kind}s", "namespace": namespace, "name": name.removeprefix(f"{namespace}/")}
    return Call(call.site, call.caller, call.method, "", path, call.query, call.headers, b"").repo()


def _require_manage(call: Call, namespace: str) -> None:
    call.require_user()
    if not call.caller.may_manage(namespace):
        raise RefusedError(403, f"This takes a token that manages {namespace}")


def _is_private(wanted: dict[str, Any]) -> bool:
    # Clients up to 1.0 say `private`, later ones `visibility`: who read one of them only would publish what is secret.
    visibility = wanted.get("visibility")
    if visibility not in (None, "public", "private"):
        raise malformed("visibility is public or private")
    return visibility == "private" or (visibility is None and wanted.get("private") is True)


def _address(call: Call, kind: str, full_name: str) -> str:
    return f"{call.base_url}/{'' if kind == 'model' else f'{kind}s/'}{full_name}"
