"""Files at a commit: listed, and given out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl, quote

from starlette.responses import JSONResponse, Response, StreamingResponse

from patchpm.server.blobs import PIECE
from patchpm.server.call import Call
from patchpm.server.commit_body import MalformedError, check_path
from patchpm.server.downloads import counts
from patchpm.server.history import Commit, Entry, History
from patchpm.server.refusal import ENTRY, RefusedError, malformed, no_entry

_PAGE: Final = 1000
_MAX_PATHS: Final = 1000
_WHOLE: Final = 8 * PIECE
"""Files up to this size are read at once and sent in one piece."""
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


def tree(call: Call) -> Response:
    """`GET /api/models/{id}/tree/{revision}/{path}`, in pages."""
    commit = call.commit(call.repo())
    folder = call.path.get("path", "").strip("/")
    recursive = call.query.get("recursive", "").lower() in ("1", "true")
    after = call.query.get("cursor", "")
    with call.site.engine.connect() as db:
        found = list(islice(_items(History(db), commit, folder, after, recursive=recursive), _PAGE + 1))
    if not found and folder and not after:
        raise no_entry(folder)
    headers = {}
    if len(found) > _PAGE:
        found = found[:_PAGE]
        here = f"{call.base_url}/api/{call.path['kind']}/{call.path['namespace']}/{call.path['name']}/tree/{commit.sha}"
        last = found[-1]["path"]
        if found[-1]["type"] == "directory" and not recursive:
            last = _past(last)
        query = f"recursive={str(recursive).lower()}&cursor={quote(last, safe='')}"
        headers["Link"] = f'<{here}{"/" + quote(folder) if folder else ""}?{query}>; rel="next"'
    return JSONResponse(found, headers=headers)


def paths_info(call: Call) -> Response:
    """`POST /api/models/{id}/paths-info/{revision}`, a form."""
    commit = call.commit(call.repo())
    try:
        form = parse_qsl(call.body.decode(), max_num_fields=_MAX_PATHS + 10)
        paths = [check_path(value.strip("/")) for key, value in form if key == "paths"]
    except (ValueError, MalformedError) as error:
        raise malformed(f"The body is no form of paths: {error}") from None
    found: list[dict[str, Any]] = []
    with call.site.engine.connect() as db:
        history = History(db)
        for path in paths:
            entry = history.entry(commit, path)
            if entry is not None:
                found.append(_file(entry))
            elif next(history.files(commit, path), None) is not None:
                found.append(_folder(path))
    return JSONResponse(found)


def resolve(call: Call) -> Response:
    """`GET` and `HEAD` of `/{id}/resolve/{revision}/{path}`."""
    repo, private, commit = call.place()
    path = call.path["path"]
    entry = call.site.entries.get(commit, path)
    at = {"X-Repo-Commit": commit.sha}
    if entry is None:
        raise RefusedError(404, f"Entry not found: {path}", ENTRY, headers=at)
    is_fixed = call.path["revision"] == commit.sha
    headers = at | _headers(entry, is_fixed=is_fixed, private=private or call.site.closed)
    if _is_known(call.headers.get("if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    if call.method == "GET" and call.headers.get("range") is None and counts(entry):
        call.site.downloads.add(repo)
    link = call.site.blobs.link(entry.sha256) if entry.size >= call.site.limits.redirect else None
    if link is not None:
        return Response(status_code=302, headers=headers | {"Location": link, "Cache-Control": "no-store"})
    return _send(call, entry, headers)


def _is_known(asked: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names what the client would get."""
    tags = [tag.strip().removeprefix("W/") for tag in (asked or "").split(",")]
    return etag in tags or tags == ["*"]


def _send(call: Call, entry: Entry, headers: dict[str, str]) -> Response:
    start, end, status = 0, entry.size, 200
    asked = call.headers.get("range")
    if asked is not None and call.method == "GET" and call.headers.get("if-range", headers["ETag"]) == headers["ETag"]:
        part = _part(asked, entry.size)
        if part is not None:
            start, end, status = *part, 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{entry.size}"
    headers["Content-Length"] = str(end - start)
    if call.method == "HEAD":
        return Response(status_code=status, headers=headers)
    pieces = call.site.blobs.read(entry.sha256, start, end)
    if end - start <= _WHOLE:
        return Response(b"".join(pieces), status, headers)
    return StreamingResponse(pieces, status, headers)


def _headers(entry: Entry, *, is_fixed: bool, private: bool) -> dict[str, str]:
    etag = f'"{entry.sha256 if entry.lfs else entry.oid}"'
    scope = "private" if private else "public"
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": f"{scope}, max-age=31536000, immutable" if is_fixed else "no-cache",
        "Content-Type": "application/octet-stream",
        "Content-Disposition": "attachment",
        # Whatever a repository holds, a browser must not take it for a page of this server.
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if entry.lfs:
        headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(entry.size)}
    return headers


def _part(asked: str, size: int) -> tuple[int, int] | None:
    """First and one past last of one range; None for what may be answered with the whole."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
        if found[2] and int(found[2]) < start:
            return None
    if start >= end:
        raise RefusedError(416, "There is no such range", headers={"Content-Range": f"bytes */{size}"})
    return start, end


def _items(history: History, commit: Commit, folder: str, after: str, *, recursive: bool) -> Iterator[dict[str, Any]]:
    """Files, and folders before what is in them."""
    depth = len(folder) + 1 if folder else 0
    known: set[str] = set()
    while True:
        skipped = None
        for entry in history.files(commit, folder, after=after):
            inner = entry.path[depth:].split("/")[:-1]
            for count in range(1, len(inner) + 1 if recursive else min(2, len(inner) + 1)):
                below = entry.path[:depth] + "/".join(inner[:count])
                if below not in known and below != after and not after.startswith(f"{below}/"):
                    known.add(below)
                    yield _folder(below)
            if inner and not recursive:
                skipped = entry.path[:depth] + inner[0]
                break
            yield _file(entry)
        if skipped is None:
            return
        after = _past(skipped)


def _file(entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": "file", "path": entry.path, "size": entry.size, "oid": entry.oid}
    if entry.lfs:
        shown["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 134}
    return shown


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "oid": "0" * 40, "size": 0}


def _past(folder: str) -> str:
    """What sorts after all that is in a folder, and before whatever else follows."""
    return f"{folder}/\U0010ffff"
