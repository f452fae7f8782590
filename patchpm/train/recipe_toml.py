"""`recipe.toml` to a recipe.

Reading is strict: an unknown key, a wrong type, a number out of range, and what contradicts itself or would do nothing
are errors that name the key.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from patchpm.data.source import read_source
from patchpm.data.table import Table
from patchpm.errors import UsageError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import DOMAINS, MAX_TOKENS
from patchpm.train.base_model import AUTO, BFLOAT16, FLOAT32
from patchpm.train.recipe import (
    BALANCE,
    BASE,
    BEST,
    GIVEN,
    INSTRUCTION,
    KEEP,
    KINDS,
    MASKED,
    MODEL,
    NONE,
    PAIR,
    PREFER,
    SFT,
    TARGET,
    TEACHER,
    DpoRecipe,
    ForeignersRecipe,
    PrefixRecipe,
    Recipe,
    SftRecipe,
    StopRecipe,
    TeacherRecipe,
    TrainSource,
)


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
    if root.integer("schema", low=1) != 2:
        raise UsageError("invalid-recipe", "the recipe has another schema", why="this patchpm reads schema 2")
    recipe = Recipe(
        digest=Digest.of(data),
        folder=path.parent,
        seed=root.integer("seed"),
        domain=_domain(root),
        precision=root.choice("precision", (FLOAT32, BFLOAT16, AUTO)),
        suites=root.texts("suites", empty=True),
        prefix=_prefix(root.table("prefix")),
        teacher=_teacher(root.table("teacher")),
        sft=_sft(root.optional_table("sft")),
        dpo=_dpo(root.optional_table("dpo")),
        foreigners=_foreigners(root.optional_table("foreigners")),
        stop=_stop(root.optional_table("stop")),
        sources=tuple(_source(table) for table in root.tables("source")),
    )
    root.close()
    _check(recipe)
    return recipe


def _domain(root: Table) -> str:
    domain = root.text("domain")
    if domain not in DOMAINS and not domain.startswith("x-"):
        raise UsageError("invalid-recipe", f"{domain} is no domain", next=f"{', '.join(DOMAINS)} or x-...")
    return domain


def _prefix(table: Table) -> PrefixRecipe:
    earlier = table.text("initial_prefix", default="")
    recipe = PrefixRecipe(
        tokens=table.integer("tokens", low=1, high=MAX_TOKENS),
        anchor=table.choice("anchor", ("system-start",)),
        separator=table.text("separator", default="", empty=True),
        initial_text=table.text("initial_text", default="" if earlier else None),
        initial_prefix=earlier,
    )
    table.close()
    return recipe


def _teacher(table: Table) -> TeacherRecipe:
    kind = table.choice("kind", (GIVEN, INSTRUCTION, MODEL, BEST, MASKED))
    recipe = TeacherRecipe(
        kind=kind,
        words=table.text("words"),
        replies=table.texts("replies", empty=kind != GIVEN),
        instruction=table.text("instruction", default=None if kind == INSTRUCTION else ""),
        model=table.text("model", default=None if kind == MODEL else ""),
        samples=table.integer("samples", low=2, default=None if kind == BEST else 2),
        scorer=table.text("scorer", default=None if kind in (BEST, MASKED) else ""),
        limit=table.number("limit", low=0, high=1, default=1.0),
        margin=table.number("margin", low=0, high=1, default=0.0),
        tokens=table.integer("tokens", low=1),
    )
    table.close()
    return recipe


def _sft(table: Table) -> SftRecipe:
    recipe = SftRecipe(
        steps=table.integer("steps", low=0, default=0),
        rate=table.number("rate", low=0, default=1e-2),
        target=table.integer("target", low=1, default=4),
        keep=table.integer("keep", low=1, default=6),
        keep_weight=table.number("keep_weight", low=0, default=1.0),
        keep_tokens=table.integer("keep_tokens", low=1, default=8),
        tokens=table.integer("tokens", low=1, default=64),
        distil=table.flag("distil"),
        temperature=table.number("temperature", low=0.1, high=10, default=1.0),
    )
    table.close()
    return recipe


def _dpo(table: Table) -> DpoRecipe:
    recipe = DpoRecipe(
        steps=table.integer("steps", low=0, default=0),
        rate=table.number("rate", low=0, default=5e-3),
        pairs=table.integer("pairs", low=1, default=4),
        reverse=table.integer("reverse", low=0, default=0),
        keep=table.integer("keep", low=1, default=4),
        tokens=table.integer("tokens", low=1, default=64),
        reverse_tokens=table.integer("reverse_tokens", low=1, default=64),
        hardest=table.number("hardest", low=0, high=1, default=1.0),
        beta=table.number("beta", low=0, default=0.1),
        reference=table.choice("reference", (SFT, BASE, TEACHER, NONE), default=SFT),
        goal=table.choice("goal", (PREFER, BALANCE), default=PREFER),
        per_token=table.flag("per_token"),
        imitate_weight=table.number("imitate_weight", low=0, default=0.0),
        keep_weight=table.number("keep_weight", low=0, default=1.0),
        keep_tokens=table.integer("keep_tokens", low=1, default=8),
    )
    table.close()
    return recipe


def _foreigners(table: Table) -> ForeignersRecipe:
    recipe = ForeignersRecipe(
        share=table.number("share", low=0, high=1, default=0.0),
        most=table.integer("most", low=1, high=4, default=1),
        prefixes=table.texts("prefixes", empty=True),
        texts=table.texts("texts", empty=True),
    )
    table.close()
    if recipe.share and not recipe.prefixes and not recipe.texts:
        raise UsageError("invalid-recipe", "foreigners.share is above 0, and there are no prefixes and no texts")
    return recipe


def _stop(table: Table) -> StopRecipe:
    recipe = StopRecipe(
        every=table.integer("every", low=0, default=0), patience=table.integer("patience", low=1, default=4)
    )
    table.close()
    return recipe


def _source(table: Table) -> TrainSource:
    source = TrainSource(
        source=read_source(table),
        kind=table.choice("kind", KINDS),
        train=table.integer("train", low=0, default=0),
        dev=table.integer("dev", low=0, default=0),
        each=table.flag("each"),
    )
    table.close()
    return source


def _check(recipe: Recipe) -> None:
    """Refuse what contradicts itself, and what would silently do nothing."""
    _check_sources(recipe)
    if not recipe.sft.steps and not recipe.dpo.steps:
        raise UsageError("invalid-recipe", "neither stage has steps", next="set sft.steps, dpo.steps or both")
    if recipe.stop.every:
        _check_dev(recipe)
    _check_dpo(recipe)


def _check_sources(recipe: Recipe) -> None:
    names = [each.source.name for each in recipe.sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError("invalid-recipe", "two sources of the recipe have the same name", why=", ".join(twice))
    trained = {each.kind for each in recipe.sources if each.train}
    if KEEP not in trained or not trained & {TARGET, PAIR}:
        raise UsageError(
            "invalid-recipe",
            "the recipe needs rows to train on of both sorts",
            why="there must be prompts to keep, and target prompts or pairs",
        )
    if recipe.sft.steps and TARGET not in trained:
        raise UsageError("invalid-recipe", "the stage sft needs target prompts", next="set sft.steps to 0")
    for each in recipe.sources:
        if each.kind == PAIR and len(each.source.columns) != 3:
            raise UsageError(
                "invalid-recipe", f"the source {each.source.name} needs columns for prompt, better and worse reply"
            )
        if each.each and (each.kind != PAIR or recipe.dpo.goal != BALANCE):
            raise UsageError(
                "invalid-recipe", f"each, of the source {each.source.name}, is for pairs and dpo.goal balance"
            )


def _check_dev(recipe: Recipe) -> None:
    """Steps can only be compared on rows of every sort that a stage's figure is taken from."""
    kept = {each.kind for each in recipe.sources if each.dev}
    if KEEP not in kept or (recipe.sft.steps and TARGET not in kept) or not kept & {TARGET, PAIR}:
        raise UsageError(
            "invalid-recipe",
            "stop.every needs dev rows of both sorts",
            why="steps are compared on prompts to keep, and on target prompts or, for dpo alone, pairs",
            next="give some sources dev rows, or set stop.every to 0",
        )


def _check_dpo(recipe: Recipe) -> None:
    if recipe.sft.distil and recipe.teacher.kind in (GIVEN, BEST):
        raise UsageError("invalid-recipe", "sft.distil needs a teacher of kind instruction, model or masked")
    if recipe.dpo.reverse and recipe.teacher.kind != GIVEN:
        raise UsageError("invalid-recipe", "dpo.reverse needs the replies of a teacher of kind given")
    if recipe.dpo.reference == TEACHER and not recipe.teacher.instruction:
        raise UsageError("invalid-recipe", "dpo.reference teacher needs teacher.instruction")
    if recipe.dpo.reference == NONE and recipe.dpo.hardest < 1:
        raise UsageError("invalid-recipe", "dpo.hardest needs a dpo.reference", why="it says what is hard")
    balanced = recipe.dpo.goal == BALANCE
    if balanced and (recipe.dpo.reverse or any(each.kind == TARGET for each in recipe.sources)):
        raise UsageError(
            "invalid-recipe",
            "dpo.goal balance is for pairs alone",
            why="no refusal and its opposite shall be equally likely",
            next="leave out dpo.reverse and the sources of kind target",
        )
    if balanced and not recipe.stop.every:
        raise UsageError("invalid-recipe", "dpo.goal balance needs stop.every", why="it says which step is the best")
