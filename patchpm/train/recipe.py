"""A recipe: everything that decides how a prefix is trained, in one TOML file.

Reading is strict: an unknown key, a wrong type or a number out of range is an error that names the key.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

from patchpm.data.source import Source, read_source
from patchpm.data.table import Table
from patchpm.errors import UsageError
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import DOMAINS, MAX_TOKENS
from patchpm.train.base_model import AUTO, BFLOAT16, FLOAT32

TARGET, PAIR, KEEP = "target", "pair", "keep"
KINDS = (TARGET, PAIR, KEEP)
"""What the rows of a source are: prompts that are the patch's business; the same with the better and the worse reply;
prompts to which the base model's replies shall stay as they are."""
GIVEN, INSTRUCTION, MODEL, BEST = "given", "instruction", "model", "best-of"
SFT, BASE, TEACHER, NONE = "sft", "base", "teacher", "none"
PREFER, BALANCE = "prefer", "balance"


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
class TeacherRecipe:
    """Who says what is wanted on target prompts."""

    kind: str
    """`given`: replies written in the recipe. `instruction`: the base itself under a safety instruction (context
    distillation). `model`: another model with the same tokenizer. `best-of`: the best of several samples of the base."""
    words: str
    """The same for people; it goes into the manifest."""
    replies: tuple[str, ...]
    """For `given`: one is drawn for each view of a prompt."""
    instruction: str
    """For `instruction`, and for `best-of` if there is one."""
    model: str
    """For `model`: the folder of the safer model."""
    samples: int
    """For `best-of`."""
    scorer: str
    """For `best-of`: what scores the samples; see `patchpm.train.scorer`. It is the filter, so no judge of claims."""
    limit: float
    """For `best-of`: a prompt is used only if its best sample scores below this."""
    margin: float
    """For `best-of`: and if its worst sample scores higher than the best by this."""
    tokens: int
    """Length of replies that are generated, those of the base to all prompts included."""


@dataclass(frozen=True, slots=True)
class SftRecipe:
    """First stage: imitate the teacher on target prompts, and stay with the base model on others."""

    steps: int
    """0 leaves the stage out."""
    rate: float
    """Peak learning rate of AdamW; cosine after a short warm-up."""
    target: int
    """Target prompts a step."""
    keep: int
    """Other prompts a step."""
    keep_weight: float
    """Weight of KL(base || patched) on the base's replies."""
    keep_tokens: int
    """How many tokens of a reply the KL is taken on."""


@dataclass(frozen=True, slots=True)
class DpoRecipe:
    """Second stage: direct preference optimisation."""

    steps: int
    """0 leaves the stage out."""
    rate: float
    pairs: int
    """Pairs a step with the wanted reply preferred."""
    reverse: int
    """Pairs a step, on prompts to keep, with the base's own reply preferred to a wanted reply of the target prompts."""
    keep: int
    """Prompts a step for the KL anchor."""
    tokens: int
    """How many tokens of each reply are compared."""
    hardest: float
    """Share of the pairs that is trained on: those that the reference is most wrong about."""
    beta: float
    reference: str
    """Against which log-probabilities: of the prefix after `sft`, of the `base`, of the `teacher` (its
    instruction), or `none`: the two replies are compared as they are."""
    goal: str
    """`prefer` the better reply as strongly as it goes, or `balance`: stop where both are equally likely."""
    per_token: bool
    """Whether replies of different length are compared by their mean log-probability a token."""
    imitate_weight: float
    """Weight of the first stage's loss on the preferred replies."""
    keep_weight: float


@dataclass(frozen=True, slots=True)
class ForeignersRecipe:
    """Prefixes of other patches that stand beside this one in training, so that it works beside any."""

    share: float
    """Of the steps."""
    most: int
    """At once."""
    prefixes: tuple[str, ...]
    """Trained prefixes, as files."""
    texts: tuple[str, ...]
    """Instructions of imaginary patches; their token embeddings stand for a prefix."""


@dataclass(frozen=True, slots=True)
class StopRecipe:
    """When a stage ends before its last step."""

    every: int
    """Steps between looks at the dev rows; 0 never looks, and the last prefix is the result instead of the best."""
    patience: int
    """Looks without a better figure after which the stage ends."""


@dataclass(frozen=True, slots=True)
class TrainSource:
    """A source, and what its rows are used for."""

    source: Source
    kind: str
    """One of `KINDS`."""
    train: int
    """Rows to train on."""
    dev: int
    """Rows to choose the best step and to compare recipes by; not trained on, not claimed on."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole file."""

    digest: Digest
    """Of the file's bytes."""
    folder: Path
    """Where it lies, so that its own files are found."""
    seed: int
    domain: str
    precision: str
    """In which the base is run: `float32`, `bfloat16`, or `auto` for the faster one on the machine."""
    suites: tuple[str, ...]
    """Suites whose rows, and what is like them, are not trained on."""
    prefix: PrefixRecipe
    teacher: TeacherRecipe
    sft: SftRecipe
    dpo: DpoRecipe
    foreigners: ForeignersRecipe
    stop: StopRecipe
    sources: tuple[TrainSource, ...]

    def with_seed(self, seed: int | None) -> Recipe:
        """The same recipe under another seed; None changes nothing."""
        return self if seed is None else replace(self, seed=seed)


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
    recipe = PrefixRecipe(
        tokens=table.integer("tokens", low=1, high=MAX_TOKENS),
        anchor=table.choice("anchor", ("system-start",)),
        separator=table.text("separator", default="", empty=True),
        initial_text=table.text("initial_text"),
    )
    table.close()
    return recipe


def _teacher(table: Table) -> TeacherRecipe:
    kind = table.choice("kind", (GIVEN, INSTRUCTION, MODEL, BEST))
    recipe = TeacherRecipe(
        kind=kind,
        words=table.text("words"),
        replies=table.texts("replies", empty=kind != GIVEN),
        instruction=table.text("instruction", default=None if kind == INSTRUCTION else ""),
        model=table.text("model", default=None if kind == MODEL else ""),
        samples=table.integer("samples", low=2, default=None if kind == BEST else 2),
        scorer=table.text("scorer", default=None if kind == BEST else ""),
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
        hardest=table.number("hardest", low=0, high=1, default=1.0),
        beta=table.number("beta", low=0, default=0.1),
        reference=table.choice("reference", (SFT, BASE, TEACHER, NONE), default=SFT),
        goal=table.choice("goal", (PREFER, BALANCE), default=PREFER),
        per_token=table.flag("per_token"),
        imitate_weight=table.number("imitate_weight", low=0, default=0.0),
        keep_weight=table.number("keep_weight", low=0, default=1.0),
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
    )
    table.close()
    return source


def _check(recipe: Recipe) -> None:
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
    if not recipe.sft.steps and not recipe.dpo.steps:
        raise UsageError("invalid-recipe", "neither stage has steps", next="set sft.steps, dpo.steps or both")
    if recipe.stop.every:
        _check_dev(recipe)
    elif recipe.dpo.goal == BALANCE:
        raise UsageError("invalid-recipe", "dpo.goal balance needs stop.every", why="it says which step is the best")
    if recipe.dpo.reference == NONE and recipe.dpo.hardest < 1:
        raise UsageError("invalid-recipe", "dpo.hardest needs a dpo.reference", why="it says what is hard")
    if recipe.dpo.reverse and recipe.teacher.kind != GIVEN:
        raise UsageError("invalid-recipe", "dpo.reverse needs the replies of a teacher of kind given")
    if recipe.dpo.reference == TEACHER and not recipe.teacher.instruction:
        raise UsageError("invalid-recipe", "dpo.reference teacher needs teacher.instruction")
    for each in recipe.sources:
        if each.kind == PAIR and len(each.source.columns) != 3:
            raise UsageError(
                "invalid-recipe", f"the source {each.source.name} needs columns for prompt, better and worse reply"
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
