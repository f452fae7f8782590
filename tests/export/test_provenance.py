"""`patchpm.json` is read strictly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from patchpm.errors import PatchpmError
from patchpm.export.provenance import (
    FILE_NAME,
    MAX_BYTES,
    ExportedBase,
    ExportedPatch,
    Provenance,
    parse_provenance,
    read_provenance,
    write_provenance,
)
from patchpm.patch.digest import Digest
from patchpm.patch.name import PatchName
from patchpm.patch.patch_set import set_digest
from patchpm.patch.version import Version

PATCH = ExportedPatch(PatchName.parse("acme/toxicity"), Version.parse("1.2.0"), Digest.of(b"prefix"), 50)
VALUE = Provenance(
    patchpm="0.1.0",
    set=set_digest("system-start", [(PATCH.name, PATCH.version, PATCH.prefix)]),
    anchor="system-start",
    base=ExportedBase(Digest.of(b"weights"), None, Digest.of(b"tokens"), None),
    patches=(PATCH,),
    run_tokens=51,
    first_id=49152,
    ids=50,
    dtype="BF16",
    rows=Digest.of(b"rows"),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(write_provenance(VALUE))

    assert read_provenance(tmp_path) == read_provenance(tmp_path / FILE_NAME) == VALUE


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"format": "patchpm-export-v2"}, "unknown-format"),
        ({"more": 1}, "malformed-provenance"),
        ({"set": str(Digest.of(b"another set"))}, "malformed-provenance"),
        ({"ids": {"first": 49152, "count": 49}}, "malformed-provenance"),
        ({"ids": {"first": -1, "count": 50}}, "malformed-provenance"),
        ({"run_tokens": 49}, "malformed-provenance"),
        ({"anchor": "nowhere"}, "malformed-provenance"),
        ({"patches": []}, "malformed-provenance"),
        ({"rows": {"dtype": "BF16", "digest": "x"}}, "malformed-provenance"),
        ({"rows": {"dtype": "Q8_0", "digest": str(Digest.of(b"rows"))}}, "malformed-provenance"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(changes: dict[str, Any], code: str, tmp_path: Path) -> None:
    value = json.loads(write_provenance(VALUE)) | changes
    (tmp_path / FILE_NAME).write_text(json.dumps(value))

    with pytest.raises(PatchpmError) as caught:
        read_provenance(tmp_path)

    assert caught.value.code == code


def test_a_patch_stands_once() -> None:
    twice = [(PATCH.name, PATCH.version, PATCH.prefix)] * 2
    value = replace(
        VALUE, patches=(PATCH, PATCH), set=set_digest("system-start", twice), run_tokens=100, ids=2 * PATCH.tokens
    )

    with pytest.raises(PatchpmError, match="holds a patch twice"):
        parse_provenance(write_provenance(value))


def test_a_file_beyond_the_limit_is_not_parsed() -> None:
    with pytest.raises(PatchpmError) as caught:
        parse_provenance(write_provenance(VALUE) + b" " * MAX_BYTES)

    assert caught.value.code == "malformed-json"


def test_a_folder_that_is_no_export_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(PatchpmError, match="is no export of patchpm"):
        read_provenance(tmp_path)
