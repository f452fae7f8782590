"""`patchpm registry serve` as an operator runs it: a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from patchpm.server.accounts import ORG, USER, Accounts
from patchpm.server.database import open_database
from tests.server.builders import Client

COMMAND = [sys.executable, "-m", "patchpm", "registry"]


@dataclass
class Process:
    """A server that answers."""

    popen: subprocess.Popen[bytes]
    url: str
    log: Path

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> int:
        """Tell it to end; returns what it says."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)


def accounts_in(data: Path) -> tuple[str, str]:
    """Make the organisation `acme` of `ann`, and `bob`; returns a token of each."""
    data.mkdir(exist_ok=True)
    engine = open_database(f"sqlite:///{data / 'registry.db'}")
    accounts = Accounts(engine)
    for kind, name in ((USER, "ann"), (USER, "bob"), (ORG, "acme")):
        accounts.add(kind, name)
    accounts.set_member("acme", "ann", "admin")
    tokens = [accounts.issue(user, "test", scope="write")[1] for user in ("ann", "bob")]
    engine.dispose()
    return tokens[0], tokens[1]


@contextmanager
def process(data: Path, *options: str, environment: dict[str, str] | None = None) -> Iterator[Process]:
    """Start one, and end it."""
    log = data.with_name(f"{data.name}.{time.monotonic_ns()}.log")
    command = [*COMMAND, "serve", "--data", str(data), "--port", "0", *options]
    with log.open("wb") as opened:
        popen = subprocess.Popen(
            command, stderr=opened, stdout=opened, env=os.environ | (environment or {}), start_new_session=True
        )
    made = Process(popen, "", log)
    try:
        made.url = _address(popen, log)
        yield made
    finally:
        if popen.poll() is None:
            made.kill()


def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of `patchpm registry` to its end."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)


def _address(popen: subprocess.Popen[bytes], log: Path) -> str:
    while popen.poll() is None:
        found = re.search(r"serving at (\S+);", log.read_text())
        if found is not None:
            try:
                if Client(found[1]).get("/health").status == 200:
                    return found[1]
            except urllib3.exceptions.HTTPError:
                pass
        time.sleep(0.02)
    raise AssertionError(log.read_text())
