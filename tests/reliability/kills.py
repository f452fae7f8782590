"""Killing installs over and over."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from tests.world import World


def kill_installs(world: World, command: Sequence[str], kills: int, check: Callable[[], None]) -> None:
    """Kill so many installs at random instants between start and end, and check what is left after each."""
    fresh = (world.project / "patchpm.toml").read_bytes()
    source, whole, killed = random.Random(0), 2.0, 0
    while killed < kills:
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=world.project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(source.uniform(0, 1.1) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            killed += 1
        else:
            # It was done before its time: the machine is quicker than thought, and the next one shall have work again.
            assert process.returncode == 0
            whole = time.monotonic() - started
            world.ok("cache", "clean")
            (world.project / "patchpm.lock").unlink()
            (world.project / "patchpm.toml").write_bytes(fresh)
        check()
