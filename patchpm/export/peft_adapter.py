"""The folder that PEFT keeps a prompt-tuning adapter in: a description in JSON, and one matrix.

    adapter_config.json         which method, how many rows, for which base
    adapter_model.safetensors   one tensor `prompt_embeddings`, (tokens, hidden_size)

PEFT puts the rows at position 0, in front of everything that the tokenizer gives. Reading is strict, as for every file
that a stranger made; pickled weights are never read.

Source: PEFT 0.21, `PromptTuningConfig` and `get_peft_model_state_dict`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from patchpm.errors import CannotError, IntegrityError
from patchpm.model.outside_json import parse_object
from patchpm.model.safetensors_file import read_safetensors
from patchpm.model.stored_tensor import read_exactly, reading
from patchpm.patch import strict_json
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import ANCHORS, DTYPES
from patchpm.patch.prefix import PrefixMatrix
from patchpm.patch.release import MAX_BYTES, PREFIX

if TYPE_CHECKING:
    import torch

CONFIG: Final = "adapter_config.json"
WEIGHTS: Final = "adapter_model.safetensors"
TENSOR: Final = "prompt_embeddings"
METHOD: Final = "PROMPT_TUNING"
_ANCHOR: Final = "patchpm.anchor"
_MAX_CONFIG: Final = 64 * 1024
_OTHERS: Final = {
    "PREFIX_TUNING": "it holds keys and values for every layer, which no rows in front of the embeddings equal",
    "P_TUNING": "its rows come out of a network that is part of the adapter, and may be kept in it instead of them",
    "MULTITASK_PROMPT_TUNING": "its rows are another product for each task",
}
"""Methods that look like prompt tuning, and why they are not."""


@dataclass(frozen=True, slots=True)
class PeftAdapter:
    """One prompt-tuning adapter for a causal language model."""

    matrix: PrefixMatrix
    base: str
    """What it calls its base: a name on the Hub, or a path on its author's machine; may be empty."""
    made_by: str
    """Version of PEFT that wrote it, where it says so; else empty."""
    anchor: str | None
    """Where its rows were trained, if patchpm exported it; None for what PEFT trained, which is position 0."""
    description: Digest
    """Of its `adapter_config.json`."""


def read_adapter(folder: Path) -> PeftAdapter:
    """Read an adapter that someone trained with PEFT.

    Raises:
        CannotError: `adapter-unsupported` for another method or task, `pickled-weights`, `unreadable-file`.
        IntegrityError: `malformed-adapter`, `malformed-safetensors`, `truncated-weights`.
    """
    with reading(folder / CONFIG), (folder / CONFIG).open("rb") as file:
        described = file.read(_MAX_CONFIG + 1)
    if len(described) > _MAX_CONFIG:
        raise _malformed(f"{CONFIG} has more than {_MAX_CONFIG:,} bytes")
    config = parse_object(described, source=CONFIG, code="malformed-adapter")
    _check_method(config)
    if not (folder / WEIGHTS).is_file() and (folder / "adapter_model.bin").exists():
        raise CannotError(
            "pickled-weights",
            f"{folder} holds its numbers as adapter_model.bin",
            why="a pickle can run any program when it is read, so patchpm reads none",
            next="save it again with PEFT 0.7 or newer, which writes adapter_model.safetensors",
        )
    matrix = _matrix(folder / WEIGHTS)
    stated = (config.get("num_virtual_tokens"), config.get("token_dim"))
    if stated != (matrix.tokens, matrix.hidden_size):
        raise _malformed(
            f"{CONFIG} means {stated[0]} x {stated[1]}, {WEIGHTS} has {matrix.tokens} x {matrix.hidden_size}"
        )
    return PeftAdapter(
        matrix,
        _text(config, "base_model_name_or_path"),
        _text(config, "peft_version"),
        _anchor(folder / WEIGHTS),
        Digest.of(described),
    )


def adapter_files(rows: torch.Tensor, base: str, anchor: str) -> dict[str, bytes]:
    """The two files that `PeftModel.from_pretrained` reads; the same rows always give the same bytes.

    Args:
        rows: `(tokens, hidden_size)`, any float type; kept as it is.
        base: What the adapter calls its base.
        anchor: Where the rows were trained, for whoever imports them again; PEFT does not read it.
    """
    from safetensors.torch import save

    config: strict_json.JsonValue = {
        "base_model_name_or_path": base,
        "inference_mode": True,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": int(rows.shape[0]),
        "peft_type": METHOD,
        "prompt_tuning_init": "RANDOM",
        "task_type": "CAUSAL_LM",
        "token_dim": int(rows.shape[1]),
    }
    return {
        CONFIG: strict_json.dumps(config),
        WEIGHTS: save({TENSOR: rows.contiguous()}, metadata={"format": "pt", _ANCHOR: anchor}),
    }


def _check_method(config: dict[str, strict_json.JsonValue]) -> None:
    method, task = config.get("peft_type"), config.get("task_type")
    if method != METHOD:
        shown = str(method)[:40]
        why = _OTHERS.get(shown, "only the rows that prompt tuning learns can stand in front of the embeddings")
        raise CannotError(
            "adapter-unsupported",
            f"this adapter was made by {shown}, not by {METHOD}",
            why=why,
            next="train a prefix with `patchpm train`, or with PEFT's PromptTuningConfig",
        )
    if task != "CAUSAL_LM" or config.get("num_transformer_submodules", 1) not in (1, None):
        raise CannotError(
            "adapter-unsupported",
            "this adapter is not for a causal language model",
            why=f"its task is {str(task)[:40]}, with {str(config.get('num_transformer_submodules'))[:40]} submodules",
        )


def _matrix(path: Path) -> PrefixMatrix:
    tensors = read_safetensors(path)
    if [tensor.name for tensor in tensors] != [TENSOR]:
        raise _malformed(f"{WEIGHTS} holds {len(tensors)} tensors; a prompt-tuning adapter has one, {TENSOR}")
    (tensor,) = tensors
    if tensor.dtype not in DTYPES or len(tensor.shape) != 2:
        raise _malformed(f"{TENSOR} is {tensor.dtype} of shape {list(tensor.shape)}, not a matrix of float numbers")
    if tensor.size > MAX_BYTES[PREFIX]:
        raise _malformed(f"{TENSOR} has {tensor.size:,} bytes, and a patch at most {MAX_BYTES[PREFIX]:,}")
    with reading(path), path.open("rb", buffering=0) as file:
        data = read_exactly(file.fileno(), tensor.size, tensor.offset, path)
    return PrefixMatrix(tensor.dtype, tensor.shape[0], tensor.shape[1], data)


def _anchor(path: Path) -> str | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            found = (file.metadata() or {}).get(_ANCHOR)
    except SafetensorError as error:
        raise _malformed(str(error)) from error
    return found if found in ANCHORS else None


def _text(config: dict[str, strict_json.JsonValue], key: str) -> str:
    value = config.get(key)
    return value if isinstance(value, str) else ""


def _malformed(why: str) -> IntegrityError:
    return IntegrityError("malformed-adapter", "this is not a prompt-tuning adapter as PEFT writes it", why=why)
