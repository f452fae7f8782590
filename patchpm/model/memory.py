"""Measuring a model that is already loaded: are these the weights that the patches were made for?

Nothing is written and nothing is copied but a small chunk at a time, from whatever device the weights are on. The
names are those under which `save_pretrained` writes the tensors, so the digests equal those of the saved folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from patchpm.errors import CannotError
from patchpm.model.stored_tensor import cores
from patchpm.model.tokenizer_digest import template_digest_of, tokenizer_digest_of
from patchpm.model.weights_digest import TensorDigest, TensorHasher, bf16_digest, tensors_digest
from patchpm.patch.fingerprint import Fingerprint

if TYPE_CHECKING:
    import torch

_CHUNK: Final = 1 << 20
_CHUNK_OFF_CPU: Final = 1 << 26
"""In bytes: 1 MiB stays in a core's cache; from an accelerator fewer and larger copies are quicker."""


def fingerprint_of_model(model: Any, tokenizer: Any = None) -> Fingerprint:
    """Hash the weights of a loaded transformers model, and its tokenizer if given.

    Call it before anything is applied: patches add rows to the embedding and tokens to the tokenizer. For a model
    that was loaded in the precision of its files both digests equal theirs; loaded in another one, `bf16` does, as
    long as neither precision is narrower than bfloat16.

    Args:
        model: A `PreTrainedModel`; not changed.
        tokenizer: A fast tokenizer; not changed.

    Raises:
        CannotError: `model-offloaded` for weights that are not in memory, `model-quantised` for a model that was
            quantised, or left quantised, while it was loaded, `unknown-dtype`, `slow-tokenizer`.
    """
    if getattr(model, "hf_quantizer", None) is not None:
        raise CannotError(
            "model-quantised",
            "The loaded model is quantised, and its weights in memory are in no file",
            next="fingerprint the folder or GGUF file that it was loaded from",
        )
    state = _as_saved(model)
    largest_first = sorted(state.items(), key=lambda item: -item[1].nbytes)
    with ThreadPoolExecutor(min(cores(), 16), thread_name_prefix="patchpm-hash") as pool:
        digests = list(pool.map(lambda item: _hash(*item), largest_first))
    return Fingerprint(
        tensors=tensors_digest(digests),
        bf16=bf16_digest(digests),
        tokenizer=None if tokenizer is None else tokenizer_digest_of(tokenizer),
        template=None if tokenizer is None else template_digest_of(tokenizer),
        hidden_size=int(model.get_input_embeddings().weight.shape[1]),
    )


def _as_saved(model: Any) -> dict[str, torch.Tensor]:
    """The tensors that `save_pretrained` would write, by name: tied ones once, converted ones as they are in files."""
    from transformers.core_model_loading import revert_weight_conversion
    from transformers.modeling_utils import remove_tied_weights_from_state_dict

    state = {name: tensor for name, tensor in model.state_dict().items() if name not in _ignored(model)}
    for name, tensor in state.items():
        if tensor.device.type == "meta":
            raise CannotError(
                "model-offloaded",
                f"The tensor {name} of the loaded model is not in memory",
                next="fingerprint the folder that the model was loaded from",
            )
    saved: dict[str, torch.Tensor] = revert_weight_conversion(model, remove_tied_weights_from_state_dict(state, model))
    return saved


def _ignored(model: Any) -> frozenset[str]:
    return frozenset(model._keys_to_ignore_on_save or ())


def _hash(name: str, tensor: torch.Tensor) -> TensorDigest:
    dtype = _dtype(name, tensor)
    hasher = TensorHasher(dtype, bf16=True)
    for chunk in _chunks(tensor):
        hasher.update(chunk)
    return hasher.finish(name, dtype, tuple(tensor.shape))


def _chunks(tensor: torch.Tensor) -> Iterator[memoryview]:
    import torch

    flat = tensor.detach().reshape(-1)
    step = (_CHUNK if flat.device.type == "cpu" else _CHUNK_OFF_CPU) // flat.element_size()
    for start in range(0, flat.numel(), step):
        chunk = flat[start : start + step].cpu().view(torch.uint8).numpy().data
        for part in range(0, len(chunk), _CHUNK):
            yield chunk[part : part + _CHUNK]


def _dtype(name: str, tensor: torch.Tensor) -> str:
    """The name that safetensors gives the tensor's dtype."""
    import torch

    names = {
        torch.bool: "BOOL",
        torch.uint8: "U8",
        torch.int8: "I8",
        torch.float8_e5m2: "F8_E5M2",
        torch.float8_e4m3fn: "F8_E4M3",
        torch.float8_e8m0fnu: "F8_E8M0",
        torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
        torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
        torch.uint16: "U16",
        torch.int16: "I16",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.uint32: "U32",
        torch.int32: "I32",
        torch.float32: "F32",
        torch.uint64: "U64",
        torch.int64: "I64",
        torch.float64: "F64",
        torch.complex64: "C64",
    }
    if tensor.dtype not in names:
        raise CannotError(
            "unknown-dtype", f"The tensor {name} has the dtype {tensor.dtype}, which no weight file holds"
        )
    return names[tensor.dtype]
