"""`patchpm serve`."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from patchpm.atomic_write import write_atomic
from patchpm.cli.extra import needs_extra
from patchpm.cli.listening import listening, shown
from patchpm.cli.locked_set import locked_set
from patchpm.cli.options import project_option
from patchpm.cli.output import line, note
from patchpm.cli.served_engine import EngineChoice, OwnEngineOf, engine_options, own_engine_of
from patchpm.cli.signing import load_key, passphrase_option
from patchpm.errors import UsageError
from patchpm.settings import UPSTREAM_KEY

if TYPE_CHECKING:
    import socket

    from uvicorn import Server

    from patchpm.cli.served_roster import Loading
    from patchpm.gateway.roster import Load
    from patchpm.gateway.serving import Options

_LAST_SECONDS = 30
"""How long answers that are running when the server is told to stop may still take."""


@click.command(
    epilog="Example: patchpm serve --engine vllm -- --max-model-len 4096\n\n"
    "Example: patchpm serve --upstream http://127.0.0.1:8000\n\n"
    "Example: patchpm serve --tenants tenants.toml --upstream http://10.0.0.1:8000 --upstream http://10.0.0.2:8000"
)
@click.option("--upstream", "upstreams", multiple=True, metavar="URL", help="A vLLM that runs; may be repeated.")
@engine_options
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
@click.option(
    "--probe-every",
    "minutes",
    default=10.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Minutes between two checks of each engine, for sets that `patchpm probe` wrote probes for.",
)
@click.option("--key", metavar="KEY", help="Key that signs /.well-known/patchpm. Default: one made for this run.")
@passphrase_option
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
    engine: str | None,
    engine_bin: Path | None,
    engine_command: str | None,
    gguf: Path | None,
    start_timeout: int,
    engine_arguments: tuple[str, ...],
    tenants: Path | None,
    folder: Path,
    base: str | None,
    policy: Any,
    minutes: float,
    key: str | None,
    passphrase_file: Path | None,
    watch: bool,
    host: str,
    port: int,
    max_body: int,
    log_level: str,
    template: Path | None,
    hash_key: bool,
) -> None:
    """Serve the patched model as an OpenAI-compatible API.

    Alone, it builds the project's patches into a copy of the model, starts an engine on it, and stands before that.
    What follows -- goes to the engine.

    With --upstream, it stands before vLLMs that run, started with --enable-prompt-embeds and the template that
    --write-template makes, and puts the patches into each chat completion; so tenants can have their own. The key
    that the engines want is read from PATCHPM_UPSTREAM_KEY.

    Either way it makes sure that the engine counted the patches in each answer.
    """
    if hash_key:
        line(_hashed(sys.stdin.readline().strip()))
        return
    if template is not None:
        _write_template(template, folder, base)
        return
    with needs_extra("gateway"):
        from patchpm.gateway.serving import Options
        from patchpm.gateway.site import MEBIBYTE, Limits
        from patchpm.trust.private_keys import generate

    choice = EngineChoice(engine, engine_bin, engine_command, gguf, start_timeout, engine_arguments)
    own, loading = _source(upstreams, tenants, choice, folder, base)
    options = Options(
        upstreams=upstreams,
        running=nullcontext if own is None else own.running,
        key=os.environ.get(UPSTREAM_KEY) or None,
        policy=policy,
        watched=loading.watched if watch else None,
        limits=Limits(body=max_body * MEBIBYTE),
        signer=generate() if key is None else load_key(key, passphrase_file),
        probe_every=timedelta(minutes=minutes),
    )
    _serve(options, loading.load, own, host, port, log_level)


def _source(
    upstreams: tuple[str, ...], tenants: Path | None, choice: EngineChoice, folder: Path, base: str | None
) -> tuple[OwnEngineOf | None, Loading]:
    """The engine that is to be started, if any, and how it is read who is served what.

    Raises:
        UsageError: `no-upstream`, `wrong-options`, `bad-upstream`; and as `own_engine_of`.
    """
    from patchpm.cli.served_roster import of_project, of_tenants
    from patchpm.gateway.upstreams import address_of

    for url in upstreams:
        address_of(url)
    if not upstreams and tenants is None:
        own = own_engine_of(choice, folder, base)
        note(f"the model with the patches is at {own.export()}")
        return own, own.loading
    if not upstreams:
        raise UsageError("no-upstream", "say where the engines are", next="--upstream http://127.0.0.1:8000")
    if choice.is_given:
        raise UsageError(
            "wrong-options",
            "--upstream and the options of an engine that patchpm starts exclude each other",
            next="start the engine by yourself and give --upstream, or leave that out",
        )
    return None, of_project(folder, base) if tenants is None else of_tenants(tenants)


def _serve(options: Options, load: Load, own: OwnEngineOf | None, host: str, port: int, log_level: str) -> None:
    """Run the gateway until it is told to stop."""
    with needs_extra("gateway"):
        from uvicorn import Config, Server

        from patchpm.gateway.app import build_app
        from patchpm.gateway.serving import opening
        from patchpm.json_log import GATEWAY_LOG, log_to_stderr

    first = load()
    if not first.guarded:
        note("no probes for these sets: engines are checked by token counts alone; `patchpm probe` writes some")
    note(f"what it says of itself is signed with {options.signer.public}")
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
            http="h11",  # unlike httptools, it bounds the size of headers
            lifespan="on",
        )
        _run(Server(config), opened, own)


def _run(server: Server, opened: socket.socket, own: OwnEngineOf | None) -> None:
    """Serve; an engine that does not start is told as every error is, and not by a traceback in the log."""
    if own is None:
        server.run([opened])
        return
    logging.getLogger("uvicorn.error").addFilter(lambda _: own.running.failed is None)
    try:
        server.run([opened])
    except SystemExit:
        if own.running.failed is not None:
            raise own.running.failed from None
        raise


def _write_template(path: Path, folder: Path, base: str | None) -> None:
    with needs_extra("model"):
        from patchpm.export.tokenizer_files import load_tokenizer
        from patchpm.gateway.engine_template import engine_template

    source = locked_set(folder, base).base.source
    write_atomic(path, engine_template(load_tokenizer(source)).encode())
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
