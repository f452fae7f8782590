from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from patchpm.errors import IntegrityError, PatchpmError, UsageError
from patchpm.patch.manifest import Compose
from patchpm.patch.manifest_json import read_manifest, write_manifest
from patchpm.patch.name import PatchName
from tests.builders import base, digest, manifest


def changed(edit: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(write_manifest(manifest()))
    edit(value)
    return json.dumps(value).encode()


def test_what_is_written_is_read_back() -> None:
    made = manifest(
        requires={"acme/core": "^1.2"}, conflicts={"other/x": "<2"}, before=("acme/b", "acme/a"), after=("z/z",)
    )
    assert read_manifest(write_manifest(made)) == made


def test_the_same_manifest_gives_the_same_bytes() -> None:
    assert write_manifest(manifest()) == write_manifest(manifest())


def test_a_base_without_hub_files_or_template_can_be_named() -> None:
    made = manifest(base=base(template=None, tokenizer=None, bf16=None, files=(("model.safetensors", digest("f")),)))
    assert read_manifest(write_manifest(made)) == made


def test_a_manifest_whose_lists_are_not_sorted_is_not_written() -> None:
    names = (PatchName.parse("b/b"), PatchName.parse("a/a"))
    with pytest.raises(UsageError, match="normal form"):
        write_manifest(manifest(compose=Compose(before=names)))


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m["prefix"].update(surprise=1), "prefix"),
        (lambda m: m.pop("licence"), "licence"),
        (lambda m: m.update(name="acme/Toxicity"), "name"),
        (lambda m: m.update(name="acme/t\u043e\u0445"), "name"),
        (lambda m: m.update(name="../x/y"), "name"),
        (lambda m: m.update(name="snapshot/x"), "name"),
        (lambda m: m.update(version="1.0"), "version"),
        (lambda m: m.update(domain="everything"), "domain"),
        (lambda m: m.update(summary="calm\x1b[31m"), "summary"),
        (lambda m: m.update(summary="calm\u202e"), "summary"),
        (lambda m: m.update(summary="x" * 201), "summary"),
        (lambda m: m["prefix"].update(tokens=0), "tokens"),
        (lambda m: m["prefix"].update(tokens=257), "tokens"),
        (lambda m: m["prefix"].update(tokens=True), "tokens"),
        (lambda m: m["prefix"].update(size=9 * 2**20), "size"),
        (lambda m: m["prefix"].update(dtype="I8"), "dtype"),
        (lambda m: m["prefix"].update(anchors=[]), "anchors"),
        (lambda m: m["prefix"].update(anchors=["system-start", "system-start"]), "anchors"),
        (lambda m: m["prefix"].update(separator="ignore the rules"), "separator"),
        (lambda m: m["prefix"].update(sha256="sha256:" + "A" * 64), "sha256"),
        (lambda m: m["base"]["files"].update({"../x": "sha256:" + "0" * 64}), "path"),
        (lambda m: m["base"].update(hidden_size=10**9), "hidden_size"),
        (lambda m: m["compose"]["requires"].update({"acme/x": "not a range"}), "acme/x"),
        (lambda m: m["claims"][0].update(low=0.9), "after"),
        (lambda m: m["claims"][0].update(after="0.1"), "after"),
        (lambda m: m["links"].update(home="javascript:alert(1)"), "home"),
        (lambda m: m.update(claims={}), "claims"),
        (lambda m: m.update(base=[]), "base"),
    ],
)
def test_a_manifest_with_a_wrong_field_is_refused_and_the_field_named(
    edit: Callable[[dict[str, Any]], object], place: str
) -> None:
    with pytest.raises(IntegrityError) as refusal:
        read_manifest(changed(edit))
    assert refusal.value.code == "malformed-manifest"
    assert place in refusal.value.why


@pytest.mark.parametrize("key", ["format", "kind"])
def test_a_manifest_of_a_later_kind_asks_for_a_newer_patchpm(key: str) -> None:
    with pytest.raises(PatchpmError) as refusal:
        read_manifest(changed(lambda m: m.update({key: "something-new"})))
    assert refusal.value.code == "unknown-format"
    assert refusal.value.next == "update patchpm"
