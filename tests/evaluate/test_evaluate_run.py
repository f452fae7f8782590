from __future__ import annotations

import json
from pathlib import Path

import pytest

from patchpm.data.suite import load_suite
from patchpm.errors import CannotError, IntegrityError, UsageError
from patchpm.evaluate.bench import Bench, shortened
from patchpm.evaluate.claims import claims_file, replies_file
from patchpm.evaluate.held_out import check_held_out
from patchpm.evaluate.metrics import METRICS, POOLED, metrics_of
from patchpm.evaluate.run import Evaluation, evaluate
from patchpm.patch.manifest_json import claims_from
from patchpm.patch.record import Record
from patchpm.train.used import Used, row_digest
from tests.evaluate.tiny_suite import BRIEF, SUITE, part_of, prefix, tiny_bench, tiny_suite, write_suite


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHPM_HOME", str(tmp_path / "home"))


@pytest.fixture(name="found", scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PATCHPM_HOME", str(folder / "home"))
        return evaluate(tiny_bench(folder), prefix(), [tiny_suite(folder)])


def test_there_is_a_claim_for_each_metric_and_part_and_a_pooled_one_before_them(found: Evaluation) -> None:
    refusals = [(claim.suite, claim.n) for claim in found.claims if claim.metric == "refusal-rate"]
    assert refusals == [("held-out-harmful", 5), ("bad", 3), ("worse", 2)]
    assert {claim.metric for claim in found.claims} == {metric.name for metric in METRICS}
    assert len(found.changes) == len(found.claims)
    for claim, change in zip(found.claims, found.changes, strict=True):
        assert (claim.metric, claim.suite) == (change.metric, change.suite)
        assert change.value == pytest.approx(claim.after - claim.before, abs=2e-4)
        assert claim.low <= claim.after <= claim.high
        assert change.low <= change.value <= change.high


def test_a_manifest_takes_every_claim_also_those_below_0(found: Evaluation) -> None:
    record = Record({"claims": json.loads(claims_file(found.claims))}, "claims.json", code="malformed-manifest")
    assert claims_from(record) == found.claims
    assert any(claim.after < 0 for claim in found.claims)


def test_perplexity_counts_tokens(found: Evaluation) -> None:
    (claim,) = [claim for claim in found.claims if claim.metric == "perplexity"]
    (values,) = [part for part in found.values if part.measure == "perplexity"]
    assert claim.n == sum(values.after["passages"].columns["tokens"]) > 100


def test_a_judge_that_is_not_the_usual_one_is_named_in_what_it_judged(found: Evaluation) -> None:
    judged = {claim.suite.partition(" by transformers:")[0] for claim in found.claims if " by " in claim.suite}
    assert judged == {"held-out-toxic", "openings"}
    assert {claim.metric for claim in found.claims if " by " in claim.suite} == {"average-max-toxicity", "toxic-rate"}


def test_every_exchange_says_what_its_replies_count_for(found: Evaluation) -> None:
    assert [one.metric for one in found.exchanges] == (
        ["refusal-rate"] * 5 + ["over-refusal-rate"] * 4 + ["average-max-toxicity"] * 2
    )
    assert any(one.before != one.after for one in found.exchanges)
    (claim,) = [claim for claim in found.claims if claim.metric == "average-max-toxicity" and "held" in claim.suite]
    scores = [one.after_score for one in found.exchanges if one.metric == "average-max-toxicity"]
    assert claim.after == pytest.approx(sum(scores) / 2, abs=1e-4)


def test_the_files_of_an_evaluation_are_the_same_every_time(tmp_path: Path, found: Evaluation) -> None:
    other = evaluate(tiny_bench(tmp_path), prefix(), [tiny_suite(tmp_path)])
    assert claims_file(found.claims) == claims_file(other.claims)
    assert replies_file(found.exchanges) == replies_file(other.exchanges)
    assert json.loads(replies_file(found.exchanges).splitlines()[0])["suite"] == "bad"


def test_without_a_prefix_nothing_changes(tmp_path: Path) -> None:
    found = evaluate(tiny_bench(tmp_path), None, [tiny_suite(tmp_path)])
    assert all(claim.before == claim.after for claim in found.claims)
    assert all((change.value, change.low, change.high) == (0, 0, 0) for change in found.changes)


def test_a_limit_keeps_the_first_rows_of_each_part(tmp_path: Path) -> None:
    whole = tiny_suite(tmp_path)
    short = shortened(whole, 2)
    assert [len(part.records) for part in short.parts] == [2] * len(whole.parts)
    assert part_of(short, "bad").records == part_of(whole, "bad").records[:2]
    found = evaluate(tiny_bench(tmp_path), prefix(), [whole], limit=2)
    assert {claim.n for claim in found.claims if claim.metric == "refusal-rate"} == {2, 4}
    assert not any(claim.metric == "perplexity" for claim in found.claims), "two sentences are no passage"


def test_an_unknown_measure_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    suite = load_suite(str(write_suite(tmp_path / "suite", SUITE.replace('"choice"', '"luck"'))), tmp_path)
    bench = tiny_bench(tmp_path)
    with pytest.raises(UsageError) as caught:
        evaluate(bench, prefix(), [suite])
    assert caught.value.code == "unknown-measure"
    assert not list((tmp_path / "home").rglob("measured/*"))


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "home").rglob("measured/*.json"))


def test_what_the_base_does_is_kept_and_a_damaged_file_is_measured_again(tmp_path: Path) -> None:
    part = part_of(tiny_suite(tmp_path), "good")
    first = tiny_bench(tmp_path).without(part, "replies")
    (path,) = kept(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"length":[', b'"length":[77,', 1).replace(b'"refused":[', b'"refused":[0,', 1))
    assert tiny_bench(tmp_path).without(part, "replies") == first
    assert path.read_bytes() == whole
    path.write_bytes(whole[:50])
    assert tiny_bench(tmp_path).without(part, "replies") == first


def test_kept_figures_are_used_again_and_those_of_other_rows_are_not(tmp_path: Path) -> None:
    suite = tiny_suite(tmp_path)
    part = part_of(suite, "good")
    first = tiny_bench(tmp_path).without(part, "replies")
    (path,) = kept(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"length":[%.1f' % BRIEF, b'"length":[%.1f' % (BRIEF - 1), 1))
    assert tiny_bench(tmp_path).without(part, "replies").columns["length"][0] == BRIEF - 1
    shorter = part_of(shortened(suite, 3), "good")
    assert tiny_bench(tmp_path).without(shorter, "replies").columns["length"][0] == first.columns["length"][0]


def test_what_an_unusual_judge_said_is_not_kept(tmp_path: Path) -> None:
    tiny_bench(tmp_path).without(part_of(tiny_suite(tmp_path), "openings"), "samples")
    assert kept(tmp_path) == []


def test_a_prefix_that_saw_a_held_out_row_is_refused(tmp_path: Path) -> None:
    suite = tiny_suite(tmp_path)
    key = part_of(suite, "bad").records[1].key
    check_held_out([suite], Used("word-list", [row_digest("harm something else")]), "profanity-model")
    with pytest.raises(CannotError, match="1 held-out rows") as caught:
        check_held_out([suite], Used("", [row_digest(key)]), "profanity-model")
    assert caught.value.code == "trained-on"
    assert key in caught.value.why


def test_the_filter_of_the_training_is_no_judge(tmp_path: Path) -> None:
    suite = tiny_suite(tmp_path)
    with pytest.raises(CannotError) as caught:
        check_held_out([suite], Used("word-list", []), "word-list")
    assert caught.value.code == "judge-is-filter"


def test_used_rows_are_written_and_read_back() -> None:
    used = Used("word-list", [row_digest("one"), row_digest("two")])
    assert Used.read(used.write()) == used
    assert used.rows == {"7692c3ad3540bb80", "3fc4ccfe745870e2"}
    with pytest.raises(IntegrityError, match="malformed"):
        Used.read(b'{"filter": "", "rows": "all"}')


def test_pooled_names_and_headlines_are_those_of_known_measures() -> None:
    for measure in POOLED:
        assert metrics_of(measure)


def test_prefixes_stand_side_by_side_with_the_separator_between_them(tmp_path: Path) -> None:
    bench = tiny_bench(tmp_path)
    one, other = prefix(1), prefix(2)
    together = bench.joined([one, other])
    assert together is not None
    assert together.tolist() == [*one.tolist(), *other.tolist()]
    apart = Bench.open(tmp_path / "base", separator="\n", judge="", progress=lambda *_: None)
    parted = apart.joined([one, other])
    assert parted is not None
    assert parted.tolist() == [*one.tolist(), *apart.model.embed_text("\n").tolist(), *other.tolist()]
    assert bench.joined([]) is None
