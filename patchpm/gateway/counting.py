"""Counting prompts beside the event loop: long ones wait for each other, and hold up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from patchpm.gateway.injection import Injection

_LONG: Final = 64 * 1024
"""Bytes of a request from which on its prompt is long: some 16,000 tokens."""


class Counting:
    """The threads that count."""

    def __init__(self) -> None:
        self._short = ThreadPoolExecutor(4, "count")
        self._long = ThreadPoolExecutor(2, "count-long")

    def expected(self, injection: Injection, request: Mapping[str, Any], size: int) -> asyncio.Future[int | None]:
        """Begin to count what an engine must report for a request; see `Injection.expected`.

        Args:
            injection: Of the tenant.
            request: As it was made ready.
            size: Bytes of the request as the client sent it.
        """
        threads = self._long if size >= _LONG else self._short
        return asyncio.get_running_loop().run_in_executor(threads, injection.expected, request)

    def close(self) -> None:
        """Begin nothing more, and do not wait for what runs."""
        for threads in (self._short, self._long):
            threads.shutdown(wait=False, cancel_futures=True)
