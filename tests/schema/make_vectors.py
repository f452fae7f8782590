"""`python -m tests.schema.make_vectors` writes those files of `registry_schema/vectors/` anew that are made of others.

`digests/` and `texts/` are not among them: they were written without the code that they test.
"""

from __future__ import annotations

import shutil
from typing import Final

from tests.schema import (
    export_vectors,
    lock_vectors,
    manifest_vectors,
    policy_vectors,
    prefix_vectors,
    probes_vectors,
    project_vectors,
    release_vectors,
    tenants_vectors,
)
from tests.schema.edits import json_text
from tests.schema.formats import ENTRY_PATH, UNSEEN, VECTORS
from tests.schema.registry_vectors import registry, registry_in_bins

WRITTEN_BY_HAND: Final = ("digests", "texts")
_SINGLE: Final = {
    "manifest": manifest_vectors,
    "lock": lock_vectors,
    "project": project_vectors,
    "policy": policy_vectors,
    "export": export_vectors,
    "probes": probes_vectors,
    "tenants": tenants_vectors,
}
_OF_RELEASE: Final = ("statement", "envelope", "index-entry")


def vectors() -> dict[str, bytes]:
    """Every made file: its path under `vectors/`, and its bytes."""
    files: dict[str, bytes] = {}
    for name, module in _SINGLE.items():
        files |= _under(f"{name}/good", module.good()) | _under(f"{name}/bad", module.bad())
    for name in _OF_RELEASE:
        files |= _under(f"{name}/good", release_vectors.good(name)) | _under(f"{name}/bad", release_vectors.bad(name))
    described: dict[str, object] = {}
    for kind, prefixes in (("good", prefix_vectors.good()), ("bad", prefix_vectors.bad())):
        files |= _under(f"prefix/{kind}", {name: item.data for name, item in prefixes.items()})
        described |= {f"{kind}/{name}": item.to_json() for name, item in prefixes.items()}
    files["prefix/described.json"] = json_text(described)
    files |= _under(f"release/{ENTRY_PATH}", dict(release_vectors.release().items()))
    files |= _under("registry", registry())
    files |= _under("registry-in-bins", registry_in_bins())
    unseen = {name: module.UNSEEN for name, module in _SINGLE.items()} | release_vectors.UNSEEN
    files[UNSEEN.name] = json_text(unseen)
    return files


def _under(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in files.items()}


def main() -> None:
    """Write all of them, and delete what is no longer made."""
    for folder in VECTORS.iterdir():
        if folder.is_dir() and folder.name not in WRITTEN_BY_HAND:
            shutil.rmtree(folder)
    for name, data in vectors().items():
        path = VECTORS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
