"""The page of environment variables and folders, from `patchpm/settings.py`."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from generator.markdown import GENERATED, code, table

_FOLDERS = """
`NO_COLOR`, with any value, turns colours off, as for other programs.

## Where things are kept

Without `PATCHPM_HOME` patchpm keeps to the usual places of the platform. On Linux these are `~/.config/patchpm`,
`~/.local/share/patchpm` and `~/.cache/patchpm`, or what the `XDG_…` variables say. With `PATCHPM_HOME` they are
`config`, `data` and `cache` under that folder. `patchpm cache show` prints them.

"""


def page(settings: Path) -> str:
    """The whole page.

    Args:
        settings: The module that names every variable and folder.
    """
    module = ast.parse(settings.read_text("utf-8"))
    folders = next(node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Folders")
    variables = table(("variable", "meaning"), ((code(value), text) for _, value, text in _documented(module.body)))
    places = [(name, text) for name, _, text in _documented(folders.body)]
    properties = [
        (node.name, ast.get_docstring(node) or "")
        for node in folders.body
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(one) == "property" for one in node.decorator_list)
    ]
    rows = table(("folder or file", "holds"), ((code(name), text) for name, text in [*places, *properties]))
    return f"{GENERATED}# Environment\n\nEvery environment variable that patchpm reads.\n\n{variables}{_FOLDERS}{rows}"


def _documented(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str, str]]:
    """Name, value and docstring of each assignment that has one."""
    for statement, following in itertools.pairwise(body):
        text = following.value if isinstance(following, ast.Expr) else None
        if not isinstance(text, ast.Constant) or not isinstance(text.value, str):
            continue
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, str(ast.literal_eval(statement.value)), text.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, "", text.value
