"""Good and bad trust policies."""

from __future__ import annotations

from typing import Final

from tests.schema.lock_vectors import KEYS

_ED25519, _P256 = KEYS
_ROOT: Final = "sha256:" + "0" * 64
_REGISTRY: Final = f'[[registry]]\nalias = "corp"\nurl = "/srv/patches"\nroot = "{_ROOT}"\nnamespaces = ["acme"]\n'
_VENDOR: Final = f'[[vendor]]\nname = "acme"\nkeys = ["{_ED25519}"]\nthreshold = 1\n'

_GOOD: Final = {
    "smallest": "",
    "everything-filled-in": f"""\
# Whom we trust.
max-norm-ratio = 2.5
base-assurance = "verified"
max-tokens = 128

[[registry]]
alias = "corp"
url = "/srv/patches"
root = "{_ROOT}"
namespaces = ["acme", "labx"]

[[registry]]
alias = "mirror"
url = "file:///mnt/mirror"
root = "sha256:{"1" * 64}"
namespaces = ["*"]

[[vendor]]
name = "acme"
keys = ["{_ED25519}", "{_P256}"]
threshold = 2
domains = ["toxicity", "x-house-rules"]

[[evaluator]]
name = "labx"
keys = ["{_P256}"]
threshold = 1

[[require]]
match = "acme/*"
evaluators = ["labx"]
min-age = "24h"

[[require]]
match = "*/*"

[[deny]]
match = "acme/old-*"
reason = "superseded by acme/toxicity"
""",
    "whole-number-as-ratio": "max-norm-ratio = 1000\n",
}

_BAD: Final = {
    "not-toml": "trust everyone\n",
    "duplicate-key": "max-tokens = 1\nmax-tokens = 2\n",
    "surplus-key": "verify = false\n",
    "surplus-key-in-vendor": _VENDOR + "skip = true\n",
    "ratio-zero": "max-norm-ratio = 0\n",
    "ratio-over-1000": "max-norm-ratio = 1000.5\n",
    "ratio-nan": "max-norm-ratio = nan\n",
    "ratio-infinite": "max-norm-ratio = inf\n",
    "ratio-is-true": "max-norm-ratio = true\n",
    "assurance-none": 'base-assurance = "none"\n',
    "max-tokens-zero": "max-tokens = 0\n",
    "registry-is-a-table": _REGISTRY.replace("[[registry]]", "[registry]"),
    "registry-without-root": _REGISTRY.replace(f'root = "{_ROOT}"\n', ""),
    "registry-without-namespaces": _REGISTRY.replace('["acme"]', "[]"),
    "registry-serves-a-pattern": _REGISTRY.replace('["acme"]', '["ac*"]'),
    "registry-serves-a-tuf-role": _REGISTRY.replace('["acme"]', '["root"]'),
    "registry-alias-is-a-path": _REGISTRY.replace('"corp"', '"../corp"'),
    "registry-url-with-escape": _REGISTRY.replace("/srv/patches", "/srv\\u001b[2K"),
    "root-bare-hex": _REGISTRY.replace("sha256:", ""),
    "vendor-is-a-tuf-role": _VENDOR.replace('"acme"', '"timestamp"'),
    "vendor-upper-case": _VENDOR.replace('"acme"', '"Acme"'),
    "vendor-domain-unknown": _VENDOR + 'domains = ["everything"]\n',
    "keys-none": _VENDOR.replace(f'["{_ED25519}"]', "[]"),
    "key-twice": _VENDOR.replace(f'["{_ED25519}"]', f'["{_ED25519}", "{_ED25519}"]'),
    "key-is-a-path": _VENDOR.replace(_ED25519, "keys/acme.pub"),
    "key-of-31-bytes": _VENDOR.replace(_ED25519, "ed25519:" + "A" * 42 + "=="),
    "key-with-stray-bits": _VENDOR.replace("URo=", "URp="),
    "key-without-padding": _VENDOR.replace("URo=", "URo"),
    "key-of-small-order": _VENDOR.replace(_ED25519, "ed25519:AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    "key-not-reduced": _VENDOR.replace(_ED25519, "ed25519:8P///////////////////////////////////////38="),
    "key-not-on-the-curve": _VENDOR.replace(_ED25519, "ed25519:AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    "p256-key-uncompressed": _VENDOR.replace(
        _ED25519,
        "p256:BGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfU=",
    ),
    "p256-key-not-on-the-curve": _VENDOR.replace(_ED25519, "p256:A" + "g" + "A" * 41 + "B"),
    "threshold-zero": _VENDOR.replace("threshold = 1", "threshold = 0"),
    "threshold-over-keys": _VENDOR.replace("threshold = 1", "threshold = 2"),
    "require-all-by-one-star": '[[require]]\nmatch = "*"\n',
    "min-age-in-weeks": '[[require]]\nmatch = "*/*"\nmin-age = "2w"\n',
    "min-age-negative": '[[require]]\nmatch = "*/*"\nmin-age = "-1d"\n',
    "deny-without-reason": '[[deny]]\nmatch = "acme/*"\n',
    "deny-regular-expression": '[[deny]]\nmatch = "acme/(old|bad)"\nreason = "x"\n',
}

UNSEEN: Final = {
    "not-toml.toml": "no document",
    "duplicate-key.toml": "no TOML: a key stands twice",
    "ratio-nan.toml": "NaN compares with nothing",
    "key-of-small-order.toml": "a key under which one signature fits every message",
    "key-not-reduced.toml": "a coordinate over the field's prime",
    "key-not-on-the-curve.toml": "no point of the curve",
    "p256-key-not-on-the-curve.toml": "no point of the curve",
    "threshold-over-keys.toml": "compares two fields",
}


def good() -> dict[str, bytes]:
    """File name to bytes."""
    return {f"{name}.toml": f"version = 1\n{text}".encode() for name, text in _GOOD.items()}


def bad() -> dict[str, bytes]:
    """File name to bytes; each has one fault."""
    files = {f"{name}.toml": f"version = 1\n{text}".encode() for name, text in _BAD.items()}
    return files | {"empty.toml": b"", "later-version.toml": b"version = 2\n"}
