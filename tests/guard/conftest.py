from __future__ import annotations

from dataclasses import dataclass

import pytest

from patchpm.guard.measuring import measure_reference
from patchpm.guard.pool import POOL
from patchpm.guard.reference import Reference
from patchpm.model.loaded import LoadedPatch, PatchSet
from tests.model import tiny


@dataclass(frozen=True)
class Locked:
    """A patch set of three for the tiny base, and its reference."""

    patches: tuple[LoadedPatch, ...]
    foreign: LoadedPatch
    reference: Reference


@pytest.fixture(scope="session")
def locked() -> Locked:
    model, tok = tiny.llama(), tiny.tokenizer()
    base = tiny.base_of(model, tok)
    one, two, three, foreign = (
        tiny.patch(base, f"acme/{name}", tokens=6, seed=seed)
        for seed, name in enumerate(("toxicity", "bias", "harmfulness", "weather"))
    )
    patches = (one, two, three)
    reference = measure_reference(
        lambda: (tiny.llama(), tiny.tokenizer()),
        PatchSet("system-start", patches),
        tiny.fingerprint(model),
        pool=POOL[:4],
    )
    return Locked(patches, foreign, reference)
