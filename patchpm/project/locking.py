"""From requirements to a lock: resolve for the bases of the project, and write down exactly what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from patchpm.errors import ResolutionError
from patchpm.patch.name import PatchName
from patchpm.patch.patch_set import set_digest
from patchpm.patch.version import Version
from patchpm.project.lock import Composition, Lock, LockedBase, LockedRegistry, LockedRelease
from patchpm.project.project_file import ProjectFile
from patchpm.registry.index import Index, ReleaseEntry
from patchpm.resolve.problem import RootRequirement, Target
from patchpm.resolve.resolver import resolve
from patchpm.trust.policy import KeySet, Policy

if TYPE_CHECKING:
    from patchpm.trust.tuf_floor import Versions


class Registries(Index, Protocol):
    """The registries of the policy, refreshed and verified."""

    def vendor_keys(self, vendor: str) -> KeySet:
        """The keys that the vendor's registry delegates to."""

    def pins(self, entries: Sequence[ReleaseEntry]) -> Mapping[str, str]:
        """What `LockedRelease.commit` is to be, by path, for those releases that have one."""

    def versions(self, alias: str) -> Versions:
        """The versions of one registry's metadata."""


def make_lock(
    project: ProjectFile,
    targets: Sequence[Target],
    registries: Registries,
    policy: Policy,
    now: datetime,
    *,
    keep: Mapping[PatchName, Version],
    before: Sequence[LockedRelease] = (),
) -> Lock:
    """Resolve the requirements of a project.

    Args:
        project: What is wanted.
        targets: The bases, measured.
        registries: Where to look.
        policy: What may be chosen.
        now: The time, for minimum ages.
        keep: Versions to stay with while they fit: those of the lock that was there.
        before: Its releases. What they say of commits stays, as long as the release is the same.

    Raises:
        ResolutionError: With a proof in words; see `patchpm.resolve.resolver`.
        TrustError: `vendor-key-changed`.
    """
    roots = [RootRequirement(name, wanted, project.origin(name)) for name, wanted in project.patches.items()]
    budget = project.max_tokens if policy.max_tokens is None else min(project.max_tokens, policy.max_tokens)

    def refusal(entry: ReleaseEntry) -> str | None:
        if project.anchor not in entry.anchors:
            return f"it was made for the anchor {' or '.join(entry.anchors)}, and the project uses {project.anchor}"
        vendor = policy.vendor(entry.name.vendor)
        if vendor is not None and vendor.domains and entry.domain not in vendor.domains:
            return (
                f"the policy lets {vendor.name} make patches for {', '.join(vendor.domains)} only, not {entry.domain}"
            )
        return policy.refusal(entry.name, datetime.fromisoformat(entry.published), now)

    try:
        resolution = resolve(roots, registries, targets, locked=keep, max_tokens=budget, admit=refusal)
    except ResolutionError as error:
        if error.code == "token-budget" and budget < project.max_tokens:
            error.next = f"leave out a patch: your policy allows at most {budget} prefix tokens in a set"
        raise
    releases, compositions = [], []
    chosen = [entry for target in targets for entry in resolution.sets[target.label].releases]
    known = {(item.path, item.manifest.digest): item.commit for item in before if item.commit is not None}
    pins = {entry.path: commit for entry in chosen if (commit := known.get((entry.path, entry.manifest.digest)))}
    pins |= registries.pins([entry for entry in chosen if entry.path not in pins])
    for target in targets:
        entries = resolution.sets[target.label].releases
        releases += [_locked(entry, target, registries, policy, pins.get(entry.path)) for entry in entries]
        compositions.append(_composition(project.anchor, target, entries))
    return Lock(
        requirements=project.digest,
        bases=tuple(LockedBase(target.label, target.fingerprint) for target in targets),
        registries=tuple(
            LockedRegistry(alias, seen.root, seen.timestamp, seen.snapshot, seen.targets)
            for alias in sorted({release.registry for release in releases})
            for seen in [registries.versions(alias)]
        ),
        releases=tuple(sorted(releases, key=lambda item: (item.name, item.base))),
        compositions=tuple(compositions),
    )


def _locked(
    entry: ReleaseEntry, target: Target, registries: Registries, policy: Policy, commit: str | None
) -> LockedRelease:
    keys = policy.vendor_keys(entry.name.vendor, registries.vendor_keys(entry.name.vendor))
    return LockedRelease(
        name=entry.name,
        version=entry.version,
        base=target.label,
        short=entry.base.short,
        registry=entry.registry,
        domain=entry.domain,
        tokens=entry.tokens,
        manifest=entry.manifest,
        prefix=entry.prefix,
        attestations=entry.attestations,
        threshold=keys.threshold,
        signers=tuple(str(key) for key in keys.sorted()),
        requires=entry.compose.requires,
        commit=commit,
    )


def _composition(anchor: str, target: Target, entries: Sequence[ReleaseEntry]) -> Composition:
    members = [(entry.name, entry.version, entry.prefix.digest) for entry in entries]
    return Composition(
        base=target.label,
        anchor=anchor,
        order=tuple(entry.name for entry in entries),
        tokens=sum(entry.tokens for entry in entries),
        digest=set_digest(anchor, members),
    )
