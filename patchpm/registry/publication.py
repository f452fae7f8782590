"""What a vendor changes in a registry: a new release, and a version withdrawn or brought back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from tuf.api.metadata import TargetFile, Targets

from patchpm.errors import CannotError, IntegrityError, UsageError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef
from patchpm.patch.name import PatchName
from patchpm.patch.release import ReleaseFiles
from patchpm.patch.version import Version
from patchpm.registry.draft import load_bin, load_role
from patchpm.registry.edit import Bench, Edit
from patchpm.registry.entry_json import indexed_base, read_entry, to_target
from patchpm.registry.fetching import file_path
from patchpm.registry.host import Readable
from patchpm.registry.index import ReleaseEntry
from patchpm.registry.roles import vendor_targets
from patchpm.trust.policy import Policy
from patchpm.trust.release import VerifiedRelease, verify_release
from patchpm.trust.tuf_metadata import Document
from patchpm.trust.tuf_state import TrustedState

TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"


def entry_of(release: VerifiedRelease, published: datetime, registry: str) -> ReleaseEntry:
    """What the index says of a release."""
    manifest, files = release.manifest, release.files
    return ReleaseEntry(
        name=manifest.name,
        version=manifest.version,
        domain=manifest.domain,
        summary=manifest.summary,
        base=indexed_base(manifest.base),
        tokens=manifest.prefix.tokens,
        anchors=manifest.prefix.anchors,
        compose=manifest.compose,
        manifest=FileRef(len(files.manifest), Digest.of(files.manifest)),
        prefix=FileRef(len(files.prefix), Digest.of(files.prefix)),
        attestations=FileRef(len(files.attestations), Digest.of(files.attestations)),
        published=published.strftime(TIME_FORMAT),
        yanked=None,
        registry=registry,
    )


def publication(state: TrustedState, host: Readable, bench: Bench, vendor: str, files: ReleaseFiles) -> Edit | None:
    """Add a release; None where these very bytes are there already.

    Raises:
        IntegrityError: as `verify_release`.
        CannotError: `unknown-vendor`, `already-published` or `same-version`.
        UsageError: `missing-key`.
    """
    load_bin(host, state, vendor)
    keys = state.vendor_keys(vendor)
    verdict = verify_release(files, keys=keys.keys, threshold=keys.threshold, policy=Policy(), now=bench.now)
    entry = entry_of(verdict.require(), bench.now, "")
    targets, version = _listed(state, host, vendor)
    if not check_new(entry, targets):
        return None
    targets[entry.path] = _target(entry)
    return Edit(
        roles={vendor: _vendor_role(state, bench, vendor, targets, version + 1)},
        files=tuple((file_path(entry.path, name), data) for name, data in files.items()),
    )


def withdrawal(
    state: TrustedState, host: Readable, bench: Bench, name: PatchName, version: Version, reason: str | None
) -> Edit | None:
    """Yank a version for all bases, or bring it back where `reason` is None; None where that changes nothing.

    Raises:
        CannotError: `unknown-vendor` or `unknown-release`.
        UsageError: `missing-key`, or `invalid-entry` for a reason that is too long or not printable.
    """
    return _marked(state, host, bench, name, version, lambda entry: replace(entry, yanked=reason))


def deprecation(
    state: TrustedState, host: Readable, bench: Bench, name: PatchName, version: Version | None, advice: str | None
) -> Edit | None:
    """Advise against a version for all bases, or against all versions; None where that changes nothing.

    Raises:
        CannotError: `unknown-vendor` or `unknown-release`.
        UsageError: `missing-key`, or `invalid-entry` for an advice that is too long or not printable.
    """
    return _marked(state, host, bench, name, version, lambda entry: replace(entry, deprecated=advice))


def _marked(
    state: TrustedState,
    host: Readable,
    bench: Bench,
    name: PatchName,
    version: Version | None,
    mark: Callable[[ReleaseEntry], ReleaseEntry],
) -> Edit | None:
    targets, role_version = _listed(state, host, name.vendor)
    below = f"{name}/" if version is None else f"{name}/{version}/"
    paths = [path for path in targets if path.startswith(below)]
    if not paths:
        raise CannotError("unknown-release", f"the registry has no {name}{'' if version is None else f' {version}'}")
    changed = dict(targets)
    for path in paths:
        changed[path] = _target(mark(read_entry(path, targets[path], "", f"{role_version}.{name.vendor}.json")))
    if changed == targets:
        return None
    return Edit(roles={name.vendor: _vendor_role(state, bench, name.vendor, changed, role_version + 1)})


def _target(entry: ReleaseEntry) -> TargetFile:
    target = to_target(entry)
    try:
        again = read_entry(entry.path, target, entry.registry, "the index")
    except IntegrityError as error:
        raise UsageError("invalid-entry", "every client would refuse this entry of the index", why=error.why) from None
    if again != entry:
        raise UsageError("invalid-entry", f"{entry.path} is not in normal form")
    return target


def _listed(state: TrustedState, host: Readable, vendor: str) -> tuple[dict[str, TargetFile], int]:
    role = load_role(host, state, vendor)
    return ({}, 0) if role is None else (dict(role.targets), role.document.version)


def check_new(entry: ReleaseEntry, targets: Mapping[str, TargetFile]) -> bool:
    """Whether a release is not listed yet.

    Raises:
        CannotError: `same-version` beside one that differs in build metadata only, or `already-published` with other
            files.
    """
    for path in targets:
        if not path.startswith(f"{entry.name}/"):
            continue
        known = Version.parse(path.split("/")[2])
        if known != entry.version and known.precedence == entry.version.precedence:
            raise CannotError(
                "same-version",
                f"{entry.name} {known} is published, and {entry.version} is the same version to every requirement",
                why="they differ in build metadata only",
                next="raise the version",
            )
    old = targets.get(entry.path)
    if old is None:
        return True
    before = read_entry(entry.path, old, "", "the registry")
    if (before.manifest, before.prefix, before.attestations) != (entry.manifest, entry.prefix, entry.attestations):
        raise CannotError(
            "already-published",
            f"{entry.name} {entry.version} is published for {entry.base.name} with other bytes",
            why="a published release never changes, since locks hold its digests",
            next="raise the version",
        )
    return False


def _vendor_role(
    state: TrustedState, bench: Bench, vendor: str, targets: Mapping[str, TargetFile], version: int
) -> Document[Targets]:
    made = vendor_targets(targets, version, bench.now + bench.lifetimes.vendor)
    return bench.sign(made, [state.vendor_keys(vendor)], f"{version}.{vendor}.json")
