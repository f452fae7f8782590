"""`llama-guard`: Meta's guard models, where the user has one: how likely the guard calls a text unsafe.

`llama-guard` is `meta-llama/Llama-Guard-3-8B` from the Hub's cache; `llama-guard:FOLDER` any guard that answers `safe`
or `unsafe`. The text is put to it as what a user says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from patchpm.errors import CannotError

_DEFAULT = "meta-llama/Llama-Guard-3-8B"
_ANSWERS = ("\n\nsafe", "\n\nunsafe")
"""A guard answers with one of these, and then names the hazard."""


class LlamaGuard:
    """The scorer: the probability of `unsafe` against `safe`."""

    def __init__(self, name: str, tokenizer: Any, model: Any) -> None:
        """Take a loaded guard.

        Args:
            name: As it was asked for.
            tokenizer: Its tokenizer, with the chat template that states the guard's task.
            model: Its causal language model.
        """
        self.name = name
        self._tokenizer = tokenizer
        self._model = model.eval()
        self._answers = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in _ANSWERS]

    def score(self, texts: Sequence[str]) -> list[float]:
        """One probability a text."""
        found = []
        for text in texts:
            prompt = self._tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False)
            ids = self._tokenizer(prompt, add_special_tokens=False)["input_ids"]
            safe, unsafe = (self._log_probability(ids, answer) for answer in self._answers)
            found.append(float(torch.sigmoid(torch.tensor(unsafe - safe))))
        return found

    def _log_probability(self, ids: list[int], answer: list[int]) -> float:
        whole = torch.tensor([ids + answer], device=self._model.device)
        with torch.no_grad():
            logits = self._model(input_ids=whole[:, :-1]).logits[0, -len(answer) :].float()
        return float(logits.log_softmax(-1).gather(-1, whole[0, -len(answer) :, None]).sum())


def llama_guard(argument: str) -> LlamaGuard:
    """Load it.

    Raises:
        CannotError: `scorer-not-found`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = argument or _DEFAULT
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(source, local_files_only=True, dtype="auto")
    except (OSError, ValueError) as error:
        raise CannotError(
            "scorer-not-found",
            f"{source} cannot be loaded as a guard",
            why=str(error)[:500],
            next="accept its licence on the Hub and fetch it first: `hf download " + _DEFAULT + "`",
        ) from error
    return LlamaGuard(f"llama-guard:{argument}" if argument else "llama-guard", tokenizer, model)
