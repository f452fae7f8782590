from __future__ import annotations

import sys
from pathlib import Path

import pytest

from patchpm.errors import CannotError, UsageError
from patchpm.train.scorer import Scorer, load_scorer, scorer_names
from patchpm.train.scorers.word_list import WordList
from tests.evaluate.tiny_suite import write_classifier
from tests.train.tiny_run import write_base

NASTY, KIND = "You stupid bitch, go fuck yourself", "The weather in Spain is lovely in May"


def write_plugin(folder: Path, monkeypatch: pytest.MonkeyPatch, points: str, code: str) -> None:
    """An installed package with scorers of its own."""
    about = folder / "own_scorers-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: own-scorers\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[patchpm.scorers]\n{points}\n")
    (folder / "own_scorers.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "own_scorers", raising=False)


def test_a_word_list_adds_up_the_severities_of_what_it_finds() -> None:
    words = WordList({"darn": 1.0, "darn it all": 3.0, "beep": 2.0, "69": 3.0})
    assert words.score(["all is well", "Darn!", "beep, darn", "DARN it  all", "69 beeps"]) == pytest.approx(
        [0, 1 / 4, 1 - 1 / 2 * 3 / 4, 3 / 4, 0]
    )


def test_a_scorer_of_another_package_is_found_and_given_its_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
class Length:
    def __init__(self, argument):
        self.name = f"length:{argument}"
        self._most = int(argument)
    def score(self, texts):
        return [min(1.0, len(text) / self._most) for text in texts]
"""
    write_plugin(tmp_path, monkeypatch, "length = own_scorers:Length\nword-list = own_scorers:Length", code)
    scorer = load_scorer("length:10")
    assert (scorer.name, scorer.score(["12345", "x" * 20])) == ("length:10", [0.5, 1.0])
    assert "length" in scorer_names()


def test_a_package_cannot_take_over_the_name_of_a_scorer_of_patchpm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(tmp_path, monkeypatch, "transformers = own_scorers:Mild", "def Mild(argument): return None")
    with pytest.raises(UsageError, match="needs a model"):
        load_scorer("transformers")


def test_a_plug_in_that_makes_no_scorer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plugin(tmp_path, monkeypatch, "odd = own_scorers:odd", "def odd(argument): return 7")
    with pytest.raises(CannotError) as caught:
        load_scorer("odd")
    assert caught.value.code == "scorer-broken"


def test_a_scorer_without_its_library_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_plugin(tmp_path, monkeypatch, "odd = own_scorers:odd", "import library_that_nobody_has")
    with pytest.raises(CannotError, match="needs a library") as caught:
        load_scorer("odd")
    assert caught.value.code == "extra-missing"


def test_an_unknown_scorer_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        load_scorer("perspective")
    assert caught.value.code == "unknown-scorer"
    assert "profanity-model" in str(caught.value.next)


def test_a_classifier_gives_the_probability_of_its_bad_label(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "one")
    swapped = write_classifier(tmp_path / "other", labels=("toxic", "neutral"))
    apart = write_classifier(tmp_path / "apart", problem_type="multi_label_classification")
    texts = ["What is it?", "You are a helpful model"]
    one, other, third = (load_scorer(f"transformers:{path}").score(texts) for path in (folder, swapped, apart))
    assert [a + b for a, b in zip(one, other, strict=True)] == pytest.approx([1, 1], abs=1e-5)
    assert third != pytest.approx(one)
    assert load_scorer(f"transformers:{folder}").score(texts[:1]) == pytest.approx(one[:1], abs=1e-5)
    assert isinstance(load_scorer(f"transformers:{folder}"), Scorer)


def test_a_classifier_without_a_bad_label_or_without_files_is_refused(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "moods", labels=("sad", "glad"))
    for name, code in ((f"transformers:{folder}", "no-bad-label"), (f"transformers:{tmp_path}", "scorer-not-found")):
        with pytest.raises(CannotError) as caught:
            load_scorer(name)
        assert caught.value.code == code


def test_a_guard_gives_the_probability_of_unsafe_against_safe(tmp_path: Path) -> None:
    guard = load_scorer(f"llama-guard:{write_base(tmp_path / 'guard')}")
    scores = guard.score([NASTY, KIND])
    assert all(0 < score < 1 for score in scores)
    assert scores[0] != scores[1]
    with pytest.raises(CannotError, match="cannot be loaded as a guard"):
        load_scorer(f"llama-guard:{tmp_path}")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["profanity-model", "word-list"])
def test_the_scorers_in_pinned_wheels_tell_insults_from_kind_words(name: str) -> None:
    pytest.importorskip("sklearn")
    scorer = load_scorer(name)
    nasty, kind = scorer.score([NASTY, KIND])
    assert scorer.name == name
    assert nasty > 0.6
    assert kind < 0.2
    assert scorer.score([]) == []
