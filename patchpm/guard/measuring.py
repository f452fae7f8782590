"""Making a reference: ask the base the pool under the right set and the wrong ones, and keep the best probes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from torch import nn

from patchpm.errors import CannotError
from patchpm.guard.alternatives import alternatives
from patchpm.guard.choosing import choose, means, nearest, threshold_of
from patchpm.guard.distribution import Distribution
from patchpm.guard.fewer_bits import ARITHMETICS
from patchpm.guard.in_process import ProbedModel
from patchpm.guard.interview import TEXT_TOKENS
from patchpm.guard.pool import POOL
from patchpm.guard.reference import Hypothesis, Noise, Probe, Reference
from patchpm.guard.served import AsLocked
from patchpm.model.causal_lm import Tokenizer
from patchpm.model.conversation import Conversation, Message
from patchpm.model.loaded import PatchSet
from patchpm.patch.fingerprint import Fingerprint

_LEAST_SEPARATION: Final = 0.05
"""Distance below which a set is not told from a wrong one by any server."""

Loader = Callable[[], tuple[nn.Module, Tokenizer]]
"""Loads the base anew, without patches."""
Advance = Callable[[int, int], None]
"""Told how many of how many passes over the pool are done."""


def measure_reference(
    load: Loader,
    patches: PatchSet,
    base: Fingerprint,
    *,
    pool: Sequence[tuple[Message, ...]] = POOL,
    progress: Advance | None = None,
) -> Reference:
    """Make the reference of a patch set on a base: float32 throughout, noise from fewer bits.

    Args:
        load: Called once for each arithmetic.
        patches: The right set.
        base: Identity of what `load` loads, its `tensors` known.
        pool: Conversations to choose from; those that the base's template refuses are passed over.
        progress: Called after each pass over the pool.

    Raises:
        CannotError: `not-told-apart` where no probe separates the set from an alternative; `anchor-not-found`.
    """
    wrong = list(alternatives(patches))
    steps = iter(range(1, 3 + len(wrong) + len(ARITHMETICS)))
    total = len(wrong) + len(ARITHMETICS) + 2

    def step() -> None:
        if progress is not None:
            progress(next(steps), total)

    model, tokenizer = load()
    model.float()
    pool = [messages for messages in pool if Conversation(messages).render(tokenizer) is not None]
    asked = ProbedModel(model, tokenizer, pool)
    right = asked.first_tokens(patches)
    step()
    others = []
    for _, one in wrong:
        others.append(asked.first_tokens(one))
        step()
    worse = []
    for make_worse in ARITHMETICS.values():
        copy = load()[0].float()
        make_worse(copy)
        worse.append(ProbedModel(copy, tokenizer, pool).first_tokens(patches))
        step()
    separations, noises = _distances(right, others), _distances(right, worse)
    chosen = choose(separations, noises)
    separation = nearest(separations, chosen)
    noise = means(noises, chosen)
    if separation < _LEAST_SEPARATION:
        worst = min(range(len(wrong)), key=lambda index: means(separations, chosen)[index])
        raise CannotError(
            "not-told-apart",
            "no probe tells this patch set from a wrong one",
            why=f"the nearest is {wrong[worst][0].kind}, at a distance of {separation:.3f}",
            next="a patch that changes nothing cannot be guarded; look at it with `patchpm evaluate`",
        )
    probes = _probes(
        ProbedModel(model, tokenizer, [pool[index] for index in chosen]), [pool[i] for i in chosen], patches
    )
    step()
    assert base.tensors is not None
    return Reference(
        base=base.tensors,
        template=base.template,
        set=patches.digest,
        anchor=patches.anchor,
        patches=tuple(f"{patch.name} {patch.version}" for patch in patches.patches),
        probes=probes,
        right=Hypothesis(AsLocked(), tuple(right[index] for index in chosen)),
        alternatives=tuple(
            Hypothesis(served, tuple(answers[index] for index in chosen))
            for (served, _), answers in zip(wrong, others, strict=True)
        ),
        noise=tuple(Noise(name, round(value, 4)) for name, value in zip(ARITHMETICS, noise, strict=True)),
        threshold=round(threshold_of(separation, noise), 4),
        separation=round(separation, 4),
    )


def _probes(asked: ProbedModel, conversations: Sequence[tuple[Message, ...]], patches: PatchSet) -> tuple[Probe, ...]:
    found = zip(
        conversations,
        asked.prompt_tokens(None),
        asked.prompt_tokens(patches),
        asked.texts(None, TEXT_TOKENS),
        asked.texts(patches, TEXT_TOKENS),
        strict=True,
    )
    return tuple(Probe(*one) for one in found)


def _distances(right: Sequence[Distribution], others: Sequence[Sequence[Distribution]]) -> list[list[float]]:
    """From the right answers: a row a probe, a column for each of `others`."""
    return [[one.distance(other[index]) for other in others] for index, one in enumerate(right)]
