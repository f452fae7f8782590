"""What a commit changes, checked against what is there: nothing is a file and a folder at once."""

from __future__ import annotations

from collections.abc import Sequence

from patchpm.server.commit_body import Deletion
from patchpm.server.history import Commit, Entry, History
from patchpm.server.ledger import Removal
from patchpm.server.refusal import malformed, no_entry


def checked(history: History, start: Commit, changes: Sequence[Entry | Deletion]) -> list[Entry | Removal]:
    """Changes of single files, in the order in which they were given.

    Args:
        history: Of the repository.
        start: The commit that they go on from.
        changes: As the client says it.

    Raises:
        RefusedError: 404 for what is removed and is not there, 400 for a file in the place of a folder or in a file.
    """
    found: list[Entry | Removal] = []
    for change in changes:
        found += [change] if isinstance(change, Entry) else _removals(history, start, change)
    added = {change.path for change in found if isinstance(change, Entry)}
    removed = {change.path for change in found if isinstance(change, Removal)}
    for path in added:
        for parent in _parents(path):
            if parent in added or (parent not in removed and history.entry(start, parent) is not None):
                raise malformed(f"{parent} is a file, and {path} would be in it")
        if any(entry.path not in removed for entry in history.files(start, path)):
            raise malformed(f"{path} is a folder")
    return found


def _removals(history: History, start: Commit, change: Deletion) -> list[Removal]:
    if change.is_folder:
        paths = [entry.path for entry in history.files(start, change.path)]
    else:
        paths = [] if history.entry(start, change.path) is None else [change.path]
    if not paths:
        raise no_entry(change.path)
    return [Removal(path) for path in paths]


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
