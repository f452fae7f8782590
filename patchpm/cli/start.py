"""Entry point of the console script: answers `--version` before anything else is imported."""

from __future__ import annotations

import gc
import sys


def main() -> int:
    """Run the command line; return the exit code."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from patchpm import __version__

        sys.stdout.write(f"patchpm {__version__}\n")
        return 0
    # Nothing that the imports make is garbage: looking for some among it costs a tenth of the start.
    gc.set_threshold(100_000)
    # securesystemslib imports boto3 wherever there is one, for a signer that patchpm does not use: half of a start.
    sys.modules.setdefault("boto3", None)  # type: ignore[arg-type]  # None: an import says that it is not there
    from patchpm.cli.app import run

    return run(sys.argv[1:])
