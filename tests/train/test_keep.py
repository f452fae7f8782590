from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from patchpm.train.foreigners import Company
from patchpm.train.keep import keep_loss, read_own
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.replies import greedy_replies
from patchpm.train.rows import KeepRow
from tests.train.tiny_run import BENIGN, WIDTH, prefix_model, random_prefix, silent

PLACES = 4
BESIDE = Company((random_prefix(3, seed=1),), (random_prefix(2, seed=2),))
NOTHING = torch.zeros(0, WIDTH)
"""A patch without rows: with it the model is as it would be without a patch."""


def keep_rows(model: PrefixModel) -> list[KeepRow]:
    replies = greedy_replies(model, None, BENIGN, tokens=6, progress=silent, top=64)
    return [KeepRow(model.frame.tail(prompt), reply) for prompt, reply in zip(BENIGN, replies, strict=True)]


def loss(model: PrefixModel, rows: Sequence[KeepRow], company: Company, prefix: torch.Tensor) -> torch.Tensor:
    reading = read_own(model, model.opening(company.around(prefix)), rows, PLACES)
    return keep_loss(model, reading, company, rows, PLACES)


@pytest.mark.parametrize("company", [Company(), BESIDE], ids=["alone", "in company"])
def test_a_patch_that_changes_nothing_costs_nothing(company: Company) -> None:
    model = prefix_model()
    rows = keep_rows(model)
    assert abs(float(loss(model, rows, company, NOTHING))) < 1e-5
    assert float(loss(model, rows, company, random_prefix())) > 0.01


def test_the_teacher_in_company_is_the_base_with_the_foreigners_and_not_the_base() -> None:
    model = prefix_model()
    rows = keep_rows(model)
    alone = BESIDE.alone()
    assert alone is not None
    assert float(loss(model, rows, Company(), alone)) > 0.01
    assert abs(float(loss(model, rows, BESIDE, NOTHING))) < 1e-5


def test_gradients_reach_the_patch_and_not_the_foreigners() -> None:
    model = prefix_model()
    rows = keep_rows(model)
    for company in (Company(), BESIDE):
        prefix = random_prefix().requires_grad_(True)
        torch.autograd.backward(loss(model, rows, company, prefix))
        assert prefix.grad is not None
        assert prefix.grad.norm() > 0
        assert all(foreigner.grad is None for foreigner in (*company.before, *company.after))


def test_only_the_first_tokens_of_each_reply_count() -> None:
    model = prefix_model()
    rows = keep_rows(model)
    cut = [KeepRow(row.tail, type(row.own)(row.own.ids[:2], row.own.top_ids, row.own.top_logs)) for row in rows]
    reading = read_own(model, model.opening(random_prefix()), rows, 2)
    assert reading.mask.shape[1] == 2
    short = read_own(model, model.opening(random_prefix()), cut, PLACES)
    assert float(keep_loss(model, reading, Company(), rows, 2)) == pytest.approx(
        float(keep_loss(model, short, Company(), cut, PLACES)), abs=1e-6
    )
