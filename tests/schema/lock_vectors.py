"""Good and bad locks. `content` is right in every bad one but those that are about it."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any, Final

from patchpm.patch.fingerprint import Fingerprint
from patchpm.patch.manifest import FileRef
from patchpm.patch.name import PatchName
from patchpm.patch.patch_set import set_digest
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from patchpm.project.lock import Composition, Lock, LockedBase, LockedRegistry, LockedRelease
from patchpm.project.lock_toml import write_lock
from tests.builders import digest, fingerprint
from tests.schema.edits import ABSENT, Path, put, toml_text, with_content

KEYS: Final = (
    "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    "p256:A2sX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW",
)
"""The first public key of RFC 8032 section 7.1, and the generator of P-256 compressed: good keys, nobody's."""


def lock() -> Lock:
    """A lock of two bases and two patches."""
    bases = (LockedBase("small", fingerprint("small")), LockedBase("tiny.q4", _quantised()))
    core = [_release("acme/core", "1.2.3-rc.1+b.7", base, ()) for base in bases]
    toxicity = [_release("acme/toxicity", "1.2.0", base, ("acme/core >=1.2.3-rc.1 <2 || 3.x",)) for base in bases]
    return Lock(
        requirements=digest("requirements"),
        bases=bases,
        registries=(LockedRegistry("builtin", 1, 4, 3, 2), LockedRegistry("corp", 3, 977, 512, 4)),
        releases=(*core, *toxicity),
        compositions=tuple(_composition(bases[i].label, (core[i], toxicity[i])) for i in range(2)),
    )


def good() -> dict[str, bytes]:
    """File name to bytes. All but those called `loose-` are as our writer writes them."""
    text = write_lock(lock())
    loose = "# reviewed\r\n\r\n" + text.replace(" = ", "=").replace("\n", "  # fine\r\n")
    other_order = dict(reversed(tomllib.loads(text).items()))
    files = {
        "smallest.toml": write_lock(Lock(digest("none"), (), (), (), ())),
        "two-bases.toml": text,
        "one-base.toml": write_lock(_of_one_base(lock())),
        "from-the-hub.toml": write_lock(_pinned(_of_one_base(lock()))),
        "loose-comments-and-line-ends.toml": loose,
        "loose-inline-tables.toml": toml_text(other_order),
    }
    return {name: text.encode() for name, text in files.items()}


def bad() -> dict[str, bytes]:
    """File name to bytes; each differs from a good lock in one thing."""
    value = tomllib.loads(write_lock(_of_one_base(lock())))
    text = write_lock(_of_one_base(lock()))
    files = {f"{name}.toml": with_content(toml_text(put(value, path, new))) for name, (path, new) in _EDITS.items()}
    altered = text.replace("tokens = 3", "tokens = 4", 1)
    files |= {
        "empty.toml": "",
        "not-toml.toml": "version: 1\n",
        "truncated.toml": text[:-20],
        "duplicate-key.toml": text.replace("revision = 0\n", "revision = 0\nrevision = 0\n"),
        "duplicate-key-in-release.toml": text.replace("threshold = 1\n", "threshold = 1\nthreshold = 2\n", 1),
        "content-of-another-lock.toml": altered,
        "content-missing.toml": "".join(line for line in text.splitlines(True) if not line.startswith("content")),
        "release-left-out.toml": text.replace(_block(text, "release"), "", 1),
        "merge-conflict.toml": f"<<<<<<< ours\n{text}=======\n{altered}>>>>>>> theirs\n",
        "tokens-are-a-date.toml": text.replace("tokens = 3", "tokens = 2026-11-24", 1),
        "tokens-are-nan.toml": text.replace("tokens = 3", "tokens = nan", 1),
        "tokens-written-3.0.toml": with_content(text.replace("tokens = 3", "tokens = 3.0", 1)),
    }
    return {name: text.encode() for name, text in files.items()}


def _release(name: str, version: str, base: LockedBase, requires: tuple[str, ...]) -> LockedRelease:
    pairs = [text.split(" ", 1) for text in requires]
    return LockedRelease(
        name=PatchName.parse(name),
        version=Version.parse(version),
        base=base.label,
        short=digest(f"{base.label} original").hex[:12],
        registry="builtin",
        domain="toxicity",
        tokens=3,
        manifest=FileRef(1700, digest(f"{name} {base.label} manifest")),
        prefix=FileRef(184, digest(f"{name} {base.label} prefix")),
        attestations=FileRef(900, digest(f"{name} {base.label} attestations")),
        threshold=1,
        signers=KEYS,
        requires=tuple((PatchName.parse(one), Range.parse(wanted)) for one, wanted in pairs),
    )


def _composition(base: str, releases: tuple[LockedRelease, ...]) -> Composition:
    members = [(item.name, item.version, item.prefix.digest) for item in releases]
    order = tuple(item.name for item in releases)
    return Composition(base, "system-start", order, 3 * len(order), set_digest("system-start", members))


def _quantised() -> Fingerprint:
    return replace(fingerprint("tiny q4"), bf16=None, tokenizer=None, template=None)


def _pinned(whole: Lock) -> Lock:
    return replace(whole, releases=tuple(replace(item, commit="0123456789" * 4) for item in whole.releases))


def _of_one_base(whole: Lock) -> Lock:
    label = whole.bases[0].label
    return replace(
        whole,
        bases=whole.bases[:1],
        registries=whole.registries[:1],
        releases=tuple(item for item in whole.releases if item.base == label),
        compositions=whole.compositions[:1],
    )


def _block(text: str, table: str) -> str:
    start = text.index(f"[[{table}]]")
    return text[start : text.index("[[", start + 2)]


_FIRST: Final = ("release", 0)
_EDITS: Final[dict[str, tuple[Path, Any]]] = {
    "later-version": (("version",), 2),
    "later-revision": (("revision",), 1),
    "version-is-true": (("version",), True),
    "surplus-field": (("surprise",), 1),
    "surplus-table": (("package",), [{"name": "acme/toxicity"}]),
    "surplus-field-in-release": ((*_FIRST, "url"), "https://example.org/"),
    "requirements-missing": (("requirements",), ABSENT),
    "release-is-a-table": (("release",), {}),
    "base-without-tensors": (("base", 0, "tensors"), ABSENT),
    "base-label-with-slash": (("base", 0, "label"), "../small"),
    "base-width-zero": (("base", 0, "hidden-size"), 0),
    "registry-version-zero": (("registry", 0, "timestamp"), 0),
    "registry-version-beyond-2-to-31": (("registry", 0, "timestamp"), 2**31 + 1),
    "registry-alias-is-a-host": (("registry", 0, "alias"), "registry.example.org"),
    "registry-role-missing": (("registry", 0, "snapshot"), ABSENT),
    "name-without-vendor": ((*_FIRST, "name"), "core"),
    "name-upper-case": ((*_FIRST, "name"), "acme/Core"),
    "version-not-semver": ((*_FIRST, "version"), "1.2"),
    "short-upper-case": ((*_FIRST, "short"), "0123456789AB"),
    "short-of-11-digits": ((*_FIRST, "short"), "0123456789a"),
    "domain-unknown": ((*_FIRST, "domain"), "everything"),
    "prefix-of-no-rows": ((*_FIRST, "tokens"), 0),
    "prefix-of-257-rows": ((*_FIRST, "tokens"), 257),
    "prefix-over-8-mib": ((*_FIRST, "prefix", "size"), 8 * 2**20 + 1),
    "attestations-over-1-mib": ((*_FIRST, "attestations", "size"), 2**20 + 1),
    "manifest-without-digest": ((*_FIRST, "manifest", "sha256"), ABSENT),
    "digest-upper-case": ((*_FIRST, "manifest", "sha256"), "sha256:" + "A" * 64),
    "threshold-zero": ((*_FIRST, "threshold"), 0),
    "signer-is-a-key-id": ((*_FIRST, "signers"), ["a" * 64]),
    "signer-of-unknown-scheme": ((*_FIRST, "signers"), ["rsa:" + "A" * 44]),
    "requires-without-range": ((*_FIRST, "requires"), ["acme/core"]),
    "requires-bad-range": ((*_FIRST, "requires"), ["acme/core newest"]),
    "requires-number-after-x": ((*_FIRST, "requires"), ["acme/core 1.x.3"]),
    "requires-with-at": ((*_FIRST, "requires"), ["acme/core@^1"]),
    "anchor-unknown": (("composition", 0, "anchor"), "user-start"),
    "order-bad-name": (("composition", 0, "order"), ["acme"]),
    "composition-over-4096-tokens": (("composition", 0, "tokens"), 4097),
    "composition-without-digest": (("composition", 0, "digest"), ABSENT),
}

UNSEEN: Final = {
    "not-toml.toml": "no document",
    "truncated.toml": "no document",
    "duplicate-key.toml": "no TOML: a key stands twice",
    "duplicate-key-in-release.toml": "no TOML: a key stands twice",
    "merge-conflict.toml": "no TOML: git's conflict markers",
    "content-of-another-lock.toml": "`content` does not fit the rest",
    "release-left-out.toml": "`content` does not fit the rest",
    "tokens-written-3.0.toml": "an integer written as a float",
    "requires-number-after-x.toml": "a number after an x in a range",
}
