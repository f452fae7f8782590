"""The page of commands, from the tree of click commands."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from generator.markdown import GENERATED, code, fenced, table
from patchpm.cli.app import COMMANDS, app

_INTRODUCTION = """# Commands

Data goes to standard output, everything else to standard error. Every command has `--help`; `--json` prints the result
(and, on standard error, an error) as JSON. Exit codes and error codes are in [errors](errors.md), environment variables
in [environment](environment.md).

"""


def page() -> str:
    """The whole page."""
    top = click.Context(app, info_name="patchpm")
    overview = table(
        ("command", "what for"), ((f"[`{name}`](#patchpm-{name})", text) for name, text in COMMANDS.items())
    )
    sections = [_section(context) for name in COMMANDS for context in _tree(top, name)]
    return GENERATED + _INTRODUCTION + overview + "\n" + _section(top) + "\n" + "\n".join(sections)


def _tree(parent: click.Context, name: str) -> Iterator[click.Context]:
    """A command and the commands below it."""
    group = parent.command
    assert isinstance(group, click.Group)  # only groups are asked for their commands
    command = group.get_command(parent, name)
    assert command is not None  # the name is from the group's own list
    context = click.Context(command, info_name=name, parent=parent)
    yield context
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from _tree(context, below)


def _section(context: click.Context) -> str:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    rows = [record for parameter in command.params if (record := parameter.get_help_record(context)) is not None]
    parts = [
        f"## {context.command_path}\n" if context.command_path.count(" ") < 2 else f"### {context.command_path}\n",
        fenced(usage),
        *_paragraphs(command.help or ""),
    ]
    if rows:
        parts.append(table(("option", "meaning"), ((code(option), meaning) for option, meaning in rows)))
    example = (command.epilog or "").removeprefix("Example: ")
    if example:
        parts += ["Example:\n", fenced(example)]
    return "\n".join(parts)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield fenced(inspect.cleandoc(paragraph.removeprefix("\b\n")))
        elif paragraph:
            yield paragraph + "\n"
