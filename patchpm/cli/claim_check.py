"""Measuring again what installed or packed releases claim, for `patchpm verify --claims`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from patchpm.cli.evaluations import ANCHOR, checked_to_json, interval
from patchpm.cli.extra import require_extra
from patchpm.cli.output import columns, line, note
from patchpm.cli.stages import stages
from patchpm.evaluate.claim_check import CheckedClaim, Unmeasurable
from patchpm.patch.strict_json import JsonValue
from patchpm.trust.release import VerifiedRelease

if TYPE_CHECKING:
    from patchpm.cli.session import Session
    from patchpm.data.suite import Suite
    from patchpm.evaluate.bench import Bench, StageProgress
    from patchpm.patch.manifest import Claim


@dataclass(frozen=True, slots=True)
class Measuring:
    """How claims are to be measured again."""

    suites: tuple[str, ...]
    """Names or `.toml` files; empty for all that come with the package."""
    judge: str | None
    limit: int | None
    """Most rows a part, for a quick look."""


def check_claims(
    session: Session, releases: Sequence[tuple[VerifiedRelease, str, Path]], how: Measuring
) -> list[tuple[CheckedClaim, ...]]:
    """Measure every claim of some releases again.

    Args:
        session: Whose policy says how well a base must be known.
        releases: Each with its base as the user names it, and the folder that a relative name starts from.
        how: On what.

    Raises:
        CannotError: `extra-missing`, `not-a-folder`, and what loading rows, judge or model raises.
        IntegrityError: `base-mismatch`.
        UsageError: `unknown-suite`, `invalid-recipe`.
    """
    from patchpm.cli.locked_prefixes import base_folder

    require_extra("train", "patchpm.evaluate.bench")
    folders = [base_folder(session, base, beside, [release.manifest]) for release, base, beside in releases]
    suites = _suites([claim for release, _, _ in releases for claim in release.manifest.claims], how.suites)
    with stages() as bars:

        def progress(part: str, done: int, whole: int) -> None:
            bars(part, done, whole, {})

        bench_of = _Benches(how.judge, progress)
        found = [
            _check(release, suites, partial(bench_of, base, release), how.limit)
            for base, (release, _, _) in zip(folders, releases, strict=True)
        ]
    if how.limit is not None:
        note(f"measured on at most {how.limit} rows a part: a quick look, which only large differences fail")
    return found


def claims_to_json(checked: Sequence[CheckedClaim]) -> list[JsonValue]:
    """What became of each claim as data."""
    return [checked_to_json(one) for one in checked]


def show_claims(checked: Sequence[CheckedClaim]) -> None:
    """Print what became of each claim."""
    rows = []
    for one in checked:
        claim, now = one.claim, one.finding.measured
        figures = ("", "") if now is None else (f"{now.after:.4g}", interval(now))
        about = (claim.metric, claim.suite, f"{claim.n:,}", f"{claim.after:.4g}", interval(claim))
        rows.append((f"  {about[0]}", *about[1:], *figures, one.finding.word, one.finding.why))
    columns(rows, ("  metric", "suite", "n", "claimed", "95 %", "measured", "95 %", "verdict", ""))


def show_outcome(checked: Sequence[CheckedClaim]) -> None:
    """Print how many claims hold."""
    count = {state: sum(one.finding.holds is state for one in checked) for state in (True, False, None)}
    parts = [f"{count[True]} of {len(checked)} claims hold"]
    if count[False]:
        parts.append(f"{count[False]} {'does' if count[False] == 1 else 'do'} not")
    if count[None]:
        parts.append(f"{count[None]} cannot be measured here")
    line("; ".join(parts))


class _Benches:
    """The bench for a release. The last one is kept, since patches of a project mostly share it."""

    def __init__(self, judge: str | None, progress: StageProgress) -> None:
        self._judge = judge
        self._progress = progress
        self._last: tuple[tuple[Path, str], Bench] | None = None

    def __call__(self, base: Path, release: VerifiedRelease) -> Bench:
        from patchpm.evaluate.bench import Bench
        from patchpm.evaluate.metrics import JUDGE

        key = (base, release.manifest.prefix.separator)
        if self._last is None or self._last[0] != key:
            self._last = None  # two models at a time may not fit
            made = Bench.open(base, separator=key[1], judge=self._judge or JUDGE, progress=self._progress)
            self._last = (key, made)
        return self._last[1]


def _check(
    release: VerifiedRelease, suites: Sequence[Suite], bench: Callable[[], Bench], limit: int | None
) -> tuple[CheckedClaim, ...]:
    import torch

    from patchpm.evaluate.remeasuring import measure_again

    manifest = release.manifest
    if ANCHOR not in manifest.prefix.anchors:
        why = f"it was measured at {', '.join(manifest.prefix.anchors)}, and this patchpm measures at {ANCHOR}"
        return tuple(CheckedClaim(claim, Unmeasurable(why)) for claim in manifest.claims)
    prefix = torch.tensor(release.matrix.rows(), dtype=torch.float32)
    return measure_again(bench, prefix, manifest.claims, suites, limit=limit)


def _suites(claims: Sequence[Claim], names: tuple[str, ...]) -> list[Suite]:
    """The suites that claims name rows of: others are not even fetched."""
    from patchpm.data.suite import load_suite, suite_names, suite_parts
    from patchpm.evaluate.remeasuring import is_named
    from patchpm.settings import Folders

    return [
        load_suite(name, Folders.of_user().cache)
        for name in names or suite_names()
        if any(is_named(claim, *part) for part in suite_parts(name) for claim in claims)
    ]
