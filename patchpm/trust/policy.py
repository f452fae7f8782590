"""Whom a user trusts, for what, and how much: values and the questions that are asked of them.

Nothing in a policy switches a check off. Reading and editing its TOML is `policy_toml`; putting the layers of user and
project together is `policy_layers`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from patchpm.errors import TrustError
from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import Assurance
from patchpm.patch.name import PatchName
from patchpm.trust.keys import PublicKey

ANY_VENDOR: Final = "*"
"""The namespace of a registry that serves every vendor whom no other registry serves."""
DEFAULT_MAX_NORM_RATIO: Final = 8.0
"""Longest prefix row, in lengths of the longest row of the base's vocabulary. A check for corruption, not for harm."""


@dataclass(frozen=True, slots=True, order=True)
class NamePattern:
    """Which patches a rule is about: a patch name in which `*` stands for any run of characters of one half."""

    text: str

    def matches(self, name: PatchName) -> bool:
        """Whether the rule is about `name`."""
        pattern = "[a-z0-9-]*".join(re.escape(part) for part in self.text.split("*"))
        return re.fullmatch(pattern, str(name), re.ASCII) is not None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one party, and how many of them must sign."""

    keys: frozenset[PublicKey]
    threshold: int
    """1 to the number of keys."""

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.keys):
            raise TrustError(
                "bad-threshold",
                "a threshold must lie between one and the number of keys",
                why=f"{self.threshold} signatures are asked of {len(self.keys)} different keys",
            )

    def sorted(self) -> tuple[PublicKey, ...]:
        """The keys in a fixed order."""
        return tuple(sorted(self.keys))


@dataclass(frozen=True, slots=True)
class RegistryTrust:
    """A registry, the root it must descend from, and whose patches it may serve."""

    alias: str
    """What the user calls it; locks name registries by this."""
    url: str
    """A folder, or a `file:` address; more kinds come with more hosts."""
    root: Digest
    """Of the bytes of one of its `N.root.json` files."""
    namespaces: tuple[str, ...]
    """Vendors, or `*`; sorted."""


@dataclass(frozen=True, slots=True)
class VendorTrust:
    """A vendor whose keys the user pins, whatever a registry says."""

    name: str
    keys: KeySet
    domains: tuple[str, ...]
    """Domains that this vendor may make patches for; empty for all of them."""


@dataclass(frozen=True, slots=True)
class EvaluatorTrust:
    """Someone whose measurements the user believes."""

    name: str
    keys: KeySet


@dataclass(frozen=True, slots=True)
class Demand:
    """What releases of some patches must bring beyond their vendor's signature."""

    match: NamePattern
    evaluators: tuple[str, ...]
    """Each must have signed an evaluation."""
    min_age: timedelta
    """How long a release must have been published."""


@dataclass(frozen=True, slots=True)
class Denial:
    """Patches that are never accepted."""

    match: NamePattern
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """All that a user has decided. An empty one trusts nobody."""

    registries: tuple[RegistryTrust, ...] = ()
    vendors: tuple[VendorTrust, ...] = ()
    evaluators: tuple[EvaluatorTrust, ...] = ()
    demands: tuple[Demand, ...] = ()
    denials: tuple[Denial, ...] = ()
    max_norm_ratio: float = DEFAULT_MAX_NORM_RATIO
    base_assurance: Assurance = Assurance.CACHED
    """How well the base model's fingerprint must be known."""
    max_tokens: int | None = None
    """Most prefix tokens of a whole patch set; None leaves it to the project."""

    def registry_for(self, vendor: str) -> RegistryTrust | None:
        """The one registry that may serve patches of `vendor`. Where it does not have one, no other is asked."""
        named = next((item for item in self.registries if vendor in item.namespaces), None)
        return named or next((item for item in self.registries if ANY_VENDOR in item.namespaces), None)

    def vendor(self, name: str) -> VendorTrust | None:
        """The pins for a vendor."""
        return next((item for item in self.vendors if item.name == name), None)

    def vendor_keys(self, vendor: str, told: KeySet) -> KeySet:
        """The keys that releases of `vendor` are checked with.

        Args:
            vendor: Whose they are.
            told: What the registry or the lock says they are.

        Raises:
            TrustError: `vendor-key-changed` where the user has pinned other ones.
        """
        pinned = self.vendor(vendor)
        if pinned is None:
            return told
        if pinned.keys.keys != told.keys:
            surplus = ", ".join(str(key) for key in sorted(told.keys ^ pinned.keys.keys))
            raise TrustError(
                "vendor-key-changed",
                f"the keys of {vendor} are not the ones that your policy pins",
                why=f"they differ in {surplus}",
                next=f"ask {vendor} by another way whether they changed keys, then edit the policy yourself",
            )
        return KeySet(pinned.keys.keys, max(pinned.keys.threshold, told.threshold))

    def denial(self, name: PatchName) -> Denial | None:
        """Why `name` is never accepted, or None."""
        return next((item for item in self.denials if item.match.matches(name)), None)

    def required_evaluators(self, name: PatchName) -> tuple[str, ...]:
        """Who must have evaluated a release of `name`, sorted."""
        wanted = {one for item in self.demands if item.match.matches(name) for one in item.evaluators}
        return tuple(sorted(wanted))

    def min_age(self, name: PatchName) -> timedelta:
        """How long a release of `name` must have been published."""
        return max((item.min_age for item in self.demands if item.match.matches(name)), default=timedelta())

    def refusal(self, name: PatchName, published: datetime, now: datetime) -> str | None:
        """Why a release that a registry lists must not be chosen, or None: what can be said before it is fetched."""
        denial = self.denial(name)
        if denial is not None:
            return f"the policy denies {denial.match}: {denial.reason}"
        wait = published + self.min_age(name) - now
        if wait > timedelta():
            hours = -(-wait // timedelta(hours=1))
            return f"the policy wants releases of {name} to be {self.min_age(name)} old; this one will be in {hours} h"
        return None


def key_set(keys: Iterable[PublicKey], threshold: int) -> KeySet:
    """Make a `KeySet`; the same key given twice is one key.

    Raises:
        TrustError: `bad-threshold`.
    """
    return KeySet(frozenset(keys), threshold)
