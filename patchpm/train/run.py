"""From a recipe and a base model to a prefix on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from patchpm import __version__
from patchpm.atomic_write import write_atomic
from patchpm.errors import UsageError
from patchpm.patch.digest import Digest
from patchpm.patch.prefix import PrefixMatrix, write_prefix
from patchpm.patch.release import PREFIX
from patchpm.settings import Folders
from patchpm.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from patchpm.train.data import Prompts, load_prompts
from patchpm.train.dpo import Dpo
from patchpm.train.framing import frame
from patchpm.train.loop import Report, descend
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.recipe import Recipe, read_recipe
from patchpm.train.rows import make_rows
from patchpm.train.sft import Sft

TRAINING = "training.json"
CHECKPOINT = "checkpoint.safetensors"
METHOD = "prefix: sft with kl anchor, then dpo"
Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called with the part of the work, what is done of it, what there is in all, and figures to show."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run leaves behind."""

    prefix: Path
    """`prefix.safetensors`."""
    training: Path
    """`training.json`: how the prefix came to be."""


def train(recipe_path: Path, base: Path, out: Path, *, progress: Progress) -> TrainResult:
    """Train a prefix as a recipe says.

    The same recipe, base, seed and machine give the same bytes, also when the run was killed in between and started
    again with the same output folder: it goes on from its last checkpoint.

    Args:
        recipe_path: The recipe, TOML.
        base: Folder of the base model (`transformers` format).
        out: Where the prefix, `training.json` and the checkpoint go.
        progress: Told of every step.

    Raises:
        UsageError: For a wrong recipe or base folder.
        CannotError: `training-diverged`, `foreign-checkpoint`, `anchor-not-found`, and what fetching data raises.
    """
    torch.set_num_threads(1)
    cache = Folders.of_user().cache
    recipe = read_recipe(recipe_path)
    prompts = load_prompts(recipe, cache)
    digest = weights_digest(base)
    model = load_model(base, recipe)

    def replying(done: int, total: int) -> None:
        progress("replies", done, total, {})

    rows = make_rows(model, digest, recipe, prompts, cache, replying)
    run = hashlib.sha256(f"{recipe.digest} {digest}".encode()).hexdigest()
    sft = Sft(model, rows, recipe.sft, recipe.seed)
    dpo = Dpo(model, rows, recipe.dpo, recipe.sft, recipe.seed)
    prefix = _descend(sft, dpo, first_prefix(model, recipe), run, out / CHECKPOINT, progress)
    write_atomic(out / PREFIX, prefix_file(prefix))
    write_atomic(out / TRAINING, _statement(recipe, prompts))
    return TrainResult(out / PREFIX, out / TRAINING)


def load_model(base: Path, recipe: Recipe) -> PrefixModel:
    """Load a base model in float32, framed for a recipe.

    Raises:
        UsageError: `base-not-found`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UsageError("base-not-found", f"{base} cannot be loaded as a base model", why=str(error)[:500]) from error
    return PrefixModel(model, frame(tokenizer, recipe.prefix.separator))


def first_prefix(model: PrefixModel, recipe: Recipe) -> Tensor:
    """The embeddings of the recipe's initial text, repeated or cut to the number of rows."""
    rows = model.embed_text(recipe.prefix.initial_text)
    repeats = -(-recipe.prefix.tokens // len(rows))
    return rows.repeat(repeats, 1)[: recipe.prefix.tokens].contiguous()


def weights_digest(base: Path) -> Digest:
    """SHA-256 over the names and digests of a folder's weight and tokenizer files.

    Raises:
        UsageError: `base-not-found`.
    """
    files = sorted([*base.glob("*.safetensors"), *base.glob("tokenizer*.json"), *base.glob("chat_template*")])
    if not any(path.suffix == ".safetensors" for path in files):
        raise UsageError("base-not-found", f"{base} has no safetensors weights", next="name the folder of a base model")
    lines = []
    for path in files:
        with path.open("rb") as file:
            lines.append(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n")
    return Digest.of("".join(lines).encode())


def prefix_file(prefix: Tensor) -> bytes:
    """The bytes of `prefix.safetensors`."""
    tokens, width = prefix.shape
    return write_prefix(PrefixMatrix("F32", tokens, width, prefix.contiguous().numpy().astype("<f4").tobytes()))


def _descend(sft: Sft, dpo: Dpo, start: Tensor, run: str, path: Path, progress: Report) -> Tensor:
    """Run both stages, from the checkpoint if there is one."""
    state = load_checkpoint(path, run) or Checkpoint.start(run, sft.name, start)
    if state.stage == sft.name:
        state = Checkpoint.start(run, dpo.name, descend(sft, state, path, progress))
        save_checkpoint(path, state)
    if state.step == dpo.steps:
        return state.prefix
    dpo.refer_to(state.reference, lambda done, total: progress("reference", done, total, {}))
    return descend(dpo, state, path, progress)


def _statement(recipe: Recipe, prompts: Prompts) -> bytes:
    """`training.json`: the manifest's `training` part."""
    value = {
        "method": METHOD,
        "recipe": str(recipe.digest),
        "teacher": recipe.teacher,
        "seed": recipe.seed,
        "code": f"patchpm {__version__}",
        "data": [
            {"name": split.source.name, "licence": split.source.licence, "sha256": str(split.digest)}
            for split in prompts.sources
            if split.train
        ],
    }
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
