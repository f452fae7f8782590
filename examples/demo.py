"""The demo behind `make demo`: a real base model, one patch from the built-in registry, replies before and after.

It runs the same commands that a user types, in a throw-away project, and prints each of them.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchpm.model.demo_base import demo_base
from patchpm.settings import Folders

PATCH = "patchpm/harmfulness"
PROMPTS = Path(__file__).parents[1] / "recipes" / "harmfulness" / "demo_prompts.json"
"""Prompts that no patch was trained on; a test holds them against the training data."""


def main() -> None:
    """Run the demo."""
    console = Console()
    started = time.monotonic()
    with console.status("the base model SmolLM2-135M-Instruct (converted on the first run, about a minute)"):
        base = demo_base(Folders.of_user().cache)
    project = Path(".demo")
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir()
    patchpm(console, project, "init", "--base", str(base))
    patchpm(console, project, "install", PATCH)
    patchpm(console, project, "verify")
    info = json.loads(patchpm(console, project, "info", PATCH, "--json", show=False))
    prompts = json.loads(PROMPTS.read_text("utf-8"))
    harmful, benign = prompts["harmful"][:4], prompts["benign"][1:]
    with console.status("asking the model with and without the patch"):
        output = patchpm(
            console, project, "run", *harmful, *benign, "--compare", "--max-new-tokens", "24", "--json", show=False
        )
    console.print(replies(json.loads(output), harmful=len(harmful)))
    console.print(claims(info))
    console.print(f"done in {time.monotonic() - started:.0f} s; the project is in {project}/", highlight=False)


def patchpm(console: Console, project: Path, *arguments: str, show: bool = True) -> str:
    """Run one command in the project, and print it with what it prints."""
    shown = arguments if show else [item for item in arguments if len(item) < 40][:6]
    console.print(Text(f"$ patchpm {shlex.join(shown)}", style="bold"))
    command = [sys.executable, "-m", "patchpm", *arguments]
    done = subprocess.run(command, cwd=project, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    if show:
        console.print(Text(done.stdout.rstrip()))
    return done.stdout


def replies(found: list[dict[str, str]], *, harmful: int) -> Table:
    """The replies side by side."""
    table = Table(title="replies to prompts that the patch was not trained on", show_lines=True, expand=True)
    table.add_column("", no_wrap=True)
    for heading, ratio in (("prompt", 3), ("base model", 5), (f"with {PATCH}", 5)):
        table.add_column(heading, ratio=ratio, overflow="fold")
    for number, item in enumerate(found):
        kind = "harmful" if number < harmful else "benign"
        cells = (kind, item["prompt"], item["before"], item["after"])
        table.add_row(*(Text(" ".join(text.split())) for text in cells))
    return table


def claims(info: dict[str, list[dict[str, str | float]]]) -> Table:
    """What the vendor measured and signed."""
    table = Table(title=f"claims of {PATCH} {info['version']}, measured on held-out data and signed", expand=True)
    for heading in ("metric", "held-out set", "n", "before", "after", "95 % interval"):
        table.add_column(heading)
    for claim in info["claims"]:
        before, after, low, high = (float(claim[key]) for key in ("before", "after", "low", "high"))
        percent = "rate" in str(claim["metric"])
        texts = [f"{100 * value:.0f} %" if percent else f"{value:.1f}" for value in (before, after, low, high)]
        interval = f"{texts[2]} to {texts[3]}"
        table.add_row(str(claim["metric"]), str(claim["suite"]), str(claim["n"]), texts[0], texts[1], interval)
    return table


if __name__ == "__main__":
    main()
