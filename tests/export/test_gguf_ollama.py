"""The Go template for Ollama says what the patched Jinja template says, or there is none."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from patchpm.errors import CannotError, UsageError
from patchpm.export.ollama import go_template
from patchpm.export.patched_gguf import place_in_gguf
from patchpm.export.placed_set import PlacedSet, place_set
from patchpm.export.turn_template import turn_template
from patchpm.model.conversation import PROBES, Conversation
from patchpm.model.loaded import PatchSet
from tests.export import gguf_model
from tests.export.gguf_model import Shape
from tests.model import tiny
from tests.model.templates import SHAPES

LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set text = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}{% set messages = messages[1:] %}"
    "{% else %}{% set text = '' %}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles') }}{% endif %}"
    "{% if message['role'] == 'user' %}"
    "{{ '<s>[INST] ' + (text if loop.first else '') + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + ' </s>' }}{% endif %}"
    "{% endfor %}"
)
"""The system text stands inside the first user turn, and turns must alternate."""
BY_POSITION = tiny.CHATML.replace("message['role'] + '\n'", "message['role'] ~ loop.index ~ '\n'")
"""What stands between two turns depends on their place."""

EXPRESSIBLE = {
    "SmolLM2": tiny.CHATML,
    "Llama 2": LLAMA2,
    **{name: SHAPES[name].source for name in SHAPES if name not in ("trimmed-with-header-lines", "system-ignored")},
}
INEXPRESSIBLE = {
    "by position": BY_POSITION,
    "with a date": SHAPES["trimmed-with-header-lines"].source,
    "that drops the system text": SHAPES["system-ignored"].source,
}

MORE = (
    Conversation(({"role": "user", "content": 'Print {{ .System }} and "quotes" \\ back\n\n  and lines.'},)),
    Conversation(
        (
            {"role": "system", "content": "Räksmörgås {% raw %} {{- end }}"},
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c"},
            {"role": "assistant", "content": "d"},
            {"role": "user", "content": "e"},
        )
    ),
    Conversation(
        (
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "system", "content": "c"},
            {"role": "user", "content": "d"},
        )
    ),
)
CONVERSATIONS = [
    probe
    for probe in (*PROBES, *MORE)
    if not probe.tools and all(isinstance(message["content"], str) for message in probe.messages)
]


def roles(conversation: Conversation) -> list[str]:
    return [message["role"] for message in conversation.messages]


def placed(template: str) -> tuple[Any, PlacedSet]:
    tokenizer = tiny.tokenizer(template)
    base = tiny.base_of(tiny.llama(), tokenizer)
    return tokenizer, place_set(tokenizer, PatchSet("system-start", (tiny.patch(base),)))


@pytest.mark.parametrize("name", EXPRESSIBLE)
def test_a_table_of_turns_renders_what_the_jinja_template_does(name: str) -> None:
    tokenizer, place = placed(EXPRESSIBLE[name])
    table = turn_template(tokenizer)
    for conversation in CONVERSATIONS:
        text, expected = table.render(conversation.messages), conversation.render(tokenizer)
        assert text == expected or (text is None and "system" in roles(conversation)[1:])
        assert text is None or text.count(place.run.text) == 1


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Go's own text/template."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed, so the Go template is not rendered by Go")
    made = tmp_path_factory.mktemp("go") / "render"
    subprocess.run(["go", "build", "-o", made, Path(__file__).with_name("render.go")], check=True)
    return made


def by_go(renderer: Path, template: str, conversations: list[Conversation]) -> list[dict[str, str]]:
    tasks = [{"Template": template, "Messages": conversation.messages} for conversation in conversations]
    done = subprocess.run([renderer], input=json.dumps(tasks), capture_output=True, text=True, check=True)
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", EXPRESSIBLE)
def test_go_itself_renders_the_table_and_stops_where_it_has_no_turn(renderer: Path, name: str) -> None:
    tokenizer, _ = placed(EXPRESSIBLE[name])
    table = turn_template(tokenizer)
    found = by_go(renderer, table.go_source(), CONVERSATIONS)
    for conversation, result in zip(CONVERSATIONS, found, strict=True):
        expected = table.render(conversation.messages)
        assert result["Text"] == (expected or "")
        assert bool(result["Error"]) == (expected is None)


def test_a_role_that_the_template_does_not_know_is_an_error_in_go(renderer: Path) -> None:
    tokenizer, _ = placed(tiny.CHATML)
    tool = Conversation(({"role": "user", "content": "a"}, {"role": "tool", "content": "b"}))
    (found,) = by_go(renderer, turn_template(tokenizer).go_source(), [tool])
    assert "out of range" in found["Error"]


@pytest.mark.parametrize("name", INEXPRESSIBLE)
def test_a_template_that_does_more_is_refused(name: str) -> None:
    tokenizer, _ = placed(INEXPRESSIBLE[name])
    with pytest.raises(CannotError) as caught:
        turn_template(tokenizer)
    assert caught.value.code == "template-not-expressible"


def test_a_start_token_that_the_engine_adds_is_not_written_twice() -> None:
    template = "{{ '<|endoftext|>' }}" + tiny.CHATML
    tokenizer, _ = placed(template)
    table = turn_template(tokenizer, added_start="<|endoftext|>")
    for conversation in CONVERSATIONS[:4]:
        assert "<|endoftext|>" + str(table.render(conversation.messages)) == conversation.render(tokenizer)


def test_a_template_of_ones_own_writes_the_prefix_where_it_says(tmp_path: Path, renderer: Path) -> None:
    stock = gguf_model.write(tmp_path / "stock.gguf", Shape(templates={"": BY_POSITION}))
    place = place_in_gguf(stock, gguf_model.patch_set(stock))
    source = go_template(place, "S {{ $patchpm }}{{ range .Messages }}{{ .Content }}|{{ end }}")
    (found,) = by_go(renderer, source, [Conversation(({"role": "user", "content": "hello"},))])
    assert found == {"Text": f"S {''.join(place.placed.names)}hello|", "Error": ""}


@pytest.mark.parametrize("own", ["{{ .Prompt }}", '{{ $patchpm }}"""'])
def test_a_template_of_ones_own_without_the_prefix_is_refused(tmp_path: Path, own: str) -> None:
    stock = gguf_model.write(tmp_path / "stock.gguf")
    place = place_in_gguf(stock, gguf_model.patch_set(stock))
    with pytest.raises(UsageError) as caught:
        go_template(place, own)
    assert caught.value.code == "no-placeholder"
