"""The losses of both stages, as functions of logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from patchpm.train.prefix_model import Reading

_SMALL = 1e-6
_NEARLY_EVEN = 0.1
"""Below this distance, in nats, a pair counts by its square, so that gradients fade."""


def imitation(reading: Reading) -> Tensor:
    """Mean negative log-probability of the reply tokens.

    Source: arXiv 2511.08484, stage 1.
    """
    return -reading.log_probabilities().sum() / reading.mask.sum()


def stay(reading: Reading, top_ids: Tensor, top_logs: Tensor, places: int) -> Tensor:
    """Mean KL(base || patched) on the first tokens of the base model's own replies.

    The base's distribution is known at its most likely tokens; all others are one outcome, "something else". By the
    data processing inequality this is a lower bound of the whole KL, and close to it, since few tokens carry nearly
    all the weight.

    Args:
        reading: The patched model on the base's replies.
        top_ids: `(batch, tokens, top)` int64, the base's most likely tokens.
        top_logs: `(batch, tokens, top)` float32, their log-probabilities.
        places: On how many tokens of each reply.

    Source: arXiv 2603.16210, the KL anchor.
    """
    logits, mask = reading.logits[:, :places], reading.mask[:, :places]
    top_ids, top_logs = top_ids[:, :places], top_logs[:, :places]
    logs = logits.gather(-1, top_ids) - logits.logsumexp(-1, keepdim=True)
    weights = top_logs.exp()
    rest = (1 - weights.sum(-1)).clamp(min=_SMALL)
    patched_rest = (1 - logs.exp().sum(-1)).clamp(min=_SMALL)
    divergence = (weights * (top_logs - logs)).sum(-1) + rest * (rest.log() - patched_rest.log())
    return (divergence * mask).sum() / mask.sum()


def divergence(teacher: Reading, student: Reading) -> Tensor:
    """Mean KL(teacher || student) over reply tokens, over the whole vocabulary.

    Args:
        teacher: A reading of some replies.
        student: Another reading of the same replies.
    """
    wanted, found = teacher.logits.log_softmax(-1), student.logits.log_softmax(-1)
    each = (wanted.exp() * (wanted - found)).sum(-1)
    return (each * student.mask).sum() / student.mask.sum()


def preference(winner: Tensor, loser: Tensor, winner_before: Tensor, loser_before: Tensor, beta: float) -> Tensor:
    """Mean DPO loss.

    Args:
        winner: `(pairs,)` log-probability of the preferred reply.
        loser: `(pairs,)` of the other one.
        winner_before: The same under the reference.
        loser_before: The same under the reference.
        beta: How much a difference of log-probabilities counts.

    Source: arXiv 2305.18290, equation 7.
    """
    margin = (winner - winner_before) - (loser - loser_before)
    return -functional.logsigmoid(beta * margin).mean()


def evenness(winner: Tensor, loser: Tensor) -> Tensor:
    """Mean gap between two replies, without its sign: 0 where every pair is even by itself.

    Args:
        winner: `(pairs,)` log-probability of one reply.
        loser: `(pairs,)` of the other one.
    """
    gap = winner - loser
    return functional.smooth_l1_loss(gap, torch.zeros_like(gap), beta=_NEARLY_EVEN)


def balance(winner: Tensor, loser: Tensor) -> Tensor:
    """How far from even two replies are over all pairs: 0 where each is preferred half of the time, at most 0.5.

    A smooth form of `|share of pairs with winner > loser - 0.5|`, so that few pairs tell small steps apart.

    Args:
        winner: `(pairs,)` log-probability of one reply.
        loser: `(pairs,)` of the other one.
    """
    gap = winner - loser
    return (torch.sigmoid(3 * gap / gap.std(correction=0).clamp(min=_SMALL)).mean() - 0.5).abs()


def padded(rows: list[Tensor], places: int) -> Tensor:
    """Stack `(tokens, top)` tensors into `(batch, places, top)`, zeros where a row is shorter."""
    whole = torch.zeros(len(rows), places, rows[0].shape[-1], dtype=rows[0].dtype)
    for number, row in enumerate(rows):
        whole[number, : len(row)] = row[:places]
    return whole
