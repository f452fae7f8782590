"""`patchpm serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from patchpm.atomic_write import write_atomic
from patchpm.cli.extra import needs_extra
from patchpm.cli.listening import listening, shown
from patchpm.cli.locked_set import locked_set
from patchpm.cli.options import project_option
from patchpm.cli.output import line, note
from patchpm.errors import UsageError
from patchpm.settings import UPSTREAM_KEY

if TYPE_CHECKING:
    from patchpm.gateway.roster import Load

_LAST_SECONDS = 30
"""How long answers that are running when the server is told to stop may still take."""


@click.command(
    epilog="Example: patchpm serve --upstream http://127.0.0.1:8000\n\n"
    "Example: patchpm serve --tenants tenants.toml --upstream http://10.0.0.1:8000 --upstream http://10.0.0.2:8000"
)
@click.option("--upstream", "upstreams", multiple=True, metavar="URL", help="An engine; may be repeated.")
@click.option(
    "--tenants",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Who may ask, and with which patches; without it everybody gets the project's.",
)
@project_option
@click.option("--base", metavar="LABEL", help="Which base of the project is served. Default: its only one.")
@click.option(
    "--on-mismatch",
    "policy",
    default="fail",
    show_default=True,
    type=click.Choice(["fail", "alarm"]),
    help="What an answer becomes whose engine did not count the patches: an error, or a line in the log.",
)
@click.option("--watch", is_flag=True, help="Reload when a lock or the tenants change; SIGHUP always does.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option("--max-body", default=8, show_default=True, type=click.IntRange(1), help="Greatest request, in MiB.")
@click.option(
    "--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning", "error"])
)
@click.option(
    "--write-template",
    "template",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the chat template that vLLM needs, and end.",
)
@click.option("--hash-key", is_flag=True, help="Read an API key from standard input, print its hash, and end.")
def command(
    upstreams: tuple[str, ...],
    tenants: Path | None,
    folder: Path,
    base: str | None,
    policy: Any,
    watch: bool,
    host: str,
    port: int,
    max_body: int,
    log_level: str,
    template: Path | None,
    hash_key: bool,
) -> None:
    """Serve the patched model as an OpenAI-compatible API.

    It stands in front of vLLM, started with --enable-prompt-embeds and the template that --write-template makes: puts
    the patches into each chat completion, and makes sure that the engine counted them. The key that the engines want
    is read from PATCHPM_UPSTREAM_KEY.
    """
    if hash_key:
        line(_hashed(sys.stdin.readline().strip()))
        return
    with needs_extra("gateway"):
        from uvicorn import Config, Server

        from patchpm.cli.served_roster import of_project, of_tenants
        from patchpm.gateway.app import build_app
        from patchpm.gateway.serving import Options, opening
        from patchpm.gateway.site import MEBIBYTE, Limits
        from patchpm.gateway.upstreams import address_of
        from patchpm.json_log import GATEWAY_LOG, log_to_stderr

    if template is not None:
        _write_template(template, folder, base)
        return
    if not upstreams:
        raise UsageError("no-upstream", "say where the engines are", next="--upstream http://127.0.0.1:8000")
    for url in upstreams:
        address_of(url)
    loading = of_project(folder, base) if tenants is None else of_tenants(tenants)
    options = Options(
        upstreams=upstreams,
        key=os.environ.get(UPSTREAM_KEY) or None,
        policy=policy,
        watched=loading.watched if watch else None,
        limits=Limits(body=max_body * MEBIBYTE),
    )
    load: Load = loading.load
    first = load()
    with listening(host, port) as opened:
        log_to_stderr(GATEWAY_LOG, log_level)
        note(f"serving {len(first.tenants)} patch set(s) at {shown(host, opened)}; stop with Ctrl-C")
        config = Config(
            build_app(opening(options, load, first)),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_LAST_SECONDS,
            lifespan="on",
        )
        Server(config).run([opened])


def _write_template(path: Path, folder: Path, base: str | None) -> None:
    from transformers import AutoTokenizer

    from patchpm.gateway.engine_template import engine_template

    source = locked_set(folder, base).base.source
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    write_atomic(path, engine_template(tokenizer).encode())
    note(f"wrote {path}; start the engine so:")
    line(f"vllm serve {source} --enable-prompt-embeds --chat-template {path} --chat-template-content-format openai")


def _hashed(key: str) -> str:
    if len(key) < 16 or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            "weak-key",
            "this is no good API key",
            why="it must have at least 16 printable ASCII characters and no space",
            next="make one with `openssl rand -hex 32`",
        )
    from patchpm.patch.digest import Digest

    return str(Digest.of(key.encode()))
