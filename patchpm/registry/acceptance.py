"""What an operator checks of a role that a vendor proposes, before it is sealed with the registry's own keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from tuf.api.metadata import TargetFile

from patchpm.errors import IntegrityError, TrustError
from patchpm.registry.draft import load_role
from patchpm.registry.edit import Bench, Edit
from patchpm.registry.entry_json import read_entry
from patchpm.registry.fetching import read_release
from patchpm.registry.host import Host
from patchpm.registry.index import ReleaseEntry
from patchpm.registry.publication import check_new, entry_of
from patchpm.trust.policy import Policy
from patchpm.trust.release import verify_release
from patchpm.trust.tuf_state import TrustedState, VendorRole

_OLDEST: Final = timedelta(days=3)
_AHEAD: Final = timedelta(hours=1)


def acceptance(state: TrustedState, host: Host, bench: Bench, vendor: str, data: bytes) -> Edit:
    """Take a vendor's next role.

    It must be signed by the vendor, and say the same as before of all that was listed, but for what is yanked or
    deprecated. Each new release must be there, verify just as at an installer's, and be what the index says.

    Raises:
        TrustError: as for any role of a vendor; `withdrawn-release`, `changed-release` or `wrong-date`.
        IntegrityError: as `verify_release`, `missing-file`, or `wrong-entry`.
        CannotError: `unknown-vendor`, `already-published` or `same-version`.
    """
    role = load_role(host, state, vendor)
    number = 0 if role is None else role.document.version
    old: Mapping[str, TargetFile] = {} if role is None else role.targets
    new = state.proposed_role(vendor, number + 1, data)
    for path in old:
        if path not in new.targets:
            raise TrustError(
                "withdrawn-release",
                f"{new.document.name} no longer lists {path}",
                why="a published release stays listed, since locks name it",
                next="yank it instead",
            )
    known = dict(old)
    for path, target in new.targets.items():
        entry = read_entry(path, target, "", new.document.name)
        if path in old:
            _check_kept(read_entry(path, old[path], "", new.document.name), entry)
        elif check_new(entry, known):
            _check_release(state, host, bench, entry, new)
            known[path] = target
    return Edit(roles={vendor: new.document})


def _check_kept(before: ReleaseEntry, after: ReleaseEntry) -> None:
    if replace(before, yanked=None, deprecated=None) != replace(after, yanked=None, deprecated=None):
        raise TrustError(
            "changed-release",
            f"the index says something else of {after.path} than before",
            why="a published release may be yanked or deprecated, and else stays what it is",
            next="publish another version",
        )


def _check_release(state: TrustedState, host: Host, bench: Bench, entry: ReleaseEntry, role: VendorRole) -> None:
    keys = state.vendor_keys(role.vendor)
    files = read_release(host, entry)
    release = verify_release(files, keys=keys.keys, threshold=keys.threshold, policy=Policy(), now=bench.now).require()
    published = datetime.fromisoformat(entry.published).astimezone(UTC)
    if not bench.now - _OLDEST <= published <= bench.now + _AHEAD:
        raise TrustError(
            "wrong-date",
            f"{entry.path} says that it was published at {entry.published}",
            why="users who wait until a release has some age go by this date",
            next="publish it again",
        )
    true = replace(entry_of(release, published, ""), yanked=entry.yanked, deprecated=entry.deprecated)
    if true != entry:
        raise IntegrityError(
            "wrong-entry",
            f"the index says something else of {entry.path} than its manifest",
            next="publish it again with `patchpm publish`",
        )
