"""What a commit changes, checked against what is there: nothing is a file and a folder at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

from patchpm.server.commit_body import Deletion
from patchpm.server.history import Commit, Entry, History
from patchpm.server.refusal import malformed, no_entry
from patchpm.server.repository import Removal

_FEW: Final = 100


def checked(history: History, start: Commit, changes: Sequence[Entry | Deletion]) -> list[Entry | Removal]:
    """Changes of single files, in the order in which they were given.

    Args:
        history: Of the repository.
        start: The commit that they go on from.
        changes: As the client says it.

    Raises:
        RefusedError: 404 for what is removed and is not there, 400 for a file in the place of a folder or in a file.
    """
    tree = _Tree(history, start, len(changes))
    found: list[Entry | Removal] = []
    for change in changes:
        found += [change] if isinstance(change, Entry) else _removals(tree, change)
    added = {change.path for change in found if isinstance(change, Entry)}
    removed = {change.path for change in found if isinstance(change, Removal)}
    for path in added:
        for parent in _parents(path):
            if parent in added or (parent not in removed and tree.is_file(parent)):
                raise malformed(f"{parent} is a file, and {path} would be in it")
        if any(below not in removed for below in tree.below(path)):
            raise malformed(f"{path} is a folder")
    return found


class _Tree:
    """The paths of a commit: asked for one by one, or all read at once where many are asked for."""

    def __init__(self, history: History, commit: Commit, asked: int) -> None:
        self._history = history
        self._commit = commit
        self._all: list[str] | None = None
        if asked > _FEW:
            self._all = [entry.path for entry in history.files(commit)]

    def is_file(self, path: str) -> bool:
        if self._all is None:
            return self._history.entry(self._commit, path) is not None
        place = bisect_left(self._all, path)
        return place < len(self._all) and self._all[place] == path

    def below(self, folder: str) -> Iterator[str]:
        if self._all is None:
            yield from (entry.path for entry in self._history.files(self._commit, folder))
            return
        # "0" follows "/"
        first, last = (bisect_left(self._all, folder + end) for end in "/0")
        yield from self._all[first:last]


def _removals(tree: _Tree, change: Deletion) -> list[Removal]:
    found = [Removal(path) for path in tree.below(change.path)] if change.is_folder else []
    if not change.is_folder and tree.is_file(change.path):
        found = [Removal(change.path)]
    if not found:
        raise no_entry(change.path)
    return found


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
