from __future__ import annotations

from pathlib import Path

import pytest
import torch

from patchpm.errors import IntegrityError, UsageError
from patchpm.patch.prefix import PrefixMatrix, inspect_prefix, write_prefix
from patchpm.train.matrix import prefix_file, read_matrix
from tests.train.tiny_run import WIDTH, random_prefix


def test_a_prefix_is_read_as_it_was_written_to_the_last_bit(tmp_path: Path) -> None:
    prefix = torch.cat([random_prefix(), torch.tensor([[1e-42, -0.0, 1.6e38, 1 / 3] * 8])])
    path = tmp_path / "prefix.safetensors"
    path.write_bytes(prefix_file(prefix))
    found = read_matrix(path, WIDTH)
    assert found.dtype == torch.float32
    assert torch.equal(found.view(torch.int32), prefix.view(torch.int32))


def test_a_prefix_of_strided_memory_is_written_row_by_row() -> None:
    prefix = random_prefix(WIDTH)
    matrix = inspect_prefix(prefix_file(prefix.T))
    assert torch.equal(torch.tensor(matrix.rows()), prefix.T)


def test_a_prefix_in_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    prefix = random_prefix().bfloat16()
    path = tmp_path / "prefix.safetensors"
    path.write_bytes(write_prefix(PrefixMatrix("BF16", 5, WIDTH, prefix.view(torch.int16).numpy().tobytes())))
    assert torch.equal(read_matrix(path, WIDTH), prefix.float())


@pytest.mark.parametrize("data", [b"", b"\x00" * 40, prefix_file(random_prefix())[:-4]])
def test_a_damaged_prefix_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "prefix.safetensors"
    path.write_bytes(data)
    with pytest.raises(IntegrityError) as caught:
        read_matrix(path, WIDTH)
    assert caught.value.code == "malformed-prefix"


def test_a_prefix_of_another_width_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prefix.safetensors"
    path.write_bytes(prefix_file(random_prefix()))
    with pytest.raises(IntegrityError, match="does not fit"):
        read_matrix(path, WIDTH + 1)
    with pytest.raises(UsageError) as caught:
        read_matrix(tmp_path / "none.safetensors", WIDTH)
    assert caught.value.code == "prefix-not-found"
