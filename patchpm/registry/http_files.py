"""Files over HTTP: bounded in size and time, over connections that stay open."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit
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
_DRAIN_SECONDS: Final = 5.0
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
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
    (`SSL_CERT_FILE`). Redirects are followed, never from https to http, and without credentials to another server.

    Args:
        url: `https://...` or `http://...`, without a slash at the end.
        headers: Makes the headers that only this server gets, once the first request is sent.
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
            return self._followed(path, max_bytes, deadline)
        except (HTTPError, ValueError) as error:  # ValueError: a redirect to what is no address
            raise self.unreachable(path, str(error)) from None

    def _followed(self, path: str, max_bytes: int, deadline: float) -> Answer:
        url, hops, tries = f"{self.url}/{path}", 0, 0
        while True:
            response = self._pool.request(
                "GET", url, headers=self._headers_for(url), preload_content=False, decode_content=False, redirect=False
            )
            try:
                location = response.headers.get("Location")
                if response.status in _MOVED and location is not None:
                    hops += 1
                    if hops > _REDIRECTS:
                        raise self.unreachable(path, "the server redirects without an end")
                    url = self._next(path, url, location)
                    continue
                if response.status in _BUSY and tries < _RETRIES:
                    tries += 1
                    self._pause(path, response, tries, deadline)
                    continue
                if response.status == 200:
                    data = self._body(path, response, max_bytes, deadline)
                else:
                    data = b""
                    _drain(response)
                return Answer(response.status, response.reason or "", response.headers, data)
            finally:
                response.close()  # a connection whose answer was read to its end is back in the pool already

    def _next(self, path: str, url: str, location: str) -> str:
        """Where a redirect leads."""
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
        if scheme not in ("http", "https") or (scheme == "http" and self.url.startswith("https:")):
            raise self.unreachable(path, f"the server redirects from https to {scheme[:20]}")
        return target

    def _pause(self, path: str, response: BaseHTTPResponse, tries: int, deadline: float) -> None:
        asked = response.headers.get("Retry-After", "")
        seconds = int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 6 else 0.2 * 2**tries
        if time.monotonic() + seconds > deadline:
            raise self.unreachable(path, f"the server says {response.status}, and to come back in {seconds:.0f} s")
        time.sleep(seconds)

    def _headers_for(self, url: str) -> dict[str, str]:
        """What is sent to everyone, and to the server itself what is for it alone."""
        from importlib.metadata import version

        common = {"User-Agent": f"patchpm/{version('patchpm')}", "Accept-Encoding": "identity"}
        return common | self._own if _origin(url) == _origin(self.url) else common

    @cached_property
    def _own(self) -> dict[str, str]:
        return dict(self._headers())

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
        from urllib3 import PoolManager, ProxyManager, Retry, Timeout

        parts = urlsplit(self.url)
        options: dict[str, Any] = {
            "maxsize": _CONNECTIONS,
            "timeout": Timeout(connect=CONNECT_SECONDS, read=SILENCE_SECONDS),
            # A certificate that is refused now (`other`) is refused the next time too.
            "retries": Retry(
                total=_RETRIES, other=0, redirect=False, respect_retry_after_header=False, backoff_factor=0.2
            ),
        }
        proxy = getproxies().get(parts.scheme)
        if proxy is None or proxy_bypass(parts.netloc):
            return PoolManager(**options)
        return ProxyManager(proxy, **options)

    def _body(self, path: str, response: BaseHTTPResponse, max_bytes: int, deadline: float) -> bytes:
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


def _drain(response: BaseHTTPResponse) -> None:
    """Read a short answer that says no, so that its connection can go on; a long or slow one is not worth it."""
    deadline, left = time.monotonic() + _DRAIN_SECONDS, _CHUNK
    while left > 0 and time.monotonic() < deadline and (chunk := response.read1(left, decode_content=False)):
        left -= len(chunk)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def may_carry_secrets(scheme: str, host: str) -> bool:
    """Whether a password or a token may go to a host: not over a network in the clear."""
    return scheme == "https" or host in _LOOPBACK
