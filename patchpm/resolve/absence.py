"""Why no candidate of a patch meets a requirement: it is unknown, is for other bases, or may not be chosen."""

from __future__ import annotations

from collections.abc import Sequence

from patchpm.errors import ResolutionError
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from patchpm.resolve.candidates import Candidates, Pool, Ranges, Rejection
from patchpm.resolve.problem import RootRequirement
from patchpm.resolve.words import are, joined, listed, wanted

_MAX_REASONS = 4


def absent_root(pool: Pool, root: RootRequirement) -> ResolutionError | None:
    """The error for a requirement of the user that nothing can meet, whatever else is asked for, or None."""
    found = pool[root.name]
    ranges = (root.range,)
    if not found.wished(ranges).is_empty:
        return None
    words = wanted(root.name, ranges)
    asked = f"{root.origin} asks for {words}"
    if not found.is_known:
        return ResolutionError(
            "unknown-patch",
            f"there is no patch named {root.name}",
            why=f"{asked}, and no registry in use lists it",
            next=_did_you_mean(root.name, pool.index.names()),
        )
    refused = _refused(found, ranges)
    reason = f"{asked}; {_reasons(found, ranges)}"
    labels = sorted({each.missing for each in refused if each.missing is not None})
    if refused and all(each.missing is not None for each in refused):
        bases = joined(sorted({base for each in refused for base in each.other_bases}), "or")
        what = f"there is no release of {words} for {joined(labels)}, but there is one for {bases}"
        otherwise = f"use {bases} as the base, or ask {root.name.vendor} for a release"
        return ResolutionError("no-release-for-base", what, why=reason, next=_nearest(found, ranges) or otherwise)
    return ResolutionError(
        "unsatisfiable", f"no usable version meets {words}", why=reason, next=_nearest(found, ranges)
    )


def absence_in_words(found: Candidates, ranges: Ranges) -> str:
    """The same as the second half of a sentence about who requires it."""
    return _reasons(found, ranges) if found.is_known else "no registry in use lists it"


def _refused(found: Candidates, ranges: Ranges) -> list[Rejection]:
    return [each for each in found.rejected if all(one.contains(each.version) for one in ranges)]


def _prereleases(found: Candidates, ranges: Ranges) -> list[Version]:
    accepted = found.within(ranges, prereleases=True)
    return [version for index, version in enumerate(found.versions) if index in accepted]


def _reasons(found: Candidates, ranges: Ranges) -> str:
    refused = _refused(found, ranges)
    if refused:
        return _grouped(found, refused)
    prereleases = _prereleases(found, ranges)
    if prereleases:
        kind = "a pre-release" if len(prereleases) == 1 else "pre-releases"
        return f"only {kind} would do, {listed(prereleases)}, and must be asked for by number"
    known = sorted([*found.versions, *(each.version for each in found.rejected)])
    return f"there {are(known)} only {listed(known)}"


def _grouped(found: Candidates, refused: list[Rejection]) -> str:
    by_reason: dict[str, list[Version]] = {}
    for each in refused:
        suffix = f", only for {joined(each.other_bases)}" if each.other_bases else ""
        by_reason.setdefault(each.reason + suffix, []).append(each.version)
    parts = [f"{found.name} {listed(versions)} {are(versions)} {reason}" for reason, versions in by_reason.items()]
    if len(parts) > _MAX_REASONS:
        newest = parts[1 - _MAX_REASONS :]
        parts = [f"{len(refused)} versions may not be chosen", *newest]
    return "; ".join(parts)


def _nearest(found: Candidates, ranges: Ranges) -> str | None:
    """Ask for what there is: a pre-release of the wanted range, else the newest version."""
    prereleases = _prereleases(found, ranges)
    finals = [version for version in found.versions if not version.is_prerelease]
    if prereleases:
        return f"ask for {found.name}@{prereleases[-1]}"
    if finals:
        return f"ask for {found.name}@{finals[-1].major}.{finals[-1].minor}, which gives {finals[-1]}"
    return None


def _did_you_mean(name: PatchName, names: Sequence[PatchName]) -> str | None:
    # Only a misspelt name needs it.
    import difflib

    same = [each for each in names if each.name == name.name]
    texts = [str(each) for each in same] or difflib.get_close_matches(str(name), map(str, names), n=3, cutoff=0.7)
    return f"did you mean {joined(texts[:3], 'or')}?" if texts else "`patchpm search` finds patches by name and domain"
