"""Where the vendors of a large registry stand: in bins, by the hash of their name.

A registry of few vendors is flat: `targets.json` delegates to all of them, `snapshot.json` promises all their roles. In
a larger one both lists are cut into 2, 4, 8 ... bins by the first bits of sha256(vendor), so that a client reads the
bin of the vendors that it is asked for, and a publisher writes one. For bin 2a of 64:

- `_snapshot-6-2a` promises the roles of its vendors, and `_targets-6-2a`. It is signed by the keys of snapshot and
  promised by `snapshot.json`, which lists every bin and beside them `targets.json` only.
- `_targets-6-2a` delegates to its vendors. It is signed by the keys of targets.

No vendor can be called so: their names start with a letter or a digit. The signed field `bin` says which bin a file is,
so that none can stand in for another one, or for the whole.

What bounds the age of a bin: its bytes are promised by what a fresh timestamp promises, so a mirror cannot show an old
bin beside a new one, and an old registry only until its timestamp expires. Whoever stole the online keys can promise
an old `_targets` bin to a client that has never seen a newer one, until that bin expires; as with a vendor's role. An
old `_snapshot` bin they could sign anew, so its expiry bounds little and may be late: no bin must be signed weekly.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from tuf.api.metadata import Snapshot

from patchpm.patch.name import RESERVED_VENDORS, is_segment
from patchpm.trust.tuf_metadata import SNAPSHOT, TARGETS, Document, malformed

MAX_BITS: Final = 12
"""Most bits of the hash that a registry may use: 4,096 bins."""
_FILE: Final = re.compile(r"_snapshot-([1-9]|1[0-2])-[0-9a-f]{1,3}\.json", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Bin:
    """One of 2**`bits` bins. The only one of no bits is the whole of a flat registry."""

    bits: int
    number: int

    @classmethod
    def of(cls, vendor: str, bits: int) -> Bin:
        """The bin of a vendor."""
        return cls(bits, int.from_bytes(hashlib.sha256(vendor.encode()).digest()[:4], "big") >> (32 - bits))

    @property
    def label(self) -> str:
        """What tells it from all others: `6-2a`."""
        return f"{self.bits}-{self.number:0{(self.bits + 3) // 4}x}"

    @property
    def snapshot(self) -> str:
        """The role that promises what its vendors have published."""
        return f"_{SNAPSHOT}-{self.label}"

    @property
    def targets(self) -> str:
        """The role that delegates to its vendors."""
        return f"_{TARGETS}-{self.label}"

    def holds(self, vendor: str) -> bool:
        """Whether a name is that of a vendor, and this is the vendor's bin."""
        return is_segment(vendor) and vendor not in RESERVED_VENDORS and Bin.of(vendor, self.bits) == self

    def lists(self, file: str) -> bool:
        """Whether a file belongs among its promises."""
        return file == f"{self.targets}.json" or (file.endswith(".json") and self.holds(file.removesuffix(".json")))

    def wider(self) -> tuple[Bin, ...]:
        """The bins that its vendors stood in while the registry was smaller, from the next one to the whole."""
        return tuple(Bin(bits, self.number >> (self.bits - bits)) for bits in range(self.bits - 1, -1, -1))


WHOLE: Final = Bin(0, 0)
"""What a flat registry is in place of bins."""


@lru_cache(maxsize=4)
def all_bins(bits: int) -> tuple[Bin, ...]:
    """Every bin, in order; none for a flat registry."""
    return tuple(Bin(bits, number) for number in range(2**bits)) if bits else ()


def bits_of(snapshot: Document[Snapshot]) -> int:
    """How many bits of the hash the bins of a registry are made by, or 0 for a flat one.

    Raises:
        IntegrityError: `malformed-metadata` where it is neither flat nor lists all bins and nothing else.
    """
    files = snapshot.signed.meta
    if not any(file.startswith("_") for file in files):
        return 0
    bits = next((int(found[1]) for found in map(_FILE.fullmatch, files) if found), 0)
    if set(files) != {f"{TARGETS}.json", *(f"{one.snapshot}.json" for one in all_bins(bits))}:
        raise malformed(snapshot.name, "it must list targets.json and every bin once, or no bin")
    return bits
