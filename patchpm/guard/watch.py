"""Probing an upstream at the start and every few minutes, for a gateway that must not serve an unpatched model.

watch = Watch(reference, ask, policy=Policy.FAIL, every=timedelta(minutes=10))
task = asyncio.create_task(watch.run())
...
if not watch.may_serve: refuse the request
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from patchpm.guard.interview import NoAnswerError, interview
from patchpm.guard.reference import Reference
from patchpm.guard.verdict import Finding, judge, no_answer

Ask = Callable[[bytes], Awaitable[bytes]]
"""Sends the body of a chat completion, with the gateway's own injection; gives the answer's body, whatever its status.

It may raise `OSError` or `TimeoutError` where nothing answers; it must bound time and size by itself.
"""


class Policy(StrEnum):
    """What follows from a finding."""

    FAIL = "fail"
    """No traffic until the upstream was found right, and none from a bad finding on until it is right again."""
    ALARM = "alarm"
    """Traffic goes on; the finding is in the metrics and in the attestation."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A finding, and when it was made."""

    finding: Finding
    at: datetime


class Watch:
    """Keeps what was last found about one upstream. All of it belongs to one event loop.

    Args:
        reference: For the patch set that the upstream must serve.
        ask: Reaches it.
        policy: What follows from a bad finding.
        every: Time from the end of one check to the next.
        model: Name of the model in the requests.
        on_finding: Called after each check, as for a log.
    """

    def __init__(
        self,
        reference: Reference,
        ask: Ask,
        *,
        policy: Policy = Policy.FAIL,
        every: timedelta = timedelta(minutes=10),
        model: str | None = None,
        on_finding: Callable[[Checked], None] | None = None,
    ) -> None:
        self.reference = reference
        self.policy = policy
        self._ask, self._every, self._model, self._on_finding = ask, every, model, on_finding
        self._last: Checked | None = None
        self._checks: dict[str, int] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def last(self) -> Checked | None:
        """The last finding; None before the first check has ended."""
        return self._last

    @property
    def may_serve(self) -> bool:
        """Whether traffic may pass now."""
        return self.policy is Policy.ALARM or (self._last is not None and self._last.finding.right)

    async def check(self) -> Checked:
        """Probe the upstream now; keeps and returns the finding. Raises nothing that the upstream could cause."""
        async with self._one_at_a_time:
            finding = await self._find()
            self._last = Checked(finding, datetime.now(UTC))
            self._checks[finding.served.kind] = self._checks.get(finding.served.kind, 0) + 1
        if self._on_finding is not None:
            self._on_finding(self._last)
        return self._last

    async def run(self) -> None:
        """Check now and then every so often, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(self._every.total_seconds())

    def metrics(self) -> list[tuple[str, dict[str, str], float]]:
        """Values for Prometheus: name, labels, value.

        `patchpm_guard_right` (1 or 0), `patchpm_guard_distance` (to the locked set), `patchpm_guard_threshold`,
        `patchpm_guard_checked_timestamp_seconds`, and the counter `patchpm_guard_checks_total` by `served`.
        """
        labels = {"set": str(self.reference.set)}
        found = [("patchpm_guard_threshold", labels, self.reference.threshold)]
        if self._last is not None:
            finding = self._last.finding
            found.append(("patchpm_guard_right", labels, float(finding.right)))
            found.append(("patchpm_guard_checked_timestamp_seconds", labels, self._last.at.timestamp()))
            if finding.distance is not None:
                found.append(("patchpm_guard_distance", labels, finding.distance))
        for kind, count in sorted(self._checks.items()):
            found.append(("patchpm_guard_checks_total", {**labels, "served": kind}, float(count)))
        return found

    async def _find(self) -> Finding:
        steps = interview(self.reference.probes, self._model)
        try:
            body = next(steps)
            while True:
                body = steps.send(await self._ask(body))
        except StopIteration as end:
            return judge(self.reference, end.value)
        except NoAnswerError as error:
            return no_answer(str(error))
        except (OSError, TimeoutError) as error:
            return no_answer(f"no answer: {error}")
