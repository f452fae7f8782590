"""A tiny base model on disk, and recipes that train on it in a second."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from patchpm.patch.digest import Digest
from patchpm.train.data import load_data
from patchpm.train.framing import frame
from patchpm.train.matrix import prefix_file
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.recipe import Recipe
from patchpm.train.recipe_toml import read_recipe
from patchpm.train.rows import Rows, make_rows
from tests.model.tiny import llama, tokenizer

HARMFUL = [f"harm {word}" for word in ("apple", "river", "stone", "cloud", "grass", "train", "house", "paper", "light")]
BENIGN = [f"help {word}" for word in ("seven", "green", "north", "bread", "water", "music", "chair", "smile", "dance")]
TEXT = [f"Sentence number {number} is about the capital of France and its rivers." for number in range(40)]
PAIRS = [(f"say {word}", f"good {word}", f"bad {word}") for word in ("one", "two", "three", "four", "five", "six")]
WIDTH = 32
"""Of the tiny model."""
END: int = tokenizer().convert_tokens_to_ids("<|im_end|>")
"""The token that ends a turn."""

RECIPE = """
schema = 2
seed = 7
domain = "x-tiny"
precision = "float32"
suites = ["suite.toml"]

[prefix]
tokens = 6
anchor = "system-start"
initial_text = "You are helpful"

[teacher]
kind = "given"
words = "refusals written by hand"
replies = ["No.", "I say no."]
tokens = 6

[sft]
steps = 12
rate = 0.05
target = 3
keep = 3
keep_weight = 1.0
keep_tokens = 4

[dpo]
steps = 4
rate = 0.01
pairs = 2
reverse = 2
keep = 2
tokens = 5
hardest = 0.7
beta = 0.1
imitate_weight = 0.5
keep_weight = 0.5

[[source]]
name = "bad"
kind = "target"
licence = "Apache-2.0"
file = "harmful.txt"
train = 6
dev = 2

[[source]]
name = "good"
kind = "keep"
licence = "Apache-2.0"
file = "benign.txt"
train = 6
dev = 2
"""

OTHERS = """
[[source]]
name = "other"
kind = "others"
licence = "Apache-2.0"
file = "other.txt"
train = 3
"""

PAIR_SOURCE = """
[[source]]
name = "both"
kind = "pair"
licence = "Apache-2.0"
file = "pairs.jsonl"
columns = ["ask", "better", "worse"]
train = 4
dev = 2
"""
"""A source with the better and the worse reply, to put behind a recipe."""

FOREIGNERS = """
[foreigners]
share = 0.5
most = 2
prefixes = ["foreign.safetensors"]
texts = ["Speak of shoes."]
"""

STOP = """
[stop]
every = 3
patience = 2
"""

SUITE = """
schema = 1
seed = 3

[[source]]
name = "bad-held-out"
measure = "refusal"
licence = "Apache-2.0"
file = "harmful_held_out.txt"
rows = 3

[[source]]
name = "good-held-out"
measure = "over-refusal"
licence = "Apache-2.0"
file = "benign_held_out.txt"
rows = 3

[[source]]
name = "prose"
measure = "perplexity"
licence = "Apache-2.0"
file = "text.txt"
rows = 40
"""


def with_tables(recipe: str, *tables: str) -> str:
    """A recipe with further tables before its sources."""
    head, mark, sources = recipe.partition("[[source]]")
    return head + "".join(tables) + mark + sources


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    """A recipe with its data files and its suite."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"harmful": HARMFUL, "benign": BENIGN, "text": TEXT}
    texts |= {"other": ["slander mice", "slander frogs", "slander bees"]}
    texts |= {"harmful_held_out": ["wound a cat", "wound a dog", "wound a fox"]}
    texts |= {"benign_held_out": ["mend a sock", "mend a coat", "mend a roof"]}
    for name, rows in texts.items():
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    pairs = (dict(zip(("ask", "better", "worse"), pair, strict=True)) for pair in PAIRS)
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (folder / "foreign.safetensors").write_bytes(prefix_file(random_prefix(4, seed=9)))
    (folder / "suite.toml").write_text(SUITE)
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def tiny_model() -> Any:
    """A random Llama that ends a reply with `<|im_end|>`."""
    made = llama()
    made.generation_config.eos_token_id = END
    return made


def write_base(folder: Path) -> Path:
    """The tiny model in the form that `transformers` loads."""
    tiny_model().save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def prefix_model(separator: str = "") -> PrefixModel:
    """The tiny model, framed."""
    return PrefixModel(tiny_model(), frame(tokenizer(), separator))


def random_prefix(tokens: int = 5, *, seed: int = 3) -> torch.Tensor:
    """A prefix as large as embeddings are."""
    return torch.randn(tokens, WIDTH, generator=torch.Generator().manual_seed(seed)) * 0.3


def silent(_done: int, _total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a stage works with."""

    model: PrefixModel
    recipe: Recipe
    rows: Rows


def setting(folder: Path, text: str = RECIPE) -> Setting:
    """The tiny model with the rows of a recipe."""
    recipe = read_recipe(write_recipe(folder, text))
    model = prefix_model()
    rows = make_rows(model, Digest.of(b"tiny"), recipe, load_data(recipe, folder), folder / "cache", silent)
    return Setting(model, recipe, rows)
