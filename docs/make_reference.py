"""Writes `docs/reference/`, `docs/fronts/` and the figures in the README, so that they say what code and claims say.

`make docs` runs it. With `--check` nothing is written, and the exit code is 1 if a page is not what it would write.
"""

from __future__ import annotations

import sys
from pathlib import Path

from generator import claims, commands, environment, errors, fronts, recipes, schemas

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = "docs/reference"
PICTURES = "docs/fronts"
RECIPES = "recipes"


def pages() -> dict[str, str]:
    """The text of every page, by its path in the repository."""
    return {
        f"{REFERENCE}/commands.md": commands.page(),
        f"{REFERENCE}/errors.md": errors.page(ROOT / "patchpm"),
        f"{REFERENCE}/environment.md": environment.page(ROOT / "patchpm" / "settings.py"),
        f"{REFERENCE}/recipes.md": recipes.page(ROOT / "patchpm"),
        f"{REFERENCE}/schemas.md": schemas.page(ROOT / "registry_schema"),
        "README.md": claims.with_claims((ROOT / "README.md").read_text("utf-8"), claims.newest(ROOT / RECIPES)),
        **{f"{PICTURES}/{domain}.svg": fronts.front(ROOT / RECIPES, domain) for domain in fronts.FRONTS},
    }


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them; return the exit code."""
    stale = []
    for name, text in pages().items():
        path = ROOT / name
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, "utf-8")
    verb = "stale" if "--check" in arguments else "wrote"
    sys.stdout.writelines(f"{verb} {name}\n" for name in stale)
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
