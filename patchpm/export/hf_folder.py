"""A model folder that holds base and patches together, and loads wherever the base loads.

The embedding gets a row for every row of the patches, the tokenizer a token for each, and the chat template emits
these tokens at the anchor. The head gets rows that are never chosen, and is stored by itself where it was the
embedding, since the model would else say the tokens of the patches. Everything else is the base's, byte for byte.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from patchpm.export import tokenizer_files
from patchpm.export.configuration import ids_in_use, with_vocabulary, write_generation_config
from patchpm.export.folder_check import check_folder
from patchpm.export.json_file import write_json
from patchpm.export.linked_file import Way, link_or_copy
from patchpm.export.new_folder import check_free, new_folder
from patchpm.export.placed_set import place_set
from patchpm.export.provenance import FILE_NAME, Provenance, write_provenance
from patchpm.export.silent_row import silent_row
from patchpm.export.tensor_plan import PlannedTensor, write_safetensors
from patchpm.export.word_rows import WordRows, planned
from patchpm.export.word_tables import find_word_tables
from patchpm.model.base_check import check_files, check_set
from patchpm.model.hash_cache import HashCache, state_of
from patchpm.model.loaded import PatchSet
from patchpm.model.outside_json import read_object
from patchpm.model.reserved_tokens import reserved_run
from patchpm.model.safetensors_folder import INDEX, ModelFolder
from patchpm.model.stored_tensor import Progress, StoredTensor
from patchpm.patch.fingerprint import Fingerprint

_MAX_CONFIG: Final = 64 << 20
_LEFT_OUT: Final = frozenset(("params.json", INDEX, FILE_NAME))
WEIGHTS: Final = frozenset(
    (
        ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".gguf", ".onnx", ".h5", ".msgpack",
        ".npz", ".py", ".pyc",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    folder: Path
    provenance: Provenance
    note: str
    """What is special about the place of the prefix in this chat template; empty where nothing is."""
    vocabulary: int
    """Rows of the embedding now."""
    grown: int
    """Rows that it had to grow by; 0 where the ids of the patches were free in the base."""
    untied: bool
    """Whether the head had to be stored by itself."""
    written: int
    """Bytes of weights that were written."""
    linked: int
    """Bytes of weights that are the base's own file under a second name."""
    ways: tuple[tuple[Way, int], ...]
    """How many weight files were linked or copied, by how."""


def export_hf(
    base_folder: Path,
    patches: PatchSet,
    fingerprint: Fingerprint,
    out: Path,
    *,
    link: bool = True,
    replace: bool = False,
    cache: HashCache | None = None,
    progress: Progress | None = None,
) -> Exported:
    """Write a model folder with a patch set in it.

    Memory: a few MiB beside the libraries, whatever the size of the model.

    Args:
        base_folder: With safetensors weights, `config.json` and the tokenizer; links are followed.
        patches: A verified set for this base, at `system-start`.
        fingerprint: What the base was measured to be.
        out: The folder to make. It is there whole in the end, or not at all.
        link: Whether weight files that do not change may become hard links to the base's, where the file system has
            no reflinks. Who then writes to one of them in place writes to both.
        replace: Whether an earlier export may stand at `out`.
        cache: What is known of the base's files, kept up to date where a hard link moves their time of change.
        progress: Told of bytes of weights done and in all.

    Raises:
        UsageError: `output-exists`, and what `check_set` raises.
        CannotError: `model-unsupported`, `model-unreadable`, `embedding-not-float`, `tokenizer-unreadable`,
            `tokenizer-unsupported`, `anchor-not-exportable`, `anchor-not-found`, `disk-full`, `read-only`,
            `cannot-write`; and as `ModelFolder`.
        IntegrityError: `base-mismatch`, `tokenizer-mismatch`, `template-mismatch`, `malformed-config`,
            `malformed-tokenizer`, `export-differs`; and as `ModelFolder`.
    """
    check_set(patches.patches, patches.anchor)
    check_free(out, replace=replace)
    folder = ModelFolder(base_folder)
    stored = folder.tensors()
    config = read_object(base_folder / "config.json", max_bytes=_MAX_CONFIG, code="malformed-config")
    tokenizer = tokenizer_files.load_tokenizer(base_folder)
    check_files(fingerprint, tokenizer, patches.patches, patches.anchor)
    tables = find_word_tables(base_folder, stored)
    tokens = len(tokenizer)
    free = None
    if tokens + patches.tokens > tables.rows:
        free = reserved_run(tokenizer, patches.tokens, ids_in_use(base_folder, config))
    placed = place_set(tokenizer, patches, instead_of=free)
    head = tables.head or tables.embedding
    rows = WordRows.of(placed, tables, silent_row(head, head.shape[0], tokens))
    provenance = Provenance.of(placed, fingerprint, dtype=tables.embedding.dtype, rows=rows.embedding)
    with _hashes_kept(cache, folder), new_folder(out, replace=replace) as new:
        _copy_rest(base_folder, new)
        weights = _write_weights(folder, stored, planned(tables, rows), new, link=link, progress=progress)
        write_json(new / "config.json", with_vocabulary(config, rows.vocabulary))
        write_generation_config(base_folder, new, config, range(placed.first, placed.end))
        tokenizer_files.write_tokenizer(base_folder, new, tokenizer, placed)
        (new / FILE_NAME).write_bytes(write_provenance(provenance))
        check_folder(new, placed, provenance)
    return Exported(
        folder=out,
        provenance=provenance,
        note=placed.placement.note,
        vocabulary=rows.vocabulary,
        grown=rows.vocabulary - tables.rows,
        untied=tables.tied,
        written=weights.written,
        linked=weights.linked,
        ways=tuple(sorted(weights.ways.items())),
    )


class _Weights:
    """Counts what is written, and tells of it."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.written = self.linked = self._done = 0
        self.ways: dict[Way, int] = {}
        self._total, self._progress = total, progress

    def advance(self, size: int) -> None:
        self._done += size
        if self._progress:
            self._progress(self._done, self._total)

    def linked_by(self, way: Way, size: int) -> None:
        self.ways[way] = self.ways.get(way, 0) + 1
        if way is Way.COPY:
            self.written += size
        else:
            self.linked += size
        self.advance(size)


def _write_weights(
    folder: ModelFolder,
    stored: tuple[StoredTensor, ...],
    changed: dict[str, tuple[PlannedTensor, ...]],
    out: Path,
    *,
    link: bool,
    progress: Progress | None,
) -> _Weights:
    """Write the shards that hold a table of the vocabulary, and link the others.

    Args:
        folder: The base.
        stored: Its tensors.
        changed: What stands in the place of a stored tensor, by the name of that.
        out: Where to write.
        link: Whether hard links will do.
        progress: Told of bytes.
    """
    weights = _Weights(sum(tensor.size for tensor in stored), progress)
    places: dict[str, str] = {}
    sizes = 0
    for shard in folder.shards:
        inside = [tensor for tensor in stored if tensor.path.name == shard]
        plan = [new for old in inside for new in changed.get(old.name, (PlannedTensor.copy(old),))]
        if any(tensor.name in changed for tensor in inside):
            weights.written += write_safetensors(out / shard, plan, weights.advance)
        else:
            source = folder.path / shard
            weights.linked_by(link_or_copy(source, out / shard, link=link), source.stat().st_size)
        places |= dict.fromkeys((tensor.name for tensor in plan), shard)
        sizes += sum(tensor.size for tensor in plan)
    if folder.index is not None:
        index = read_object(folder.path / INDEX, max_bytes=_MAX_CONFIG, code="malformed-index")
        metadata = index.get("metadata")
        metadata = {**(metadata if isinstance(metadata, dict) else {}), "total_size": sizes}
        metadata.pop("total_parameters", None)
        write_json(out / INDEX, {**index, "metadata": metadata, "weight_map": places})
    return weights


def _copy_rest(base: Path, out: Path) -> None:
    """Copy what lies beside the weights: not other weights, not code, and nothing that is written anew."""
    for path in sorted(base.iterdir()):
        name = path.name
        written = name in tokenizer_files.WRITTEN or name in tokenizer_files.SLOW or name in _LEFT_OUT
        if written or name.startswith((".", "adapter_")) or path.suffix.lower() in WEIGHTS:
            continue
        if path.is_file():
            shutil.copyfile(path, out / name)


@contextmanager
def _hashes_kept(cache: HashCache | None, folder: ModelFolder) -> Iterator[None]:
    """Let the cache know the base's files again, where linking or unlinking moved nothing but their time of change."""
    if cache is None:
        yield
        return
    before = state_of(folder.files)
    try:
        yield
    finally:
        after = state_of(folder.files)
        if after != before:
            cache.carry("safetensors", before, after)
