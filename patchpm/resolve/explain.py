"""A failed resolution in sentences: who asks for what, what that requires, and what clashes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from patchpm.errors import ResolutionError
from patchpm.resolve.absence import absence_in_words
from patchpm.resolve.candidates import Candidates, Pool
from patchpm.resolve.problem import RootRequirement
from patchpm.resolve.proof import Asked, Conflicts, Fact, Requires, Statement, Unmet
from patchpm.resolve.ways_out import smallest_core, ways_out
from patchpm.resolve.words import joined, named, ranges_in_words

_MAX_FACTS = 30
_Told = Requires | Conflicts | Unmet


def unsatisfiable(pool: Pool, roots: Sequence[RootRequirement], proof: Statement) -> ResolutionError:
    """The error for requirements that cannot be met, with the reasons and the ways out."""
    core, proof = smallest_core(pool, proof)
    names = joined([f"{root.name}{ranges_in_words((root.range,))}" for root in core])
    together = "" if len(core) == 1 else " together"
    lines = list(_story(proof))
    if len(lines) > _MAX_FACTS:
        lines = [*lines[:_MAX_FACTS], f"... and {len(lines) - _MAX_FACTS} more facts like these"]
    conclusion = _conclusion(proof)
    return ResolutionError(
        "unsatisfiable",
        f"{names} cannot be installed{together}",
        why="\n".join(lines if conclusion is None else [*lines, conclusion]),
        next=ways_out(pool, roots, core) or "relax or leave out more than one of these requirements",
    )


def _story(proof: Statement) -> Iterator[str]:
    """The facts of the proof as a tree: what the user asks for, and below it what that requires or conflicts with."""
    facts = list(dict.fromkeys(statement.fact for statement in proof.walk() if statement.fact is not None))
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
            return f"{root.origin} asks for {root.name}{ranges_in_words((root.range,))}"
        case Requires(parent, versions, other, ranges):
            written = joined([ranges_in_words(each) or " any version" for each in ranges], "or").strip()
            return f"{named(parent, versions)} requires {other.name} {written}"
        case Conflicts(parent, versions, other, ranges):
            written = joined([ranges_in_words(each, "or") or " any version" for each in ranges], "or").strip()
            return f"{named(parent, versions)} conflicts with {other.name} {written}"
        case Unmet(parent, versions, other, ranges):
            missing = absence_in_words(other, ranges)
            return f"{named(parent, versions)} requires {other.name}{ranges_in_words(ranges)}, but {missing}"


def _conclusion(proof: Statement) -> str | None:
    """What the facts add up to, before it meets the requirements of the user; None where a single fact says it."""
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
        return None
    needed = joined([named(patch, versions, "any") for patch, versions in statement.absent] or [""], "or")
    if not statement.present:
        return f"so {needed} is needed"
    given = [named(patch, versions) for patch, versions in statement.present]
    if needed:
        return f"so {joined(given, 'together with')} needs {needed}"
    return f"so {joined(given)} cannot be installed" + (" together" if len(given) > 1 else "")
