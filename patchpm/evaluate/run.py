"""From a prefix to claims: every figure on prompts that the prefix was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from patchpm.errors import IntegrityError, UsageError
from patchpm.evaluate.claims import Exchange, perplexity_claim, share_claim
from patchpm.evaluate.perplexity import passages, perplexity
from patchpm.evaluate.refusal import is_refusal
from patchpm.patch.digest import Digest
from patchpm.patch.manifest import Claim
from patchpm.patch.prefix import inspect_prefix
from patchpm.settings import Folders
from patchpm.train.data import load_prompts
from patchpm.train.greedy import Progress, Reply, greedy_replies
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.recipe import read_recipe
from patchpm.train.run import load_model, weights_digest
from patchpm.train.teacher import own_replies

REPLY_TOKENS = 32
"""Length of a judged reply."""
METRICS = {"harmful": "refusal-rate", "benign": "over-refusal-rate"}
"""What a refusal counts as, by the kind of prompt."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured, and the replies behind it."""

    claims: tuple[Claim, ...]
    exchanges: tuple[Exchange, ...]


def evaluate(base: Path, prefix: Path, recipe_path: Path, *, dev: bool = False, progress: Progress) -> Evaluation:
    """Measure a prefix on the held-out prompts of its recipe.

    For each kind of prompt there is one claim a suite, and one over all suites named `held-out-harmful` and
    `held-out-benign`; then perplexity of each source of plain text.

    Args:
        base: Folder of the base model.
        prefix: `prefix.safetensors`.
        recipe_path: The recipe that names the suites.
        dev: Measure on the dev prompts instead, to choose between recipes; such figures are no claims.
        progress: Told of prompts done, of all prompts with and without the patch.

    Raises:
        UsageError: For a wrong recipe, base folder or prefix.
    """
    torch.set_num_threads(1)
    cache = Folders.of_user().cache
    recipe = read_recipe(recipe_path)
    prompts = load_prompts(recipe, cache)
    digest = weights_digest(base)
    model = load_model(base, recipe)
    matrix = read_matrix(prefix, model.hidden_size)
    claims: list[Claim] = []
    exchanges: list[Exchange] = []
    for kind in METRICS:
        suites = prompts.suites(kind, dev=dev)
        found = _exchange(model, digest, matrix, kind, suites, cache, progress)
        exchanges += found
        claims += _share_claims(kind, "dev" if dev else "held-out", found)
    for suite, sentences in () if dev else prompts.suites("text"):
        texts = passages(sentences)
        without = perplexity(model, None, texts, progress)
        claims.append(perplexity_claim(suite, without, perplexity(model, matrix, texts, progress)))
    return Evaluation(tuple(claims), tuple(exchanges))


def read_matrix(path: Path, hidden_size: int) -> Tensor:
    """Read `prefix.safetensors` as `(tokens, hidden_size)` float32.

    Raises:
        UsageError: `prefix-not-found`.
        IntegrityError: `malformed-prefix`, also where its width is not the base's.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError("prefix-not-found", f"cannot read {path}", why=str(error.strerror)) from error
    matrix = inspect_prefix(data)
    if matrix.hidden_size != hidden_size:
        raise IntegrityError(
            "malformed-prefix",
            "the prefix does not fit this base model",
            why=f"its rows have {matrix.hidden_size} numbers, the model's embeddings {hidden_size}",
        )
    return torch.tensor(matrix.rows(), dtype=torch.float32)


def _exchange(
    model: PrefixModel,
    base: Digest,
    prefix: Tensor,
    kind: str,
    suites: Sequence[tuple[str, tuple[str, ...]]],
    cache: Path,
    progress: Progress,
) -> list[Exchange]:
    """Put every prompt of a kind to the model without and with the prefix."""
    asked = [(suite, prompt) for suite, rows in suites for prompt in rows]
    questions = [prompt for _, prompt in asked]
    if not questions:
        return []
    before = own_replies(model, base, questions, tokens=REPLY_TOKENS, cache=cache, progress=progress)
    after = greedy_replies(model, prefix, questions, tokens=REPLY_TOKENS, progress=progress)
    return [
        Exchange(suite, kind, prompt, _text(model, old), _text(model, new))
        for (suite, prompt), old, new in zip(asked, before, after, strict=True)
    ]


def _share_claims(kind: str, name: str, exchanges: Sequence[Exchange]) -> list[Claim]:
    """One claim a suite, and one over all of them."""
    groups: dict[str, list[Exchange]] = {f"{name}-{kind}": list(exchanges)} if exchanges else {}
    for one in exchanges:
        groups.setdefault(one.suite, []).append(one)
    return [
        share_claim(
            METRICS[kind], suite, [is_refusal(one.before) for one in rows], [is_refusal(one.after) for one in rows]
        )
        for suite, rows in groups.items()
    ]


def _text(model: PrefixModel, reply: Reply) -> str:
    return model.frame.decode(reply.ids)
