"""`patchpm evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.cli.options import json_option
from patchpm.cli.output import columns, emit
from patchpm.cli.stages import stages


@click.command(
    epilog="Example: patchpm evaluate made/prefix.safetensors --recipe recipe.toml --base models/SmolLM2-135M-Instruct"
)
@click.argument("prefix", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--recipe",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Recipe that names the held-out prompts.",
)
@click.option(
    "--base", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the base model."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write the claims to, as JSON.")
@click.option(
    "--replies", type=click.Path(dir_okay=False, path_type=Path), help="File to write every reply to, as JSON lines."
)
@click.option("--dev", is_flag=True, help="Measure on the dev prompts, to choose between recipes.")
@json_option
def command(
    prefix: Path, recipe: Path, base: Path, out: Path | None, replies: Path | None, dev: bool, as_json: bool
) -> None:
    """Measure PREFIX on the held-out prompts of its recipe, without and with it."""
    from patchpm.cli.extra import needs_extra

    with needs_extra("train"):
        from patchpm.evaluate.claims import claim_value, claims_file, replies_file
        from patchpm.evaluate.run import evaluate

    from patchpm.atomic_write import write_atomic

    with stages() as progress:
        found = evaluate(
            base, prefix, recipe, dev=dev, progress=lambda done, total: progress("prompts", done, total, {})
        )
    if out is not None:
        write_atomic(out, claims_file(found.claims))
    if replies is not None:
        write_atomic(replies, replies_file(found.exchanges))

    def human() -> None:
        columns(
            [
                (
                    claim.metric,
                    claim.suite,
                    f"{claim.n:,}",
                    _figure(claim.metric, claim.before),
                    _figure(claim.metric, claim.after),
                    f"{_figure(claim.metric, claim.low)} - {_figure(claim.metric, claim.high)}",
                )
                for claim in found.claims
            ],
            ("metric", "suite", "n", "without", "with", "95 % interval"),
        )

    emit([claim_value(claim) for claim in found.claims], human, as_json=as_json)


def _figure(metric: str, value: float) -> str:
    return f"{value:.1f}" if metric == "perplexity" else f"{value:.1%}"
