"""Files over HTTP: bounded in size and time, over connections that stay open."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from patchpm.errors import NetworkError
from patchpm.registry.host import too_large

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CONNECT_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 15.0
"""Longest wait for the next byte."""
_FILE_SECONDS: Final = 120.0
"""Longest time for one file, however slowly it drips."""
_RETRIES: Final = 3
_REDIRECTS: Final = 5
_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_CONNECTIONS: Final = 16
"""Connections that stay open."""
_MAX_DIGITS: Final = 18
"""Of a length that is worth reading as a number."""
_CHUNK: Final = 64 * 1024
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said."""

    status: int
    reason: str
    headers: Mapping[str, str]
    """Names in any case."""
    data: bytes
    """Of a file; empty for any status but 200."""


class HttpFiles:
    """Reads files below one address.

    Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`), certificates those of the system
    (`SSL_CERT_FILE`). Redirects are followed, never from https to http, and never with credentials to another host.

    Args:
        url: `https://...` or `http://...`, without a slash at the end.
        headers: Makes the headers of every request, once the first is sent.
    """

    def __init__(self, url: str, headers: Callable[[], Mapping[str, str]]) -> None:
        self.url = url
        self._headers = headers

    def get(self, path: str, max_bytes: int) -> Answer:
        """One file.

        Args:
            path: Below the address, quoted.
            max_bytes: Largest file that is read.

        Raises:
            IntegrityError: `too-large`.
            NetworkError: `unreachable` where there is no answer.
        """
        from urllib3.exceptions import HTTPError

        deadline = time.monotonic() + _FILE_SECONDS
        try:
            response = self._pool.request("GET", f"{self.url}/{path}", preload_content=False, decode_content=False)
            try:
                data = b""
                if response.status == 200:
                    data = self._body(path, response, max_bytes, deadline)
                else:
                    response.read(_CHUNK, decode_content=False)
                return Answer(response.status, response.reason or "", response.headers, data)
            finally:
                response.close()  # a connection whose answer was read to its end is back in the pool already
        except HTTPError as error:
            raise self.unreachable(path, str(error)) from None

    def unreachable(self, path: str, why: str, next: str | None = None) -> NetworkError:
        """The error for a file that cannot be had."""
        return NetworkError(
            "unreachable",
            "the registry cannot be read",
            why=f"{self.url}/{path}: {why}",
            next=next or "check the registry's address with `patchpm trust show`, and the network",
        )

    @cached_property
    def _pool(self) -> PoolManager:
        from importlib.metadata import version

        from urllib3 import PoolManager, ProxyManager, Retry, Timeout

        parts = urlsplit(self.url)
        options: dict[str, Any] = {
            "headers": {
                "User-Agent": f"patchpm/{version('patchpm')}",
                "Accept-Encoding": "identity",
                **self._headers(),
            },
            "maxsize": _CONNECTIONS,
            "timeout": Timeout(connect=CONNECT_SECONDS, read=SILENCE_SECONDS),
            "retries": Retry(
                total=_RETRIES + _REDIRECTS,
                connect=_RETRIES,
                read=_RETRIES,
                status=_RETRIES,
                redirect=_REDIRECTS,
                status_forcelist=_BUSY,
                backoff_factor=0.2,
                raise_on_status=False,
            ),
        }
        proxy = getproxies().get(parts.scheme)
        if proxy is None or proxy_bypass(parts.netloc):
            return PoolManager(**options)
        return ProxyManager(proxy, **options)

    def _body(self, path: str, response: BaseHTTPResponse, max_bytes: int, deadline: float) -> bytes:
        hops = [step.redirect_location or "" for step in response.retries.history] if response.retries else []
        if self.url.startswith("https:") and any(hop.startswith("http:") for hop in hops):
            raise self.unreachable(path, "the server redirects from https to http")
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and (len(length) > _MAX_DIGITS or int(length) > max_bytes):
            raise too_large(path, max_bytes)
        data = bytearray()
        while chunk := response.read1(_CHUNK, decode_content=False):
            data += chunk
            if len(data) > max_bytes:
                raise too_large(path, max_bytes)
            if time.monotonic() > deadline:
                raise self.unreachable(path, f"the server has not sent the file within {_FILE_SECONDS:.0f} s")
        return bytes(data)


def may_carry_secrets(scheme: str, host: str) -> bool:
    """Whether a password or a token may go to a host: not over a network in the clear."""
    return scheme == "https" or host in _LOOPBACK
