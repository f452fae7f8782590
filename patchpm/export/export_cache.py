"""Exports that patchpm makes for itself, to serve: kept in its cache, so that a server starts again in no time.

An export is found by what it was made of: the base, the patch set, the form, and the version of patchpm. Of two servers
that start at once, one makes it and the other waits.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from patchpm import __version__
from patchpm.atomic_write import TEMPORARY_SUFFIX, explained
from patchpm.export.hf_folder import WEIGHTS
from patchpm.export.kept_exports import FOLDER, LOCK
from patchpm.model.gguf_file import read_gguf
from patchpm.model.loaded import PatchSet
from patchpm.model.stored_tensor import reading
from patchpm.patch.digest import Digest

Form = Literal["hf", "gguf"]
_NAME: Final[dict[Form, str]] = {"hf": "model", "gguf": "model.gguf"}


@dataclass(frozen=True, slots=True)
class ExportCache:
    """A place for the exports of one base in one form.

    Args:
        cache: patchpm's own cache folder.
        base: Digest of everything that an export is made of beside the set: weights, configuration, tokenizer.
        form: Folder or GGUF.
        write: Writes a set to a path that is not there; atomically.
    """

    cache: Path
    base: Callable[[], Digest]
    form: Form
    write: Callable[[PatchSet, Path], None]

    def path(self, patches: PatchSet) -> Path:
        """Where the export of a set is, or will be."""
        key = Digest.of("\n".join((__version__, self.form, str(self.base()), str(patches.digest))).encode())
        return self.cache / FOLDER / key.hex[:32] / _NAME[self.form]

    def get(self, patches: PatchSet) -> Path:
        """The export of a set, made now where it is not there. Blocks.

        Raises:
            PatchpmError: What writing an export raises.
        """
        from filelock import FileLock

        path = self.path(patches)
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / LOCK):
            for left in path.parent.glob(f".*{TEMPORARY_SUFFIX}"):  # of one that was killed
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            if not path.exists():
                self.write(patches, path)
        return path


def digest_of_folder(folder: Path, tensors: Digest) -> Digest:
    """Of a model folder: its tensors, and every file that is no weights.

    Args:
        folder: Of the base.
        tensors: Digest of its tensors.

    Raises:
        CannotError: `unreadable-file`.
    """
    lines = [str(tensors)]
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix not in WEIGHTS:
            with reading(path), path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()} {path.name}")
    return Digest.of("\n".join(lines).encode(errors="surrogateescape"))


def digest_of_gguf(path: Path, tensors: Digest) -> Digest:
    """Of a GGUF file: its tensors, and everything before them.

    Args:
        path: The file.
        tensors: Digest of its tensors.

    Raises:
        IntegrityError: `malformed-gguf`, `truncated-weights`.
        CannotError: `unreadable-file`.
    """
    start = min((tensor.offset for tensor in read_gguf(path).tensors), default=0)
    with reading(path), path.open("rb") as file:
        return Digest.of(str(tensors).encode() + file.read(start))
