"""`patchpm run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import emit, line, note, plain
from patchpm.cli.patched_model import base_option, length_option, patched_session, system_option

if TYPE_CHECKING:
    from patchpm.model.chat import Reply
    from patchpm.model.conversation import Message


@click.command(epilog='Example: patchpm run "How do I pick a lock?" --compare')
@click.argument("prompt", nargs=-1, required=True)
@click.option("--compare", is_flag=True, help="Show the reply of the base model without patches too.")
@base_option
@system_option
@length_option
@project_option
@json_option
def command(
    prompt: tuple[str, ...],
    compare: bool,
    base: str | None,
    system: str | None,
    max_new_tokens: int,
    folder: Path,
    as_json: bool,
) -> None:
    """Ask the patched model each PROMPT, and print its replies.

    The replies are greedy, so the same prompt always gives the same reply.
    """
    session, applied = patched_session(folder, base)
    names = ", ".join(str(patch.name) for patch in applied.patches)
    note(f"{names}: {applied.tokens} tokens at {applied.anchor}, set {applied.digest}")
    found: list[tuple[str, Reply | None, Reply]] = []
    for text in prompt:
        messages: list[Message] = [{"role": "user", "content": text}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        if compare:
            before, after = session.compare(messages, max_new_tokens=max_new_tokens)
            found.append((text, before, after))
        else:
            found.append((text, None, session.reply(messages, max_new_tokens=max_new_tokens)))

    def human() -> None:
        if compare:
            _table(found)
        else:
            for _, _, reply in found:
                line(plain(reply.text))

    emit(
        [
            {
                "prompt": text,
                **({} if before is None else {"before": before.text}),
                "after": after.text,
                "prompt_tokens": after.prompt_tokens,
                "set": str(applied.digest),
            }
            for text, before, after in found
        ],
        human,
        as_json=as_json,
    )


def _table(found: list[tuple[str, Reply | None, Reply]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=True, expand=True)
    for heading, ratio in (("prompt", 2), ("without patches", 4), ("with patches", 4)):
        table.add_column(heading, ratio=ratio, overflow="fold")
    for prompt, before, after in found:
        # Text, not markup: what a model says must not be able to style the terminal.
        table.add_row(*(Text(plain(text.strip())) for text in (prompt, before.text if before else "", after.text)))
    Console().print(table)
