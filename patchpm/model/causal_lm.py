"""The border to `transformers`: what patchpm touches of a model and of its tokenizer, and nothing more.

The library's own classes are half typed and change from release to release, so every cast stands here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, cast

from patchpm.errors import CannotError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend
    from torch import nn


class Tokenizer(Protocol):
    """The part of a `transformers` fast tokenizer that patchpm uses."""

    chat_template: Any

    def __call__(self, text: str, *, add_special_tokens: bool = ...) -> Any:
        """Encode one text."""

    def apply_chat_template(self, conversation: list[dict[str, Any]], **options: Any) -> Any:
        """Render a conversation."""

    def __len__(self) -> int:
        """Number of tokens, added ones included."""


def encode(tokenizer: Tokenizer, text: str, *, special: bool = False) -> tuple[int, ...]:
    """Token ids of `text`, with the special tokens that frame a raw text only if `special`."""
    return tuple(cast("list[int]", tokenizer(text, add_special_tokens=special)["input_ids"]))


def backend_of(tokenizer: Tokenizer) -> Backend:
    """The compiled tokenizer inside.

    Raises:
        CannotError: `tokenizer-unsupported` where there is none.
    """
    backend = getattr(tokenizer, "_tokenizer", None)
    if backend is None or not hasattr(backend, "post_processor"):
        raise CannotError(
            "tokenizer-unsupported",
            f"{type(tokenizer).__name__} is not a fast tokenizer",
            why="patches add tokens to the compiled tokenizer, and this one has none",
            next="load it with AutoTokenizer.from_pretrained",
        )
    return cast("Backend", backend)


def set_backend(tokenizer: Tokenizer, backend: Backend) -> None:
    """Put another compiled tokenizer inside."""
    cast("Any", tokenizer)._tokenizer = backend


def embedding_of(model: nn.Module) -> nn.Module:
    """The module that turns token ids into vectors."""
    return cast("nn.Module", cast("Any", model).get_input_embeddings())


def head_of(model: nn.Module) -> nn.Module:
    """The module that makes logits.

    Raises:
        CannotError: `model-unsupported` for a model that is no causal language model, or is wrapped in another object
            (PEFT, `torch.compile`), whose `generate` would pass the guard by.
    """
    from transformers import PreTrainedModel

    if not isinstance(model, PreTrainedModel):
        raise CannotError(
            "model-unsupported",
            f"{type(model).__name__} is not a model of transformers itself",
            why="hooks on a wrapper do not see what its generate() runs",
            next="apply the patches to the model inside, before it is compiled or wrapped",
        )
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is None or getattr(cast("Any", model).config, "is_encoder_decoder", False):
        raise CannotError(
            "model-unsupported",
            f"{type(model).__name__} is not a causal language model",
            why="a patch needs a decoder that reads token ids and returns logits",
            next="load it with AutoModelForCausalLM.from_pretrained",
        )
    return cast("nn.Module", head)


def text_config_of(model: nn.Module) -> Any:
    """The configuration of the language part."""
    return cast("Any", model).config.get_text_config()


def vocab_owners(model: nn.Module) -> Iterator[Any]:
    """Every object that states the size of the vocabulary as `vocab_size`, each once."""
    seen: set[int] = set()
    for owner in (cast("Any", model).config, text_config_of(model), model):
        if id(owner) not in seen and isinstance(getattr(owner, "vocab_size", None), int):
            seen.add(id(owner))
            yield owner
