"""Files too large for a commit: announced, uploaded by themselves to a signed link, and checked.

The link holds its own permission, since clients send it no token.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
from typing import Any, Final
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from patchpm.server.call import Call, pieces_of, site_of
from patchpm.server.refusal import RefusedError, malformed
from patchpm.server.repository import Repo
from patchpm.server.site import Site

_LINK_SECONDS: Final = 6 * 3600
_SHA256: Final = re.compile("[0-9a-f]{64}", re.ASCII)
_MEDIA_TYPE: Final = "application/vnd.git-lfs+json"
_MAX_OBJECTS: Final = 1000


def batch(call: Call) -> Response:
    """`POST /{id}.git/info/lfs/objects/batch`: where each file shall go."""
    repo = call.repo()
    user = call.require_user()
    if not call.caller.may_write(repo.namespace) and not call.caller.may_offer(repo.namespace):
        raise RefusedError(403, f"{user} may not upload with this token")
    wanted = call.json()
    objects = wanted.get("objects")
    if wanted.get("operation") != "upload" or not isinstance(objects, list) or len(objects) > _MAX_OBJECTS:
        raise malformed("This takes an upload and a list of objects")
    shown: list[dict[str, Any]] = []
    for item in objects:
        sha256, size = _object(item)
        if size > call.site.limits.file:
            raise RefusedError(413, f"A file is larger than {call.site.limits.file:,} bytes")
        answer: dict[str, Any] = {"oid": sha256, "size": size}
        if call.site.blobs.size(sha256) is None or not call.site.received.may_use(repo, sha256, call.caller):
            answer["actions"] = {
                "upload": {"href": f"{call.base_url}/uploads/{sha256}?{_permit(call, repo, sha256, size)}"}
            }
        shown.append(answer)
    return JSONResponse({"transfer": "basic", "objects": shown}, media_type=_MEDIA_TYPE)


class Receiver:
    """`PUT /uploads/{sha256}`: the bytes, which must be those that were announced."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await (await _receive(Request(scope, receive)))(scope, receive, send)


async def _receive(request: Request) -> Response:
    site = site_of(request)
    sha256 = request.path_params["sha256"]
    size, expires, repo = (_number(request, key) for key in ("size", "expires", "repo"))
    given, expected = request.query_params.get("sign", ""), _sign(site, sha256, size, expires, repo)
    if not _SHA256.fullmatch(sha256) or not hmac.compare_digest(given.encode(), expected.encode()):
        raise RefusedError(403, "The upload link is not one of this server's")
    if expires < time.time():
        raise RefusedError(403, "The upload link has expired")
    file = site.blobs.staging() / os.urandom(16).hex()
    digest, received = hashlib.sha256(), 0
    try:
        with await run_in_threadpool(file.open, "xb") as opened:
            async for piece in pieces_of(request, size, site.limits.silence):
                digest.update(piece)
                received += len(piece)
                await run_in_threadpool(opened.write, piece)
        if received != size or digest.hexdigest() != sha256:
            raise malformed("The bytes are not those that were announced")
        await run_in_threadpool(site.blobs.put_file, sha256, file)
        await run_in_threadpool(site.received.add, repo, sha256)
    finally:
        await run_in_threadpool(file.unlink, missing_ok=True)
    return Response(status_code=200)


def _object(item: object) -> tuple[str, int]:
    if isinstance(item, dict):
        sha256, size = item.get("oid"), item.get("size")
        if isinstance(sha256, str) and _SHA256.fullmatch(sha256) and type(size) is int and 0 <= size < 2**53:
            return sha256, size
    raise malformed("An object has no oid or no size")


def _number(request: Request, key: str) -> int:
    found = request.query_params.get(key, "")
    if not re.fullmatch("[0-9]{1,16}", found, re.ASCII):
        raise malformed(f"{key} is no number")
    return int(found)


def _permit(call: Call, repo: Repo, sha256: str, size: int) -> str:
    expires = int(time.time()) + _LINK_SECONDS
    sign = _sign(call.site, sha256, size, expires, repo.id)
    return urlencode({"size": size, "expires": expires, "repo": repo.id, "sign": sign})


def _sign(site: Site, sha256: str, size: int, expires: int, repo: int) -> str:
    return hmac.new(site.link_key, f"{sha256} {size} {expires} {repo}".encode(), hashlib.sha256).hexdigest()
