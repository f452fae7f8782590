"""A recipe: everything that decides how a patch is trained and measured, in one TOML file.

Reading is strict: an unknown key, a wrong type or a number out of range is an error that names the key.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from patchpm.errors import UsageError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import MAX_TOKENS
from patchpm.train.recipe_table import Table

KINDS = ("harmful", "benign", "text")
"""What the rows of a source are: prompts to refuse, prompts to answer, plain text for perplexity."""


@dataclass(frozen=True, slots=True)
class PrefixRecipe:
    """The matrix to be trained."""

    tokens: int
    """Rows, 1 to 256."""
    anchor: str
    """Where it stands; `system-start` is the only one that can be trained today."""
    separator: str
    """Text between the prefix and what follows it; mostly empty."""
    initial_text: str
    """Its token embeddings, repeated up to `tokens` rows, are where training starts."""


@dataclass(frozen=True, slots=True)
class ReplyRecipe:
    """What the teacher says."""

    tokens: int
    """Length of the base model's own replies, in tokens."""
    refusals: tuple[str, ...]
    """What is to be said to a harmful prompt; one is drawn for each view of a prompt."""


@dataclass(frozen=True, slots=True)
class SftRecipe:
    """First stage: imitate refusals, and stay with the base model on benign prompts."""

    steps: int
    rate: float
    """Peak learning rate of AdamW; cosine after a short warm-up."""
    harmful: int
    """Harmful prompts a step."""
    benign: int
    """Benign prompts a step."""
    anchor_weight: float
    """Weight of KL(base || patched) on benign replies."""
    anchor_tokens: int
    """How many tokens of a benign reply the KL is taken on."""


@dataclass(frozen=True, slots=True)
class DpoRecipe:
    """Second stage: direct preference optimisation against the prefix that SFT made."""

    steps: int
    """0 leaves the stage out."""
    rate: float
    harmful: int
    """Pairs a step with the refusal preferred."""
    benign: int
    """Pairs a step with the base model's own reply preferred."""
    tokens: int
    """How many tokens of each reply are compared."""
    hardest: float
    """Share of the pairs that is trained on: those that the first stage is most wrong about."""
    beta: float
    sft_weight: float
    """Weight of the first stage's loss, taken on the preferred replies."""


@dataclass(frozen=True, slots=True)
class Source:
    """Rows of one data set, and how many of them are used for what."""

    name: str
    kind: str
    """One of `KINDS`."""
    licence: str
    """SPDX expression of the rows."""
    wheel: str
    """`name==version` of the package that has the file; empty for a file beside the recipe."""
    wheel_sha256: str
    file: str
    """Path in the wheel or beside the recipe: `.txt` (a prompt a line), `.csv` or `.jsonl`."""
    fields: tuple[str, ...]
    """Columns that make a row, joined by line feeds; empty for `.txt`."""
    pattern: re.Pattern[str] | None
    """Only rows in which this is found are used."""
    train: int
    dev: int
    """Rows for choosing between recipes; not trained on, not claimed on."""
    held_out: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole file."""

    digest: Digest
    """Of the file's bytes."""
    folder: Path
    """Where it lies, so that its own data files are found."""
    seed: int
    teacher: str
    """Who says the wanted replies, in words."""
    prefix: PrefixRecipe
    replies: ReplyRecipe
    sft: SftRecipe
    dpo: DpoRecipe
    sources: tuple[Source, ...]


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        UsageError: `recipe-not-found` or `invalid-recipe`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError("recipe-not-found", f"cannot read the recipe {path}", why=str(error.strerror)) from error
    try:
        root = Table(tomllib.loads(data.decode()), "")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("invalid-recipe", f"{path.name} is not TOML", why=str(error)) from error
    if root.integer("schema", low=1) != 1:
        raise UsageError("invalid-recipe", "the recipe has another schema", why="this patchpm reads schema 1")
    recipe = Recipe(
        digest=Digest.of(data),
        folder=path.parent,
        seed=root.integer("seed"),
        teacher=root.text("teacher"),
        prefix=_prefix(root.table("prefix")),
        replies=_replies(root.table("replies")),
        sft=_sft(root.table("sft")),
        dpo=_dpo(root.table("dpo")),
        sources=tuple(_source(table) for table in root.tables("source")),
    )
    root.close()
    _check_names(recipe.sources)
    return recipe


def _prefix(table: Table) -> PrefixRecipe:
    recipe = PrefixRecipe(
        tokens=table.integer("tokens", low=1, high=MAX_TOKENS),
        anchor=table.choice("anchor", ("system-start",)),
        separator=table.text("separator", empty=True),
        initial_text=table.text("initial_text"),
    )
    table.close()
    return recipe


def _replies(table: Table) -> ReplyRecipe:
    recipe = ReplyRecipe(tokens=table.integer("tokens", low=1), refusals=table.texts("refusals"))
    table.close()
    return recipe


def _sft(table: Table) -> SftRecipe:
    recipe = SftRecipe(
        steps=table.integer("steps", low=1),
        rate=table.number("rate", low=0),
        harmful=table.integer("harmful", low=1),
        benign=table.integer("benign", low=1),
        anchor_weight=table.number("anchor_weight", low=0),
        anchor_tokens=table.integer("anchor_tokens", low=1),
    )
    table.close()
    return recipe


def _dpo(table: Table) -> DpoRecipe:
    recipe = DpoRecipe(
        steps=table.integer("steps", low=0),
        rate=table.number("rate", low=0),
        harmful=table.integer("harmful", low=1),
        benign=table.integer("benign", low=1),
        tokens=table.integer("tokens", low=1),
        hardest=table.number("hardest", low=0, high=1),
        beta=table.number("beta", low=0),
        sft_weight=table.number("sft_weight", low=0),
    )
    table.close()
    return recipe


def _source(table: Table) -> Source:
    wheel = table.text("wheel", default="")
    source = Source(
        name=table.text("name"),
        kind=table.choice("kind", KINDS),
        licence=table.text("licence"),
        wheel=wheel,
        wheel_sha256=table.text("wheel_sha256") if wheel else "",
        file=table.text("file"),
        fields=table.text_or_texts("field"),
        pattern=table.pattern("pattern"),
        train=table.integer("train", low=0, default=0),
        dev=table.integer("dev", low=0, default=0),
        held_out=table.integer("held_out", low=0, default=0),
    )
    table.close()
    return source


def _check_names(sources: tuple[Source, ...]) -> None:
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError("invalid-recipe", "two sources of the recipe have the same name", why=", ".join(twice))
    for kind in ("harmful", "benign"):
        if not any(source.kind == kind and source.train for source in sources):
            raise UsageError("invalid-recipe", f"the recipe has no {kind} prompts to train on")
