"""Good and bad `patchpm.json` files of exports. `set` is right in every bad one but those that are about it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from patchpm.export.provenance import ExportedBase, ExportedPatch, Provenance, write_provenance
from patchpm.patch.name import PatchName
from patchpm.patch.patch_set import set_digest
from patchpm.patch.version import Version
from tests.builders import digest, fingerprint
from tests.schema.edits import ABSENT, Path, json_text, put, with_set


def export(*patches: ExportedPatch, anchor: str = "system-start", separators: int = 0) -> Provenance:
    """An export of these patches, or of one."""
    there = patches or (patch("acme/toxicity", "1.2.0", 50),)
    rows = sum(one.tokens for one in there)
    return Provenance(
        patchpm="0.1.0",
        set=set_digest(anchor, ((one.name, one.version, one.prefix) for one in there)),
        anchor=anchor,
        base=ExportedBase.of(fingerprint("tiny")),
        patches=there,
        run_tokens=rows + separators,
        first_id=49152,
        ids=rows,
        dtype="BF16",
        rows=digest("rows"),
    )


def patch(name: str, version: str, tokens: int) -> ExportedPatch:
    """A patch in an export."""
    return ExportedPatch(PatchName.parse(name), Version.parse(version), digest(f"{name} prefix"), tokens)


def good() -> dict[str, bytes]:
    """File name to bytes. All but those called `loose-` are as our writer writes them."""
    smallest = replace(
        export(patch("a/b", "0.0.0", 1)), base=ExportedBase(None, None, None, None), first_id=0, dtype="F32"
    )
    pair = export(patch("acme/toxicity", "1.2.3-rc.1+b.7", 256), patch("acme/core", "1.0.0", 8), separators=1)
    text = write_provenance(pair)
    value = json.loads(text)
    return {
        "one-patch.json": write_provenance(export()),
        "smallest.json": write_provenance(smallest),
        "two-patches-with-separator.json": text,
        "start-of-a-text.json": write_provenance(replace(export(anchor="text-start"), dtype="F16")),
        "loose-on-one-line.json": json.dumps(value).encode(),
        "loose-keys-in-another-order.json": json_text(dict(reversed(value.items()))),
        "loose-absent-digests.json": json_text(
            put(put(json.loads(write_provenance(smallest)), ("base", "bf16"), ABSENT), ("base", "template"), ABSENT)
        ),
    }


def bad() -> dict[str, bytes]:
    """File name to bytes; each differs from a good file in one thing."""
    value = json.loads(write_provenance(export()))
    text = write_provenance(export()).decode()
    files = {f"{name}.json": json_text(with_set(put(value, path, new))) for name, (path, new) in _EDITS.items()}
    twice: Any = json.loads(write_provenance(export(*[patch("acme/toxicity", "1.2.0", 50)] * 2)))
    return files | {
        "empty.json": b"",
        "a-list.json": json_text([value]),
        "duplicate-key.json": text.replace('"patchpm"', '"anchor": "text-start",\n  "patchpm"').encode(),
        "tokens-written-50.0.json": text.replace('"tokens": 50', '"tokens": 50.0').encode(),
        "set-of-other-patches.json": json_text(put(value, ("set",), str(digest("another set")))),
        "set-of-another-anchor.json": json_text(put(value, ("anchor",), "text-start")),
        "patch-twice.json": json_text(twice),
    }


_EDITS: Final[dict[str, tuple[Path, object]]] = {
    "later-format": (("format",), "patchpm-export-v2"),
    "format-missing": (("format",), ABSENT),
    "surplus-field": (("surprise",), 1),
    "surplus-field-in-base": (("base", "name"), "tiny"),
    "anchor-unknown": (("anchor",), "user-start"),
    "patches-none": (("patches",), []),
    "patch-without-vendor": (("patches", 0, "name"), "toxicity"),
    "prefix-of-257-rows": (("patches", 0, "tokens"), 257),
    "prefix-bare-hex": (("patches", 0, "prefix"), "a" * 64),
    "count-is-not-the-sum-of-tokens": (("ids", "count"), 49),
    "run-shorter-than-its-rows": (("run_tokens",), 49),
    "first-id-negative": (("ids", "first"), -1),
    "rows-quantised": (("rows", "dtype"), "Q8_0"),
    "rows-without-digest": (("rows", "digest"), ABSENT),
    "patchpm-with-escape-sequence": (("patchpm",), "0.1.0\x1b[2K"),
}

UNSEEN: Final = {
    "empty.json": "no document",
    "duplicate-key.json": "a key stands twice in one object",
    "tokens-written-50.0.json": "an integer written as a float",
    "set-of-other-patches.json": "`set` does not fit the rest",
    "set-of-another-anchor.json": "`set` does not fit the rest",
    "patch-twice.json": "two patches of one name",
    "count-is-not-the-sum-of-tokens.json": "adds up fields",
    "run-shorter-than-its-rows.json": "compares two fields",
}
