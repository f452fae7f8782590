"""What a manifest says, as values. Reading and writing it is `patchpm.patch.manifest_json`."""

from __future__ import annotations

from dataclasses import dataclass

from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import BaseModel
from patchpm.patch.name import PatchName
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version

DOMAINS = ("toxicity", "bias", "harmfulness", "privacy", "backdoor")
"""The risks a patch may fix; the list grows with the schema version. `x-...` names private ones."""
ANCHORS = ("system-start", "text-start")
"""Where a prefix may stand: start of the system text, or start of a raw text after its BOS (DESIGN section 8)."""
DTYPES = {"F32": 4, "F16": 2, "BF16": 2}
"""Number types of a prefix, as safetensors names them, with their size in bytes."""
MAX_TOKENS = 256
"""Longest prefix of one release, in tokens."""


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that is known before it is read."""

    size: int
    """In bytes."""
    digest: Digest


@dataclass(frozen=True, slots=True)
class Prefix:
    """The learned matrix of a release of kind `prefix`."""

    file: FileRef
    tokens: int
    """Rows of the matrix, 1 to 256."""
    dtype: str
    """One of `DTYPES`."""
    anchors: tuple[str, ...]
    """Where it was trained and measured; applying it elsewhere is refused."""
    separator: str
    """Text between the last prefix row and what follows it; mostly empty."""


@dataclass(frozen=True, slots=True)
class Compose:
    """How a release gets on with other patches. Every tuple is sorted by name."""

    requires: tuple[tuple[PatchName, Range], ...] = ()
    conflicts: tuple[tuple[PatchName, Range], ...] = ()
    before: tuple[PatchName, ...] = ()
    """Patches that this one must stand before, if they are present."""
    after: tuple[PatchName, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingData:
    """One data source a prefix was trained on."""

    name: str
    licence: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Training:
    """How the prefix came to be: the vendor's word, except for the digests."""

    method: str
    recipe: Digest
    teacher: str
    seed: int
    code: str
    """Version of the code that trained it: `patchpm 0.1.0`."""
    data: tuple[TrainingData, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A measured figure that anyone can measure again."""

    metric: str
    """`refusal-rate`, `over-refusal-rate`, `perplexity`, ..."""
    suite: str
    """On what: the name of the held-out set."""
    n: int
    """Prompts (or tokens, for perplexity) behind the figure."""
    before: float
    """Without the patch."""
    after: float
    """With it."""
    low: float
    """Lower end of the 95 % interval of `after`."""
    high: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a release says of itself. Everything here is signed."""

    kind: str
    """`prefix`; later kinds are refused by readers that do not know them."""
    name: PatchName
    version: Version
    domain: str
    summary: str
    """One line for people."""
    licence: str
    """SPDX expression."""
    base: BaseModel
    prefix: Prefix
    compose: Compose
    training: Training
    claims: tuple[Claim, ...]
    links: tuple[tuple[str, str], ...]
    """Label and https address, sorted by label."""
