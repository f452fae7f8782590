"""Good and bad files of tenants."""

from __future__ import annotations

from typing import Final

_KEY: Final = "sha256:" + "0" * 64
_OTHER: Final = "sha256:" + "1" * 64
_ANN: Final = f'[[tenant]]\nname = "ann"\nkeys = ["{_KEY}"]\nproject = "projects/ann"\n'
_BOB: Final = f'[[tenant]]\nname = "bob"\nkeys = ["{_OTHER}"]\npatches = false\n'

_GOOD: Final = {
    "smallest": _BOB,
    "everything-filled-in": f"""\
# Who may ask.
[[tenant]]
name = "ann"
keys = ["{_KEY}", "{_OTHER}"]   # the old one until March
patches = true
project = "../projects/ann"
base = "small.q4"

[[tenant]]
name = "bob-2"
keys = ["sha256:{"2" * 64}"]
patches = false
""",
    "inline-tables": f'tenant = [{{ name = "ann", keys = ["{_KEY}"], project = "/srv/ann" }}]\n',
}

_BAD: Final = {
    "empty": "",
    "not-toml": "tenant: ann\n",
    "duplicate-key": _ANN + 'project = "projects/bob"\n',
    "no-tenant": "tenant = []\n",
    "tenant-is-a-table": _ANN.replace("[[tenant]]", "[tenant]"),
    "surplus-key": "open = true\n" + _ANN,
    "surplus-key-in-tenant": _ANN + "rate = 3\n",
    "name-missing": _ANN.replace('name = "ann"\n', ""),
    "name-is-a-path": _ANN.replace('"ann"', '"../ann"'),
    "name-twice": _ANN + _BOB.replace('"bob"', '"ann"'),
    "keys-none": _ANN.replace(f'["{_KEY}"]', "[]"),
    "key-in-the-clear": _ANN.replace(_KEY, "sk-0123456789"),
    "key-upper-case": _ANN.replace(_KEY, "sha256:" + "A" * 64),
    "key-twice": _ANN.replace(f'"{_KEY}"', f'"{_KEY}", "{_KEY}"'),
    "key-of-two-tenants": _ANN + _BOB.replace(_OTHER, _KEY),
    "project-missing": _ANN.replace('project = "projects/ann"\n', ""),
    "project-without-patches": _BOB + 'project = "projects/bob"\n',
    "project-with-escape-sequence": _ANN.replace("projects/ann", "ann\\u001b[2K"),
    "patches-are-a-word": _BOB.replace("false", '"none"'),
    "base-with-slash": _ANN + 'base = "models/small"\n',
}

UNSEEN: Final = {
    "not-toml.toml": "no document",
    "duplicate-key.toml": "no TOML: a key stands twice",
    "name-twice.toml": "two tenants of one name",
    "key-of-two-tenants.toml": "one key in two lists",
}


def good() -> dict[str, bytes]:
    """File name to bytes."""
    return {f"{name}.toml": text.encode() for name, text in _GOOD.items()}


def bad() -> dict[str, bytes]:
    """File name to bytes; each has one fault."""
    return {f"{name}.toml": text.encode() for name, text in _BAD.items()}
