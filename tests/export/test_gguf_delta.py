"""A delta makes the very file from the stock one, or nothing; and it may come from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchpm.errors import IntegrityError, PatchpmError
from patchpm.export.gguf_delta import apply_delta, read_delta
from tests.export import gguf_model
from tests.export.gguf_model import Patched, Shape

MAGIC = b"patchpm-gguf-delta-v1\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Patched:
    folder = tmp_path_factory.mktemp("delta")
    return gguf_model.patched(folder, Shape(embedding="Q4_0"), delta=folder / "made.delta")


def delta_of(made: Patched) -> Path:
    return made.path.with_name("made.delta")


def rewritten(made: Patched, path: Path, **changes: Any) -> Path:
    """The delta with another plan."""
    data = delta_of(made).read_bytes()
    length = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little")
    start = len(MAGIC) + 4
    plan = json.dumps(json.loads(data[start : start + length]) | changes).encode()
    path.write_bytes(MAGIC + len(plan).to_bytes(4, "little") + plan + data[start + length :])
    return path


@pytest.mark.parametrize(
    "shape", [Shape(), Shape(embedding="Q4_0"), Shape(tied=False, padded=8), Shape(embedding="F16")]
)
@pytest.mark.parametrize("untie", [False, True])
def test_the_patched_file_comes_back_bit_by_bit(tmp_path: Path, shape: Shape, untie: bool) -> None:
    done = gguf_model.patched(tmp_path, shape, untie=untie, delta=tmp_path / "made.delta")
    again = tmp_path / "again.gguf"
    plan = read_delta(tmp_path / "made.delta")
    apply_delta(plan, done.stock, again)
    assert again.read_bytes() == done.path.read_bytes()
    assert plan.patches == done.patches.digest
    assert done.made.delta == (tmp_path / "made.delta").stat().st_size < 16_384


def test_another_stock_file_is_refused_and_nothing_is_written(tmp_path: Path, made: Patched) -> None:
    content = bytearray(made.stock.read_bytes())
    content[-1] ^= 1
    (tmp_path / "other.gguf").write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        apply_delta(read_delta(delta_of(made)), tmp_path / "other.gguf", tmp_path / "out.gguf")
    assert caught.value.code == "base-mismatch"
    assert [path.name for path in tmp_path.iterdir()] == ["other.gguf"]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_anywhere_gives_an_error_or_the_very_file(made: Patched, data: st.DataObject) -> None:
    content = bytearray(delta_of(made).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    damaged, out = made.path.with_name("damaged.delta"), made.path.with_name("out.gguf")
    damaged.write_bytes(content)
    out.unlink(missing_ok=True)
    try:
        apply_delta(read_delta(damaged), made.stock, out)
    except PatchpmError:
        assert not out.exists()
    else:  # only the digest of the patch set is not held against anything
        assert out.read_bytes() == made.path.read_bytes()


@settings(max_examples=100, deadline=None)
@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_delta_cut_off_anywhere_is_refused(made: Patched, cut: float) -> None:
    content = delta_of(made).read_bytes()
    damaged = made.path.with_name("damaged.delta")
    damaged.write_bytes(content[: int(cut * len(content))])
    with pytest.raises(IntegrityError):
        read_delta(damaged)


@settings(max_examples=100, deadline=None)
@given(junk=st.binary(max_size=300), plan=st.binary(max_size=200))
def test_any_bytes_are_refused(made: Patched, junk: bytes, plan: bytes) -> None:
    damaged = made.path.with_name("damaged.delta")
    for content in (junk, MAGIC + junk, MAGIC + len(plan).to_bytes(4, "little") + plan + junk):
        damaged.write_bytes(content)
        with pytest.raises(IntegrityError):
            read_delta(damaged)


SIZE = {"sha256": "sha256:" + "0" * 64, "size": 1000}
BAD_PIECES: dict[str, list[Any]] = {
    "beyond the end of the stock file": ["copy", 0, 10**12],
    "before its start": ["copy", -1, 10],
    "offset beyond its end": ["copy", 10**12, 1],
    "of no size": ["copy", 0, 0],
    "of a negative size": ["copy", 10, -5],
    "of more literal bytes than there are": ["literal", 10**9],
    "half a block": ["q8_0", 0, 17, "Q4_0"],
    "a block that is no whole block of Q8_0": ["q8_0", 0, 4, "F32"],
    "an unknown type": ["q8_0", 0, 18, "Q99"],
    "an unknown kind": ["run", 0, 18],
    "not even a list": "copy",  # type: ignore[dict-item]  # that is the point
    "numbers as text": ["copy", "0", "1"],
    "true as a number": ["copy", False, True],
}


@pytest.mark.parametrize("name", BAD_PIECES)
def test_a_piece_that_is_none_is_refused(tmp_path: Path, made: Patched, name: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        read_delta(rewritten(made, tmp_path / "bad.delta", pieces=[BAD_PIECES[name]]))
    assert caught.value.code == "malformed-delta"


BAD_PLANS: dict[str, dict[str, Any]] = {
    "a result of another size": {"result": SIZE},
    "a stock file of another size": {"stock": SIZE},
    "an unknown field": {"more": 1},
    "pieces that are no list": {"pieces": {}},
    "no digest": {"set": "sha256:0"},
    "a size below nothing": {"stock": {**SIZE, "size": -1}},
    "too many pieces": {"pieces": [["copy", 0, 1]] * 100_001},
}


@pytest.mark.parametrize("name", BAD_PLANS)
def test_a_plan_that_contradicts_itself_is_refused(tmp_path: Path, made: Patched, name: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        read_delta(rewritten(made, tmp_path / "bad.delta", **BAD_PLANS[name]))
    assert caught.value.code == "malformed-delta"


def test_a_plan_that_would_fill_the_disk_is_refused(tmp_path: Path, made: Patched) -> None:
    size = made.stock.stat().st_size
    bomb = {"pieces": [["copy", 0, size]] * 1000, "result": {**SIZE, "size": 1000 * size}}
    with pytest.raises(IntegrityError) as caught:
        read_delta(rewritten(made, tmp_path / "bad.delta", **bomb))
    assert caught.value.code == "malformed-delta"


def test_a_delta_that_makes_another_file_than_it_promises_writes_nothing(tmp_path: Path, made: Patched) -> None:
    size = made.path.stat().st_size
    lying = rewritten(made, tmp_path / "bad.delta", result={**SIZE, "size": size})
    with pytest.raises(IntegrityError) as caught:
        apply_delta(read_delta(lying), made.stock, tmp_path / "out.gguf")
    assert caught.value.code == "delta-mismatch"
    assert [path.name for path in tmp_path.iterdir()] == ["bad.delta"]
