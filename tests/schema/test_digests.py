from __future__ import annotations

import base64
import hashlib
import json
import tomllib
from typing import Any

import pytest

from patchpm.errors import PatchpmError
from patchpm.model.tokenizer_digest import template_digest, tokenizer_digest
from patchpm.model.weights_digest import TensorHasher, bf16_digest, tensors_digest
from patchpm.patch.digest import Digest
from patchpm.patch.name import PatchName
from patchpm.patch.patch_set import set_digest
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from patchpm.project.lock_toml import read_lock
from patchpm.project.project_file import read_project_file
from patchpm.trust.envelope import pae
from patchpm.trust.keys import PublicKey
from patchpm.trust.tuf_metadata import to_tuf_key
from tests.schema.formats import FORMATS, VECTORS


def cases(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / "digests" / f"{name}.json").read_bytes())["cases"]
    return found


def texts(name: str) -> tuple[Any, list[str]]:
    found = json.loads((VECTORS / "texts" / f"{name}.json").read_bytes())
    return found["good"], found["bad"]


@pytest.mark.parametrize("name", ["tokenizer", "template", "patch-set", "requirements", "lock-content"])
def test_a_digest_is_the_sha256_of_its_preimage(name: str) -> None:
    for case in cases(name):
        assert case["digest"] == "sha256:" + hashlib.sha256(case["preimage"].encode()).hexdigest()


def test_weights_digests_hold() -> None:
    for case in cases("weights"):
        found = []
        for tensor in case["tensors"]:
            hasher = TensorHasher(tensor["dtype"], bf16=True)
            hasher.update(bytes.fromhex(tensor["bytes"]))
            one = hasher.finish(tensor["name"], tensor["dtype"], tuple(tensor["shape"]))
            found.append(one)
            if "as bfloat16" in tensor:
                assert one.rounded == hashlib.sha256(bytes.fromhex(tensor["as bfloat16"])).hexdigest()
        for kind, digest in (("tensors", tensors_digest(found)), ("bf16", bf16_digest(found))):
            assert str(digest) == case[f"{kind} digest"]
            assert digest == Digest.of(case[f"{kind} preimage"].encode())


def test_copies_in_another_precision_have_one_bf16_digest() -> None:
    wide, narrow = cases("weights")[1:]
    assert wide["bf16 digest"] == narrow["bf16 digest"]
    assert wide["tensors digest"] != narrow["tensors digest"]


def test_tokenizer_and_template_digests_hold() -> None:
    for case in cases("tokenizer"):
        vocabulary = [(number, token) for number, token in case["vocabulary"]]
        merges = [(left, right) for left, right in case["merges"]]
        assert str(tokenizer_digest(vocabulary, merges, source="vector")) == case["digest"]
    for case in cases("template"):
        assert str(template_digest(case["text"])) == case["digest"]


def test_patch_set_digests_hold_and_differ_by_order_and_anchor() -> None:
    found = []
    for case in cases("patch-set"):
        members = [(PatchName.parse(n), Version.parse(v), Digest.parse(d)) for n, v, d in case["members"]]
        assert str(set_digest(case["anchor"], members)) == case["digest"]
        found.append(case["digest"])
    assert len(set(found)) == len(found)


def test_requirements_digests_hold() -> None:
    for case in cases("requirements"):
        assert str(read_project_file(case["file"]).digest) == case["digest"]


def test_lock_content_digests_hold() -> None:
    for case in cases("lock-content"):
        read_lock(case["file"])
        value = tomllib.loads(case["file"])
        assert value["content"] == case["digest"]
        assert FORMATS["lock"].allows(value)


def test_keys_have_their_ids_and_stand_in_tuf_metadata_as_told() -> None:
    for case in cases("keys"):
        key = PublicKey.parse(case["key"])
        assert key.spki.hex() == case["subject public key info"]
        assert key.id == case["id"] == hashlib.sha256(bytes.fromhex(case["subject public key info"])).hexdigest()
        assert to_tuf_key(key).to_dict() == case["tuf"]


def test_what_an_envelope_signs_is_signed_by_the_keys_told() -> None:
    for case in cases("envelope"):
        message = pae(case["payload"].encode(), case["payload type"])
        assert message.hex() == case["signed bytes"]
        for made in case["signatures"]:
            key = PublicKey.parse(made["key"])
            signature = base64.b64decode(made["signature"])
            assert key.verify(signature, message)
            assert not key.verify(signature, message + b" ")


def test_names_are_told_apart() -> None:
    good, bad = texts("names")
    assert [str(PatchName.parse(text)) for text in good] == good
    for text in bad:
        with pytest.raises(PatchpmError):
            PatchName.parse(text)


def test_versions_are_told_apart_and_ordered() -> None:
    good, bad = texts("versions")
    parsed = [Version.parse(text) for text in good]
    assert [str(version) for version in parsed] == good
    assert sorted(parsed) == parsed
    for text in bad:
        with pytest.raises(PatchpmError):
            Version.parse(text)


def test_ranges_are_told_apart_and_have_their_canonical_text() -> None:
    good, bad = texts("ranges")
    assert {text: str(Range.parse(text)) for text in good} == good
    for text in bad:
        with pytest.raises(PatchpmError):
            Range.parse(text)


def test_the_schemas_say_the_same_of_names_versions_and_ranges() -> None:
    for name, field in (("names", "name"), ("versions", "version")):
        good, bad = texts(name)
        start = json.loads((VECTORS / "manifest" / "good" / "smallest.json").read_bytes())
        assert all(FORMATS["manifest"].allows({**start, field: text}) for text in good)
        allowed = [text for text in bad if FORMATS["manifest"].allows({**start, field: text})]
        assert allowed == (["1.0.0-a1000000000000000"] if field == "version" else [])
    good, _ = texts("ranges")
    assert all(FORMATS["project"].allows({"bases": {}, "patches": {"a/b": t}}) for t in good if "\t" not in t)
