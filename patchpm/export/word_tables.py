"""The two tables of a model that know its vocabulary: the embedding, and the head that makes logits.

Which tensors they are is asked of the model's own class, built without memory for its numbers. So it holds for
architectures that nobody listed here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from patchpm.errors import CannotError
from patchpm.model.causal_lm import embedding_of, head_of
from patchpm.model.stored_tensor import StoredTensor

if TYPE_CHECKING:
    from torch import nn

_FLOATS: Final = ("F32", "F16", "BF16")


@dataclass(frozen=True, slots=True)
class WordTables:
    """Where a base keeps its vocabulary."""

    embedding: StoredTensor
    """`(rows, width)`."""
    head: StoredTensor | None
    """`(rows, width)`; None where only the embedding is stored, and is the head as well."""
    head_name: str
    """Name under which a head of its own is stored."""
    bias: StoredTensor | None
    """`(rows,)`: what the head adds to the logits, in the few models that have it."""
    tied: bool
    """Whether the embedding is the head as well."""
    scale: float
    """What the model multiplies embedded tokens by, 1 in most."""

    @property
    def rows(self) -> int:
        """Rows of the embedding, which may be more than the tokenizer has tokens."""
        return self.embedding.shape[0]

    @property
    def width(self) -> int:
        """Length of a row."""
        return self.embedding.shape[1]


def find_word_tables(folder: Path, tensors: Iterable[StoredTensor]) -> WordTables:
    """Find embedding and head of the model in `folder` among its stored tensors.

    Raises:
        CannotError: `model-unsupported`, `embedding-not-float`.
    """
    model = _skeleton(folder)
    stored = tuple(tensors)
    embedding, head = embedding_of(model), head_of(model)
    names = {id(parameter): name for name, parameter in model.named_parameters(remove_duplicate=False)}
    weight = cast("Any", embedding).weight
    tied = cast("Any", head).weight is weight
    if tied:
        names |= {id(weight): _name_in(model, embedding)}
    found = _stored(stored, names[id(weight)], what="embedding")
    head_name = _name_in(model, head)
    own = None if tied and not _matches(stored, head_name) else _stored(stored, head_name, what="head")
    bias = getattr(head, "bias", None)
    if own is not None and own.shape != found.shape:
        raise _unsupported(f"its embedding is {found.shape} and its head {own.shape}")
    return WordTables(
        embedding=found,
        head=own,
        head_name=head_name if own is None else own.name,
        bias=None if bias is None else _stored(stored, names[id(bias)], what="bias of the head"),
        tied=tied,
        scale=_scale(embedding),
    )


def _skeleton(folder: Path) -> nn.Module:
    """The model without numbers."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.device("meta"):
            return cast("nn.Module", cast("Any", AutoModelForCausalLM).from_config(config))
    except Exception as error:  # a configuration of anybody's can make the model's own code raise anything
        raise CannotError(
            "model-unreadable",
            f"{folder} cannot be loaded as a language model",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            next="give the folder of a causal language model that transformers knows without code of its own",
        ) from error


def _name_in(model: nn.Module, module: nn.Module) -> str:
    """The name of a module's weight."""
    return next(f"{name}.weight" for name, found in model.named_modules() if found is module)


def _stored(stored: tuple[StoredTensor, ...], name: str, *, what: str) -> StoredTensor:
    found = _matches(stored, name)
    if len(found) != 1:
        raise _unsupported(f"{len(found)} of its tensors could be the {what} ({name}), so it is not clear which is")
    (tensor,) = found
    if tensor.dtype not in _FLOATS:
        raise CannotError(
            "embedding-not-float",
            f"the {what} of this model is quantised",
            why=f"{tensor.name} is stored as {tensor.dtype}; the rows of a patch need {', '.join(_FLOATS)}",
            next="export from the model as it was before it was quantised, and quantise the export",
        )
    return tensor


def _matches(stored: tuple[StoredTensor, ...], name: str) -> list[StoredTensor]:
    """The tensor of that name, or the ones with the same end: files leave out or rename what stands before it."""
    exact = [tensor for tensor in stored if tensor.name == name]
    if exact:
        return exact
    end = "." + ".".join(name.split(".")[-2:])
    return [tensor for tensor in stored if f".{tensor.name}".endswith(end)]


def _scale(embedding: nn.Module) -> float:
    from torch import nn

    if type(embedding) is nn.Embedding:
        return 1.0
    scale = getattr(embedding, "scalar_embed_scale", None)
    if not isinstance(scale, int | float):
        raise _unsupported(f"its embedding is a {type(embedding).__name__}, which patchpm does not know")
    return float(scale)


def _unsupported(why: str) -> CannotError:
    return CannotError(
        "model-unsupported",
        "this model cannot be exported",
        why=why,
        next="apply the patches in Python with patchpm.apply, and report the architecture",
    )
