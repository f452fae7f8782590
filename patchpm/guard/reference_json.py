"""Reading and writing `patchpm.probes.json`: the references of a project, one for each base.

Strict and bounded: closed fields, at most `MAX_BYTES`, lists of equal length, finite numbers in their ranges. Answers
stand in the order of their probes; the tokens of an answer in any, since JSON's objects have no order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from patchpm.errors import CannotError, IntegrityError, PatchpmError
from patchpm.guard.distribution import TOP, Distribution, is_whole, likeliest_first
from patchpm.guard.reference import Hypothesis, Noise, Probe, Reference
from patchpm.guard.served import Alternative, AsLocked, Half, HalfStripped, LeftOut, OtherRelease, Stripped, WrongOrder
from patchpm.model.conversation import Message
from patchpm.patch import strict_json
from patchpm.patch.manifest import ANCHORS
from patchpm.patch.name import PatchName
from patchpm.patch.record import Record
from patchpm.patch.strict_json import JsonValue
from patchpm.patch.version import Version

FILE: Final = "patchpm.probes.json"
"""Stands beside `patchpm.lock`."""
FORMAT: Final = "patchpm-probes-v1"
"""First field of every such file."""
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_REFERENCES: Final = 64
MAX_PROBES: Final = 32
MAX_ALTERNATIVES: Final = 256
_MAX_MESSAGES: Final = 16
_MAX_TEXT: Final = 8000
_MAX_TOKENS: Final = 1_000_000
_CODE: Final = "malformed-probes"


def write_references(references: Sequence[Reference]) -> bytes:
    """Write the file; the same references always give the same bytes."""
    return strict_json.dumps({"format": FORMAT, "references": [_written(one) for one in references]})


def load_references(path: Path) -> tuple[Reference, ...]:
    """Read the file at `path`.

    Raises:
        CannotError: `cannot-read`.
        IntegrityError: As `read_references`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CannotError("cannot-read", f"{path} cannot be read", why=str(error.strerror)) from None
    return read_references(data, place=str(path))


def read_references(data: bytes, *, place: str = FILE) -> tuple[Reference, ...]:
    """Read the file.

    Raises:
        IntegrityError: `malformed-json`, `malformed-probes`; `unknown-format` for one of a newer patchpm.
    """
    record = Record(strict_json.loads(data, source=place, max_bytes=MAX_BYTES), place, code=_CODE)
    stated = record.text("format", max_length=80)
    if stated != FORMAT:
        raise IntegrityError(
            "unknown-format",
            f"{place} is of a format that this patchpm does not know",
            why=f"its format is {stated!r}, and this version reads {FORMAT!r}",
            next="update patchpm",
        )
    found = tuple(_reference(one) for one in record.records("references", max_items=MAX_REFERENCES))
    record.done()
    if len({one.base for one in found}) != len(found):
        raise record.refuse("holds two for one base", "references")
    return found


def _written(reference: Reference) -> JsonValue:
    return {
        "base": str(reference.base),
        "template": None if reference.template is None else str(reference.template),
        "set": str(reference.set),
        "anchor": reference.anchor,
        "patches": list(reference.patches),
        "threshold": reference.threshold,
        "separation": reference.separation,
        "noise": [{"arithmetic": one.arithmetic, "distance": one.distance} for one in reference.noise],
        "probes": [
            {
                "messages": [{"role": one["role"], "content": one["content"]} for one in probe.messages],
                "base_tokens": probe.base_tokens,
                "tokens": probe.tokens,
                "base_text": probe.base_text,
                "text": probe.text,
            }
            for probe in reference.probes
        ],
        "right": _written_answers(reference.right),
        "alternatives": [
            {"served": _written_served(one.served), "answers": _written_answers(one)} for one in reference.alternatives
        ],
    }


def _written_answers(hypothesis: Hypothesis) -> JsonValue:
    return [dict(answer.tokens) for answer in hypothesis.answers]


def _written_served(served: AsLocked | Alternative) -> JsonValue:
    match served:
        case HalfStripped(half):
            return {"kind": served.kind, "half": half.value}
        case LeftOut(patch):
            return {"kind": served.kind, "patch": str(patch)}
        case WrongOrder(order):
            return {"kind": served.kind, "order": [str(name) for name in order]}
        case OtherRelease(patch, version):
            return {"kind": served.kind, "patch": str(patch), "version": str(version)}
        case _:
            return {"kind": served.kind}


def _reference(record: Record) -> Reference:
    probes = tuple(_probe(one) for one in record.records("probes", max_items=MAX_PROBES))
    if not probes:
        raise record.refuse("is empty", "probes")
    alternatives = tuple(
        _alternative(one, len(probes)) for one in record.records("alternatives", max_items=MAX_ALTERNATIVES)
    )
    if not alternatives or len({one.served for one in alternatives}) != len(alternatives):
        raise record.refuse("is empty, or holds one twice", "alternatives")
    found = Reference(
        base=record.digest("base"),
        template=record.digest("template") if record.has("template") else None,
        set=record.digest("set"),
        anchor=record.choice("anchor", ANCHORS),
        patches=record.texts("patches", max_items=256, max_length=200),
        probes=probes,
        right=Hypothesis(AsLocked(), _answers(record, "right", len(probes))),
        alternatives=alternatives,
        noise=tuple(_noise(one) for one in record.records("noise", max_items=16)),
        threshold=_positive(record, "threshold"),
        separation=_positive(record, "separation"),
    )
    record.done()
    return found


def _probe(record: Record) -> Probe:
    probe = Probe(
        messages=tuple(_message(one) for one in record.records("messages", max_items=_MAX_MESSAGES)),
        base_tokens=record.integer("base_tokens", low=1, high=_MAX_TOKENS),
        tokens=record.integer("tokens", low=1, high=_MAX_TOKENS),
        base_text=_text(record, "base_text", _MAX_TEXT, empty=True),
        text=_text(record, "text", _MAX_TEXT, empty=True),
    )
    record.done()
    if not probe.messages or probe.messages[-1]["role"] != "user":
        raise record.refuse("does not end in a user message", "messages")
    return probe


def _message(record: Record) -> Message:
    message = {
        "role": record.choice("role", ("system", "user", "assistant")),
        "content": _text(record, "content", _MAX_TEXT),
    }
    record.done()
    return message


def _alternative(record: Record, probes: int) -> Hypothesis:
    served = _served(record.record("served"))
    found = Hypothesis(served, _answers(record, "answers", probes))
    record.done()
    return found


def _served(record: Record) -> Alternative:
    kind = record.choice("kind", (Stripped.kind, HalfStripped.kind, LeftOut.kind, WrongOrder.kind, OtherRelease.kind))
    found: Alternative
    if kind == HalfStripped.kind:
        found = HalfStripped(Half(record.choice("half", tuple(Half))))
    elif kind == LeftOut.kind:
        found = LeftOut(record.parse("patch", PatchName.parse))
    elif kind == WrongOrder.kind:
        found = WrongOrder(_names(record, "order"))
    elif kind == OtherRelease.kind:
        found = OtherRelease(record.parse("patch", PatchName.parse), record.parse("version", Version.parse))
    else:
        found = Stripped()
    record.done()
    return found


def _names(record: Record, key: str) -> tuple[PatchName, ...]:
    try:
        return tuple(PatchName.parse(text) for text in record.texts(key, max_items=256))
    except PatchpmError as error:
        raise record.refuse(f"is refused: {error.what}", key) from None


def _answers(record: Record, key: str, probes: int) -> tuple[Distribution, ...]:
    found = tuple(_distribution(one) for one in record.records(key, max_items=MAX_PROBES))
    if len(found) != probes:
        raise record.refuse(f"has {len(found)} answers to {probes} probes", key)
    return found


def _distribution(record: Record) -> Distribution:
    texts = record.keys()
    tokens = likeliest_first((text, record.number(text)) for text in texts)
    if not 0 < len(tokens) <= TOP or any(not -1000 <= value <= 0 for _, value in tokens):
        raise record.refuse(f"is not 1 to {TOP} log-probabilities")
    if any(not is_whole(text) or len(text) > 500 for text, _ in tokens):
        raise record.refuse("has a token without a text, with a part of a character, or with a very long text")
    record.done()
    return Distribution(tokens)


def _noise(record: Record) -> Noise:
    found = Noise(record.text("arithmetic", max_length=40), _positive(record, "distance", zero=True))
    record.done()
    return found


def _positive(record: Record, key: str, *, zero: bool = False) -> float:
    value = record.number(key)
    if not (0 < value <= 1000 or (zero and value == 0)):
        raise record.refuse("is not a distance", key)
    return value


def _text(record: Record, key: str, max_length: int, *, empty: bool = False) -> str:
    """A text of a conversation: line feeds are fine. Whoever prints it has to make it plain."""
    value = record.raw(key)
    if not isinstance(value, str) or len(value) > max_length or (not value and not empty):
        raise record.refuse(f"is not a text of at most {max_length} characters", key)
    return value
