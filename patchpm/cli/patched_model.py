"""Loading the base of a project with what its lock pins applied to it, for `run` and `chat`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from patchpm.cli.bases import located, measure
from patchpm.cli.chosen_base import chosen_base
from patchpm.cli.extra import needs_extra
from patchpm.errors import CannotError
from patchpm.patch.fingerprint import Assurance
from patchpm.project.policy_file import load_policy
from patchpm.project.project_file import load_project_file
from patchpm.settings import Folders

if TYPE_CHECKING:
    from patchpm.model.applied import Applied
    from patchpm.model.chat import Session

base_option = click.option("--base", help="Which base of the project (default: its only one).")
system_option = click.option("--system", help="A system text of your own; the patches stand in front of it.")
length_option = click.option(
    "--max-new-tokens", type=click.IntRange(1, 8192), default=128, show_default=True, help="Where a reply stops."
)


def patched_session(folder: Path, base: str | None) -> tuple[Session, Applied]:
    """Load the base named `base`, or the only one, and apply the lock's patch set to it.

    Raises:
        UsageError: `which-base`.
        CannotError: `extra-missing` without the libraries of `patchpm[model]`, `not-a-folder` for a GGUF base; and
            what `patchpm.apply` raises.
    """
    _, project = load_project_file(folder)
    base = chosen_base(project.bases, base)
    # Threads that spin while they wait bring a busy machine to a halt: a reply of seconds took minutes beside one
    # other job. It must be set before torch starts its threads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with needs_extra("model"):
        from patchpm.model.chat import Session, load_model
        from patchpm.model.locked_set import apply
    assurance = load_policy(Folders.of_user(), folder).base_assurance
    measured = measure(project.bases[base], folder, rehash=False)
    if measured.kind == "gguf":
        raise CannotError(
            "not-a-folder",
            f"{located(project.bases[base], folder)} is a GGUF file, which transformers does not run well",
            next="give the safetensors folder of the model as base",
        )
    model, tokenizer = load_model(measured.source)
    found = None if assurance is Assurance.VERIFIED else measured.fingerprint
    applied = apply(model, tokenizer, project=folder, base=base, found=found)
    return Session(model, tokenizer, applied), applied
