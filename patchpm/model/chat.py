"""Talking to a model from the command line: load it from a folder, and let it reply with and without its patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from patchpm.errors import CannotError, UsageError
from patchpm.model.applied import Applied
from patchpm.model.causal_lm import Tokenizer
from patchpm.model.conversation import Message


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said."""

    text: str
    """Without special tokens."""
    prompt_tokens: int
    """Tokens it read, the prefix included."""
    new_tokens: int
    finished: bool
    """Whether it ended by itself, rather than at the limit."""


def load_model(folder: Path, *, device: str | None = None) -> tuple[nn.Module, Tokenizer]:
    """Load a model and its tokenizer from a folder, as the files have them, without a network.

    Args:
        folder: With `config.json`, the tokenizer, and weights as safetensors; pickled weights are never read.
        device: As torch names it; None for the first GPU, or the CPU where there is none.

    Raises:
        CannotError: `model-unreadable`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    cast("Any", logging).disable_progress_bar()
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype="auto", use_safetensors=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise CannotError(
            "model-unreadable",
            f"{folder} cannot be loaded as a language model",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            next="give the folder that holds config.json, tokenizer.json and *.safetensors",
        ) from error
    model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval()
    return cast("nn.Module", model), cast("Tokenizer", tokenizer)


class Session:
    """A model that replies, with patches or without.

    Args:
        model: As `load_model` gives it.
        tokenizer: Its tokenizer.
        applied: The patches on it, or None.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, applied: Applied | None = None) -> None:
        self._model, self._tokenizer, self._applied = model, tokenizer, applied

    def reply(
        self,
        messages: Sequence[Message],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Answer a conversation.

        Args:
            messages: The conversation, a user message last.
            max_new_tokens: Where to stop at the latest.
            temperature: 0 for the likeliest token each time; above it, sampling.
            seed: For sampling.
            on_text: Called with each piece of the reply as it comes.

        Raises:
            UsageError: `no-chat-template`.
            IntegrityError: What the guard raises, if the prefix is not where it must be.
        """
        if self._tokenizer.chat_template is None:
            raise UsageError(
                "no-chat-template", "this model has no chat template", next="give it a text to continue instead"
            )
        inputs = self._tokenizer.apply_chat_template(
            [dict(message) for message in messages], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        return self._generate(inputs, max_new_tokens, temperature, seed, on_text)

    def complete(
        self,
        text: str,
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Continue a raw text, for patches at `text-start` and for base models; arguments as in `reply`."""
        inputs = cast("Any", self._tokenizer)(text, return_tensors="pt")
        return self._generate(inputs, max_new_tokens, temperature, seed, on_text)

    def compare(
        self, messages: Sequence[Message], *, max_new_tokens: int = 256, temperature: float = 0.0, seed: int = 0
    ) -> tuple[Reply, Reply]:
        """Answer a conversation without the patches, then with them; arguments as in `reply`."""
        options: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": seed}
        with self._applied.disabled() if self._applied is not None else nullcontext():
            before = self.reply(messages, **options)
        return before, self.reply(messages, **options)

    def _generate(
        self, inputs: Any, max_new_tokens: int, temperature: float, seed: int, on_text: Callable[[str], None] | None
    ) -> Reply:
        model, tokenizer = cast("Any", self._model), cast("Any", self._tokenizer)
        inputs = inputs.to(model.device)
        sampling = (
            {"do_sample": True, "temperature": temperature}
            if temperature > 0
            else {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        )
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            out = model.generate(
                **inputs,
                **sampling,
                max_new_tokens=max_new_tokens,
                pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
                streamer=_streamer(self._tokenizer, on_text) if on_text is not None else None,
            )
        prompt_tokens = int(inputs["input_ids"].shape[1])
        new = out[0, prompt_tokens:].tolist()
        return Reply(
            text=tokenizer.decode(new, skip_special_tokens=True),
            prompt_tokens=prompt_tokens,
            new_tokens=len(new),
            finished=bool(new) and new[-1] in _ends(model),
        )


def _ends(model: Any) -> set[int]:
    """Ids that end a reply."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        return set()
    return set(ends) if isinstance(ends, list) else {ends}


def _streamer(tokenizer: Tokenizer, on_text: Callable[[str], None]) -> Any:
    """A transformers streamer that hands on finished pieces of text."""
    from transformers import TextStreamer

    class Callback(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:  # noqa: ARG002 - transformers' name
            if text:
                on_text(text)

    return Callback(cast("Any", tokenizer), skip_prompt=True, skip_special_tokens=True)
