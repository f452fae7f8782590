"""Runs one engine, and ends it with all its processes once whoever started it is gone.

An engine is a tree of processes, and one that outlives patchpm would keep its memory and its port. So it gets a keeper:
a small process that waits at a pipe from patchpm. The pipe ends when patchpm closes it or dies, however it dies.

Run as a file, by the standard library alone: `python -I engine_keeper.py GRACE_SECONDS COMMAND...`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def keep(command: list[str], grace: float) -> int:
    """Run `command` until it ends, or until standard input does.

    Args:
        command: The engine and its arguments.
        grace: Seconds between the polite signal and the other one.

    Returns:
        The exit code of the engine, as a shell would give it: 127 where it cannot be started.
    """
    try:
        engine = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", flush=True)  # noqa: T201  # its output is the engine's
        return 127
    threading.Thread(target=_end_with_input, args=(engine, grace), daemon=True).start()
    code = engine.wait()
    # An engine that died may have left processes behind, which hold the memory of the model.
    _signal_all(engine.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _end_with_input(engine: subprocess.Popen[bytes], grace: float) -> None:
    while os.read(0, 4096):
        pass
    engine.terminate()
    try:
        engine.wait(grace)
    except subprocess.TimeoutExpired:
        _signal_all(engine.pid, signal.SIGKILL)


def _wait_for_the_pipe(_number: int, _frame: object) -> None:
    """Does nothing, as a function, since a child would inherit that a signal is ignored, and not this."""


def _signal_all(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    # What ends patchpm at a terminal (Ctrl-C, a closed window) reaches the engine by the pipe, after the last answer.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _wait_for_the_pipe)
    sys.exit(keep(sys.argv[2:], float(sys.argv[1])))
