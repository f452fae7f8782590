"""The order in which patches stand at the anchor: every wish of theirs is met, and ties go by name.

A wish about a patch that is not there counts for nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from patchpm.errors import ResolutionError
from patchpm.patch.manifest import Compose
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from patchpm.resolve.words import joined


class Ordered(Protocol):
    """A release with wishes about its place: an entry of an index, or a manifest."""

    @property
    def name(self) -> PatchName:
        """Of the patch."""

    @property
    def version(self) -> Version:
        """Which release."""

    @property
    def compose(self) -> Compose:
        """Its wishes."""


_T = TypeVar("_T", bound=Ordered)


class _Wish(NamedTuple):
    first: PatchName
    second: PatchName
    words: str


def compose_order(members: Iterable[_T]) -> tuple[_T, ...]:
    """Bring releases of different patches into the one order that they have in a patch set.

    Raises:
        ResolutionError: `order-cycle`, naming the patches and what each of them asks for.
    """
    by_name = {member.name: member for member in members}
    wishes = list(_wishes(by_name.values()))
    waiting_for = {name: {wish.first for wish in wishes if wish.second == name} for name in by_name}
    ready = [name for name, others in waiting_for.items() if not others]
    heapq.heapify(ready)
    placed: list[PatchName] = []
    while ready:
        name = heapq.heappop(ready)
        placed.append(name)
        for wish in wishes:
            if wish.first == name and name in waiting_for[wish.second]:
                waiting_for[wish.second].remove(name)
                if not waiting_for[wish.second]:
                    heapq.heappush(ready, wish.second)
    if len(placed) < len(by_name):
        raise _cycle_error(wishes, set(by_name) - set(placed))
    return tuple(by_name[name] for name in placed)


def order_fault(members: Sequence[Ordered]) -> str | None:
    """Say which wish the given order breaks, or None. For checking an order that a lock fixed earlier."""
    place = {member.name: number for number, member in enumerate(members)}
    return next((wish.words for wish in _wishes(members) if place[wish.first] > place[wish.second]), None)


def _wishes(members: Iterable[Ordered]) -> Iterator[_Wish]:
    listed = list(members)
    present = {member.name for member in listed}
    for member in sorted(listed, key=lambda each: each.name):
        for other in member.compose.before:
            if other in present and other != member.name:
                words = f"{member.name} {member.version} must stand before {other}"
                yield _Wish(member.name, other, words)
        for other in member.compose.after:
            if other in present and other != member.name:
                words = f"{member.name} {member.version} must stand after {other}"
                yield _Wish(other, member.name, words)


def _cycle_error(wishes: list[_Wish], stuck: set[PatchName]) -> ResolutionError:
    """Walk backwards from any stuck patch: each waits for another stuck one, so the walk closes."""
    walk = [min(stuck)]
    steps: list[_Wish] = []
    while True:
        step = next(wish for wish in wishes if wish.second == walk[-1] and wish.first in stuck)
        steps.append(step)
        if step.first in walk:
            break
        walk.append(step.first)
    cycle = steps[walk.index(steps[-1].first) :][::-1]
    names = joined([str(wish.first) for wish in cycle])
    return ResolutionError(
        "order-cycle",
        f"{names} cannot be put in an order",
        why="\n".join(wish.words for wish in cycle),
        next="leave out one of them, or ask for versions of them that do not contradict each other",
    )
