from __future__ import annotations

from patchpm.cli.output import plain


def test_a_model_cannot_steer_the_terminal_with_what_it_says() -> None:
    assert plain("\x1b]0;title\x07 \x9b31m\u202e") == "\ufffd]0;title\ufffd \ufffd31m\ufffd"


def test_what_people_write_stays_as_it_is() -> None:
    assert plain("a\n\tb: é 漢 👍") == "a\n\tb: é 漢 👍"
