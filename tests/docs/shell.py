"""Runs the steps of a page, one after the other in one bash, as a reader would type them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.docs.page import Step

_MARK = "@@patchpm-docs"
_PASSED_ON = ("LD_LIBRARY_PATH", "XDG_CACHE_HOME", "TMPDIR")


def carry_out(steps: Sequence[Step], folder: Path, home: Path) -> list[str]:
    """Run the steps in `folder`, and say of each that went otherwise than the page says what is wrong.

    Args:
        steps: Of a page.
        folder: Where the reader stands.
        home: Private folder for everything patchpm keeps.
    """
    script = home / "steps.sh"
    script.write_text("exec 2>&1\n" + "".join(f"{step.command}\nprintf '\\n{_MARK} %d\\n' $?\n" for step in steps))
    done = subprocess.run(
        ["bash", str(script)],
        cwd=folder,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=900,
    )
    outputs = re.split(rf"\n{_MARK} (\d+)\n", done.stdout)
    assert len(outputs) == 2 * len(steps) + 1, f"bash ended early:\n{done.stdout}"
    found = zip(steps, outputs[0::2], outputs[1::2], strict=False)
    return [fault for step, output, code in found if (fault := _fault(step, output, int(code))) is not None]


def matches(expected: Sequence[str], output: str) -> bool:
    """Whether a page's output, in which `...` stands for anything, is what was printed."""
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == "..." else _line_pattern(line) for line in expected)
    lines = "".join(f"{line.rstrip()}\n" for line in output.strip("\n").splitlines())
    return re.fullmatch(pattern, lines) is not None


def _line_pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.rstrip().split("...")) + r"\n"


def _fault(step: Step, output: str, code: int) -> str | None:
    what = f"line {step.line}: {step.command}"
    if code != step.exit_code:
        return f"{what}\nended with {code}, not {step.exit_code}:\n{output}"
    if step.output and not matches(step.output, output):
        shown = "\n".join(step.output)
        return f"{what}\nprinted\n{output.strip()}\nand not\n{shown}"
    return None


def environment(home: Path) -> dict[str, str]:
    """What the reader's shell has set: nothing of ours, and a passphrase for every key."""
    passphrase = home / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "PATCHPM_HOME": str(home / "patchpm"),
        "PATCHPM_PASSPHRASE_FILE": str(passphrase),
        "LANG": "C.UTF-8",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GIT_AUTHOR_NAME": "Reader",
        "GIT_AUTHOR_EMAIL": "reader@example.org",
        "GIT_COMMITTER_NAME": "Reader",
        "GIT_COMMITTER_EMAIL": "reader@example.org",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
