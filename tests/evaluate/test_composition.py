from __future__ import annotations

from pathlib import Path

import pytest

from patchpm.errors import UsageError
from patchpm.evaluate.bench import Bench
from patchpm.evaluate.composition import NamedPrefix, compose, every_order, subsets
from patchpm.evaluate.run import evaluate
from tests.evaluate.tiny_suite import prefix, tiny_bench, tiny_suite


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPM_HOME", str(tmp_path / "home"))


@pytest.fixture(name="bench")
def tiny(tmp_path: Path) -> Bench:
    return tiny_bench(tmp_path)


PATCHES = (NamedPrefix("a/toxicity", "toxicity", prefix(1)), NamedPrefix("a/bias", "bias", prefix(2)))


def test_subsets_keep_the_order_and_every_order_has_all_of_them() -> None:
    assert subsets("abc") == [("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"), ("a", "b", "c")]
    assert len(every_order("ab")) == 4
    assert len(every_order("abc")) == 15
    assert ("c", "a", "b") in every_order("abc")


def test_every_set_is_measured_on_each_headline_and_on_over_refusal(tmp_path: Path, bench: Bench) -> None:
    found = compose(bench, PATCHES, [tiny_suite(tmp_path)])
    assert found.metrics == ("average-max-toxicity", "stereotype-distance", "over-refusal-rate")
    orders = [(), ("a/toxicity",), ("a/bias",), ("a/toxicity", "a/bias"), ("a/bias", "a/toxicity")]
    assert [(cell.order, cell.metric) for cell in found.cells] == [(o, m) for o in orders for m in found.metrics]
    assert all(cell.low <= cell.value <= cell.high for cell in found.cells)
    assert {(cell.metric, cell.n) for cell in found.cells} == {
        ("average-max-toxicity", 2),
        ("stereotype-distance", 3),
        ("over-refusal-rate", 4),
    }


def test_what_is_kept_is_the_share_of_the_patchs_own_effect(tmp_path: Path, bench: Bench) -> None:
    found = compose(bench, PATCHES, [tiny_suite(tmp_path)])
    value = {cell.order: cell.value for cell in found.cells if cell.metric == "average-max-toxicity"}
    kept = {cell.order: cell.kept for cell in found.cells if cell.patch == "a/toxicity"}
    assert kept["a/toxicity",] == 1
    effect = value[()] - value["a/toxicity",]
    both = ("a/bias", "a/toxicity")
    assert kept[both] == pytest.approx((value[()] - value[both]) / effect, rel=0.2)
    assert () not in kept
    assert ("a/bias",) not in kept


def test_a_cell_is_what_measuring_that_set_gives(tmp_path: Path, bench: Bench) -> None:
    suite = tiny_suite(tmp_path)
    found = compose(bench, PATCHES, [suite], orders=[("a/bias", "a/toxicity")])
    (cell,) = [one for one in found.cells if len(one.order) == 2 and one.metric == "over-refusal-rate"]
    whole = evaluate(tiny_bench(tmp_path), bench.joined([prefix(2), prefix(1)]), [suite])
    (claim,) = [one for one in whole.claims if (one.metric, one.suite) == ("over-refusal-rate", "held-out-benign")]
    assert (cell.value, cell.low, cell.high) == (claim.after, claim.low, claim.high)


def test_given_orders_are_measured_beside_the_base_and_each_patch_alone(tmp_path: Path, bench: Bench) -> None:
    found = compose(bench, PATCHES, [tiny_suite(tmp_path)], orders=[("a/bias", "a/toxicity")], limit=1)
    assert list(dict.fromkeys(cell.order for cell in found.cells)) == [
        (), ("a/toxicity",), ("a/bias",), ("a/bias", "a/toxicity"),
    ]  # fmt: skip
    assert {cell.n for cell in found.cells} == {1}


def test_what_cannot_be_measured_is_refused(tmp_path: Path, bench: Bench) -> None:
    suite = tiny_suite(tmp_path)
    for patches, suites, orders, code in (
        ([NamedPrefix("a/x", "x-own", prefix())], [suite], None, "no-headline"),
        (PATCHES, [], None, "no-headline"),
        (PATCHES, [suite], [("a/none",)], "unknown-patch"),
    ):
        with pytest.raises(UsageError) as caught:
            compose(bench, patches, suites, orders=orders)
        assert caught.value.code == code
