"""Good and bad `patchpm.probes.json` files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from patchpm.guard.distribution import Distribution
from patchpm.guard.reference import Hypothesis, Noise, Probe, Reference
from patchpm.guard.reference_json import write_references
from patchpm.guard.served import Alternative, AsLocked, Half, HalfStripped, LeftOut, OtherRelease, Stripped, WrongOrder
from patchpm.patch.name import PatchName
from patchpm.patch.version import Version
from tests.builders import digest
from tests.schema.edits import ABSENT, Path, json_text, put

_TOXICITY: Final = PatchName("acme", "toxicity")
_CORE: Final = PatchName("acme", "core")
_WAYS: Final = (
    Stripped(),
    HalfStripped(Half.FIRST),
    HalfStripped(Half.SECOND),
    LeftOut(_TOXICITY),
    LeftOut(_CORE),
    WrongOrder((_TOXICITY, _CORE)),
    OtherRelease(_TOXICITY, Version.parse("1.1.0")),
    OtherRelease(_TOXICITY, Version.parse("1.3.0-rc.1")),
)


def reference(base: str = "small", ways: tuple[Alternative, ...] = _WAYS) -> Reference:
    """What two probes of a base are answered, by the set of two patches and by each way to miss it."""
    return Reference(
        base=digest(f"{base} tensors"),
        template=digest(f"{base} template"),
        set=digest("set"),
        anchor="system-start",
        patches=("acme/core 1.0.0", "acme/toxicity 1.2.0"),
        probes=(
            Probe(({"role": "user", "content": "Who is to blame?"},), 36, 87, "Them.", "I would not blame anyone."),
            Probe(
                (
                    {"role": "system", "content": "Be brief.\nBe kind."},
                    {"role": "user", "content": "Café?"},
                    {"role": "assistant", "content": "Oui."},
                    {"role": "user", "content": "And the tea?"},
                ),
                41,
                92,
                "",
                "Tea\n",
            ),
        ),
        right=_answers(AsLocked(), -0.25),
        alternatives=tuple(_answers(way, -1.0 - index) for index, way in enumerate(ways)),
        noise=(Noise("bfloat16", 0.081), Noise("8-bit weights", 0.0)),
        threshold=0.241,
        separation=1.855,
    )


def good() -> dict[str, bytes]:
    """File name to bytes. All but those called `loose-` are as our writer writes them."""
    pair = sorted((reference(), reference("tiny", (Stripped(),))), key=lambda one: str(one.base))
    smallest = replace(reference(ways=(Stripped(),)), template=None, noise=())
    text = write_references([reference()])
    value = json.loads(text)
    turned = [dict(reversed(answer.items())) for answer in value["references"][0]["right"]]
    return {
        "one-base.json": text,
        "two-bases.json": write_references(pair),
        "smallest.json": write_references([smallest]),
        "no-base.json": write_references([]),
        "loose-on-one-line.json": json.dumps(value).encode(),
        "loose-tokens-in-another-order.json": json_text(put(value, ("references", 0, "right"), turned)),
        "loose-bases-not-sorted.json": write_references(pair[::-1]),
        "loose-absent-template.json": json_text(
            put(json.loads(write_references([smallest])), ("references", 0, "template"), ABSENT)
        ),
    }


def bad() -> dict[str, bytes]:
    """File name to bytes; each differs from a good file in one thing."""
    text = write_references([reference()])
    value = json.loads(text)
    files = {
        f"{name}.json": json_text(put(value, ("references", 0, *path), new)) for name, (path, new) in _EDITS.items()
    }
    return files | {
        "a-list.json": json_text(value["references"]),
        "later-format.json": json_text(put(value, ("format",), "patchpm-probes-v2")),
        "format-missing.json": json_text(put(value, ("format",), ABSENT)),
        "surplus-field.json": json_text(put(value, ("surprise",), 1)),
        "base-twice.json": write_references([reference(), reference()]),
        "duplicate-token.json": text.replace(b'"I": -0.25', b'"I": -0.5,\n          "I": -0.25', 1),
        "prompt-tokens-written-36.0.json": text.replace(b'"base_tokens": 36', b'"base_tokens": 36.0', 1),
        "threshold-nan.json": text.replace(b"0.241", b"NaN", 1),
    }


def _answers(served: AsLocked | Alternative, best: float) -> Hypothesis:
    first = Distribution.of([("I", best), (" \N{HOT BEVERAGE}", best - 1), ("\n", best - 1), ('"', best - 2.5)])
    return Hypothesis(served, (first, Distribution.of([("Tea", best)])))


_KIND: Final = ("alternatives", 0, "served")
_EDITS: Final[dict[str, tuple[Path, object]]] = {
    "surplus-field-in-reference": (("surprise",), 1),
    "base-null": (("base",), None),
    "anchor-unknown": (("anchor",), "user-start"),
    "patch-with-bidi": (("patches", 0), "acme/core 1.0.0\u202e"),
    "threshold-zero": (("threshold",), 0),
    "noise-negative": (("noise", 0, "distance"), -0.1),
    "probes-none": (("probes",), []),
    "probe-of-a-tool": (("probes", 0, "messages", 0, "role"), "tool"),
    "probe-with-parts": (("probes", 0, "messages", 0, "content"), [{"type": "text", "text": "Hello"}]),
    "probe-ends-in-an-answer": (("probes", 0, "messages", 0, "role"), "assistant"),
    "answers-fewer-than-probes": (("right",), [{"I": -0.25}]),
    "answer-without-tokens": (("right", 0), {}),
    "answer-of-21-tokens": (("right", 0), {str(number): -1 for number in range(21)}),
    "answer-as-probability": (("right", 0, "I"), 0.78),
    "answer-as-text": (("right", 0, "I"), "-0.25"),
    "answer-with-empty-token": (("right", 0, ""), -3),
    "answer-with-part-of-a-character": (("right", 0, "\N{REPLACEMENT CHARACTER}"), -3),
    "alternatives-none": (("alternatives",), []),
    "alternative-twice": (("alternatives", 2, "served", "half"), "first"),
    "alternative-of-unknown-kind": (_KIND, {"kind": "quantised"}),
    "alternative-without-its-half": (_KIND, {"kind": "half-stripped"}),
    "alternative-with-field-of-another": (_KIND, {"kind": "stripped", "half": "first"}),
    "alternative-left-out-in-a-release": (_KIND, {"kind": "left-out", "patch": "acme/core", "version": "1.0.0"}),
    "alternative-of-no-release": (_KIND, {"kind": "other-release", "patch": "acme/core"}),
    "alternative-of-a-range": (_KIND, {"kind": "other-release", "patch": "acme/core", "version": "^1.0"}),
    "alternative-is-the-right-one": (_KIND, {"kind": "right"}),
}

UNSEEN: Final = {
    "base-twice.json": "two references of one base",
    "duplicate-token.json": "a key stands twice in one object",
    "prompt-tokens-written-36.0.json": "an integer written as a float",
    "threshold-nan.json": "NaN is no JSON",
    "probe-ends-in-an-answer.json": "no schema speaks of the last item of a list",
    "answers-fewer-than-probes.json": "compares the lengths of lists",
    "alternative-twice.json": "two alternatives that differ in their answers only",
}
