"""What a server serves, in words."""

from __future__ import annotations

from typing import Final

from patchpm.guard.served import (
    AsLocked,
    Doubt,
    HalfStripped,
    LeftOut,
    OtherRelease,
    Served,
    Stripped,
    Unclear,
    WrongOrder,
    WrongPatch,
)

_DOUBTS: Final = {
    Doubt.NO_ANSWER: "it gives no answer that can be judged",
    Doubt.TOO_CLOSE: "its answers fit the locked set, and something else nearly as well",
    Doubt.TOO_FAR: "its answers are nearest to the locked set, and not near enough: few bits, or a changed prefix",
    Doubt.COUNTS_DENY: "its answers fit the locked set, but it counts the tokens of another prompt",
    Doubt.TEXT_ONLY: "it gives texts only and no token counts, and texts alone prove too little",
}


def told(served: Served) -> str:  # noqa: PLR0911  # one for each kind
    """What is served, as the end of "the server has ..."."""
    match served:
        case AsLocked():
            return "the locked patch set"
        case Stripped():
            return "no patches at all"
        case HalfStripped(half):
            return f"only the {half} half of the prefix"
        case LeftOut(patch):
            return f"all patches but {patch}"
        case WrongOrder(order):
            return f"the patches in the order {', '.join(map(str, order))}"
        case OtherRelease(patch, version):
            return f"{patch} in its release {version}"
        case WrongPatch():
            return "something else: another patch, another base, or a prefix that was changed"
        case Unclear(doubt):
            return f"nothing that could be told: {_DOUBTS[doubt]}"
