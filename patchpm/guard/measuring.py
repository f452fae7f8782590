"""Making a reference: ask the base the pool under the right set and the wrong ones, and keep the best probes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from patchpm.errors import CannotError
from patchpm.guard.alternatives import alternatives
from patchpm.guard.choosing import LEAST_SEPARATION, choose_apart, means, threshold_of
from patchpm.guard.distribution import Distribution
from patchpm.guard.fewer_bits import ARITHMETICS
from patchpm.guard.in_process import ProbedModel
from patchpm.guard.interview import TEXT_TOKENS
from patchpm.guard.pool import POOL
from patchpm.guard.reference import Hypothesis, Noise, Probe, Reference
from patchpm.guard.served import AsLocked, OtherRelease
from patchpm.model.causal_lm import Tokenizer
from patchpm.model.conversation import Conversation, Message
from patchpm.model.loaded import LoadedPatch, PatchSet
from patchpm.patch.fingerprint import Fingerprint

Loader = Callable[[], tuple[nn.Module, Tokenizer]]
"""Loads the base anew, without patches."""
Advance = Callable[[int, int], None]
"""Told how many of how many passes over the pool are done."""


def measure_reference(
    load: Loader,
    patches: PatchSet,
    base: Fingerprint,
    *,
    releases: Sequence[LoadedPatch] = (),
    pool: Sequence[tuple[Message, ...]] = POOL,
    progress: Advance | None = None,
) -> Reference:
    """Make the reference of a patch set on a base: float32 throughout, noise from fewer bits.

    Args:
        load: Called once for float32 and once for each arithmetic of fewer bits.
        patches: The right set.
        base: Identity of what `load` loads, its `tensors` known.
        releases: Others of its patches, which a server may have in place of the locked ones. One that answers as the
            right set does, but for the noise of fewer bits, is none of the alternatives of what is returned.
        pool: Conversations to choose from; those that the base's template refuses are passed over.
        progress: Called after each pass over the pool.

    Raises:
        CannotError: `not-told-apart` where no probe separates the set from an alternative; `anchor-not-found`.
    """
    model, tokenizer = load()
    model.float()
    pool = [messages for messages in pool if Conversation(messages).render(tokenizer) is not None]
    wrong = list(alternatives(patches, releases))
    passes = iter(range(1, 2 + len(wrong) + len(ARITHMETICS)))

    def answers(model: nn.Module, served: PatchSet | None) -> list[Distribution]:
        found = ProbedModel(model, tokenizer, pool).first_tokens(served)
        if progress is not None:
            progress(next(passes), 1 + len(wrong) + len(ARITHMETICS))
        return found

    right = answers(model, patches)
    others = [answers(model, served) for _, served in wrong]
    worse = [answers(_in_fewer_bits(load, arithmetic), patches) for arithmetic in ARITHMETICS]
    noises = _distances(right, worse)
    optional = {index for index, (served, _) in enumerate(wrong) if isinstance(served, OtherRelease)}
    every = _distances(right, others)
    told, chosen = choose_apart(every, noises, optional)
    distances, noise = means(every, chosen), means(noises, chosen)
    worst = min(told, key=lambda index: distances[index])
    separation = distances[worst]
    if separation < LEAST_SEPARATION:
        raise CannotError(
            "not-told-apart",
            "no probe tells this patch set from a wrong one",
            why=f"the nearest is {wrong[worst][0].kind}, at a distance of {separation:.3f}",
            next="a patch that changes nothing cannot be guarded; look at it with `patchpm evaluate`",
        )
    assert base.tensors is not None
    return Reference(
        base=base.tensors,
        template=base.template,
        set=patches.digest,
        anchor=patches.anchor,
        patches=tuple(f"{patch.name} {patch.version}" for patch in patches.patches),
        probes=_probes(model, tokenizer, [pool[index] for index in chosen], patches),
        right=Hypothesis(AsLocked(), tuple(right[index] for index in chosen)),
        alternatives=tuple(
            Hypothesis(wrong[alternative][0], tuple(others[alternative][index] for index in chosen))
            for alternative in told
        ),
        noise=tuple(Noise(name, round(value, 4)) for name, value in zip(ARITHMETICS, noise, strict=True)),
        threshold=round(threshold_of(separation, noise), 4),
        separation=round(separation, 4),
    )


def _in_fewer_bits(load: Loader, arithmetic: str) -> nn.Module:
    model = load()[0].float()
    ARITHMETICS[arithmetic](model)
    return model


def _probes(
    model: nn.Module, tokenizer: Tokenizer, conversations: Sequence[tuple[Message, ...]], patches: PatchSet
) -> tuple[Probe, ...]:
    asked = ProbedModel(model, tokenizer, conversations)
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
