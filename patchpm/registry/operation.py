"""What an operator changes in a registry: new vendors, other keys, and signatures renewed before they expire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from tuf.api.metadata import Targets

from patchpm.errors import TrustError, UsageError
from patchpm.registry.delegations import delegations
from patchpm.registry.draft import load_bins, load_role
from patchpm.registry.edit import Bench, Edit
from patchpm.registry.host import Readable
from patchpm.registry.lookalike import RESERVED, lookalike
from patchpm.registry.roles import RootRoles, root_of, targets_of, vendor_targets
from patchpm.trust.policy import KeySet
from patchpm.trust.tuf_bins import Bin
from patchpm.trust.tuf_metadata import ROOT, TARGETS, TOP_LEVEL, Document
from patchpm.trust.tuf_state import TrustedState


def creation(bench: Bench, top: RootRoles) -> Edit:
    """A new registry without vendors.

    Raises:
        UsageError: `missing-key`.
    """
    root = bench.sign(root_of(top, 1, bench.now + bench.lifetimes.root), [top.root], "1.root.json")
    targets = targets_of({}, 1, bench.now + bench.lifetimes.targets)
    return Edit(root, top, {TARGETS: bench.sign(targets, [top.targets], "1.targets.json")})


def delegation(
    state: TrustedState, host: Readable, bench: Bench, vendor: str, keys: KeySet, *, allow_lookalike: bool = False
) -> Edit | None:
    """Give a vendor their namespace; None where they have it already, with these keys.

    The vendor that is one too many for the lists as they are moves all vendors into bins, or into more of them. Lists
    past half of their life are renewed on this occasion, since the targets keys are at hand.

    Raises:
        UsageError: `lookalike-name` or `missing-key`.
        TrustError: `vendor-exists`.
    """
    load_bins(host, state)
    known = state.vendors()
    if vendor in known:
        if state.vendor_keys(vendor) == keys:
            return None
        raise TrustError(
            "vendor-exists",
            f"the registry has a vendor {vendor} with other keys",
            next="compare the keys with their owner; a vendor's keys are not replaced by adding the vendor again",
        )
    close = lookalike(vendor, {*known, *RESERVED})
    if not allow_lookalike and (close is not None or vendor in RESERVED):
        raise UsageError(
            "lookalike-name",
            f"{vendor} could be taken for {close or 'patchpm itself'}",
            next="choose another name, or register it with --allow-lookalike after you have checked who asks for it",
        )
    bits = max(state.bits, bench.spread(len(known) + 1))
    top, added = state.root_keys(TARGETS), {vendor: keys}
    return Edit(roles=delegations(state, bench, top, bits=bits, added=added, due=_due_targets(bench)), bits=bits)


def rotation(state: TrustedState, host: Readable, bench: Bench, top: RootRoles) -> Edit:
    """The next root, with these keys for the top-level roles, and what these keys must sign anew.

    Raises:
        UsageError: `missing-key`: the old root's keys and the new one's must both be at hand.
    """
    load_bins(host, state)
    version = state.root.version + 1
    root = bench.sign(
        root_of(top, version, bench.now + bench.lifetimes.root),
        [state.root_keys(ROOT), top.root],
        f"{version}.root.json",
    )
    if top.targets == state.root_keys(TARGETS):
        return Edit(root, top)
    return Edit(root, top, delegations(state, bench, top.targets))


def renewal(state: TrustedState, host: Readable, bench: Bench) -> Edit:
    """What is past half of its life and can be signed with these keys; timestamp and snapshot come by themselves."""
    load_bins(host, state)
    top = RootRoles(**{role: state.root_keys(role) for role in TOP_LEVEL})
    root = None
    if _due(state.root.signed.expires, bench.now, bench.lifetimes.root) and _can(bench, top.root):
        version = state.root.version + 1
        made = root_of(top, version, bench.now + bench.lifetimes.root)
        root = bench.sign(made, [top.root], f"{version}.root.json")
    roles: dict[str, Document[Targets]] = {}
    if _can(bench, top.targets):
        roles |= delegations(state, bench, top.targets, due=_due_targets(bench))
    held = {signer.public.id for signer in bench.signers}
    for vendor in state.vendors_of(held):  # of thousands, only those that can be renewed are read
        role = load_role(host, state, vendor)
        keys = state.vendor_keys(vendor)
        if role and _due(role.document.signed.expires, bench.now, bench.lifetimes.vendor) and _can(bench, keys):
            version = role.document.version + 1
            targets = vendor_targets(role.targets, version, bench.now + bench.lifetimes.vendor)
            roles[vendor] = bench.sign(targets, [keys], f"{version}.{vendor}.json")
    return Edit(root, top if root else None, roles, due=_due_bins(state, bench))


def _due_targets(bench: Bench) -> Callable[[datetime], bool]:
    return lambda expires: _due(expires, bench.now, bench.lifetimes.targets)


def _due_bins(state: TrustedState, bench: Bench) -> frozenset[Bin]:
    if state.bins is None:
        return frozenset()
    expiries = {place: state.bins.promises(place).signed.expires for place in state.bins.all()}
    lifetime = bench.lifetimes.snapshot_bin
    return frozenset(place for place, expires in expiries.items() if _due(expires, bench.now, lifetime))


def _due(expires: datetime, now: datetime, lifetime: timedelta) -> bool:
    return expires - now < lifetime / 2


def _can(bench: Bench, keys: KeySet) -> bool:
    return len(keys.keys & {signer.public for signer in bench.signers}) >= keys.threshold
