"""The token budget of a patch set, checked when the set is known."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from patchpm.errors import ResolutionError
from patchpm.patch.name import PatchName
from patchpm.registry.index import ReleaseEntry
from patchpm.resolve.problem import RootRequirement
from patchpm.resolve.resolution import Edge
from patchpm.resolve.words import joined


def check_budget(
    label: str,
    releases: Sequence[ReleaseEntry],
    max_tokens: int,
    roots: Sequence[RootRequirement],
    edges: Sequence[Edge],
) -> int:
    """Add up what a patch set costs.

    Args:
        label: Of the base that the set is for.
        releases: The set.
        max_tokens: What it may cost, in prefix tokens.
        roots: What the user asked for.
        edges: Who requires whom.

    Returns:
        The cost in prefix tokens.

    Raises:
        ResolutionError: `token-budget`, with the cost of each patch and what to leave out.
    """
    total = sum(release.tokens for release in releases)
    if total <= max_tokens:
        return total
    dearest = sorted(releases, key=lambda release: (-release.tokens, release.name))
    lines = [
        f"{release.name} {release.version} costs {release.tokens}{_because(release.name, edges)}" for release in dearest
    ]
    cost = {release.name: release.tokens for release in releases}
    ways = _ways_out(cost, max_tokens, [root.name for root in roots], edges)
    raising = f"raise max-tokens to {total} under [compose] in patchpm.toml"
    raise ResolutionError(
        "token-budget",
        f"the patches for {label} cost {total} prefix tokens, and {max_tokens} are allowed",
        why="\n".join(lines),
        next="; or ".join([*ways, raising]),
    )


def _because(name: PatchName, edges: Sequence[Edge]) -> str:
    requirers = [str(edge.by) for edge in edges if edge.name == name and edge.by is not None]
    asked = any(edge.name == name and edge.by is None for edge in edges)
    return "" if asked or not requirers else f", required by {joined(requirers)}"


def _ways_out(
    cost: dict[PatchName, int], max_tokens: int, roots: Sequence[PatchName], edges: Sequence[Edge]
) -> list[str]:
    """Leave out one root, as cheap a one as will do; where none does, the dearest ones together."""
    names = sorted(set(roots))
    if len(names) == 1:
        return []
    left = {name: sum(cost[each] for each in _reached(set(names) - {name}, edges)) for name in names}
    enough = sorted((name for name in names if left[name] <= max_tokens), key=lambda name: (-left[name], name))
    if enough:
        return [f"leave out {name}, which leaves {left[name]}" for name in enough[:3]]
    dropped: list[PatchName] = []
    for name in sorted(names, key=lambda each: (left[each], each)):
        dropped.append(name)
        rest = sum(cost[each] for each in _reached(set(names) - set(dropped), edges))
        if rest <= max_tokens:
            break
    return [f"leave out {joined([str(name) for name in dropped])}, which leaves {rest}"] if dropped[1:] else []


def _reached(roots: Collection[PatchName], edges: Sequence[Edge]) -> set[PatchName]:
    """The patches that are still there with these roots only."""
    found: set[PatchName] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [edge.name for edge in edges if edge.by == name]
    return found
