"""Questions with options, of which the likeliest one, a token, is the model's choice."""

from __future__ import annotations

import re

from patchpm.data.source import Record
from patchpm.errors import UsageError
from patchpm.evaluate.probes.reading import Reader, Readings

_OPTION = re.compile(r"[A-Z]\.\s+(.*)")


def choices(reader: Reader) -> Readings:
    """Choose among the texts of the options; their letters are not read.

    Raises:
        UsageError: `invalid-suite`.
    """
    asked = [_options(record) for record in reader.records]
    logs = reader.likelihoods([[reader.encode(text) for text in options] for options, _ in asked])
    right = []
    for (_, answer), likely in zip(asked, logs, strict=True):
        means = [float(one.mean()) for one in likely]
        right.append(float(means.index(max(means)) == answer))
    return Readings({"right": tuple(right)})


def _options(record: Record) -> tuple[list[str], int]:
    """The texts of the options, and which one is right."""
    lines = [line.strip() for line in record.texts[0].splitlines() if line.strip()] if record.texts else []
    found = [match.group(1) for line in lines if (match := _OPTION.fullmatch(line))]
    if len(record.texts) != 2 or len(found) < 2 or len(found) != len(lines) or record.texts[1] not in lines:
        raise UsageError(
            "invalid-suite",
            "choices need columns = [question, options, answer]",
            why=f"of {record.prompt[:80]!r} the options are {record.texts!r}"[:500],
            next="options are lines `A. ...`, and the answer is one of them",
        )
    return found, lines.index(record.texts[1])
