"""What a README says to machines is read from anyone's text, so that no text may do harm."""

from __future__ import annotations

import pytest

from patchpm.server.card import CardError, read_card, tags_of
from tests.server.builders import Client, file

BOMBS = {
    "aliases": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
    "an alias of itself": "a: &a [*a]",
    "deep lists": "a: " + "[" * 20_000,
    "deep mappings": "{a: " * 20_000,
    "an object": "a: !!python/object/apply:os.system [ls]",
    "a list": "- a",
    "two documents": "a: 1\n...\nb: 2",
    "a number of many digits": "a: " + "1" * 5000,
    "a number of many hexadecimal digits": "a: 0x" + "f" * 5000,
    "a number of many base-60 digits": "a: 1" + ":59" * 5000,
    "a NUL": 'a: "\\0"',
    "a lone surrogate": 'tags: ["\\ud800"]',
    "a lone surrogate in a key": '"\\udc00": 1',
    "a time that is none": 'a: !!timestamp "never"',
    "a truth that is none": 'a: !!bool "perhaps"',
    "a number that is none": 'a: !!int ""',
    "a key that is no key": "? [a]\n: 1\n? {b: 1}\n: 2",
    "too long": "a: " + "x" * 60_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_front_matter_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(CardError):
        read_card(f"---\n{BOMBS[name]}\n---\n")


@pytest.mark.parametrize("name", ["aliases", "a lone surrogate", "a number of many hexadecimal digits", "a NUL"])
def test_the_server_refuses_it_when_asked_and_when_committed(ann: Client, repo: str, name: str) -> None:
    text = f"---\n{BOMBS[name]}\n---\n"
    assert ann.post("/api/validate-yaml", {"content": text, "repoType": "model"}).status == 400
    answer = ann.commit(repo, file("README.md", text.encode()))
    assert (answer.status, answer.error[:9]) == (400, "README.md")


def test_it_is_read_for_nobody_without_a_token(ann: Client) -> None:
    from tests.server.builders import Client as Anyone

    assert Anyone(ann.url).post("/api/validate-yaml", {"content": ""}).status == 401


def test_tags_are_those_that_the_hub_makes() -> None:
    card = read_card(
        "\ufeff---\r\ntags: [a, b, a, 1, null]\nlicense: mit\nbase_model: [x/y]\nbase_model_relation: adapter\n"
        "datasets: d\nlanguage: en\nlibrary_name: patchpm\ndate: 2026-01-01\nnan: .nan\n---\r\ntext"
    )
    assert tags_of(card) == [
        *("a", "b", "patchpm", "en", "license:mit", "dataset:d", "base_model:x/y", "base_model:adapter:x/y")
    ]
    assert (card["date"], card["nan"]) == ("2026-01-01", "nan")


@pytest.mark.parametrize(
    "text", ["", "# Hello", "---\n", "---\nno end", "----\na: 1\n---\n", "---\n\n---\n", "--- \n---"]
)
def test_a_readme_without_front_matter_says_nothing(text: str) -> None:
    assert read_card(text) == {}


def test_a_card_goes_with_its_readme(ann: Client, repo: str) -> None:
    from tests.server.builders import deleted

    ann.commit(repo, file("README.md", b"---\ntags: [here]\n---\n"))
    assert ann.get(f"/api/models/{repo}").json()["cardData"] == {"tags": ["here"]}
    assert repo in [found["id"] for found in ann.get("/api/models?filter=here").json()]
    ann.commit(repo, deleted("README.md"))
    assert ann.get(f"/api/models/{repo}").json()["tags"] == []
    assert repo not in [found["id"] for found in ann.get("/api/models?filter=here").json()]
