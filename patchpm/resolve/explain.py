"""A failed resolution in sentences: who asks for what, what that requires, and what clashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations

from patchpm.errors import ResolutionError
from patchpm.resolve.absence import absence_in_words
from patchpm.resolve.candidates import Candidates, Pool, Ranges
from patchpm.resolve.problem import RootRequirement
from patchpm.resolve.proof import Asked, Conflicts, Fact, Requires, Statement, Unmet
from patchpm.resolve.ways_out import smallest_core, ways_out
from patchpm.resolve.words import joined, named, wanted

_MAX_FACTS = 30
_MORE_THAN_ONE = "no single change is enough: relax or leave out more than one of the requirements"
_Told = Requires | Conflicts | Unmet


def unsatisfiable(pool: Pool, roots: Sequence[RootRequirement], proof: Statement) -> ResolutionError:
    """The error for requirements that cannot be met, with the reasons and the ways out."""
    core, proof = smallest_core(pool, proof)
    names = joined([wanted(root.name, (root.range,)) for root in core])
    together = "" if len(core) == 1 else " together"
    facts = list(dict.fromkeys(statement.fact for statement in proof.walk() if statement.fact is not None))
    lines = list(_story(facts))
    if len(lines) > _MAX_FACTS:
        lines = [*lines[:_MAX_FACTS], f"... and {len(lines) - _MAX_FACTS} more facts like these"]
    ends = [*_gaps(facts), *_conclusion(proof)]
    return ResolutionError(
        "unsatisfiable",
        f"{names} cannot be installed{together}",
        why="\n".join([*lines, *ends]),
        next=ways_out(pool, roots, core) or (_MORE_THAN_ONE if len(roots) > 1 else None),
    )


def _story(facts: Sequence[Fact]) -> Iterator[str]:
    """The facts of the proof as a tree: what the user asks for, and below it what that requires or conflicts with."""
    asked = sorted(
        (fact for fact in facts if isinstance(fact, Asked)), key=lambda fact: (fact.root.name, fact.root.origin)
    )
    told = _merged([fact for fact in facts if not isinstance(fact, Asked)])
    for patch in dict.fromkeys(fact.patch for fact in asked):
        yield from (_sentence(fact) for fact in asked if fact.patch is patch)
        yield from _told_by(patch, told)


def _told_by(patch: Candidates, told: dict[Candidates, list[_Told]]) -> Iterator[str]:
    """What the versions of `patch` say, each followed by what that leads to; everything is told once."""
    stack = [(1, fact) for fact in reversed(told.pop(patch, []))]
    while stack:
        depth, fact = stack.pop()
        yield "  " * depth + _sentence(fact)
        if isinstance(fact, Requires):
            stack += [(depth + 1, each) for each in reversed(told.pop(fact.other, []))]


def _merged(facts: Sequence[_Told]) -> dict[Candidates, list[_Told]]:
    """The facts by who states them, with one fact for all versions of a patch that say the same."""
    same: dict[object, _Told] = {}
    for fact in facts:
        key = (type(fact), fact.parent, fact.other, fact.ranges)
        known = same.get(key)
        same[key] = fact if known is None else replace(fact, versions=fact.versions | known.versions)
    told: dict[Candidates, list[_Told]] = {}
    for fact in sorted(same.values(), key=lambda each: (each.other.name, each.versions.mask)):
        told.setdefault(fact.parent, []).append(fact)
    return told


def _sentence(fact: Fact) -> str:
    match fact:
        case Asked(_, root):
            return f"{root.origin} asks for {wanted(root.name, (root.range,))}"
        case Requires(parent, versions, other, ways):
            meant = joined(list(dict.fromkeys(wanted(other.name, each) for each in ways)), "or")
            return f"{named(parent, versions)} requires {meant}"
        case Conflicts(parent, versions, other, ways):
            meant = joined(list(dict.fromkeys(wanted(other.name, each, "or") for each in ways)), "or")
            return f"{named(parent, versions)} conflicts with {meant}"
        case Unmet(parent, versions, other, ranges):
            missing = absence_in_words(other, ranges)
            return f"{named(parent, versions)} requires {wanted(other.name, ranges)}, but {missing}"


def _gaps(facts: Sequence[Fact]) -> Iterator[str]:
    """Say where two requirements seem to agree, since the versions that would meet both are not there."""
    required: dict[Candidates, list[Ranges]] = {}
    for fact in facts:
        if isinstance(fact, Asked):
            required.setdefault(fact.patch, []).append((fact.root.range,))
        elif isinstance(fact, Requires):
            required.setdefault(fact.other, []).append(fact.ranges[0])
    for patch, wishes in required.items():
        for one, other in combinations(sorted(set(wishes), key=str), 2):
            both = (*one, *other)
            if patch.wished(both).is_empty and all(left.overlaps(right) for left in one for right in other):
                yield f"{wanted(patch.name, both)} are not met by any one version: {absence_in_words(patch, both)}"


def _conclusion(proof: Statement) -> Iterator[str]:
    """What the facts add up to, before it meets the requirements of the user; nothing where a single fact says it."""
    statement = proof
    while statement.causes is not None:
        left, right = statement.causes
        if isinstance(left.fact, Asked):
            statement = right
        elif isinstance(right.fact, Asked):
            statement = left
        else:
            break
    terms = [*statement.present, *statement.absent]
    if statement.fact is not None or not terms or any((patch.all & versions).is_empty for patch, versions in terms):
        return
    needed = joined([named(patch, versions, "any") for patch, versions in statement.absent] or [""], "or")
    if not statement.present:
        yield f"so {needed} is needed"
        return
    (patch, versions), *others = statement.present
    company = "".join(f" together with {named(*other, 'any')}" for other in others)
    if needed:
        yield f"so {named(patch, versions)}{company} needs {needed}"
    elif len(patch.versions) > 1 and patch.all.is_subset(versions):
        yield f"so {named(patch, versions, 'no')} can be installed{company}"
    else:
        yield f"so {named(patch, versions)} cannot be installed{company}"
