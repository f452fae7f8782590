"""Builders: the smallest valid value of each kind, with any part of it changed."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from typing import Any

from patchpm.patch.digest import Digest
from patchpm.patch.fingerprint import BaseModel, Fingerprint
from patchpm.patch.manifest import Claim, Compose, FileRef, Manifest, Prefix, Training, TrainingData
from patchpm.patch.name import PatchName
from patchpm.patch.prefix import PrefixMatrix, write_prefix
from patchpm.patch.ranges import Range
from patchpm.patch.version import Version
from patchpm.trust.evaluation import Evaluation, SuiteRef


def digest(text: str) -> Digest:
    """A digest that differs by `text`."""
    return Digest.of(text.encode())


def base(model: str = "tiny", *, hidden_size: int = 8, **changes: Any) -> BaseModel:
    """A base model that differs by its name."""
    made = BaseModel(
        name=model,
        tensors=digest(f"{model} tensors"),
        bf16=digest(f"{model} bf16"),
        quantised=(),
        files=(),
        tokenizer=digest(f"{model} tokenizer"),
        template=digest(f"{model} template"),
        hidden_size=hidden_size,
    )
    return replace(made, **changes)


def fingerprint(model: str = "tiny", *, hidden_size: int = 8) -> Fingerprint:
    """What measuring `base(model)` gives."""
    made = base(model, hidden_size=hidden_size)
    return Fingerprint(made.tensors, made.bf16, made.tokenizer, made.template, hidden_size)


def matrix(tokens: int = 3, hidden_size: int = 8, seed: int = 0) -> PrefixMatrix:
    """A small F32 prefix of modest numbers."""
    source = random.Random(seed)
    values = [source.uniform(-1, 1) for _ in range(tokens * hidden_size)]
    return PrefixMatrix("F32", tokens, hidden_size, struct.pack(f"<{len(values)}f", *values))


def manifest(
    name: str = "acme/toxicity",
    version: str = "1.0.0",
    *,
    prefix: PrefixMatrix | None = None,
    requires: dict[str, str] | None = None,
    conflicts: dict[str, str] | None = None,
    before: tuple[str, ...] = (),
    after: tuple[str, ...] = (),
    **changes: Any,
) -> Manifest:
    """A manifest for `prefix` (or the default one) with everything filled in."""
    rows = prefix or matrix()
    data = write_prefix(rows)
    made = Manifest(
        kind="prefix",
        name=PatchName.parse(name),
        version=Version.parse(version),
        domain="toxicity",
        summary="Answers without insults",
        licence="Apache-2.0",
        base=base(hidden_size=rows.hidden_size),
        prefix=Prefix(FileRef(len(data), Digest.of(data)), rows.tokens, rows.dtype, ("system-start",), ""),
        compose=Compose(
            requires=_ranges(requires),
            conflicts=_ranges(conflicts),
            before=tuple(sorted(PatchName.parse(text) for text in before)),
            after=tuple(sorted(PatchName.parse(text) for text in after)),
        ),
        training=Training(
            "sft+dpo", digest("recipe"), "base", 0, "patchpm 0.1.0", (TrainingData("own", "CC0-1.0", digest("d")),)
        ),
        claims=(Claim("toxic-rate", "held-out", 200, 0.3, 0.1, 0.06, 0.15),),
        links=(("homepage", "https://example.org/toxicity"),),
    )
    return replace(made, **changes)


def evaluation(**changes: Any) -> Evaluation:
    """What an evaluator who agrees with `manifest()` says of it."""
    made = Evaluation(
        suites=(SuiteRef("toxicity", digest("suite")),),
        judge="profanity-model",
        base=base().tensors,
        code="patchpm 0.1.0",
        claims=manifest().claims,
    )
    return replace(made, **changes)


def _ranges(wanted: dict[str, str] | None) -> tuple[tuple[PatchName, Range], ...]:
    return tuple(sorted((PatchName.parse(name), Range.parse(text)) for name, text in (wanted or {}).items()))
