"""The KL anchor: on prompts that are not the patch's business, behave as if the patch were not there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from patchpm.train.foreigners import Company
from patchpm.train.losses import divergence, padded, stay
from patchpm.train.prefix_model import Opening, PrefixModel, Reading
from patchpm.train.rows import KeepRow


def read_own(model: PrefixModel, opening: Opening, rows: Sequence[KeepRow], places: int) -> Reading:
    """Read the first `places` tokens of the base's own replies."""
    return model.read(opening, [row.tail for row in rows], [row.own.ids[:places] for row in rows])


def keep_loss(model: PrefixModel, reading: Reading, company: Company, rows: Sequence[KeepRow], places: int) -> Tensor:
    """Mean KL(without the patch || with it) over the first tokens of the base's own replies.

    Without company the base's distribution was kept when it replied. With company the teacher is the base with the
    foreigners alone, which is read here.

    Args:
        model: The base.
        reading: What `read_own` gave with the patch.
        company: Who else stood there.
        rows: Of the reading.
        places: On how many tokens of each reply.

    Source: arXiv 2603.16210, the KL anchor; the teacher with foreigners is ours.
    """
    alone = company.alone()
    width = min(places, reading.mask.shape[1])
    if alone is None:
        top_ids = padded([row.own.top_ids for row in rows], width).to(model.device)
        top_logs = padded([row.own.top_logs for row in rows], width).to(model.device)
        return stay(reading, top_ids, top_logs, width)
    with torch.no_grad():
        teacher = read_own(model, model.opening(alone), rows, places)
    return divergence(teacher, reading)
