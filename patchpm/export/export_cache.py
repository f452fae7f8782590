"""Exports that patchpm makes for itself, to serve: kept in its cache, so that a server starts again in no time.

An export is found by what it was made of: the base, the patch set, the form, and the version of patchpm. Of two servers
that start at once, one makes it and the other waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from patchpm import __version__
from patchpm.atomic_write import explained
from patchpm.model.loaded import PatchSet
from patchpm.patch.digest import Digest

Form = Literal["hf", "gguf"]
_FOLDER: Final = "exports"
_NAME: Final[dict[Form, str]] = {"hf": "model", "gguf": "model.gguf"}


@dataclass(frozen=True, slots=True)
class ExportCache:
    """A place for the exports of one base in one form.

    Args:
        cache: patchpm's own cache folder.
        base: Digest of the base's tensors, in that form.
        form: Folder or GGUF.
        write: Writes a set to a path that is not there; atomically.
    """

    cache: Path
    base: Digest
    form: Form
    write: Callable[[PatchSet, Path], None]

    def path(self, patches: PatchSet) -> Path:
        """Where the export of a set is, or will be."""
        key = Digest.of("\n".join((__version__, self.form, str(self.base), str(patches.digest))).encode())
        return self.cache / _FOLDER / key.hex[:32] / _NAME[self.form]

    def get(self, patches: PatchSet) -> Path:
        """The export of a set, made now where it is not there. Blocks.

        Raises:
            PatchpmError: What writing an export raises.
        """
        from filelock import FileLock

        path = self.path(patches)
        with explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / ".lock"):
            if not path.exists():
                self.write(patches, path)
        return path
