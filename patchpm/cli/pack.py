"""`patchpm pack`."""

from __future__ import annotations

from pathlib import Path

import click

from patchpm.atomic_write import write_atomic
from patchpm.cli.bases import measure
from patchpm.cli.options import json_option
from patchpm.cli.output import emit, line
from patchpm.cli.signing import key_option, load_keys, passphrase_option
from patchpm.errors import CannotError
from patchpm.patch.manifest_json import write_manifest
from patchpm.patch.packing import CLAIMS, DESCRIPTION, TRAINING, Ingredients, make_manifest
from patchpm.patch.release import PREFIX
from patchpm.trust.attestations import sign_release


@click.command(epilog="Example: patchpm pack runs/toxicity --base models/SmolLM2 --key acme-release --out release")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--base", required=True, help="The base model that the prefix was trained on.")
@click.option(
    "--quantised", multiple=True, metavar="GGUF", help="A quantised copy that you vouch for. May be repeated."
)
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Where the release goes.")
@key_option
@passphrase_option
@json_option
def command(
    folder: Path,
    base: str,
    quantised: tuple[str, ...],
    out: Path,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Make a signed release of FOLDER, which holds patch.toml, prefix.safetensors, training.json and claims.json.

    The same input and keys always give the same bytes.
    """
    signers = load_keys(keys, passphrase_file)
    parts = Ingredients(
        _read(folder / DESCRIPTION).decode("utf-8", "replace"),
        _read(folder / PREFIX),
        _read(folder / TRAINING),
        _read(folder / CLAIMS),
    )
    copies = [measure(path, Path()).fingerprint.tensors for path in quantised]
    found = measure(base, Path()).fingerprint
    manifest = make_manifest(parts, found, tuple(digest for digest in copies if digest is not None))
    files = sign_release(write_manifest(manifest), parts.prefix, signers)
    for name, data in files.items():
        write_atomic(out / name, data)
    emit(
        {"name": str(manifest.name), "version": str(manifest.version), "base": manifest.base.short, "folder": str(out)},
        lambda: line(f"packed {manifest.name} {manifest.version} for {manifest.base.name} into {out}"),
        as_json=as_json,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CannotError("unreadable-file", f"{path.name} cannot be read", why=f"{path}: {error.strerror}") from None
