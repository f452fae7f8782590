"""`patchpm serve --engine`: the project's set built into a model, and the engine that patchpm starts on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.locked_gguf import locked_gguf
from patchpm.cli.locked_set import locked_set
from patchpm.errors import CannotError, IntegrityError
from patchpm.gateway.engine_command import ENGINES, EngineCommand, Format, default_engine, engine_command
from patchpm.settings import Folders

if TYPE_CHECKING:
    from patchpm.cli.served_roster import Loading
    from patchpm.export.export_cache import ExportCache
    from patchpm.gateway.engine import Engine
    from patchpm.gateway.own_engine import WithOwnEngine
    from patchpm.gateway.roster import Roster
    from patchpm.model.loaded import PatchSet

_EVERY = 10
"""Seconds between two lines that say that an engine is still starting."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What the user said of the engine."""

    engine: str | None
    folder: Path | None
    command: str | None
    gguf: Path | None
    timeout: float
    arguments: tuple[str, ...]

    @property
    def is_given(self) -> bool:
        """Whether anything of it was said."""
        return any((self.engine, self.folder, self.command, self.gguf, self.arguments))


@dataclass(frozen=True, slots=True)
class OwnEngineOf:
    """An engine of one project, ready to be started."""

    loading: Loading
    """How the roster is read."""
    running: WithOwnEngine
    """What runs around the gateway."""
    export: Callable[[], Path]
    """Makes the model now, so that what goes wrong is told before the server listens."""


def engine_options(function: click.decorators.FC) -> click.decorators.FC:
    """The options of an engine that patchpm starts by itself."""
    for option in (
        click.argument("engine_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGUMENT...]"),
        click.option(
            "--start-timeout",
            default=600,
            show_default=True,
            type=click.IntRange(1),
            help="Seconds until the engine must be up.",
        ),
        click.option(
            "--gguf",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="For llama.cpp: the stock GGUF file, where the base is a folder.",
        ),
        click.option(
            "--engine-command",
            metavar="LINE",
            help="Another way to start the engine; says where {model}, {host}, {port} and {name} go.",
        ),
        click.option(
            "--engine-bin",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Folder of the engine's executable, mostly of a Python environment. Default: PATH.",
        ),
        click.option(
            "--engine",
            type=click.Choice(list(ENGINES)),
            help="Start this engine, with the patches built in. Default without --upstream: vllm where it is "
            "installed, else transformers; llama.cpp for a GGUF base.",
        ),
    ):
        function = option(function)
    return function


def own_engine_of(choice: EngineChoice, folder: Path, label: str | None) -> OwnEngineOf:
    """How the project's set is loaded, built into a model and served by an engine of its own.

    Raises:
        UsageError: `bad-engine-command`, `which-gguf`, `which-base`.
        CannotError: `engine-not-found`, `not-a-folder`.
        IntegrityError: As `locked_set`.
    """
    from patchpm.cli.served_roster import Loading, of_project
    from patchpm.gateway.engine import Engine
    from patchpm.gateway.injection import FixedInjection
    from patchpm.gateway.own_engine import WithOwnEngine
    from patchpm.json_log import GATEWAY_LOG as LOG

    locked = locked_set(folder, label)
    form: Format = "gguf" if locked.base.kind == "gguf" or choice.gguf is not None else "hf"
    command = _command(choice, choice.engine or default_engine(form, choice.folder))
    exports = _gguf_exports(folder, label, choice.gguf) if command.format == "gguf" else _hf_exports(folder, label)
    loading = of_project(folder, label, FixedInjection.of)

    def load() -> Roster:
        if command.format == "gguf":
            # The patches of a new lock must be made for this very copy of the base, too.
            locked_gguf(folder, label, choice.gguf)
        return loading.load()

    async def start(model: Path) -> Engine:
        said = 0.0

        def waiting(seconds: float) -> None:
            nonlocal said
            if seconds > said + _EVERY:
                said = seconds
                LOG.info("engine starting", extra={"fields": {"engine": command.engine, "seconds": round(seconds)}})

        return await Engine.start(command, model, locked.label, deadline=choice.timeout, waiting=waiting)

    return OwnEngineOf(
        Loading(load, loading.watched), WithOwnEngine(exports.get, start), lambda: exports.get(locked.patches)
    )


def _command(choice: EngineChoice, engine: str) -> EngineCommand:
    return engine_command(engine, folder=choice.folder, command=choice.command, more=choice.arguments)


def _hf_exports(folder: Path, label: str | None) -> ExportCache:
    from patchpm.export.export_cache import ExportCache, digest_of_folder
    from patchpm.export.hf_folder import export_hf
    from patchpm.model.hash_cache import HashCache

    base = locked_set(folder, label).base
    if base.kind != "safetensors":
        raise CannotError(
            "not-a-folder",
            f"{base.source} is a GGUF file, which this engine is not given",
            next="serve it with --engine llama.cpp, or give the safetensors folder of the model as base",
        )
    tensors = base.fingerprint.tensors
    if tensors is None:
        raise IntegrityError("base-mismatch", f"the weights in {base.source} have no digest of their own")

    def write(patches: PatchSet, path: Path) -> None:
        export_hf(base.source, patches, base.fingerprint, path, cache=HashCache.of_user())

    return ExportCache(Folders.of_user().cache, lambda: digest_of_folder(base.source, tensors), "hf", write)


def _gguf_exports(folder: Path, label: str | None, gguf: Path | None) -> ExportCache:
    from patchpm.export.export_cache import ExportCache, digest_of_gguf
    from patchpm.export.patched_gguf import place_in_gguf, write_patched_gguf

    stock = locked_gguf(folder, label, gguf)

    def write(patches: PatchSet, path: Path) -> None:
        # With a head of its own, since llama.cpp counts suppressed tokens in the log-probabilities that clients get.
        write_patched_gguf(place_in_gguf(stock.path, patches, folder=stock.tokenizer), path, stock.digest, untie=True)

    return ExportCache(Folders.of_user().cache, lambda: digest_of_gguf(stock.path, stock.digest), "gguf", write)
