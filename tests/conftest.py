from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from tests.world import World

# Models of this size are slower on several threads, far slower on a busy machine. Commands that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """Keep what was imported out of garbage collections, of which exports ask for one each: torch alone takes 0.2 s."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A registry with the vendor `acme`, a base model and an empty project folder."""
    return World(tmp_path, monkeypatch)


@pytest.fixture
def talking(world: World) -> World:
    """A world whose base is a model that can speak, with two patches published."""
    from tests.builders import matrix
    from tests.model import tiny
    from tests.world import base_model

    folder = world.root / "models" / "talking"
    tiny.llama().save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    world.base = folder
    target = base_model(folder)
    for name, tokens in (("acme/bias", 2), ("acme/toxicity", 3)):
        world.publish(name, for_base=target, prefix=matrix(tokens, target.hidden_size))
    return world
