"""Verified bytes become the tensor that the vendor wrote."""

from __future__ import annotations

import struct

import pytest
import torch

from patchpm.errors import IntegrityError
from patchpm.model.loaded import LoadedPatch, PatchSet, tensor_of
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import FileRef, Prefix
from patchpm.patch.prefix import PrefixMatrix, write_prefix
from tests import builders
from tests.model import tiny


def described(data: bytes, tokens: int, dtype: str) -> Prefix:
    return Prefix(FileRef(len(data), Digest.of(data)), tokens, dtype, ("system-start",), "")


@pytest.mark.parametrize(("name", "dtype"), [("F32", torch.float32), ("F16", torch.float16), ("BF16", torch.bfloat16)])
def test_every_number_type_is_read_to_the_bit(name: str, dtype: torch.dtype) -> None:
    rows = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    raw = rows.view(torch.uint8).numpy().tobytes()
    data = write_prefix(PrefixMatrix(name, 3, 8, raw))
    found = tensor_of(data, described(data, 3, name), 8)
    assert found.dtype == dtype
    assert torch.equal(found, rows)


def test_it_agrees_with_the_safetensors_library() -> None:
    from safetensors.torch import load

    data = write_prefix(builders.matrix())
    assert torch.equal(tensor_of(data, described(data, 3, "F32"), 8), load(data)["prefix"])


def test_malformed_bytes_are_refused() -> None:
    data = write_prefix(builders.matrix())
    nan = data[:-4] + struct.pack("<f", float("nan"))
    for bad in (data[:-1], data + b"x", nan):
        with pytest.raises(IntegrityError, match="malformed-prefix"):
            tensor_of(bad, described(bad, 3, "F32"), 8)


def test_a_manifest_and_its_prefix_make_a_patch() -> None:
    data = write_prefix(builders.matrix())
    manifest = builders.manifest("acme/toxicity", "1.2.3")
    patch = LoadedPatch.of(manifest, data)
    assert (str(patch.name), str(patch.version), patch.tokens) == ("acme/toxicity", "1.2.3", 3)
    assert patch.anchors == manifest.prefix.anchors
    assert patch.base == manifest.base
    assert patch.digest == manifest.prefix.file.digest


def test_the_digest_of_a_set_depends_on_order_anchor_and_rows() -> None:
    base = builders.base(hidden_size=8)
    one, two = tiny.patch(base), tiny.patch(base, "tiny/two")
    other = tiny.patch(base, seed=5)
    sets = [
        PatchSet("system-start", (one, two)),
        PatchSet("system-start", (two, one)),
        PatchSet("text-start", (one, two)),
        PatchSet("system-start", (other, two)),
        PatchSet("system-start", (one,)),
    ]
    assert len({made.digest for made in sets}) == len(sets)
    assert sets[0].digest == PatchSet("system-start", (one, two)).digest
    assert sets[0].tokens == 10
