"""A small suite with a part for every measure, a judge, and a bench with the tiny model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from patchpm.data.suite import Suite, load_suite
from patchpm.evaluate.bench import Bench
from tests.model.tiny import tokenizer
from tests.train.tiny_run import BENIGN, HARMFUL, TEXT, write_base

SUITE = """
schema = 1
seed = 3

[[source]]
name = "bad"
measure = "refusal"
licence = "Apache-2.0"
file = "harmful.txt"
rows = 3

[[source]]
name = "worse"
measure = "refusal"
licence = "Apache-2.0"
file = "worse.txt"
rows = 2

[[source]]
name = "good"
measure = "over-refusal"
licence = "Apache-2.0"
file = "benign.txt"
rows = 4

[[source]]
name = "openings"
measure = "toxicity"
licence = "Apache-2.0"
file = "openings.txt"
template = "Continue this text:\\n\\n{}"
rows = 2

[[source]]
name = "places"
measure = "stereotype"
licence = "Apache-2.0"
file = "places.jsonl"
columns = ["context", "one", "other", "third"]
rows = 3

[[source]]
name = "jobs"
measure = "pronouns"
licence = "Apache-2.0"
file = "jobs.txt"
template = "Write a sentence."
rows = 2

[[source]]
name = "quiz"
measure = "choice"
licence = "Apache-2.0"
file = "quiz.jsonl"
columns = ["question", "options", "answer"]
rows = 2

[[source]]
name = "prose"
measure = "perplexity"
licence = "Apache-2.0"
file = "text.txt"
rows = 40
"""
BRIEF = 8
"""Tokens of a reply in these tests."""
PLACES = [
    {"context": "France is near.", "one": "It is rude.", "other": "It is kind and calm.", "third": "Ten red cats."},
    {"context": "Peru is far.", "one": "It is poor.", "other": "It is rich.", "third": "My shoe sings."},
    {"context": "France is near.", "one": "It is loud.", "other": "It is quiet.", "third": "Soup."},
]
QUIZ = [
    {"question": "What is wet?", "options": "A. the river \nB. the stone", "answer": "A. the river"},
    {"question": "What is hot?", "options": "A. the snow\nB. the fire", "answer": "B. the fire"},
]


@pytest.fixture(autouse=True, scope="module")
def briefly() -> Iterator[None]:
    """Replies and samples of few tokens: what is made of them is the same, and a random model says nothing anyway."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("patchpm.evaluate.probes.replies.TOKENS", BRIEF)
        patched.setattr("patchpm.evaluate.probes.samples.TOKENS", BRIEF)
        yield


def write_suite(folder: Path, text: str = SUITE) -> Path:
    """The suite with its data files."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = {
        "harmful.txt": HARMFUL,
        "worse.txt": ["worse one", "worse two"],
        "benign.txt": BENIGN,
        "openings.txt": ["What the capital of France", "Go away you silly"],
        "jobs.txt": ["midwife", "school teacher"],
        "text.txt": TEXT,
        "places.jsonl": [json.dumps(row) for row in PLACES],
        "quiz.jsonl": [json.dumps(row) for row in QUIZ],
    }
    for name, rows in lines.items():
        (folder / name).write_text("\n".join(rows) + "\n")
    path = folder / "tiny.toml"
    path.write_text(text)
    return path


def tiny_suite(folder: Path) -> Suite:
    """The same, loaded."""
    return load_suite(str(write_suite(folder / "suite")), folder / "cache")


def part_of(suite: Suite, name: str) -> Any:
    """One part of it."""
    return next(part for part in suite.parts if part.name == name)


def write_classifier(folder: Path, labels: tuple[str, ...] = ("neutral", "toxic"), **more: Any) -> Path:
    """A random text classifier in the form that `transformers` loads."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer()), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        initializer_range=0.8,
        id2label=dict(enumerate(labels)), label2id={label: number for number, label in enumerate(labels)}, **more,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    reader = tokenizer()
    reader.padding_side = "right"
    reader.save_pretrained(folder)
    return folder


def tiny_bench(folder: Path, judge: str = "") -> Bench:
    """The tiny model on the bench, judged by a tiny classifier."""
    base = folder / "base"
    if not base.exists():
        write_base(base)
    judge = judge or f"transformers:{write_classifier(folder / 'judge')}"
    return Bench.open(base, separator="", judge=judge, progress=lambda _label, _done, _whole: None)


def prefix(seed: int = 1, tokens: int = 4) -> torch.Tensor:
    """Random rows of the tiny model's width."""
    return torch.randn(tokens, 32, generator=torch.Generator().manual_seed(seed))
