"""`patchpm registry serve`."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from patchpm.atomic_write import explained
from patchpm.cli.extra import needs_extra
from patchpm.cli.listening import listening, shown
from patchpm.cli.output import note
from patchpm.settings import SERVER_LOG_LEVEL, SERVER_OPTIONS, Folders

_LAST_SECONDS = 10
"""How long requests that are running when the server is told to stop may still take."""


def store_options(function: click.decorators.FC) -> click.decorators.FC:
    """Where a server keeps what it knows."""
    for option in (
        click.option(
            "--data",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder for the database and the files. Default: `server` among patchpm's data.",
        ),
        click.option(
            "--database",
            metavar="URL",
            help="sqlite:///path or postgresql://user@host/name. Default: SQLite in the data folder.",
        ),
    ):
        function = option(function)
    return function


def data_folder(data: Path | None) -> Path:
    """The folder of an embedded server, made if it is not there."""
    folder = (data or Folders.of_user().data / "server").absolute()
    with explained(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def database_url(data: Path | None, database: str | None) -> str:
    """The database that is meant."""
    return database or f"sqlite:///{data_folder(data) / 'registry.db'}"


@click.command(
    "serve",
    epilog="Example: patchpm registry serve --port 8080\n\n"
    "Example: patchpm registry serve --database postgresql://patchpm@db/patchpm --store s3://patches --workers 4",
)
@store_options
@click.option("--store", metavar="URL", help="s3:, gs: or az: address for the files. Default: the data folder.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes.")
@click.option("--closed", is_flag=True, help="Reading takes a token as well, for public repositories too.")
@click.option(
    "--max-file", "max_file", default=2048, show_default=True, type=click.IntRange(1), help="Greatest file, in MiB."
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="IP",
    help="A reverse proxy whose X-Forwarded headers are believed; may be repeated.",
)
@click.option(
    "--log-level", default="info", show_default=True, type=click.Choice(["debug", "info", "warning", "error"])
)
def serve_command(
    data: Path | None,
    database: str | None,
    store: str | None,
    host: str,
    port: int,
    workers: int,
    closed: bool,
    max_file: int,
    proxies: tuple[str, ...],
    log_level: str,
) -> None:
    """Run a registry server, which speaks the protocol of the Hugging Face Hub.

    Without options it keeps everything in one folder. The first start makes the user `admin` and shows a token for it,
    once. With PostgreSQL and a bucket any number of servers do the same work behind a load balancer.
    """
    with needs_extra("server"):
        from uvicorn import Config, Server
        from uvicorn.supervisors import Multiprocess

        from patchpm.json_log import REGISTRY_LOG, log_to_stderr
        from patchpm.server.accounts import first_token
        from patchpm.server.app import build_app
        from patchpm.server.metrics import MULTIPROCESS
        from patchpm.server.site import MEBIBYTE, Limits, Options, open_site

    options = Options(
        database=database_url(data, database),
        store=store or str(data_folder(data) / "blobs"),
        closed=closed,
        limits=Limits(file=max_file * MEBIBYTE),
    )
    with listening(host, port) as opened, ExitStack() as stack:
        site = open_site(options)
        log_to_stderr(REGISTRY_LOG, log_level)
        token = first_token(site.accounts)
        if token is not None:
            note(f"made the user admin; this token is shown once and kept nowhere: {token}")
        shared: dict[str, Any] = {
            "log_config": None,
            "loop": "asyncio",
            "access_log": False,
            "server_header": False,
            "proxy_headers": bool(proxies),
            "forwarded_allow_ips": list(proxies) or None,
            "timeout_keep_alive": 30,
            "timeout_graceful_shutdown": _LAST_SECONDS,
        }
        note(f"serving at {shown(host, opened)}; stop with Ctrl-C")
        if workers == 1:
            Server(Config(build_app(site), **shared)).run([opened])
            return
        os.environ[MULTIPROCESS] = stack.enter_context(tempfile.TemporaryDirectory(prefix="patchpm-metrics-"))
        os.environ[SERVER_OPTIONS] = options.to_json()
        os.environ[SERVER_LOG_LEVEL] = log_level
        config = Config("patchpm.server.app:of_environment", factory=True, workers=workers, **shared)
        Multiprocess(config, [opened]).run()
