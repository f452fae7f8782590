"""`patchpm chat`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.options import json_option, project_option
from patchpm.cli.output import emit, note, plain
from patchpm.cli.patched_model import base_option, length_option, patched_session, system_option

if TYPE_CHECKING:
    from patchpm.model.conversation import Message
    from patchpm.patch.strict_json import JsonValue


@click.command(epilog="Example: patchpm chat")
@base_option
@system_option
@length_option
@project_option
@json_option
def command(base: str | None, system: str | None, max_new_tokens: int, folder: Path, as_json: bool) -> None:
    """Talk with the patched model, a line at a time, until the end of input.

    `/plain TEXT` asks the base model without patches, outside the conversation. With --json the whole conversation is
    printed at the end.
    """
    session, applied = patched_session(folder, base)
    names = ", ".join(str(patch.name) for patch in applied.patches)
    note(f"{names} at {applied.anchor}, set {applied.digest}; end with Ctrl-D")
    messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]

    def say(text: str) -> None:
        click.echo(plain(text), nl=False, err=as_json)

    while (text := _asked()) is not None:
        if text.startswith("/plain "):
            question: list[Message] = [{"role": "user", "content": text.removeprefix("/plain ")}]
            with applied.disabled():
                session.reply(question, max_new_tokens=max_new_tokens, on_text=say)
        elif text:
            messages.append({"role": "user", "content": text})
            reply = session.reply(messages, max_new_tokens=max_new_tokens, on_text=say)
            messages.append({"role": "assistant", "content": reply.text})
        say("\n")
    spoken: list[JsonValue] = [{"role": item["role"], "content": str(item["content"])} for item in messages]
    emit(spoken, lambda: None, as_json=as_json)


def _asked() -> str | None:
    click.echo("> ", nl=False, err=True)
    line = sys.stdin.readline()
    return line.strip() if line else None
