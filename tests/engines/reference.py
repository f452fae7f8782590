"""What the model patched in Python says: that which every engine is held against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import patchpm
from tests.engines.running import Project


class Reference:
    """The real model in float32, with what the project's lock pins now."""

    def __init__(self, project: Project) -> None:
        self._model: Any = AutoModelForCausalLM.from_pretrained(project.base, dtype=torch.float32)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(project.base)
        self.first = len(self._tokenizer)
        """The least id of a prefix token."""
        self._ids: dict[str, list[int]] = {}
        for token in range(self.first):
            self._ids.setdefault(str(self._tokenizer.decode([token])), []).append(token)
        patchpm.apply(self._model, self._tokenizer, project=project.folder)

    def tokens(self, prompt: str) -> int:
        """Tokens of a conversation of one message, the prefix included."""
        return int(self._given(prompt)["input_ids"].shape[1])

    def words(self, prompt: str, count: int) -> str:
        """The likeliest words that follow."""
        given = self._given(prompt)
        made = self._model.generate(**given, max_new_tokens=count, do_sample=False)
        return str(self._tokenizer.decode(made[0, given["input_ids"].shape[1] :], skip_special_tokens=True))

    def difference(self, prompt: str, top: Iterable[tuple[str, float]]) -> float:
        """The largest difference of the log-probabilities of an engine's likeliest first tokens."""
        with torch.no_grad():
            row = self._model(**self._given(prompt)).logits[0, -1].double().log_softmax(-1)
        return max(min(abs(float(row[token]) - value) for token in self._ids[text]) for text, value in top)

    def _given(self, prompt: str) -> Any:
        return self._tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )


def top_of(answer: Any) -> list[tuple[str, float]]:
    """The likeliest first tokens of an answer, with their log-probabilities."""
    (first,) = answer["choices"][0]["logprobs"]["content"]
    return [(one["token"], one["logprob"]) for one in first["top_logprobs"]]
