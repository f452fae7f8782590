"""The demo behind `make demo`: a real base model, the patches of the built-in registry, replies before and after.

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
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchpm.evaluate.metrics import GUARDED, HEADLINES, POOLED
from patchpm.evaluate.report.quantity import quantity_of
from patchpm.model.demo_base import demo_base
from patchpm.settings import Folders

PATCHES = ("toxicity@1.2", "bias@1.0", "harmfulness@1.1")
"""One for each domain that the built-in registry has patches for."""
PROMPTS = Path(__file__).parents[1] / "recipes" / "demo_prompts.json"
"""Prompts that no patch was trained on; a test holds them against the training data."""
KINDS = {"harmful": 3, "toxic": 2, "benign": 4}
"""How many prompts of each kind are asked."""


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
    patchpm(console, project, "install", *PATCHES)
    patchpm(console, project, "verify")
    infos = [json.loads(patchpm(console, project, "info", patch, "--json", show=False)) for patch in PATCHES]
    prompts = json.loads(PROMPTS.read_text("utf-8"))
    asked = [(kind, prompt) for kind, count in KINDS.items() for prompt in prompts[kind][-count:]]
    with console.status("asking the model with and without the patches"):
        output = patchpm(
            console,
            project,
            "run",
            *(prompt for _, prompt in asked),
            "--compare",
            "--max-new-tokens",
            "24",
            "--json",
            show=False,
        )
    console.print(replies(json.loads(output), [kind for kind, _ in asked]))
    console.print(claims(infos))
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


def replies(found: list[dict[str, str]], kinds: list[str]) -> Table:
    """The replies side by side."""
    table = Table(title="replies to prompts that no patch was trained on", show_lines=True, expand=True)
    table.add_column("", no_wrap=True)
    for heading, ratio in (("prompt", 3), ("base model", 5), ("with the patches", 5)):
        table.add_column(heading, ratio=ratio, overflow="fold")
    for kind, item in zip(kinds, found, strict=True):
        cells = (kind, item["prompt"], item["before"], item["after"])
        table.add_row(*(Text(" ".join(text.split())) for text in cells))
    return table


def claims(infos: list[dict[str, Any]]) -> Table:
    """What the vendor measured and signed for each patch by itself: what it is for, and what it must not spoil."""
    table = Table(title="claims, measured on held-out data and signed", expand=True)
    for heading in ("patch", "metric", "held-out set", "n", "before", "after", "95 % interval"):
        table.add_column(heading)
    for info in infos:
        shown = {HEADLINES[info["domain"]], GUARDED}
        for claim in info["claims"]:
            if claim["metric"] in shown and claim["suite"] in POOLED.values():
                quantity = quantity_of(claim["metric"])
                figures = (quantity.show(claim[key]) for key in ("before", "after"))
                interval = quantity.interval(claim["low"], claim["high"])
                table.add_row(
                    f"{info['name']} {info['version']}",
                    quantity.label,
                    claim["suite"],
                    str(claim["n"]),
                    *figures,
                    interval,
                )
    return table


if __name__ == "__main__":
    main()
