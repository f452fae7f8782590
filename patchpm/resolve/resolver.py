"""Requirements to releases: the public face of this room.

The rules, in order of weight: every requirement of the user and of the chosen releases is met; no two of them conflict;
a version counts only with an admissible release for every base of the project; yanked ones count only where locked;
pre-releases count only for ranges that name one; locked versions stay where that is possible at all; then the highest
versions, the user's requirements in the order of their names. Token budget and order are checked on the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from patchpm.patch.manifest import MAX_TOKENS
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from patchpm.registry.index import Index, ReleaseEntry
from patchpm.resolve.absence import absent_root
from patchpm.resolve.budget import check_budget
from patchpm.resolve.candidates import Candidates, Pool
from patchpm.resolve.explain import unsatisfiable
from patchpm.resolve.order import compose_order
from patchpm.resolve.problem import RootRequirement, Target
from patchpm.resolve.resolution import Edge, Resolution, ResolvedSet
from patchpm.resolve.solve import Solved, solve, solve_with_lock

__all__ = ["Edge", "Resolution", "ResolvedSet", "RootRequirement", "Target", "resolve"]


def resolve(
    requirements: Sequence[RootRequirement],
    index: Index,
    targets: Sequence[Target],
    *,
    locked: Mapping[PatchName, Version] | None = None,
    max_tokens: int = MAX_TOKENS,
    admit: Callable[[ReleaseEntry], str | None] = lambda _: None,
) -> Resolution:
    """Choose a release of every patch that is needed, for every base, and the order in which they stand.

    Args:
        requirements: What the user asks for. Several for one patch must all be met.
        index: Where releases are looked up; only the names that matter are.
        targets: The bases of the project, at least one, with different labels.
        locked: Versions to keep where possible; leave a patch out to update it.
        max_tokens: What the set for one base may cost, in prefix tokens.
        admit: The policy: why a release may not be chosen, after "is not admitted: ".

    Raises:
        ResolutionError: `unknown-patch`, `no-release-for-base`, `unsatisfiable`, `token-budget`, `order-cycle` or
            `search-limit`, with the reasons in `why` and the ways out in `next`.
        ValueError: Without a target, or for two with one label.
    """
    labels = [target.label for target in targets]
    if not labels or len(set(labels)) < len(labels):
        raise ValueError(f"expected at least one target and different labels, got {labels}")
    pool = Pool(index, targets, locked or {}, admit)
    chosen = _chosen(pool, requirements)
    edges = _edges(requirements, chosen)
    sets = {}
    for number, label in enumerate(labels):
        releases = compose_order(patch.releases[version][number] for patch, version in chosen.items())
        sets[label] = ResolvedSet(releases, check_budget(label, releases, max_tokens, requirements, edges))
    return Resolution(sets, edges)


def _chosen(pool: Pool, requirements: Sequence[RootRequirement]) -> Mapping[Candidates, int]:
    for root in requirements:
        absent = absent_root(pool, root)
        if absent is not None:
            raise absent
    kept = solve_with_lock(pool, requirements) if pool.locked else None
    answer = kept or solve(pool, requirements)
    if isinstance(answer, Solved):
        return answer.chosen
    raise unsatisfiable(pool, requirements, answer)


def _edges(requirements: Sequence[RootRequirement], chosen: Mapping[Candidates, int]) -> tuple[Edge, ...]:
    asked = [Edge(None, root.origin, root.name, root.range) for root in requirements]
    required = [
        Edge(patch.name, "", name, wanted)
        for patch, version in sorted(chosen.items(), key=lambda item: item[0].name)
        for name, ranges in sorted(patch.said(version).requires.items())
        for wanted in ranges
    ]
    return (*asked, *required)
