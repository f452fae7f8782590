"""Small base models on disk, patch sets for them, and what their exports must give."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from patchpm.export.hf_folder import Exported, export_hf
from patchpm.model.fingerprint import fingerprint
from patchpm.model.loaded import PatchSet
from patchpm.patch.fingerprint import BaseModel, Fingerprint
from tests.model import reference, tiny

CAPITAL = ({"role": "user", "content": "What is the capital of France?"},)
BRIEF = ({"role": "system", "content": "You are a model"}, *CAPITAL)
STEPS = 5


@dataclass
class Base:
    """A base model's folder, and a set of two patches for it."""

    folder: Path
    found: Fingerprint
    patches: PatchSet

    @classmethod
    def of(cls, folder: Path) -> Base:
        """Measure the model in a folder, and make patches for it."""
        found = fingerprint(folder).fingerprint
        assert found.tensors is not None
        named = BaseModel(
            folder.name, found.tensors, found.bf16, (), (), found.tokenizer, found.template, found.hidden_size
        )
        patches = (tiny.patch(named, separator="\n"), tiny.patch(named, "tiny/two", tokens=3, seed=2))
        return cls(folder, found, PatchSet("system-start", patches))

    def export(self, out: Path, **options: Any) -> Exported:
        """Export it."""
        return export_hf(self.folder, self.patches, self.found, out, **options)

    def model(self) -> Any:
        """The model itself."""
        made: Any = AutoModelForCausalLM.from_pretrained(self.folder, dtype="auto")
        return made.eval()

    def tokenizer(self) -> Any:
        """Its own tokenizer."""
        return AutoTokenizer.from_pretrained(self.folder)

    def expected(self, messages: Any, before: str = "<|im_start|>system\n") -> tuple[list[int], torch.Tensor]:
        """Greedy ids, and their logits, of the base over explicit embeddings."""
        model, tokenizer = self.model(), self.tokenizer()
        text = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
        head, ids = tokenizer(before)["input_ids"], tokenizer(text)["input_ids"]
        assert ids[: len(head)] == head
        one, two = self.patches.patches
        between = tokenizer(one.separator)["input_ids"]
        start = torch.cat(
            [
                reference.embeddings(model, head, [one], between),
                reference.embeddings(model, [], [two], ids[len(head) :]),
            ],
            dim=1,
        )
        first = len(tokenizer)
        return reference.greedy(model, start, STEPS, slice(first, first + self.patches.tokens))


def write_base(path: Path, model: Any, tokenizer: Any = None, *, shard: str = "1GB", **config: Any) -> Base:
    """Save a model and a tokenizer as `transformers` does.

    Args:
        path: The folder.
        model: A tiny one.
        tokenizer: Its tokenizer.
        shard: Largest size of a file of weights.
        config: Changes to `config.json`.
    """
    model.save_pretrained(path, max_shard_size=shard)
    (tokenizer or tiny.tokenizer()).save_pretrained(path)
    change(path / "config.json", **config)
    return Base.of(path)


def change(path: Path, **fields: Any) -> None:
    """Change fields of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def loaded(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer of an export, as someone who never heard of patchpm loads them."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def answered(folder: Path, messages: Any) -> tuple[list[int], torch.Tensor]:
    """Greedy ids of an export and their logits before any processing, `(steps, vocabulary)`."""
    model, tokenizer = loaded(folder)
    batch = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    out = model.generate(
        **batch, max_new_tokens=STEPS, do_sample=False, return_dict_in_generate=True, output_logits=True
    )
    return out.sequences[0, batch["input_ids"].shape[1] :].tolist(), torch.cat(out.logits)
