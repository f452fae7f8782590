from __future__ import annotations

import json

import pytest

from patchpm.cli.output import emit, plain


def test_a_model_cannot_steer_the_terminal_with_what_it_says() -> None:
    assert plain("\x1b]0;title\x07 \x9b31m\u202e") == "\ufffd]0;title\ufffd \ufffd31m\ufffd"


def test_what_people_write_stays_as_it_is() -> None:
    assert plain("a\n\tb: é 漢 👍") == "a\n\tb: é 漢 👍"


def test_data_of_strangers_cannot_steer_the_terminal_and_stays_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    title = "\x9b31m \u202e é 漢 \x1b]0;"
    emit({"title": title}, lambda: None, as_json=True)
    printed = capsys.readouterr().out
    assert plain(printed) == printed
    assert "é 漢" in printed
    assert json.loads(printed) == {"title": title}
