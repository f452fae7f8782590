"""What the server counts, for Prometheus.

Labels name routes, never repositories or people. With several workers, `PROMETHEUS_MULTIPROC_DIR` must name a folder
that they share; `patchpm registry serve --workers` sees to it.
"""

from __future__ import annotations

import os
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

MULTIPROCESS: Final = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The counters of one worker."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "patchpm_requests_total", "Requests", ["method", "route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "patchpm_request_seconds",
            "Time to the last byte of an answer",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._sent = Counter("patchpm_sent_bytes_total", "Bytes of answers' bodies", registry=self._registry)
        self._commits = Counter("patchpm_commits_total", "Commits", ["outcome"], registry=self._registry)

    def answered(self, method: str, route: str, status: int, seconds: float, sent: int) -> None:
        """Count one request."""
        # A client may call its method anything; each label costs memory for ever.
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._sent.inc(sent)

    def committed(self, outcome: str) -> None:
        """Count one commit: `made`, or `conflict`."""
        self._commits.labels(outcome).inc()

    def page(self) -> bytes:
        """All figures, of all workers, in Prometheus's text format."""
        if os.environ.get(MULTIPROCESS):
            whole = CollectorRegistry()
            MultiProcessCollector(whole)  # type: ignore[no-untyped-call]
            return generate_latest(whole)
        return generate_latest(self._registry)
