from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from patchpm.guard.measuring import measure_reference
from patchpm.guard.pool import POOL
from patchpm.guard.reference import Reference
from patchpm.model.loaded import LoadedPatch, PatchSet
from patchpm.patch.version import Version
from tests.model import tiny


@dataclass(frozen=True)
class Locked:
    """A patch set of three for the tiny base, and its reference."""

    patches: tuple[LoadedPatch, ...]
    foreign: LoadedPatch
    earlier: LoadedPatch
    """The release before of the second patch."""
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
    earlier = replace(tiny.patch(base, str(two.name), tokens=6, seed=9), version=Version.parse("0.9.0"))
    reference = measure_reference(
        lambda: (tiny.llama(), tiny.tokenizer()),
        PatchSet("system-start", patches),
        tiny.fingerprint(model),
        releases=[earlier],
        pool=POOL[:4],
    )
    return Locked(patches, foreign, earlier, reference)
