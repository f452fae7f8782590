"""`patchpm train`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.options import json_option
from patchpm.cli.output import emit, line
from patchpm.cli.stages import stages
from patchpm.patch.strict_json import JsonValue


@click.command(
    epilog="Example: patchpm train recipes/harmfulness/1.1.1/recipe.toml --base models/SmolLM2-135M-Instruct --out made"
)
@click.argument("recipe", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--base", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the base model."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the prefix and its statement.",
)
@click.option("--seed", type=int, help="Seed instead of the recipe's own, to see how much chance decides.")
@json_option
def command(recipe: Path, base: Path, out: Path, seed: int | None, as_json: bool) -> None:
    """Train a prefix as RECIPE says; go on from the last checkpoint if OUT has one."""
    from patchpm.cli.extra import needs_extra

    with needs_extra("train"):
        from patchpm.train.run import train

    with stages() as progress:
        result = train(recipe, base, out, seed=seed, progress=progress)

    def human() -> None:
        line(f"prefix     {result.prefix}")
        line(f"statement  {result.training}")
        line(f"rows used  {result.used}")

    files: dict[str, JsonValue] = {
        "prefix": str(result.prefix),
        "training": str(result.training),
        "used": str(result.used),
    }
    emit(files, human, as_json=as_json)
