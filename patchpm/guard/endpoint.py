"""A server that speaks OpenAI's protocol, reached over HTTP: bounded in size and time, and never followed elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from patchpm.errors import NetworkError, UsageError
from patchpm.guard.interview import MAX_ANSWER, NoAnswerError, interview
from patchpm.guard.reference import Reference
from patchpm.guard.verdict import Finding, judge, no_answer

if TYPE_CHECKING:
    from urllib3 import PoolManager

_CONNECT_SECONDS: Final = 10.0
_CHUNK: Final = 64 * 1024
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
WELL_KNOWN: Final = "/.well-known/patchpm"
"""Where a server says what it serves, see `patchpm.guard.attestation`."""


class Endpoint:
    """One server.

    Args:
        url: Of the server, with or without `/v1` or `/v1/chat/completions` at the end.
        key: The API key that it asks for, or None.
        seconds: Longest time for one answer, from the first byte sent to the last read.

    Raises:
        UsageError: `invalid-endpoint` for what is no such address, or a key that would go over a network in the clear.
    """

    def __init__(self, url: str, *, key: str | None = None, seconds: float = 120.0) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(
                "invalid-endpoint", f"{url!r} is not the address of a server", next="give it as http://HOST:PORT"
            )
        if parts.username is not None or parts.password is not None:
            raise UsageError("invalid-endpoint", "the address holds a password", next="set PATCHPM_ENDPOINT_KEY")
        if key is not None and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise UsageError(
                "invalid-endpoint",
                "an API key does not go over a network in the clear",
                why=f"{url} is plain http, to another machine",
                next="use https, or unset PATCHPM_ENDPOINT_KEY",
            )
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise UsageError("invalid-endpoint", "the API key has characters that no header can carry")
        path = parts.path.rstrip("/").removesuffix("/chat/completions").removesuffix("/v1")
        self.url = f"{parts.scheme}://{parts.netloc}{path}"
        """Of the server, without `/v1`."""
        self._key, self._seconds = key, seconds
        self._pool = _pool(parts.scheme, parts.netloc)

    def find(self, reference: Reference, model: str | None = None) -> Finding:
        """Ask the probes of a reference, and say what the server serves.

        Raises:
            NetworkError: `unreachable` where nothing answers in time.
        """
        steps = interview(reference.probes, model)
        try:
            body = next(steps)
            while True:
                body = steps.send(self.complete(body))
        except StopIteration as end:
            return judge(reference, end.value)
        except NoAnswerError as error:
            return no_answer(str(error))

    def complete(self, body: bytes) -> bytes:
        """The answer to one chat completion, of whatever status.

        Raises:
            NetworkError: `unreachable`, also for an answer that is too large or too slow.
        """
        return self._ask("POST", "/v1/chat/completions", body)[1]

    def well_known(self, nonce: str) -> bytes | None:
        """What the server says of itself, or None where it says nothing.

        Raises:
            NetworkError: `unreachable`.
        """
        status, data = self._ask("GET", f"{WELL_KNOWN}?nonce={nonce}", None)
        return data if status == 200 else None

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Ask in a thread: a server can drip what no timeout of a socket sees, such as headers, for ever."""
        asking = Future[tuple[int, bytes]]()

        def work() -> None:
            try:
                asking.set_result(self._asked(method, path, body))
            except BaseException as error:  # given to whoever waits
                asking.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        try:
            return asking.result(self._seconds)
        except TimeoutError:
            raise self._unreachable(f"its answer took more than {self._seconds:.0f} s") from None

    def _asked(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        from urllib3.exceptions import HTTPError
        from urllib3.util import Timeout

        try:
            response = self._pool.request(
                method,
                self.url + path,
                body=body,
                headers=self._headers(),
                timeout=Timeout(connect=min(_CONNECT_SECONDS, self._seconds), read=self._seconds),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                data = bytearray()
                while chunk := response.read1(_CHUNK, decode_content=False):
                    data += chunk
                    if len(data) > MAX_ANSWER:
                        raise self._unreachable(f"its answer has more than {MAX_ANSWER:,} bytes")
                return response.status, bytes(data)
            finally:
                response.close()
        except HTTPError as error:
            raise self._unreachable(str(error)) from None

    def _headers(self) -> Mapping[str, str]:
        from importlib.metadata import version

        headers = {
            "User-Agent": f"patchpm/{version('patchpm')}",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
        }
        return headers if self._key is None else headers | {"Authorization": f"Bearer {self._key}"}

    def _unreachable(self, why: str) -> NetworkError:
        return NetworkError(
            "unreachable",
            "the server cannot be asked",
            why=f"{self.url}: {why}",
            next="check the address, and that the server is up and takes /v1/chat/completions",
        )


def _pool(scheme: str, netloc: str) -> PoolManager:
    from urllib.request import getproxies, proxy_bypass

    from urllib3 import PoolManager, ProxyManager

    proxy = getproxies().get(scheme)
    return PoolManager() if proxy is None or proxy_bypass(netloc) else ProxyManager(proxy)
