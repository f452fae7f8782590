"""The head's row for the tokens of patches is one that the model does not choose."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from patchpm.export.silent_row import silent_row
from patchpm.model.safetensors_file import read_safetensors

TOKENS, WIDTH = 6000, 32


def head(path: Path, *, ordered: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """A head that gives rare tokens small logits, and hidden states for it."""
    source = torch.Generator().manual_seed(0)
    rows = torch.randn(TOKENS, WIDTH, generator=source)
    states = torch.randn(500, WIDTH, generator=source)
    states[:, 0] = 8
    if ordered:
        rows[:, 0] -= 2 * torch.arange(TOKENS) / TOKENS
    save_file({"lm_head.weight": rows}, path)
    return rows, states


def mass(rows: torch.Tensor, states: torch.Tensor, row: torch.Tensor) -> float:
    """The highest probability of the row at any of the hidden states."""
    return float((states @ row - (states @ rows.T).logsumexp(-1)).exp().max())


def test_it_is_far_less_likely_than_the_mean_of_all_tokens(tmp_path: Path) -> None:
    rows, states = head(tmp_path / "head.safetensors", ordered=True)
    (stored,) = read_safetensors(tmp_path / "head.safetensors")

    silent = silent_row(stored, TOKENS)

    assert mass(rows, states, silent) < mass(rows, states, rows.mean(0)) / 1000


def test_a_vocabulary_in_no_order_gives_the_mean_row(tmp_path: Path) -> None:
    rows, states = head(tmp_path / "head.safetensors", ordered=False)
    (stored,) = read_safetensors(tmp_path / "head.safetensors")

    silent = silent_row(stored, TOKENS)

    mean = (rows[:500].mean(0) + rows[-500:].mean(0)) / 2
    assert torch.allclose(silent, mean, atol=1e-5)
    assert mass(rows, states, silent) < 2 / 500


def test_rows_that_belong_to_no_token_do_not_count(tmp_path: Path) -> None:
    rows, _ = head(tmp_path / "head.safetensors", ordered=True)
    save_file({"w": torch.cat([rows, torch.full((64, WIDTH), 1e3)])}, tmp_path / "padded.safetensors")
    (plain,) = read_safetensors(tmp_path / "head.safetensors")
    (padded,) = read_safetensors(tmp_path / "padded.safetensors")

    assert torch.equal(silent_row(padded, TOKENS), silent_row(plain, TOKENS))
