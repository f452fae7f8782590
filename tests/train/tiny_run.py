"""A tiny base model on disk, and a recipe that trains on it in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from patchpm.train.framing import frame
from patchpm.train.prefix_model import PrefixModel
from tests.model.tiny import llama, tokenizer

HARMFUL = [f"harm {word}" for word in ("apple", "river", "stone", "cloud", "grass", "train", "house", "paper", "light")]
BENIGN = [f"help {word}" for word in ("seven", "green", "north", "bread", "water", "music", "chair", "smile", "dance")]
TEXT = [f"Sentence number {number} is about the capital of France and its rivers." for number in range(40)]

RECIPE = """
schema = 1
seed = 7
teacher = "refusals written by hand"

[prefix]
tokens = 6
anchor = "system-start"
separator = ""
initial_text = "You are helpful"

[replies]
tokens = 6
refusals = ["No."]

[sft]
steps = 12
rate = 0.05
harmful = 3
benign = 3
anchor_weight = 1.0
anchor_tokens = 4

[dpo]
steps = 4
tokens = 5
hardest = 0.7
rate = 0.01
harmful = 2
benign = 2
beta = 0.1
sft_weight = 1.0

[[source]]
name = "bad"
kind = "harmful"
licence = "Apache-2.0"
file = "harmful.txt"
train = 6
held_out = 3

[[source]]
name = "good"
kind = "benign"
licence = "Apache-2.0"
file = "benign.txt"
train = 6
held_out = 3

[[source]]
name = "prose"
kind = "text"
licence = "Apache-2.0"
file = "text.txt"
"""


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    """A recipe with its data files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "harmful.txt").write_text("\n".join(HARMFUL) + "\n")
    (folder / "benign.txt").write_text("\n".join(BENIGN) + "\n")
    (folder / "text.txt").write_text("\n".join(TEXT) + "\n")
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def tiny_model() -> Any:
    """A random Llama that ends a reply with `<|im_end|>`."""
    made = llama()
    made.generation_config.eos_token_id = 2
    return made


def write_base(folder: Path) -> Path:
    """The tiny model in the form that `transformers` loads."""
    tiny_model().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def prefix_model(separator: str = "") -> PrefixModel:
    """The tiny model, framed."""
    return PrefixModel(tiny_model(), frame(tokenizer(), separator))
