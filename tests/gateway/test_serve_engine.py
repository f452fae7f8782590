"""`patchpm serve --engine` as an operator runs it: the locked set is exported and an engine started on it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest

from patchpm.export.provenance import read_provenance
from tests.gateway.builders import Gateway
from tests.gateway.test_engine import STUB, gone
from tests.world import World

STUB_COMMAND = f"{shlex.quote(sys.executable)} {shlex.quote(str(STUB))} --model {{model}} --port {{port}}"


@pytest.mark.slow
def test_an_engine_serves_the_exported_set_and_ends_with_patchpm(talking: World) -> None:
    talking.started("bias")
    ids, log = talking.root / "ids", talking.root / "serve.log"
    # The engine of this test cannot count the tokens of a real model, which is an alarm here and no refusal.
    command = [
        *(sys.executable, "-m", "patchpm", "serve", "--port", "0", "--on-mismatch", "alarm"),
        *("--engine", "vllm", "--engine-command", STUB_COMMAND, "--", "--worker", str(ids)),
    ]
    with log.open("wb") as opened:
        popen = subprocess.Popen(command, stderr=opened, stdout=opened, cwd=talking.project, env=os.environ)
    gateway = Gateway("", [])
    try:
        gateway.wait_for(lambda: popen.poll() is not None or "engine serves" in log.read_text(), 300)
        found = re.search(r"at (http://\S+); stop", log.read_text())
        assert found is not None, log.read_text()
        gateway.url = found[1]
        assert gateway.get("/health").status == 200
        answer = gateway.chat()
        digest = str(talking.lock.compositions[0].digest)
        assert (answer.status, answer.headers["x-patchpm-set"]) == (200, digest)
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        (loading,) = [line["event"] for line in lines if "loading" in line["event"]]
        exported = loading.rpartition("loading ")[2]
        assert exported.startswith(str(talking.home / "cache"))
        (folder,) = (talking.home / "cache" / "exports").glob("*/model")
        assert str(folder) == exported
        assert str(read_provenance(folder).set) == digest
        popen.send_signal(signal.SIGTERM)
        assert popen.wait(30) in (0, -signal.SIGTERM)
        assert gone(*map(int, ids.read_text().split()))
    finally:
        if popen.poll() is None:
            popen.kill()
        popen.wait()


def test_an_engine_that_does_not_start_is_told_as_every_error_is(talking: World) -> None:
    talking.started("bias")
    found = talking.run("serve", "--port", "0", "--engine", "vllm", "--engine-command", STUB_COMMAND, "--", "--fail")
    assert found.code == 1
    assert "[engine-died]" in found.err
    assert "out of memory" in found.err
    assert "Traceback" not in found.err


def test_an_engine_that_does_not_count_the_patches_is_not_served(talking: World) -> None:
    talking.started("bias")
    found = talking.run("serve", "--port", "0", "--engine", "vllm", "--engine-command", STUB_COMMAND)
    assert found.code == 1
    assert "[engine-not-proven]" in found.err
