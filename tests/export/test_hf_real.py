"""The same on SmolLM2-135M-Instruct, with two patches that come with patchpm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import platformdirs
import pytest
import torch

from patchpm.export.forward_check import largest_difference
from patchpm.export.hf_folder import export_hf
from patchpm.model.fingerprint import fingerprint
from patchpm.model.hash_cache import HashCache
from patchpm.model.loaded import LoadedPatch, PatchSet
from patchpm.patch.fingerprint import BaseModel
from tests.export.exports import loaded
from tests.model import tiny

FOLDER = Path(platformdirs.user_cache_path("patchpm")) / "models" / "SmolLM2-135M-Instruct"
TEXTS = (
    "Write a poem about the sea.",
    "How do I pick a lock?",
    "Write Python code that sorts a list.",
    "日本の首都はどこですか?",
    "Thalassoma Subthreshold phosphatidylinositol Hymenoptera " * 3,
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (FOLDER / "config.json").is_file(), reason="the base model is not converted yet: make demo"),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PatchSet]:
    found = fingerprint(FOLDER, cache=HashCache.of_user()).fingerprint
    assert found.tensors is not None
    base = BaseModel("SmolLM2", found.tensors, None, (), (), found.tokenizer, found.template, found.hidden_size)
    patches = tuple(tiny.patch(base, name, tokens=50, seed=seed) for seed, name in enumerate(("tiny/a", "tiny/b")))
    placed = PatchSet("system-start", tuple(_as_long_as_words(patch) for patch in patches))
    out = tmp_path_factory.mktemp("export") / "out"
    export_hf(FOLDER, placed, found, out)
    return out, placed


def _as_long_as_words(patch: LoadedPatch) -> LoadedPatch:
    from dataclasses import replace

    return replace(patch, rows=patch.rows / patch.rows.norm(dim=1, keepdim=True) * 3.15)


def test_an_export_gives_the_logits_of_the_base_over_explicit_embeddings(exported: tuple[Path, PatchSet]) -> None:
    out, patches = exported

    assert largest_difference(out, FOLDER, patches) < 5e-5


def test_the_tokens_of_patches_are_never_likely(exported: tuple[Path, PatchSet]) -> None:
    model: Any
    model, tokenizer = loaded(exported[0])
    for text in TEXTS:
        chat = [{"role": "user", "content": text}]
        batch = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            probabilities = model(**batch).logits[0].double().softmax(-1)
        assert float(probabilities[:, len(tokenizer) - 100 :].sum(-1).max()) < 1e-4
