"""Time to the first token, and for each further one: base, patched, patched and prefilled, and under PEFT.

    python benchmarks/prefix_cache.py MODEL_FOLDER [--dtype float32] [--rounds 7]

The ways take turns within a round, on one thread, in CPU time, so that other work on the machine touches all of them
alike. Printed are medians, ratios to the base, and the quartiles of each ratio. A prompt of n tokens is a conversation
of n tokens without the prefix. PEFT has the same rows in front of the same tokens.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from patchpm.export.peft_adapter import adapter_files
from patchpm.model.apply import attach
from patchpm.model.chat import load_model
from tests.model import tiny

TOKENS = 50
STEPS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--prompts", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    given = parser.parse_args()
    torch.set_num_threads(1)
    ways = Ways(given.folder, getattr(torch, given.dtype))
    print(f"{given.folder.name}, {given.dtype}, {TOKENS} prefix tokens, {given.rounds} rounds, CPU ms")
    for prompt in given.prompts:
        for batch in given.batches:
            report(ways, prompt, batch, given.rounds)


class Ways:
    """The same model four times over the same weights."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        from peft import PeftModel

        self.base: Any
        self.base, self.tokenizer = load_model(folder, device="cpu")
        self.base.to(dtype)
        self.model: Any = self.sharing(self.base)
        patch = tiny.patch(tiny.base_of(self.model, self.tokenizer), tokens=TOKENS)
        patch.rows.mul_(3.15 / patch.rows.norm(dim=1, keepdim=True))
        with tempfile.TemporaryDirectory() as adapter:
            for name, data in adapter_files(patch.rows, "base", "system-start").items():
                (Path(adapter) / name).write_bytes(data)
            self.peft: Any = PeftModel.from_pretrained(self.sharing(self.base), adapter).eval()
        self.plain = copy.deepcopy(self.tokenizer)
        self.applied = attach(self.model, self.tokenizer, [patch])

    def sharing(self, model: Any) -> Any:
        """A second model of the same weights in memory."""
        return copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})

    def inputs(self, tokenizer: Any, prompt: int, batch: int) -> Any:
        """A batch of conversations of `prompt` tokens each, without the prefix."""
        words, text = "The cat sat on the mat and looked at the moon. ", ""
        while len(self.rendered(self.plain, text + words)) <= prompt:
            text += words
        while len(self.rendered(self.plain, text + " a")) <= prompt:
            text += " a"
        ids = torch.tensor([self.rendered(tokenizer, text)] * batch)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    @staticmethod
    def rendered(tokenizer: Any, text: str) -> list[int]:
        """The token ids of a conversation."""
        chat = [{"role": "user", "content": text}]
        ids: list[int] = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)["input_ids"]
        return ids

    def of(self, prompt: int, batch: int) -> dict[str, Callable[[int], Any]]:
        """Generators of so many new tokens."""
        bare = self.inputs(self.plain, prompt, batch)
        ours = self.inputs(self.tokenizer, prompt, batch)
        return {
            "base": lambda new: generate(self.base, bare, new),
            "patched": lambda new: generate(self.model, ours, new),
            "prefilled": lambda new: generate(self.model, self.applied.prefilled(ours), new),
            "peft": lambda new: generate(self.peft, bare, new),
        }


def generate(model: Any, inputs: Any, new: int) -> Any:
    return model.generate(**inputs, max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0)


def report(ways: Ways, prompt: int, batch: int, rounds: int) -> None:
    ways_here = ways.of(prompt, batch)
    first: dict[str, list[float]] = {name: [] for name in ways_here}
    later: dict[str, list[float]] = {name: [] for name in ways_here}
    for _ in range(rounds + 1):
        for name, run in ways_here.items():
            one = measured(run, 1)
            first[name].append(one)
            later[name].append((measured(run, STEPS) - one) / (STEPS - 1))
    for what, times in (("first token", first), ("each further", later)):
        warm = {name: values[1:] for name, values in times.items()}
        base = statistics.median(warm["base"])
        cells = [f"base {base:7.1f}"]
        for name in ("patched", "prefilled", "peft"):
            ratios = [mine / theirs for mine, theirs in zip(warm[name], warm["base"], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
            cells.append(f"{name} x{middle:.2f} ({low:.2f}-{high:.2f})")
        print(f"prompt {prompt:4} batch {batch}  {what:12}  " + "  ".join(cells), flush=True)


def measured(run: Callable[[int], Any], new: int) -> float:
    """CPU milliseconds of this thread."""
    began = time.thread_time()
    run(new)
    return (time.thread_time() - began) * 1000


if __name__ == "__main__":
    main()
