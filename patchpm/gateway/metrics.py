"""What a gateway counts, for Prometheus. Labels name routes, engines and sets, never tenants."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from patchpm.gateway.roster import Roster
from patchpm.gateway.upstreams import Upstream

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The counters of one gateway process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "patchpm_gateway_requests_total", "Requests", ["route", "status"], registry=self._registry
        )
        self._first = Histogram(
            "patchpm_gateway_first_byte_seconds",
            "Time to the first byte of an answer's body",
            ["route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._checks = Counter(
            "patchpm_gateway_count_checks_total",
            "Answers by whether the engine counted the prompt tokens that it had to",
            ["result"],
            registry=self._registry,
        )
        self._reloads = Counter("patchpm_gateway_reloads_total", "Reloads", ["result"], registry=self._registry)
        self._retries = Counter(
            "patchpm_gateway_retries_total", "Requests that went to another engine", registry=self._registry
        )
        self._broken = Counter(
            "patchpm_gateway_broken_answers_total", "Answers that an engine broke off", registry=self._registry
        )
        self._in_flight = Gauge(
            "patchpm_gateway_in_flight", "Requests at an engine", ["engine"], registry=self._registry
        )
        self._ready = Gauge(
            "patchpm_gateway_engine_ready", "Whether an engine takes requests", ["engine"], registry=self._registry
        )
        self._sets = Gauge(
            "patchpm_gateway_set_info", "Patch sets that are served now", ["set", "tokens"], registry=self._registry
        )
        for result in ("right", "wrong", "unknown"):
            self._checks.labels(result)
        for result in ("changed", "same", "refused"):
            self._reloads.labels(result)

    def answered(self, route: str, status: int, first_byte: float | None) -> None:
        """Count one request; `first_byte` in seconds."""
        self._requests.labels(route, str(status)).inc()
        if first_byte is not None:
            self._first.labels(route).observe(first_byte)

    def checked(self, result: str) -> None:
        """Count one count check: `right`, `wrong` or `unknown`."""
        self._checks.labels(result).inc()

    def reloaded(self, result: str) -> None:
        """Count one reload: `changed`, `same` or `refused`."""
        self._reloads.labels(result).inc()

    def retried(self) -> None:
        """Count one request that was sent to another engine."""
        self._retries.inc()

    def broken(self) -> None:
        """Count one answer that an engine did not finish."""
        self._broken.inc()

    def page(self, upstreams: Iterable[Upstream], roster: Roster) -> bytes:
        """All figures in Prometheus's text format."""
        self._in_flight.clear()
        self._ready.clear()
        self._sets.clear()
        for upstream in upstreams:
            self._in_flight.labels(upstream.url).set(upstream.in_flight)
            self._ready.labels(upstream.url).set(upstream.ready)
        for tenant in roster.tenants:
            patches = tenant.injection.patches
            self._sets.labels(str(patches.digest), str(patches.tokens)).set(1)
        return generate_latest(self._registry)
