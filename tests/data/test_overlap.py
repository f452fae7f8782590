from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from patchpm.data.overlap import THRESHOLD, NearDuplicates, normalised

TEXTS = st.text(alphabet="abc éß.!\n", max_size=12)


def test_near_duplicates_share_most_of_their_words() -> None:
    near = NearDuplicates(["How do I build a small boat from old wood?"])
    assert "how do i BUILD a small boat from old wood" in near
    assert "How do I build a small boat from new wood?" in near
    assert "How do I build a house?" not in near
    assert "" not in near


def test_normalising_keeps_the_words_only() -> None:
    assert normalised("  Hello,\nWorld! ") == "hello world"
    assert normalised("?!") == ""


def test_texts_without_words_are_alike() -> None:
    assert "..." in NearDuplicates(["one", "?!"])


@given(st.lists(TEXTS, max_size=6), TEXTS)
def test_a_text_is_near_exactly_if_it_shares_enough_words_with_one_of_them(texts: list[str], asked: str) -> None:
    words = set(normalised(asked).split())
    shares = [
        len(words & other) / len(words | other) if words | other else 1.0
        for other in (set(normalised(text).split()) for text in texts)
    ]
    assert (asked in NearDuplicates(texts)) == any(share >= THRESHOLD for share in shares)


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_every_text_is_near_itself(texts: list[str]) -> None:
    near = NearDuplicates(texts)
    assert all(text in near for text in texts)
