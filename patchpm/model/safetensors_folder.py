"""Which files of a model folder hold its weights, told as the loaders tell it, and refused where they would differ."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from patchpm.errors import CannotError, IntegrityError
from patchpm.model.outside_json import read_object
from patchpm.model.safetensors_file import read_safetensors
from patchpm.model.stored_tensor import StoredTensor

SINGLE: Final = "model.safetensors"
"""Name of the weights in one file."""
INDEX: Final = "model.safetensors.index.json"
"""Name of the list of shards."""
_MAX_INDEX: Final = 64 * 1024 * 1024
_MAX_CONFIG: Final = 16 * 1024 * 1024
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_SHARD: Final = re.compile(r"\w[\w.-]{0,240}\.safetensors", re.ASCII)
_WIDTHS: Final = ("hidden_size", "n_embd", "d_model", "dim")


class ModelFolder:
    """The weights of a folder: listed when made, read when asked.

    Attributes:
        path: The folder.
        shards: Names of the weight files, sorted; none has a folder part.
        index: Tensor name to shard name, or None where there is a single file.
    """

    def __init__(self, path: Path) -> None:
        """Find the weight files.

        Raises:
            CannotError: `no-weights`, `pickled-weights`, `ambiguous-weights`, `adapter-in-folder`, `unreadable-file`.
            IntegrityError: `malformed-index`, `shard-missing`.
        """
        self.path = path
        single, index = (path / SINGLE).is_file(), (path / INDEX).is_file()
        if single and index:
            raise CannotError(
                "ambiguous-weights",
                f"{path} holds its weights twice",
                why=f"there is a {SINGLE} and a {INDEX}, and not every engine loads the same one",
                next="keep one of the two",
            )
        if not single and not index:
            raise _no_weights(path)
        if (path / "adapter_config.json").exists():
            raise CannotError(
                "adapter-in-folder",
                f"{path} holds an adapter beside the weights",
                why="transformers loads adapter_config.json on its own, so that other weights than these would run",
                next="merge the adapter into the weights, or move it out of the folder",
            )
        self.index = _read_index(path / INDEX) if index else None
        self.shards = (SINGLE,) if self.index is None else tuple(sorted(set(self.index.values())))
        for shard in self.shards:
            if not (path / shard).is_file():
                raise _malformed_index(path / INDEX, f"{shard} is not there", code="shard-missing")

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that decides what the weights are: the shards and the index."""
        index = (self.path / INDEX,) if self.index is not None else ()
        return (*index, *(self.path / shard for shard in self.shards))

    def tensors(self) -> tuple[StoredTensor, ...]:
        """Read the headers of all files.

        Raises:
            IntegrityError: `malformed-safetensors`, `truncated-weights`; `malformed-index` where the index and the
                shards do not say the same.
            CannotError: `unreadable-file`, `no-weights`.
        """
        tensors = tuple(tensor for shard in self.shards for tensor in read_safetensors(self.path / shard))
        if self.index is not None:
            self._compare(tensors, self.index)
        if not tensors:
            raise CannotError("no-weights", f"{self.path} holds no tensor at all")
        return tensors

    def _compare(self, tensors: tuple[StoredTensor, ...], index: dict[str, str]) -> None:
        found: dict[str, str] = {}
        for tensor in tensors:
            if tensor.name in found:
                raise self._mismatch(f"the tensor {tensor.name!r} is in {found[tensor.name]} and in {tensor.path.name}")
            found[tensor.name] = tensor.path.name
        for name in sorted(found.keys() | index.keys()):
            if found.get(name) != index.get(name):
                place, said = found.get(name, "no shard"), index.get(name, "nothing")
                raise self._mismatch(f"the tensor {name!r} is in {place}, and the index says {said}")

    def _mismatch(self, why: str) -> IntegrityError:
        return _malformed_index(self.path / INDEX, why)

    def hidden_size(self) -> int:
        """Width of the embedding, as `config.json` says it.

        Raises:
            CannotError: `no-config` where there is none.
            IntegrityError: `malformed-config`.
        """
        path = self.path / "config.json"
        if not path.is_file():
            raise CannotError(
                "no-config", f"{self.path} has no config.json", why="it says how wide the model's embedding is"
            )
        config = read_object(path, max_bytes=_MAX_CONFIG, code="malformed-config")
        text = config.get("text_config")
        for part in (config, text if isinstance(text, dict) else {}):
            for key in _WIDTHS:
                width = part.get(key)
                if isinstance(width, int) and not isinstance(width, bool) and width > 0:
                    return width
        raise IntegrityError(
            "malformed-config", f"{path} does not say the width of the embedding", why="no hidden_size"
        )


def _read_index(path: Path) -> dict[str, str]:
    index = read_object(path, max_bytes=_MAX_INDEX, code="malformed-index")
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise _malformed_index(path, "it has no weight_map")
    shards: dict[str, str] = {}
    for name, shard in weight_map.items():
        # A plain name in the same folder, and nothing that walks out of it.
        if not isinstance(shard, str) or not _SHARD.fullmatch(shard):
            raise _malformed_index(path, f"{str(shard)[:80]!r} is not the name of a safetensors file in its folder")
        shards[name] = shard
    return shards


def _malformed_index(path: Path, why: str, *, code: str = "malformed-index") -> IntegrityError:
    return IntegrityError(
        code, f"{path} does not describe the weights beside it", why=why, next="download the model again"
    )


def _no_weights(path: Path) -> CannotError:
    if any(True for pattern in _PICKLES for _ in path.glob(pattern)):
        return CannotError(
            "pickled-weights",
            f"{path} holds its weights as pickles only",
            why="a pickle runs code when it is opened, so patchpm never does",
            next="convert the model to safetensors (save_pretrained does), or take a revision that has them",
        )
    return CannotError(
        "no-weights",
        f"{path} holds no model",
        why=f"there is neither {SINGLE} nor {INDEX}",
        next="name the folder that holds the weights, or a .gguf file",
    )
