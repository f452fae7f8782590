"""Looking at a finished export with the eyes of whoever loads it."""

from __future__ import annotations

from pathlib import Path

from patchpm.errors import IntegrityError
from patchpm.export.placed_set import PlacedSet
from patchpm.export.provenance import Provenance
from patchpm.export.tokenizer_files import load_tokenizer
from patchpm.export.word_tables import find_word_tables
from patchpm.model.causal_lm import backend_of
from patchpm.model.safetensors_folder import ModelFolder
from patchpm.model.stored_tensor import read_exactly
from patchpm.patch.digest import Digest


def check_folder(folder: Path, placed: PlacedSet, provenance: Provenance) -> None:
    """Make sure that an export is what it should be, without loading the model.

    Its tokenizer is loaded as an engine loads it, and must give the proven ids for every probe conversation. The class
    of its model must find a head of its own and an embedding with the rows of the patches in it.

    Raises:
        IntegrityError: `export-differs`.
    """
    tokenizer = load_tokenizer(folder)
    backend = backend_of(tokenizer)
    if [backend.token_to_id(name) for name in placed.names] != list(range(placed.first, placed.end)):
        raise _differs("its tokenizer gives the tokens of the patches other ids when it is loaded again")
    if not placed.placement.proves(tokenizer):
        raise _differs("its tokenizer splits a conversation in another way when it is loaded again")
    tables = find_word_tables(folder, ModelFolder(folder).tensors())
    if tables.tied or tables.head is None:
        raise _differs("its model takes the embedding for the head, whatever config.json says")
    row = tables.embedding.size // tables.rows
    size, offset = row * provenance.ids, tables.embedding.offset + row * provenance.first_id
    with tables.embedding.path.open("rb", buffering=0) as file:
        rows = read_exactly(file.fileno(), size, offset, tables.embedding.path)
    if Digest.of(rows) != provenance.rows:
        raise _differs("the rows of the patches are not in its embedding")


def _differs(why: str) -> IntegrityError:
    return IntegrityError(
        "export-differs",
        "the export does not do what the patched model does, so it was not kept",
        why=why,
        next="apply the patches in Python with patchpm.apply, and report the model with the version of transformers",
    )
