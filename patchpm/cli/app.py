"""The `patchpm` command: imports only the command asked for, and turns every error into words and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

import click

from patchpm.cli.output import print_error
from patchpm.errors import ExitCode, PatchpmError, UsageError

COMMANDS: Final[dict[str, str]] = {
    "init": "Start a project for a base model",
    "install": "Add patches, lock and fetch them; alone: install what the lock says",
    "remove": "Take patches out of the project",
    "update": "Move locked patches to newer versions",
    "lock": "Resolve and write patchpm.lock without fetching",
    "list": "Show what is locked",
    "tree": "Show which patch requires which",
    "why": "Show why a patch is in the lock",
    "outdated": "Show newer versions than the locked ones",
    "info": "Show one patch: versions, bases, claims, signers",
    "search": "Find patches in the registries",
    "verify": "Check every hash and signature of what is installed, or of a release on disk",
    "probe": "Write down what a right server answers, for verify --endpoint",
    "status": "Show the state of project, base, lock, store and registries",
    "run": "Ask the patched model one thing",
    "chat": "Talk with the patched model",
    "fingerprint": "Show the identity of a base model",
    "key": "Make and show signing keys",
    "trust": "Show and edit whom this user trusts",
    "registry": "Make and keep a registry",
    "cache": "Look after the local store and caches",
    "pack": "Make a release of a trained prefix",
    "publish": "Add a release to a registry",
    "yank": "Withdraw a version: it is not newly chosen",
    "deprecate": "Advise against a version: it is chosen with a warning",
    "login": "Keep a token for a registry server or the Hub",
    "logout": "Forget it",
    "whoami": "Show whom it stands for",
    "export": "Write the patched model for vLLM, llama.cpp, Ollama and others",
    "import": "Turn what another tool trained into a prefix to pack",
    "serve": "Serve the patched model as an OpenAI-compatible API",
    "train": "Train a prefix from a recipe",
    "evaluate": "Measure a prefix on held-out prompts",
    "report": "Draw what was measured as a page, beside other measured prefixes",
    "attest": "Measure a release and sign the figures, as an evaluator",
    "completion": "Print the shell completion script",
}
"""Every command with its one-line help, which `--help` prints without importing the command."""
_MODULES: Final = {"import": "importing"}
"""Commands whose name cannot be that of a module."""


class _LazyGroup(click.Group):
    """Imports a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"patchpm.cli.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean `patchpm {near[0]}`?" if near else "`patchpm --help` lists the commands"
            raise UsageError("unknown-command", f"there is no command {args[0]!r}", next=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="patchpm", message="patchpm %(version)s")
@click.option("--traceback", "show_traceback", is_flag=True, help="Show where in patchpm an error was raised.")
def app(show_traceback: bool) -> None:
    """Package manager for safety patches of language models.

    \b
    patchpm init --base PATH_OF_MODEL
    patchpm install patchpm/harmfulness
    patchpm run "How do I pick a lock?" --compare
    """  # noqa: D301  # click's mark for lines that must not be joined
    del show_traceback  # read from the arguments in `run`, so that it works for errors in parsing them too


def run(arguments: list[str]) -> int:  # noqa: PLR0911  # one way out for each kind of end
    """Run the command line `arguments`; return the exit code. Nothing but a bug in here escapes as an exception."""
    as_json = "--json" in arguments
    try:
        result = app.main(arguments, prog_name="patchpm", standalone_mode=False)
    except PatchpmError as error:
        if "--traceback" in arguments:
            import traceback

            traceback.print_exc()
        print_error(error, as_json=as_json)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    except click.ClickException as error:
        print_error(_from_click(error), as_json=as_json)
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing is left half done", err=True)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.CANNOT
    except Exception as error:  # the one place where a bug becomes a message instead of a traceback
        print_error(_bug(error), as_json=as_json)
        return ExitCode.INTERNAL
    return result if isinstance(result, int) else ExitCode.OK


def _from_click(error: click.ClickException) -> UsageError:
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "patchpm"
    return UsageError("usage", error.format_message().rstrip("."), next=f"`{path} --help` shows how it is used")


def _bug(error: Exception) -> PatchpmError:
    import tempfile
    import traceback

    handle, name = tempfile.mkstemp(prefix="patchpm-bug-", suffix=".txt")
    with os.fdopen(handle, "w") as file:
        traceback.print_exception(error, file=file)
    return PatchpmError(
        "internal",
        f"patchpm met a bug: {type(error).__name__}",
        why=str(error)[:300],
        next=f"please report it with {name}",
    )
