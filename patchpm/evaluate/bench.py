"""A base model on the test bench: every probe of every part, without and with a prefix.

What the base does by itself is measured once and kept on disk: it is the same for every patch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from patchpm.atomic_write import write_atomic
from patchpm.data.suite import HeldOut, Suite
from patchpm.errors import IntegrityError
from patchpm.evaluate.metrics import JUDGE, METRICS
from patchpm.evaluate.probes.choices import choices
from patchpm.evaluate.probes.divergence import divergence
from patchpm.evaluate.probes.passages import passages
from patchpm.evaluate.probes.pronouns import pronouns
from patchpm.evaluate.probes.reading import Probe, Reader, Readings
from patchpm.evaluate.probes.readings_json import read_readings, write_readings
from patchpm.evaluate.probes.refusal_odds import refusal_odds
from patchpm.evaluate.probes.replies import replies
from patchpm.evaluate.probes.samples import samples
from patchpm.evaluate.probes.stereotypes import stereotypes
from patchpm.evaluate.probes.toxic_text import toxic_text
from patchpm.patch.digest import Digest
from patchpm.settings import Folders
from patchpm.train.base_model import FLOAT32, load_model, weights_digest
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.scorer import Scorer, load_scorer

StageProgress = Callable[[str, int, int], None]
"""Called with what is read, what is done of it and what there is in all."""
PROBES: dict[str, Probe] = {
    "replies": replies,
    "refusal-odds": refusal_odds,
    "divergence": divergence,
    "samples": samples,
    "toxic-text": toxic_text,
    "stereotypes": stereotypes,
    "pronouns": pronouns,
    "choices": choices,
    "passages": passages,
}
"""By the names that metrics use."""
_JUDGED = frozenset(metric.probe for metric in METRICS if metric.judged)
_FORM = "patchpm-measured-v2"
"""Counts up with every change of a probe that changes its figures."""


class Bench:
    """One base model, loaded."""

    def __init__(self, model: PrefixModel, base: Digest, cache: Path, *, judge: str, progress: StageProgress) -> None:
        """Take a model.

        Args:
            model: The base; in float32 for figures that are claimed.
            base: Digest of its weights.
            cache: Folder of the user's cache.
            judge: Name of the scorer that judges texts; loaded when it is first needed.
            progress: Told what is going on.
        """
        self.model = model
        self.judge = judge
        self._base = base
        self._cache = cache
        self._progress = progress
        self._known: dict[str, Readings] = {}

    @classmethod
    def open(
        cls, base: Path, *, separator: str, judge: str, progress: StageProgress, precision: str = FLOAT32
    ) -> Bench:
        """Load the model in a folder, for one thread: figures must not depend on the machine's cores.

        Args:
            base: Folder of the base model.
            separator: Text between prefixes, and behind the last one.
            judge: Name of the scorer that judges texts.
            progress: Told what is going on.
            precision: Another than float32 is for a quick look.

        Raises:
            UsageError: `base-not-found`.
            CannotError: `anchor-not-found`.
        """
        torch.set_num_threads(1)
        digest = weights_digest(base)
        model = load_model(base, separator=separator, precision=precision)
        # Training wants another attention on a CPU, for its backward pass; without one the fused one is a third faster.
        cast("Any", model.model).set_attn_implementation("sdpa")
        return cls(model, digest, Folders.of_user().cache, judge=judge, progress=progress)

    def without(self, part: HeldOut, probe: str) -> Readings:
        """What the base does by itself; read from the cache where it was measured before."""
        key = self._key(part, probe)
        if key not in self._known:
            path = self._cache / "measured" / f"{key}.json"
            kept = probe not in _JUDGED or self.judge == JUDGE
            found = _from_cache(path) if kept else None
            if found is None:
                found = self._read(part, probe, None)
                if kept:
                    write_atomic(path, write_readings(found))
            self._known[key] = found
        return self._known[key]

    def patched(self, part: HeldOut, probe: str, prefix: Tensor | None) -> Readings:
        """What the base does with a prefix, `(tokens, hidden_size)` on the CPU; None is the base alone."""
        if prefix is None:
            return self.without(part, probe)
        key = f"{self._key(part, probe)} {hashlib.sha256(prefix.numpy().tobytes()).hexdigest()}"
        if key not in self._known:
            self._known[key] = self._read(part, probe, prefix)
        return self._known[key]

    def joined(self, matrices: Sequence[Tensor]) -> Tensor | None:
        """Prefixes as they stand one after the other, with the separator between them; None for no prefix."""
        if not matrices:
            return None
        between = self.model.frame.separator
        gap = [self.model.embed_text(between).cpu()] if between else []
        rows = [row for matrix in matrices for row in (*gap, matrix)]
        return torch.cat(rows[len(gap) :])

    @cached_property
    def _scorer(self) -> Scorer:
        return load_scorer(self.judge)

    def _read(self, part: HeldOut, probe: str, prefix: Tensor | None) -> Readings:
        label = f"{part.name}: {probe} {'without' if prefix is None else 'with'}"
        reader = Reader(
            model=self.model,
            prefix=prefix,
            records=part.records,
            own=lambda: self.without(part, "replies"),
            judge=lambda: self._scorer,
            progress=partial(self._progress, label),
        )
        return PROBES[probe](reader)

    def _key(self, part: HeldOut, probe: str) -> str:
        frame = self.model.frame
        rows = [[record.prompt, record.texts, record.key] for record in part.records]
        question = [_FORM, self._base.hex, frame.head, frame.common, frame.separator, probe, rows]
        if probe in _JUDGED:
            question.append(self.judge)
        if self.model.half:
            question.append("bfloat16")
        return hashlib.sha256(json.dumps(question).encode()).hexdigest()


def shortened(suite: Suite, limit: int | None) -> Suite:
    """A suite with at most so many rows a part: for a quick look."""
    if limit is None:
        return suite
    return replace(suite, parts=tuple(replace(part, records=part.records[:limit]) for part in suite.parts))


def _from_cache(path: Path) -> Readings | None:
    """What the cache holds, or None where that cannot be read: a cache may be thrown away at any time."""
    try:
        return read_readings(path.read_bytes())
    except (OSError, IntegrityError):
        return None
