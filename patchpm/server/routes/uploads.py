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

from patchpm.server.call import Call, pieces_of
from patchpm.server.refusal import RefusedError, malformed
from patchpm.server.site import Site

_LINK_SECONDS: Final = 6 * 3600
_SHA256: Final = re.compile("[0-9a-f]{64}", re.ASCII)
_MEDIA_TYPE: Final = "application/vnd.git-lfs+json"
_MAX_OBJECTS: Final = 1000


def batch(call: Call) -> Response:
    """`POST /{id}.git/info/lfs/objects/batch`: where each file shall go."""
    repo = call.repo()
    user = call.require_user()
    if not call.caller.may_write(repo.namespace) and call.caller.scope != "write":
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
        if call.site.blobs.size(sha256) is None:
            expires = int(time.time()) + _LINK_SECONDS
            query = urlencode({"size": size, "expires": expires, "sign": _sign(call.site, sha256, size, expires)})
            answer["actions"] = {"upload": {"href": f"{call.base_url}/uploads/{sha256}?{query}"}}
        shown.append(answer)
    return JSONResponse({"transfer": "basic", "objects": shown}, media_type=_MEDIA_TYPE)


async def receive(request: Request) -> Response:
    """`PUT /uploads/{sha256}`: the bytes, which must be those that were announced."""
    site: Site = request.app.state.site
    sha256 = request.path_params["sha256"]
    size, expires = _number(request, "size"), _number(request, "expires")
    sign = request.query_params.get("sign", "")
    if not _SHA256.fullmatch(sha256) or not hmac.compare_digest(
        sign.encode(), _sign(site, sha256, size, expires).encode()
    ):
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


def _sign(site: Site, sha256: str, size: int, expires: int) -> str:
    return hmac.new(site.link_key, f"{sha256} {size} {expires}".encode(), hashlib.sha256).hexdigest()
