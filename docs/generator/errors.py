"""The page of exit codes and error codes, from the error classes and every place that raises them."""

from __future__ import annotations

import ast
import inspect
import itertools
from pathlib import Path

from generator.error_sites import CLASSES, Site, error_sites
from generator.markdown import GENERATED, code, table
from patchpm.errors import ExitCode

_INTRODUCTION = """# Errors

An error says what happened, why, and what to do next:

```text
error: patchpm.lock does not belong to this patchpm.toml [stale-lock]
  the requirements changed after the lock was made
hint: run `patchpm lock` and commit patchpm.lock
```

The word in brackets is its code. Codes and exit codes are stable: scripts may rely on them, and not on the sentences.
With `--json` the error is one JSON object on standard error: `{"error": {"code", "what", "why", "next"}}`.
`patchpm --traceback …` shows where in patchpm it was raised.

## Exit codes

"""


def page(package: Path) -> str:
    """The whole page.

    Args:
        package: Folder of the package whose errors are listed.
    """
    meanings = _meanings(package / "errors.py")
    rows = [(code(str(int(each))), code(each.name), meanings[each.name]) for each in ExitCode]
    rows.append((code("130"), "", "Interrupted with Ctrl-C; nothing is left half done."))
    sites = error_sites(package)
    sections = [_section(exit_code, meanings[exit_code.name], sites) for exit_code in ExitCode]
    return GENERATED + _INTRODUCTION + table(("exit code", "name", "meaning"), rows) + "".join(sections)


def _section(exit_code: ExitCode, meaning: str, sites: list[Site]) -> str:
    told: dict[tuple[str, str], list[str]] = {}
    for site in sites:
        if _exit_code(site) is exit_code:
            told.setdefault((site.code, site.kind), []).append(site.what)
    if not told:
        return ""
    rows = [(code(name), code(kind), "; ".join(whats)) for (name, kind), whats in sorted(told.items())]
    kinds = sorted({kind for _, kind in told})
    classes = "".join(f"- `{kind}`: {_first_line(kind)}\n" for kind in kinds)
    heading = f"\n## Exit code {int(exit_code)}\n\n{meaning}\n\n{classes}\n"
    return heading + table(("code", "class", "what it says"), rows)


def _exit_code(site: Site) -> ExitCode:
    # The command line ends with 70 for a bug, whatever the class of the error that tells of it.
    return ExitCode.INTERNAL if site.code == "internal" else CLASSES[site.kind].exit_code


def _first_line(kind: str) -> str:
    return (inspect.getdoc(CLASSES[kind]) or "").splitlines()[0]


def _meanings(path: Path) -> dict[str, str]:
    """The docstring behind each exit code."""
    tree = ast.parse(path.read_text("utf-8"))
    enum = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ExitCode")
    found = {}
    for statement, following in itertools.pairwise(enum.body):
        if isinstance(statement, ast.Assign) and isinstance(following, ast.Expr):
            found[ast.unparse(statement.targets[0])] = str(ast.literal_eval(following.value))
    return found
