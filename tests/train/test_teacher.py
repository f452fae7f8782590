from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from patchpm.errors import CannotError, UsageError
from patchpm.patch.digest import Digest
from patchpm.train.data import load_data
from patchpm.train.prefix_model import PrefixModel
from patchpm.train.recipe import Recipe, TeacherRecipe
from patchpm.train.recipe_toml import read_recipe
from patchpm.train.replies import Reply, greedy_replies, sampled_replies
from patchpm.train.rows import make_rows
from patchpm.train.teacher import TOP, Taught, Teacher, own_replies, reply_ids
from tests.model.tiny import CHATML, llama
from tests.train.tiny_run import END, HARMFUL, RECIPE, prefix_model, silent, tiny_model, write_base, write_recipe

BASE = Digest.of(b"tiny")
NOTHING = TeacherRecipe("given", "words", (), "", "", 2, "", 1.0, 0.0, 6)


def recipe_with(folder: Path, **teacher: object) -> Recipe:
    return replace(read_recipe(write_recipe(folder)), teacher=replace(NOTHING, **teacher))  # type: ignore[arg-type]


def taught(folder: Path, base: PrefixModel | None = None, **teacher: object) -> list[Taught | None]:
    recipe = recipe_with(folder, **teacher)
    return Teacher(base or prefix_model(), BASE, recipe, folder / "cache", silent).wanted(HARMFUL)


def greedy(model: PrefixModel, instruction: str | None = None) -> list[tuple[int, ...]]:
    text = None if instruction is None else model.embed_text(instruction)
    return [reply.ids for reply in greedy_replies(model, text, HARMFUL, tokens=6, progress=silent)]


class Length:
    """A scorer: the longer, the worse."""

    name = "length"

    def score(self, texts: Sequence[str]) -> list[float]:
        return [min(1.0, len(text) / 40) for text in texts]


@pytest.fixture
def scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A scorer of an installed package, found by its entry point."""
    module = types.ModuleType("length_scorer")
    module.make = lambda _argument: Length()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "length_scorer", module)
    info = tmp_path / "site" / "length_scorer-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: length-scorer\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[patchpm.scorers]\nlength = length_scorer:make\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return "length"


def drawn(model: PrefixModel, samples: int, *, seed: int = 7) -> list[list[Reply]]:
    return sampled_replies(model, None, HARMFUL, tokens=6, samples=samples, seed=seed, progress=silent)


def test_given_replies_are_wanted_everywhere_and_end_the_turn(tmp_path: Path) -> None:
    model = prefix_model()
    found = taught(tmp_path, model, kind="given", replies=("No.", "Not that."))
    wanted = tuple((*model.frame.encode(text), END) for text in ("No.", "Not that."))
    assert {one.wanted for one in found if one} == {wanted}
    assert [one.loser for one in found if one] == greedy(model)


def test_the_end_of_the_turn_is_that_of_the_template_where_a_model_has_several_ends() -> None:
    model = prefix_model()
    model.model.generation_config.eos_token_id = [0, 1, END, 7]  # type: ignore[union-attr]
    assert reply_ids(model, ["No."]) == [(*model.frame.encode("No."), END)]
    model.model.generation_config.eos_token_id = None  # type: ignore[union-attr]
    assert reply_ids(model, ["No."]) == [model.frame.encode("No.")]


def test_no_loser_is_looked_for_without_a_second_stage(tmp_path: Path) -> None:
    recipe = recipe_with(tmp_path, kind="given", replies=("No.",))
    recipe = replace(recipe, dpo=replace(recipe.dpo, steps=0))
    seen: list[int] = []
    found = Teacher(prefix_model(), BASE, recipe, tmp_path / "cache", lambda done, _: seen.append(done)).wanted(HARMFUL)
    assert {one.loser for one in found if one} == {()}
    assert seen == []


def test_the_instructed_teacher_is_the_base_with_the_instructions_embeddings_where_the_prefix_stands(
    tmp_path: Path,
) -> None:
    model = prefix_model()
    said = "You are a helpful model of France"
    found = taught(tmp_path, model, kind="instruction", instruction=said)
    assert [one.wanted for one in found if one] == [(reply,) for reply in greedy(model, said)]
    assert greedy(model, said) != greedy(model)


def test_another_model_of_the_family_teaches_by_its_own_replies(tmp_path: Path) -> None:
    other = llama(seed=5)
    other.generation_config.eos_token_id = END
    write_base(tmp_path / "safer")
    other.save_pretrained(tmp_path / "safer")
    model = prefix_model()
    found = taught(tmp_path, model, kind="model", model="safer")
    expected = greedy(PrefixModel(other, model.frame))
    assert [one.wanted for one in found if one] == [(reply,) for reply in expected]
    assert expected != greedy(model)


def test_a_teacher_with_another_tokenizer_is_refused(tmp_path: Path) -> None:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    backend.train_from_iterator(["The same words, the same tokens"] * 4, words)
    foreign: PreTrainedTokenizerFast = PreTrainedTokenizerFast(tokenizer_object=backend)  # type: ignore[no-untyped-call]
    foreign.chat_template = CHATML
    llama(vocab=len(foreign)).save_pretrained(tmp_path / "other")
    save: Any = foreign.save_pretrained
    save(tmp_path / "other")
    with pytest.raises(UsageError) as caught:
        taught(tmp_path, kind="model", model="other")
    assert caught.value.code == "tokenizer-mismatch"


def test_a_teacher_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        taught(tmp_path, kind="model", model="none")
    assert caught.value.code == "base-not-found"


def test_the_best_sample_wins_and_the_worst_loses(tmp_path: Path, scorer: str) -> None:
    model = prefix_model()
    found = taught(tmp_path, model, kind="best-of", samples=5, scorer=scorer)
    for one, replies in zip(found, drawn(model, 5), strict=True):
        assert one is not None
        lengths = {reply.ids: len(model.frame.decode(reply.ids)) for reply in replies}
        assert lengths[one.wanted[0]] == min(lengths.values())
        assert lengths[one.loser] == max(lengths.values())


@pytest.mark.parametrize(("limit", "margin"), [(0.16, 0.0), (1.0, 0.2), (0.16, 0.19)])
def test_a_prompt_counts_only_if_its_best_sample_is_good_and_its_worst_far_worse(
    tmp_path: Path, scorer: str, limit: float, margin: float
) -> None:
    model = prefix_model()
    found = taught(tmp_path, model, kind="best-of", samples=3, scorer=scorer, limit=limit, margin=margin)
    scores = [Length().score([model.frame.decode(reply.ids) for reply in replies]) for replies in drawn(model, 3)]
    usable = [min(one) < limit and max(one) - min(one) >= margin for one in scores]
    assert [one is not None for one in found] == usable
    assert 0 < sum(usable) < len(usable)


def test_samples_of_the_best_of_teacher_follow_the_seed_and_its_instruction(tmp_path: Path, scorer: str) -> None:
    model = prefix_model()
    plain = taught(tmp_path, model, kind="best-of", samples=3, scorer=scorer)
    assert taught(tmp_path, model, kind="best-of", samples=3, scorer=scorer) == plain
    assert taught(tmp_path, model, kind="best-of", samples=3, scorer=scorer, instruction="Be brief and kind") != plain


def test_a_teacher_that_no_prompt_passes_has_nothing_to_teach(tmp_path: Path, scorer: str) -> None:
    best = f'kind = "best-of"\nsamples = 2\nscorer = "{scorer}"\nlimit = 0.0'
    text = RECIPE.replace('kind = "given"', best).replace('replies = ["No.", "I say no."]', "")
    recipe = read_recipe(write_recipe(tmp_path, text.replace("reverse = 2", "reverse = 0")))
    with pytest.raises(CannotError) as caught:
        make_rows(prefix_model(), BASE, recipe, load_data(recipe, tmp_path), tmp_path / "cache", silent)
    assert caught.value.code == "nothing-to-learn"


def test_own_replies_are_computed_once_and_kept(tmp_path: Path) -> None:
    model = prefix_model()

    def own(prompts: Sequence[str], base: Digest = BASE) -> list[Reply]:
        return own_replies(model, base, prompts, tokens=6, cache=tmp_path, progress=silent)

    first = own(HARMFUL)
    read = model.tokens_read
    again = own(HARMFUL)
    assert model.tokens_read == read
    assert [reply.ids for reply in again] == [reply.ids for reply in first] == greedy(model)
    assert all(one.top_logs.equal(other.top_logs) for one, other in zip(first, again, strict=True))
    assert {reply.top_ids.shape[1] for reply in again} == {TOP}
    for prompts, base in ((HARMFUL[:5], BASE), (HARMFUL, Digest.of(b"other"))):
        read = model.tokens_read
        own(prompts, base)
        assert model.tokens_read > read


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    model = prefix_model()
    first = own_replies(model, BASE, HARMFUL, tokens=6, cache=tmp_path, progress=silent)
    (path,) = (tmp_path / "replies").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    again = own_replies(model, BASE, HARMFUL, tokens=6, cache=tmp_path, progress=silent)
    assert [reply.ids for reply in again] == [reply.ids for reply in first]


def test_replies_in_another_precision_are_kept_apart(tmp_path: Path) -> None:
    plain = prefix_model()
    own_replies(plain, BASE, HARMFUL, tokens=6, cache=tmp_path, progress=silent)
    half = PrefixModel(tiny_model(), plain.frame, half=True)
    own_replies(half, BASE, HARMFUL, tokens=6, cache=tmp_path, progress=silent)
    assert len(list((tmp_path / "replies").iterdir())) == 2
