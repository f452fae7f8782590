"""`patchpm registry copy`."""

from __future__ import annotations

import click

from patchpm.cli.options import address, json_option
from patchpm.cli.output import emit, line
from patchpm.patch.digest import Digest
from patchpm.registry.hosts import open_host


@click.command("copy", epilog="Example: patchpm registry copy https://patches.example s3://mirror/patches")
@click.argument("source")
@click.argument("target")
@click.option("--root", help="What the digest of one of its roots must be, as its operator tells you.")
@json_option
def copy_command(source: str, target: str, root: str | None, as_json: bool) -> None:
    """Make the registry at TARGET the same as that at SOURCE: a mirror, a move, or a stick across an air gap.

    Both are addresses of registries: a folder, https:// (to read), s3://, gs:// or az://. Only what TARGET lacks is
    moved. Every file is checked against signed metadata first. No key is needed, since the signatures stay: users who
    pin the registry's root may read either place.
    """
    from patchpm.registry.transfer import transfer

    copied = transfer(
        open_host(address(source)), open_host(address(target)), root=None if root is None else Digest.parse(root)
    )
    releases = f"{copied.releases:,} new release{'' if copied.releases == 1 else 's'}"
    text = f"copied {releases}, {copied.bytes:,} bytes" if copied.bytes else "nothing was new"
    emit(
        {"source": source, "target": target, "releases": copied.releases, "bytes": copied.bytes},
        lambda: line(text),
        as_json=as_json,
    )
