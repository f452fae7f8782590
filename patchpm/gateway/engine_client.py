"""Short talks with an engine: no redirect of it is followed, and no answer is waited for or kept beyond measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from patchpm.gateway.refusal import RefusedError

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession, ClientTimeout

_LIMIT: Final = 4 * 1024 * 1024
"""Greatest answer to a question of the gateway's own, in bytes."""


async def fetch(
    client: ClientSession, url: str, patience: ClientTimeout, data: bytes | None = None, *, limit: int = _LIMIT
) -> tuple[int, bytes]:
    """Ask an engine something: GET, or POST where there is data, which is JSON.

    Returns:
        Status and body.

    Raises:
        ClientError, ConnectionError, TimeoutError: As aiohttp says.
        RefusedError: 502 for an answer that is too large.
    """
    headers = {} if data is None else {"content-type": "application/json"}
    method = "GET" if data is None else "POST"
    async with client.request(
        method, url, data=data, headers=headers, timeout=patience, allow_redirects=False
    ) as answer:
        return answer.status, await whole(answer, limit)


async def whole(answer: ClientResponse, limit: int) -> bytes:
    """The body of an answer.

    Raises:
        RefusedError: 502 where it has more bytes than the limit.
    """
    pieces: list[bytes] = []
    size = 0
    async for data in answer.content.iter_any():
        size += len(data)
        if size > limit:
            raise RefusedError(502, "answer_too_large", f"The engine's answer is larger than {limit:,} bytes")
        pieces.append(data)
    return b"".join(pieces)
