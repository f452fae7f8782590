"""What training costs, beside PEFT prompt tuning on the same rows: `python benchmarks/training.py RECIPE --base MODEL`.

Both train a prefix of the same size from the same text on the same rows for the same number of steps, one thread each,
one after the other. PEFT runs in float32, has no KL anchor and imitates the base's own replies instead, which is what
prompt tuning on such rows means, and puts its tokens before everything else. Reported are seconds, tokens a second, the
share of the time that is spent in the base model, and, for recipes with a given teacher, how likely the wanted and the
base's own replies are on dev rows afterwards.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from patchpm.settings import Folders
from patchpm.train.base_model import load_model, weights_digest
from patchpm.train.checkpoint import Checkpoint
from patchpm.train.data import load_data
from patchpm.train.foreigners import Foreigners
from patchpm.train.loop import descend
from patchpm.train.losses import imitation
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.recipe import Recipe, StopRecipe
from patchpm.train.recipe_toml import read_recipe
from patchpm.train.rows import Rows, make_rows
from patchpm.train.run import first_prefix
from patchpm.train.schedule import Schedule
from patchpm.train.sft import DEV_ROWS, Sft
from patchpm.train.team import Team


@dataclass(frozen=True)
class Outcome:
    """Of one trainer."""

    seconds: float
    seconds_a_step: float
    in_base: float
    """Share of the time in forward and backward passes of the base."""
    tokens_a_second: float
    wanted_loss: float
    """Mean negative log-probability a token of the wanted replies, dev rows."""
    own_loss: float
    """The same for the base's own replies to prompts to keep; before training it is the lowest there can be."""


class Stopwatch:
    """Adds up the time that the base model takes, forwards by wrapping its call and backwards by the caller."""

    def __init__(self, model: PrefixModel) -> None:
        self.seconds = 0.0
        self._run = model.run
        cast("Any", model).run = self._timed

    def _timed(self, **inputs: Any) -> Tensor:
        started = time.perf_counter()
        found = self._run(**inputs)
        self.seconds += time.perf_counter() - started
        return found


def ours(base: Path, recipe: Recipe, rows: Rows, judge: PrefixModel) -> Outcome:
    """The stage `sft` of patchpm in the recipe's precision."""
    model = load_model(base, precision=recipe.precision)
    watch = Stopwatch(model)
    backward = torch.autograd.backward

    def timed(*arguments: Any, **options: Any) -> None:
        started = time.perf_counter()
        backward(*arguments, **options)
        watch.seconds += time.perf_counter() - started

    torch.autograd.backward = timed
    stage = Sft(model, rows, recipe.sft, Foreigners((), 0.0, 1), recipe.seed, Team())
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        state = Checkpoint.start("benchmark", "sft", first_prefix(model, recipe))
        prefix = descend(stage, state, Path(folder, "c"), lambda *_: None, StopRecipe(0, 1), Team())
    seconds = time.perf_counter() - started
    torch.autograd.backward = backward
    return _outcome(seconds, recipe, watch.seconds, model.tokens_read, judge, rows, prefix)


def pefts(base: Path, recipe: Recipe, rows: Rows, judge: PrefixModel) -> Outcome:
    """PEFT prompt tuning on the same rows in the same order."""
    from peft import PromptTuningConfig, TaskType, get_peft_model
    from transformers import AutoModelForCausalLM

    base_model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = PromptTuningConfig(task_type=TaskType.CAUSAL_LM, num_virtual_tokens=recipe.prefix.tokens)
    model: Any = get_peft_model(base_model, config)
    weight = next(parameter for parameter in model.parameters() if parameter.requires_grad)
    with torch.no_grad():
        weight.copy_(first_prefix(judge, recipe))
    optimiser = torch.optim.AdamW([weight], lr=recipe.sft.rate, weight_decay=0.0)
    team, seed, train = Team(), recipe.seed, rows.train
    targets = Schedule(f"{seed}/sft/target", [len(row.tail) for row in train.targets], recipe.sft.target, team)
    keeps = Schedule(f"{seed}/sft/keep", [len(row.tail) for row in train.keeps], recipe.sft.keep, team)
    head = (*judge.frame.head, *judge.frame.common)
    in_base, tokens = 0.0, 0
    started = time.perf_counter()
    for step in range(recipe.sft.steps):
        optimiser.param_groups[0]["lr"] = recipe.sft.rate * 0.5 * (1 + math.cos(math.pi * step / recipe.sft.steps))
        batch = [
            (row.tail, row.wanted[step % len(row.wanted)]) for row in map(train.targets.__getitem__, targets.rows(step))
        ]
        batch += [
            (row.tail, row.own.ids[: recipe.sft.keep_tokens]) for row in map(train.keeps.__getitem__, keeps.rows(step))
        ]
        width = max(len(tail) + len(reply) for tail, reply in batch) + len(head)
        ids, mask, labels = (torch.full((len(batch), width), fill) for fill in (0, 0, -100))
        for row, (tail, reply) in enumerate(batch):
            whole = torch.tensor([*head, *tail, *reply])
            ids[row, : len(whole)], mask[row, : len(whole)] = whole, 1
            labels[row, len(whole) - len(reply) : len(whole)] = torch.tensor(reply)
        inside = time.perf_counter()
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        in_base += time.perf_counter() - inside
        tokens += ids.numel() + len(batch) * recipe.prefix.tokens
        torch.nn.utils.clip_grad_norm_([weight], 1.0)
        optimiser.step()
    seconds = time.perf_counter() - started
    frame = replace(judge.frame, head=(), common=head)
    return _outcome(seconds, recipe, in_base, tokens, PrefixModel(judge.model, frame), rows, weight.detach())


def _outcome(
    seconds: float, recipe: Recipe, in_base: float, tokens: int, judge: PrefixModel, rows: Rows, prefix: Tensor
) -> Outcome:
    targets, keeps = rows.dev.targets[:DEV_ROWS], rows.dev.keeps[:DEV_ROWS]
    with torch.no_grad():
        opening = judge.opening(prefix)
        wanted = imitation(judge.read(opening, [row.tail for row in targets], [row.wanted[0] for row in targets]))
        own = imitation(judge.read(opening, [row.tail for row in keeps], [row.own.ids[:8] for row in keeps]))
    steps = recipe.sft.steps
    return Outcome(seconds, seconds / steps, in_base / seconds, tokens / seconds, float(wanted), float(own))


def main() -> None:
    """Run both and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--peft-steps", type=int, help="steps of PEFT, where it shall have more or fewer")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = read_recipe(options.recipe)
    recipe = replace(recipe, sft=replace(recipe.sft, steps=options.steps))
    cache = Folders.of_user().cache
    judge = load_model(options.base)
    teacher = load_model(options.base, precision=recipe.precision)
    rows = make_rows(teacher, weights_digest(options.base), recipe, load_data(recipe, cache), cache, lambda *_: None)
    if not rows.dev.targets or not rows.dev.keeps:
        raise SystemExit(f"{options.recipe} has no dev rows to compare by")
    slower = replace(recipe, sft=replace(recipe.sft, steps=options.peft_steps or options.steps))
    found = {
        "patchpm": ours(options.base, recipe, rows, judge),
        "peft": pefts(options.base, slower, rows, judge),
    }
    if options.json:
        print(json.dumps({name: vars(outcome) for name, outcome in found.items()}, indent=2))
        return
    print(f"{options.recipe}, {options.steps} steps, {platform.machine()}, torch {torch.__version__}, 1 thread")
    for name, one in found.items():
        print(
            f"{name:8} {one.seconds:7.1f} s  {one.seconds_a_step:6.2f} s/step  {one.tokens_a_second:6.0f} tokens/s  "
            f"in the base {one.in_base:4.0%}  wanted {one.wanted_loss:.3f}  own {one.own_loss:.3f} nats/token"
        )
    print(f"patchpm takes {found['patchpm'].seconds / found['peft'].seconds:.2f} of the time of PEFT")


if __name__ == "__main__":
    main()
