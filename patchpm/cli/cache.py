"""`patchpm cache`."""

from __future__ import annotations

import shutil

import click

from patchpm.atomic_write import explained
from patchpm.cli.options import json_option
from patchpm.cli.output import columns, emit, line
from patchpm.errors import ExitCode
from patchpm.export import kept_exports
from patchpm.settings import Folders
from patchpm.store.store import Store, Usage


@click.group()
def command() -> None:
    """Look after the local store and caches. Everything in them can be fetched or made again."""


@command.command("show", epilog="Example: patchpm cache show")
@json_option
def show_command(as_json: bool) -> None:
    """Show where things are kept and how much there is."""
    folders = Folders.of_user()
    usage = Store(folders.store).usage()
    exports = kept_exports.usage(folders.cache)
    rows = [
        ("store", str(folders.store), f"{usage.files} files, {usage.size:,} bytes"),
        ("exports", str(folders.cache / kept_exports.FOLDER), f"{exports.files} files, {exports.size:,} bytes"),
        ("registries", str(folders.registries), "trusted state, kept so that nobody can turn it back"),
        ("cache", str(folders.cache), "hashes of model files, demo models"),
    ]
    emit(
        {
            "store": str(folders.store),
            "files": usage.files,
            "bytes": usage.size,
            "exports": exports.size,
            "registries": str(folders.registries),
            "cache": str(folders.cache),
        },
        lambda: columns(rows),
        as_json=as_json,
    )


@command.command("verify", epilog="Example: patchpm cache verify --repair")
@click.option("--repair", is_flag=True, help="Delete damaged files, so that the next install fetches them again.")
@json_option
def verify_command(repair: bool, as_json: bool) -> int:
    """Hash every file of the store."""
    store = Store(Folders.of_user().store)
    damaged = list(store.damaged())
    if repair:
        for path in damaged:
            store.discard(path)

    def human() -> None:
        for path in damaged:
            line(f"{'deleted' if repair else 'damaged'}: {path}")
        line(f"{store.usage().files} files are intact" if repair or not damaged else f"{len(damaged)} damaged")

    emit({"damaged": [str(path) for path in damaged], "repaired": repair}, human, as_json=as_json)
    return ExitCode.INTEGRITY if damaged and not repair else ExitCode.OK


@command.command("clean", epilog="Example: patchpm cache clean")
@click.option("--all", "everything", is_flag=True, help="Delete converted models and hashes of model files too.")
@json_option
def clean_command(everything: bool, as_json: bool) -> None:
    """Delete every release in the store, and the exports that were made to serve.

    Projects fetch what they need again with `patchpm install`, and `patchpm serve` exports again.
    """
    folders = Folders.of_user()
    store, exports = Store(folders.store).clean(), kept_exports.clean(folders.cache)
    usage = Usage(store.files + exports.files, store.size + exports.size)
    if everything and folders.cache.exists():
        with explained(folders.cache):
            shutil.rmtree(folders.cache)
    emit(
        {"files": usage.files, "bytes": usage.size},
        lambda: line(f"deleted {usage.files} files, {usage.size:,} bytes"),
        as_json=as_json,
    )
