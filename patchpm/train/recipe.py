"""A recipe: everything that decides how a prefix is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from patchpm.data.source import Source
from patchpm.patch.digest import Digest

TARGET, PAIR, KEEP, OTHERS = "target", "pair", "keep", "others"
KINDS = (TARGET, PAIR, KEEP, OTHERS)
"""What the rows of a source are: prompts that are the patch's business; the same with the better and the worse reply;
prompts to which the base model's replies shall stay as they are; prompts that are the business of other patches, which
may do there as they like."""
GIVEN, INSTRUCTION, MODEL, BEST, MASKED = "given", "instruction", "model", "best-of", "masked"
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
    """Its token embeddings, repeated up to `tokens` rows, are where training starts; needed unless there is an
    `initial_prefix`."""
    initial_prefix: str = ""
    """Instead: a trained prefix of as many rows, an earlier version for instance, as a file."""


@dataclass(frozen=True, slots=True)
class TeacherRecipe:
    """Who says what is wanted on target prompts."""

    kind: str
    """`given`: replies written in the recipe. `instruction`: the base itself under a safety instruction (context
    distillation). `model`: another model with the same tokenizer. `best-of`: the best of some samples of the base."""
    words: str
    """The same for people; it goes into the manifest."""
    replies: tuple[str, ...]
    """For `given`: one is drawn for each view of a prompt."""
    instruction: str
    """For `instruction`, and for `best-of` if there is one."""
    model: str
    """For `model`: the folder of the safer model, found from the recipe's folder."""
    samples: int
    """For `best-of`: how many are drawn."""
    scorer: str
    """For `best-of` and `masked`: what scores samples or words; see `patchpm.train.scorer`. It is the filter, hence no
    judge of claims."""
    limit: float
    """For `best-of`: a prompt is used only if its best sample scores below this. For `masked`: a word is left out if it
    scores this or more."""
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
    tokens: int
    """How many tokens of a wanted reply are imitated: few make the decision count for more than the wording."""
    distil: bool
    """Whether the teacher's distribution is learnt instead of its words; not for a teacher of kind `given`."""
    temperature: float
    """Divides the teacher's logits for that: below 1 makes it surer than it is."""


@dataclass(frozen=True, slots=True)
class DpoRecipe:
    """Second stage: direct preference optimisation."""

    steps: int
    """0 leaves the stage out."""
    rate: float
    """Peak learning rate, as in the first stage."""
    pairs: int
    """Pairs a step with the wanted reply preferred."""
    reverse: int
    """Pairs a step, on prompts to keep, with the base's own reply preferred to a wanted reply of the target prompts."""
    keep: int
    """Prompts a step for the KL anchor."""
    tokens: int
    """How many tokens of each reply are compared."""
    reverse_tokens: int
    """How many of a refusal at most, where it is the loser: the decision to refuse shall become unlikely there, not the
    words behind it."""
    hardest: float
    """Share of the pairs that is trained on: those that the reference is most wrong about."""
    beta: float
    """How much a difference of log-probabilities counts."""
    reference: str
    """Against which log-probabilities: of the prefix after `sft`, of the `base`, of the `teacher` (its
    instruction), or `none`: the two replies are compared as they are."""
    goal: str
    """`prefer` the better reply as strongly as it goes, or `balance`: push likewise, and take the step where each side
    is preferred for half of the pairs of a source."""
    per_token: bool
    """Whether replies of different length are compared by their mean log-probability a token."""
    imitate_weight: float
    """Weight of the first stage's loss on the preferred replies, all their tokens."""
    keep_weight: float
    """Weight of the KL anchor."""
    keep_tokens: int
    """On how many tokens of the base's replies it is taken: fewer let the first word count for more, which is where
    another patch decides."""


@dataclass(frozen=True, slots=True)
class ForeignersRecipe:
    """Prefixes of other patches that stand beside this one in training, so that it works beside any."""

    share: float
    """Share of the steps in which there are some."""
    most: int
    """How many at once, at most."""
    prefixes: tuple[str, ...]
    """Trained prefixes: `.safetensors` files, found from the recipe's folder."""
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
    """What the rows are. `target`: prompts that are the patch's business. `pair`: the same with a better and a worse
    reply. `keep`: prompts to which the base model's replies shall stay as they are. `others`: prompts that are the
    business of other patches; kept like the former, except that no reverse pairs are made of them."""
    train: int
    """Rows to train on."""
    dev: int
    """Rows to choose the best step and to compare recipes by; not trained on, not claimed on."""
    each: bool = False
    """For `pair` and the goal `balance`: every pair shall be even by itself."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole file."""

    digest: Digest
    """Of the file's bytes."""
    folder: Path
    """Where it lies, so that its own files are found."""
    seed: int
    """Decides the order of rows, who is there in company, and what is drawn; not how rows are split."""
    domain: str
    """Which risk the patch is for: `toxicity`, `bias`, `harmfulness`, `privacy`, `backdoor`, or `x-...`."""
    precision: str
    """In which the base is run: `float32`, `bfloat16`, or `auto` for the faster one on the machine."""
    suites: tuple[str, ...]
    """Suites whose rows, and what is like them, are not trained on: names, or `.toml` files beside the recipe."""
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
