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
from patchpm.patch.release import PREFIX
from patchpm.settings import Folders
from patchpm.train import used
from patchpm.train.base_model import load_model, weights_digest
from patchpm.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from patchpm.train.data import TrainingData, load_data
from patchpm.train.dpo import Dpo
from patchpm.train.foreigners import load_foreigners
from patchpm.train.loop import Report, descend
from patchpm.train.matrix import prefix_file, read_matrix
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.recipe import MODEL, Recipe
from patchpm.train.recipe_toml import read_recipe
from patchpm.train.rows import make_rows
from patchpm.train.sft import Sft
from patchpm.train.team import Team
from patchpm.train.used import Used, row_digest

TRAINING = "training.json"
CHECKPOINT = "checkpoint.safetensors"
Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called with the part of the work, what is done of it, what there is in all, and figures to show."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a training run leaves behind."""

    prefix: Path
    """`prefix.safetensors`."""
    training: Path
    """`training.json`: how the prefix came to be."""
    used: Path
    """`used.json`: which rows it saw, so that none of them is ever measured on."""


def train(recipe_path: Path, base: Path, out: Path, *, seed: int | None = None, progress: Progress) -> TrainResult:
    """Train a prefix as a recipe says.

    The same recipe, base, seed and machine give the same bytes, also when the run was killed in between and started
    again with the same output folder: it goes on from its last checkpoint.

    Args:
        recipe_path: The recipe, TOML.
        base: Folder of the base model (`transformers` format).
        out: Where the prefix, its two statements and the checkpoint go.
        seed: Instead of the recipe's own.
        progress: Told of every step.

    Raises:
        UsageError: For a wrong recipe or base folder.
        CannotError: `training-diverged`, `foreign-checkpoint`, `anchor-not-found`, `nothing-to-learn`, and what
            fetching data raises.
    """
    torch.set_num_threads(1)
    cache = Folders.of_user().cache
    recipe = read_recipe(recipe_path).with_seed(seed)
    data = load_data(recipe, cache)
    saw = _used(recipe, data)
    digest = weights_digest(base)
    model = load_model(base, separator=recipe.prefix.separator, precision=recipe.precision)
    result = TrainResult(out / PREFIX, out / TRAINING, out / used.FILE)
    team = Team()
    report = progress if team.leads else _silent
    prefix = _train(model, digest, recipe, data, cache, out / CHECKPOINT, team, report)
    if team.leads:
        write_atomic(result.used, saw.write())
        write_atomic(result.training, _statement(recipe, data))
        write_atomic(result.prefix, prefix_file(prefix))
    team.wait()
    return result


def first_prefix(model: PrefixModel, recipe: Recipe) -> Tensor:
    """Where training starts: an earlier prefix, or the initial text's embeddings, as many rows as are asked for.

    Raises:
        UsageError: `prefix-not-found`, or `invalid-recipe` for an earlier prefix of another length.
        IntegrityError: `malformed-prefix`.
    """
    earlier = recipe.prefix.initial_prefix
    if earlier:
        found = read_matrix(recipe.folder / earlier, model.hidden_size)
        if len(found) != recipe.prefix.tokens:
            raise UsageError("invalid-recipe", f"{earlier} has {len(found)} rows, and prefix.tokens says otherwise")
        return found
    rows = model.embed_text(recipe.prefix.initial_text)
    repeats = -(-recipe.prefix.tokens // len(rows))
    return rows.repeat(repeats, 1)[: recipe.prefix.tokens].contiguous().cpu()


def _train(
    model: PrefixModel,
    base: Digest,
    recipe: Recipe,
    data: TrainingData,
    cache: Path,
    path: Path,
    team: Team,
    progress: Report,
) -> Tensor:
    """Run both stages, from the checkpoint if there is one."""
    rows = make_rows(model, base, recipe, data, cache, lambda done, total: progress("replies", done, total, {}))
    foreigners = load_foreigners(recipe, model)
    run = _run_name(recipe, base, data)
    state = load_checkpoint(path, run) or Checkpoint.start(run, Sft.name, first_prefix(model, recipe))
    if state.stage == Sft.name:
        prefix = state.prefix
        if recipe.sft.steps:
            sft = Sft(model, rows, recipe.sft, foreigners, recipe.seed, team)
            prefix = descend(sft, state, path, progress, recipe.stop, team)
        state = Checkpoint.start(run, Dpo.name, prefix)
        if team.leads:
            save_checkpoint(path, state)
    if not recipe.dpo.steps:
        return state.prefix
    dpo = Dpo(model, rows, recipe, foreigners, team)
    dpo.refer_to(state.reference, lambda done, total: progress("reference", done, total, {}))
    return descend(dpo, state, path, progress, recipe.stop, team)


def _silent(_part: str, _done: int, _total: int, _figures: dict[str, float]) -> None:
    """Report nothing: one process of a team speaks for all."""


def _run_name(recipe: Recipe, base: Digest, data: TrainingData) -> str:
    """Digest of everything that decides the outcome: a checkpoint is good for one run only."""
    parts = [str(recipe.digest), str(recipe.seed), str(base)]
    parts += [row_digest(record.key) for record in data.trained_on]
    if recipe.prefix.initial_prefix:
        parts.append(str(Digest.of((recipe.folder / recipe.prefix.initial_prefix).read_bytes())))
    if recipe.teacher.kind == MODEL:
        parts.append(str(weights_digest(recipe.folder / recipe.teacher.model)))
    if recipe.foreigners.share:
        parts += [str(Digest.of((recipe.folder / name).read_bytes())) for name in recipe.foreigners.prefixes]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _used(recipe: Recipe, data: TrainingData) -> Used:
    """The rows of this run, and those of the prefix that it started from.

    Raises:
        UsageError: `used-not-found` where nobody knows what the earlier prefix saw.
    """
    rows = {row_digest(record.key) for record in data.trained_on}
    if not recipe.prefix.initial_prefix:
        return Used(recipe.teacher.scorer, rows)
    path = (recipe.folder / recipe.prefix.initial_prefix).with_name(used.FILE)
    try:
        earlier = Used.read(path.read_bytes())
    except OSError as error:
        raise UsageError(
            "used-not-found",
            f"{recipe.prefix.initial_prefix} comes without {used.FILE}",
            why="the rows that the earlier prefix saw must never be measured on",
            next=f"put the {used.FILE} of that training beside it",
        ) from error
    return Used(recipe.teacher.scorer or earlier.filter, rows | earlier.rows)


def _statement(recipe: Recipe, data: TrainingData) -> bytes:
    """`training.json`: the manifest's `training` part."""
    value = {
        "method": _method(recipe),
        "recipe": str(recipe.digest),
        "teacher": recipe.teacher.words,
        "seed": recipe.seed,
        "code": f"patchpm {__version__}",
        "data": [
            {"name": split.name, "licence": split.use.source.licence, "sha256": str(split.digest)}
            for split in data.sources
            if split.train
        ],
    }
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _method(recipe: Recipe) -> str:
    """The method in words, for the manifest."""
    stages = [name for name, steps in (("sft", recipe.sft.steps), ("dpo", recipe.dpo.steps)) if steps]
    company = ", beside foreign prefixes" if recipe.foreigners.share else ""
    earlier = recipe.prefix.initial_prefix
    start = f", from {Digest.of((recipe.folder / earlier).read_bytes()).hex[:12]}" if earlier else ""
    return f"prefix: {' then '.join(stages)} with kl anchor{company}{start}"
