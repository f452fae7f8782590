"""A registry behind any web server or CDN: read only, over HTTP.

All bytes are checked against signed metadata by whoever asked, so a server, a proxy or a cache can hold them back for
a while and do no more.
"""

from __future__ import annotations

import netrc
import os
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from patchpm.errors import CannotError, NetworkError, UsageError
from patchpm.registry.host import Change, check_path, plain_address, too_large

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_CONNECT_SECONDS: Final = 5.0
_SILENCE_SECONDS: Final = 15.0
"""Longest wait for the next byte."""
_FILE_SECONDS: Final = 120.0
"""Longest time for one file, however slowly it drips."""
_RETRIES: Final = 3
_REDIRECTS: Final = 5
_BUSY: Final = frozenset({429, 500, 502, 503, 504})
_GONE: Final = frozenset({404, 410})
_CONNECTIONS: Final = 16
"""Connections that stay open."""
_MAX_DIGITS: Final = 18
"""Of a length that is worth reading as a number."""
_CHUNK: Final = 64 * 1024
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class WebHost:
    """The files of a registry under one address.

    Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`), certificates those of the system
    (`SSL_CERT_FILE`), name and password those of `~/.netrc` (`NETRC`).

    Args:
        url: `https://...` or `http://...`, without a query.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    @property
    def where(self) -> str:
        """The address."""
        return self._url

    @property
    def is_local(self) -> bool:
        """See `Host.is_local`."""
        return False

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """See `Host.read`."""
        from urllib3.exceptions import HTTPError

        url = f"{self._url}/{quote('/'.join(check_path(path)))}"
        deadline = time.monotonic() + _FILE_SECONDS
        try:
            response = self._pool.request("GET", url, preload_content=False, decode_content=False)
            try:
                return self._body(path, response, max_bytes, deadline)
            finally:
                response.close()  # a connection whose answer was read to its end is back in the pool already
        except HTTPError as error:
            raise self._unreachable(path, str(error)) from None

    def head(self) -> str:
        """See `Host.head`; nobody can write here.

        Raises:
            CannotError: `read-only`.
        """
        raise _read_only(self._url)

    def commit(self, changes: Sequence[Change], expect: str) -> None:
        """See `Host.commit`; nobody can write here.

        Raises:
            CannotError: `read-only`.
        """
        raise _read_only(self._url)

    @cached_property
    def _pool(self) -> PoolManager:
        from importlib.metadata import version

        from urllib3 import PoolManager, ProxyManager, Retry, Timeout

        parts = urlsplit(self._url)
        options: dict[str, Any] = {
            "headers": {
                "User-Agent": f"patchpm/{version('patchpm')}",
                "Accept-Encoding": "identity",
                **_credentials(parts.scheme, parts.hostname or ""),
            },
            "maxsize": _CONNECTIONS,
            "timeout": Timeout(connect=_CONNECT_SECONDS, read=_SILENCE_SECONDS),
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

    def _body(self, path: str, response: BaseHTTPResponse, max_bytes: int, deadline: float) -> bytes | None:
        if response.status in _GONE:
            response.read(_CHUNK, decode_content=False)
            return None
        if response.status != 200:
            raise self._unreachable(path, f"the server says {response.status} {response.reason}")
        hops = [step.redirect_location or "" for step in response.retries.history] if response.retries else []
        if self._url.startswith("https:") and any(hop.startswith("http:") for hop in hops):
            raise self._unreachable(path, "the server redirects from https to http")
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and (len(length) > _MAX_DIGITS or int(length) > max_bytes):
            raise too_large(path, max_bytes)
        data = bytearray()
        while chunk := response.read1(_CHUNK, decode_content=False):
            data += chunk
            if len(data) > max_bytes:
                raise too_large(path, max_bytes)
            if time.monotonic() > deadline:
                raise self._unreachable(path, f"the server has not sent the file within {_FILE_SECONDS:.0f} s")
        return bytes(data)

    def _unreachable(self, path: str, why: str) -> NetworkError:
        return NetworkError(
            "unreachable",
            "the registry cannot be read",
            why=f"{self._url}/{path}: {why}",
            next="check the registry's address with `patchpm trust show`, and the network",
        )


def _credentials(scheme: str, host: str) -> dict[str, str]:
    """The header of basic authentication for a host that `~/.netrc` knows; never over a network in the clear.

    urllib3 does not take it along to another host.
    """
    from urllib3.util import make_headers

    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    if not path.is_file() or not (scheme == "https" or host in _LOOPBACK):
        return {}
    try:
        found = netrc.netrc(path).authenticators(host)
    except (netrc.NetrcParseError, OSError) as error:
        raise UsageError("invalid-netrc", f"{path} cannot be read", why=str(error)) from None
    return {} if found is None else dict(make_headers(basic_auth=f"{found[0]}:{found[2]}"))


def open_web(url: str) -> WebHost:
    """The host of an `http:` or `https:` address.

    Raises:
        UsageError: `unsupported-registry` for one with a query, a fragment or a password in it.
    """
    plain_address(url)
    return WebHost(url)


def _read_only(url: str) -> CannotError:
    return CannotError(
        "read-only",
        "a registry behind a web server can be read only",
        why=url,
        next="publish to the folder or the bucket that the server serves",
    )
