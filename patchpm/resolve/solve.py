"""The search itself: PubGrub by nab-resolver. No other module knows that library.

The requirements of the user are decided first, in the order of their names, each at the highest version that is left.
So the first of them gets the highest version that any solution has, the next the highest beside that one, and so on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nab_resolver import resolver as nab
from nab_resolver.errors import ResolutionError as NabError
from nab_resolver.errors import ResolutionLimitError, ResolutionTerminatedError
from nab_resolver.root import ROOT
from nab_resolver.types import Incompatibility, IncompatibilityCause, Term
from nab_resolver.types import RootRequirement as NabRoot

from patchpm.errors import ResolutionError
from patchpm.resolve.candidates import Candidates, Pool
from patchpm.resolve.problem import RootRequirement
from patchpm.resolve.proof import Asked, Conflicts, Fact, Requires, Statement, Unmet
from patchpm.resolve.version_set import VersionSet

MAX_ROUNDS = 100_000
"""Steps after which a search is given up; realistic ones take less than a thousand."""

_Clause = Incompatibility[Candidates, int]


@dataclass(frozen=True, slots=True)
class Solved:
    """The chosen version of each patch that the roots need, by index into its candidates."""

    chosen: Mapping[Candidates, int]


def solve(pool: Pool, roots: Sequence[RootRequirement], *, max_rounds: int = MAX_ROUNDS) -> Solved | Statement:
    """Choose versions, locked ones where they fit, or prove that there is no choice.

    Args:
        pool: What may be chosen.
        roots: What is asked for.
        max_rounds: Steps after which to give up.

    Raises:
        ResolutionError: `search-limit` when the search was given up.
    """
    answer = _search(pool, roots, {}, max_rounds)
    return answer if isinstance(answer, Solved) else _statement(answer)


def solve_with_lock(pool: Pool, roots: Sequence[RootRequirement]) -> Solved | None:
    """Choose versions with every locked patch at its locked version, or None where that is impossible.

    A lock that a root rules out, or whose version may no longer be chosen, does not count.
    """
    kept = {pool[name]: pool[name].locked for name in pool.locked}
    for root in roots:
        each = pool[root.name]
        if each.locked is not None and each.locked not in each.wished((root.range,)):
            kept[each] = None
    only = {each: VersionSet.singleton(index) for each, index in kept.items() if index is not None}
    answer = _search(pool, roots, only, MAX_ROUNDS)
    return answer if isinstance(answer, Solved) else None


def _search(
    pool: Pool, roots: Sequence[RootRequirement], only: Mapping[Candidates, VersionSet], max_rounds: int
) -> Solved | Incompatibility[Any, Any]:
    ordered = sorted(roots, key=lambda root: (root.name, root.origin))
    ranks = {pool[name]: rank for rank, name in enumerate(dict.fromkeys(root.name for root in ordered))}
    asked = [Asked(pool[root.name], root) for root in ordered]
    wanted = [NabRoot(each.patch, each.patch.wished((each.root.range,)), each) for each in asked]
    search: nab.Resolver[Candidates, int] = nab.Resolver(
        _Provider(ranks), max_iterations=max_rounds, range_type=VersionSet, format_range=lambda _: ""
    )
    try:
        return Solved(search.solve(wanted, only).pins)
    except ResolutionLimitError:
        raise ResolutionError(
            "search-limit",
            f"no answer was found in {max_rounds} steps",
            why="the requirements neither fit nor clash in any simple way",
            next="ask for narrower ranges, so that there is less to try",
        ) from None
    except NabError as error:
        # Only a proof is an answer: the library's other failures are bugs, in it or in the provider.
        if error.incompatibility is None or isinstance(error, ResolutionTerminatedError):
            raise
        return error.incompatibility


class _Provider(nab.BaseProvider[Candidates, int]):
    """Answers the questions of the search from the candidates."""

    def __init__(self, ranks: Mapping[Candidates, int]) -> None:
        self._ranks = ranks
        self._pending: list[_Clause] = []
        self._chosen_before: set[Candidates] = set()
        self._told: set[Candidates] = set()

    def choose_version(self, package: Candidates, version_range: Any) -> int | None:
        """The locked version where it is left, else the highest; conflicts of the choice are queued as clauses.

        A patch that comes here again had its first choice refuted. Then everything that its versions say is queued, so
        that the next propagation rules out all that fail for the same reasons, without trying them one by one.
        """
        mask = version_range.mask & package.all.mask
        if not mask:
            return None
        if package in self._chosen_before and package not in self._told:
            self._told.add(package)
            for index in range(len(package.versions)):
                self._queue_all(package, index)
            if self._pending:
                return None
        self._chosen_before.add(package)
        index = (
            package.locked if package.locked is not None and package.locked in version_range else mask.bit_length() - 1
        )
        if package.said(index).unmet is not None:
            self._queue_unmet(package, index)
            return None
        self._queue_conflicts(package, index)
        return index

    def _queue_all(self, package: Candidates, index: int) -> None:
        said = package.said(index)
        if said.unmet is not None:
            self._queue_unmet(package, index)
        elif index == said.alike.mask.bit_length() - 1:
            self._queue_conflicts(package, index)
            for other, accepted in said.required.items():
                self._pending.append(_clause(Term(package, said.alike), Term(other, accepted, positive=False)))

    def _queue_conflicts(self, package: Candidates, index: int) -> None:
        said = package.said(index)
        for other, clashing in said.clashing.items():
            self._pending.append(_clause(Term(package, said.alike), Term(other, clashing)))

    def _queue_unmet(self, package: Candidates, index: int) -> None:
        said = package.said(index)
        assert said.unmet is not None
        # A requirement on the patch itself fails for some of the versions that say it, and is met by others.
        versions = said.alike if said.unmet[0] is not package else VersionSet.singleton(index)
        self._pending.append(_clause(Term(package, versions), origin=Unmet(package, versions, *said.unmet)))

    def has_satisfying_version(self, package: Candidates, version_range: Any) -> bool:
        """Whether a candidate is left."""
        return bool(version_range.mask & package.all.mask)

    def get_dependencies(self, package: Candidates, version: int) -> dict[Candidates, VersionSet]:
        """What a version requires."""
        return package.said(version).required

    def widen_decision(self, package: Candidates, version: int) -> VersionSet:
        """All versions that require the same, so that one clause rejects all of them."""
        return package.said(version).alike

    def prioritize(
        self,
        package: Candidates,
        version_range: Any,
        conflict_counts: Mapping[Candidates, int],
        culprit_counts: Mapping[Candidates, int] | None = None,
    ) -> tuple[Any, ...]:
        """Roots first and in a fixed order; then what clashed most, then what has fewest versions left."""
        del culprit_counts
        rank = self._ranks.get(package)
        if rank is not None:
            return (0, rank)
        left = (version_range.mask & package.all.mask).bit_count()
        return (1, -conflict_counts[package], left, package.name)

    def consume_pending_clauses(self) -> list[_Clause]:
        """Hand over what `choose_version` queued."""
        pending, self._pending = self._pending, []
        return pending


def _clause(*terms: Term[Candidates, int], origin: Fact | None = None) -> _Clause:
    # The library merges and reports two positive terms correctly under this cause only.
    return Incompatibility(list(terms), IncompatibilityCause.DEPENDENCY, origin=origin)


def _statement(proof: Incompatibility[Any, Any]) -> Statement:
    """Translate the library's proof into ours, causes first, so that no recursion limits its depth."""
    made: dict[int, Statement] = {}
    for clause in _causes_first(proof):
        terms = [
            (term.package, _versions(term), term.is_positive()) for term in clause.terms if term.package is not ROOT
        ]
        causes = None
        if clause.cause_left is not None and clause.cause_right is not None:
            causes = made[id(clause.cause_left)], made[id(clause.cause_right)]
        made[id(clause)] = Statement(
            present=tuple((package, versions) for package, versions, is_present in terms if is_present),
            absent=tuple((package, versions) for package, versions, is_present in terms if not is_present),
            fact=None if causes else _fact(clause),
            causes=causes,
        )
    return made[id(proof)]


def _causes_first(proof: Incompatibility[Any, Any]) -> list[Incompatibility[Any, Any]]:
    """Every clause of the proof, each after both of its causes."""
    order: list[Incompatibility[Any, Any]] = []
    seen: set[int] = set()
    stack = [(proof, False)]
    while stack:
        clause, is_done = stack.pop()
        if is_done:
            order.append(clause)
        elif id(clause) not in seen:
            seen.add(id(clause))
            stack.append((clause, True))
            stack += [(cause, False) for cause in (clause.cause_left, clause.cause_right) if cause is not None]
    return order


def _versions(term: Term[Any, Any]) -> VersionSet:
    assert isinstance(term.constraint, VersionSet)
    return term.constraint


def _fact(clause: Incompatibility[Any, Any]) -> Fact:
    if isinstance(clause.origin, Asked | Unmet):
        return clause.origin
    # The library drops the origin of a clause when it merges two, so the words come from the declarations again.
    parent, other = clause.terms
    package, versions = parent.package, _versions(parent)
    said = [package.said(index) for index in range(versions.mask.bit_length()) if index in versions]
    if other.is_positive():
        ways = [
            each.conflicts[other.package.name] for each in said if each.clashing.get(other.package) == other.constraint
        ]
        return Conflicts(package, versions, other.package, tuple(dict.fromkeys(ways)))
    ways = [each.requires[other.package.name] for each in said if each.required.get(other.package) == other.constraint]
    return Requires(package, versions, other.package, tuple(dict.fromkeys(ways)))
