"""A registry behind any web server or CDN: read only, over HTTP.

All bytes are checked against signed metadata by whoever asked, so a server, a proxy or a cache can hold them back for
a while and do no more.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

from patchpm.errors import CannotError, UsageError
from patchpm.registry.host import Change, check_path, plain_address
from patchpm.registry.http_files import HttpFiles, may_carry_secrets

_GONE: Final = frozenset({404, 410})


class WebHost:
    """The files of a registry under one address. Name and password are those of `~/.netrc` (`NETRC`).

    Args:
        url: `https://...` or `http://...`, without a query.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        parts = urlsplit(self._url)
        self._files = HttpFiles(self._url, lambda: _credentials(parts.scheme, parts.hostname or ""))

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
        quoted = quote("/".join(check_path(path)))
        answer = self._files.get(quoted, max_bytes)
        if answer.status in _GONE:
            return None
        if answer.status != 200:
            raise self._files.unreachable(quoted, f"the server says {answer.status} {answer.reason}")
        return answer.data

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


def _credentials(scheme: str, host: str) -> dict[str, str]:
    """The header of basic authentication for a host that `~/.netrc` knows; never over a network in the clear.

    urllib3 does not take it along to another host.
    """
    from urllib3.util import make_headers

    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    if not path.is_file() or not may_carry_secrets(scheme, host):
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
