"""`patchpm fingerprint`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from patchpm.cli.options import json_option
from patchpm.cli.output import columns, emit, note, progress

if TYPE_CHECKING:
    from patchpm.model.fingerprint import Measured


@click.command(epilog="Example: patchpm fingerprint models/SmolLM2-135M-Instruct")
@click.argument("path")
@click.option("--rehash", is_flag=True, help="Hash the weights again, even if they are known and did not change.")
@json_option
def command(path: str, rehash: bool, as_json: bool) -> None:
    """Show the identity of a base model.

    PATH is a folder with safetensors weights, a .gguf file, or hf:org/name[@revision] in the Hub's local cache. Nothing
    is downloaded.
    """
    from patchpm.model.fingerprint import fingerprint
    from patchpm.model.hash_cache import HashCache

    with progress("hashing the weights", unit="bytes") as advance:
        measured = fingerprint(path, cache=HashCache.of_user(), rehash=rehash, progress=advance)
    found = measured.fingerprint
    digests = {
        "tensors": found.tensors,
        "bf16": found.bf16,
        "tokenizer": found.tokenizer,
        "template": found.template,
    }
    emit(
        {
            "source": str(measured.source),
            "kind": measured.kind,
            "assurance": measured.assurance.name.lower(),
            "hidden_size": found.hidden_size,
            **{name: None if digest is None else str(digest) for name, digest in digests.items()},
            "files": {name: str(digest) for name, digest in found.files},
        },
        lambda: _show(measured),
        as_json=as_json,
    )


def _show(measured: Measured) -> None:
    found = measured.fingerprint
    columns(
        [
            ("source", str(measured.source)),
            ("kind", measured.kind),
            ("assurance", measured.assurance.name.lower()),
            ("hidden size", str(found.hidden_size)),
            ("tensors", str(found.tensors)),
            ("bf16", str(found.bf16 or "none: a GGUF file has none")),
            ("tokenizer", str(found.tokenizer or "none")),
            ("template", str(found.template or "none")),
            *((f"declared {name}", str(digest)) for name, digest in found.files),
        ]
    )
    if measured.hashed == 0:
        note("known from before, and the files did not change; --rehash hashes them again")
