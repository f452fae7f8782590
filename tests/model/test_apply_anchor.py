"""The prefix comes out where the system text starts, whatever the chat template looks like; nothing else changes."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import pytest

from patchpm.errors import CannotError, IntegrityError
from patchpm.model.applied import Applied
from patchpm.model.apply import attach
from tests.model import tiny
from tests.model.templates import SHAPES

SYSTEM = {"role": "system", "content": "Answer in one word."}
USER = {"role": "user", "content": "What is the capital?"}
REPLY = {"role": "assistant", "content": "Paris."}
TOOL = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": {"type": "object"}}}


def attached(template: Any, **options: Any) -> tuple[Any, Any, Applied]:
    """A patched tokenizer, the base's own beside it, and the handle."""
    tokenizer, model = tiny.tokenizer(template), tiny.llama()
    base = tiny.base_of(model, tokenizer)
    return tokenizer, tiny.tokenizer(template), attach(model, tokenizer, [tiny.patch(base, **options)])


@cache
def attached_to_shape(name: str) -> tuple[Any, Any, Applied]:
    """The same for a template of `SHAPES`, for tests that only render."""
    return attached(SHAPES[name].source)


def split(text: str) -> tuple[str, str, str]:
    """A rendered text before, in, and after the run of prefix tokens."""
    match = re.search(r"(<\|patchpm:[0-9a-f]{32}:\d{4}\|>)+", text)
    assert match, text
    return text[: match.start()], match[0], text[match.end() :]


@pytest.mark.parametrize("name", SHAPES)
def test_the_prefix_stands_at_the_start_of_the_system_text(name: str) -> None:
    shape = SHAPES[name]
    tokenizer, _, applied = attached_to_shape(name)
    for messages, where in (([USER], shape.without_system), ([SYSTEM, USER], shape.with_system)):
        if where:
            before, _, after = split(tokenizer.apply_chat_template(messages, tokenize=False))
            assert before.endswith(where[1:]) if where.startswith("*") else before == where
            assert "patchpm" not in after
    assert bool(applied.anchor_note) == shape.noted


@pytest.mark.parametrize(
    ("name", "system"),
    [(name, system) for name in SHAPES for system in (False, True) if (name, system) != ("system-refused", True)],
)
@pytest.mark.parametrize("tools", [None, [TOOL]])
@pytest.mark.parametrize("turns", [[USER], [USER, REPLY, USER]])
def test_without_the_prefix_the_rendering_is_the_base_s_own(
    name: str, system: bool, tools: Any, turns: list[dict[str, str]]
) -> None:
    tokenizer, base, applied = attached_to_shape(name)
    messages = [SYSTEM, *turns] if system else turns
    options = {"tools": tools, "add_generation_prompt": True, "tokenize": False}
    before, _, after = split(tokenizer.apply_chat_template(messages, **options))
    adds_turn = name in ("no-default", "system-merged-into-the-user-turn") and not system
    own = base.apply_chat_template([{"role": "system", "content": ""}, *turns] if adds_turn else messages, **options)
    assert before + after == own
    with applied.disabled():
        assert tokenizer.apply_chat_template(messages, **options) == base.apply_chat_template(messages, **options)


@pytest.mark.parametrize("name", ["macro-and-parts", "system-merged-into-the-user-turn"])
def test_content_in_parts_carries_the_prefix_in_its_first_text(name: str) -> None:
    tokenizer, base, _ = attached(SHAPES[name].source)
    parts = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
    ]
    for messages in (parts, parts[1:]):
        before, _, after = split(tokenizer.apply_chat_template(messages, tokenize=False))
        filled = (
            messages
            if len(messages) == 2 or name == "macro-and-parts"
            else [{"role": "system", "content": ""}, *messages]
        )
        assert before + after == base.apply_chat_template(filled, tokenize=False)


def test_a_developer_message_counts_as_the_system_text_where_the_template_reads_it_so() -> None:
    tokenizer, base, _ = attached(SHAPES["macro-and-parts"].source)
    messages = [{"role": "developer", "content": "Be brief."}, USER]
    before, _, after = split(tokenizer.apply_chat_template(messages, tokenize=False))
    assert before + after == base.apply_chat_template(messages, tokenize=False)


def test_a_reply_that_is_to_be_continued_is_cut_at_the_same_place() -> None:
    tokenizer, base, _ = attached(tiny.CHATML)
    options = {"continue_final_message": True, "tokenize": False}
    before, _, after = split(tokenizer.apply_chat_template([SYSTEM, USER, REPLY], **options))
    assert before + after == base.apply_chat_template([SYSTEM, USER, REPLY], **options)


def test_the_mask_of_assistant_tokens_moves_along() -> None:
    source = tiny.CHATML.replace(
        "+ message['content'] + '<|im_end|>' + '\n' }}",
        "}}{% generation %}{{ message['content'] }}{% endgeneration %}{{ '<|im_end|>\n' }}",
    )
    tokenizer, base, _ = attached(source)
    found, own = (
        one.apply_chat_template([USER, REPLY], return_dict=True, return_assistant_tokens_mask=True)
        for one in (tokenizer, base)
    )
    assert sum(own["assistant_masks"]) > 0
    assert found["assistant_masks"][-20:] == own["assistant_masks"][-20:]


def test_white_space_that_the_template_trims_stays_trimmed() -> None:
    tokenizer, base, _ = attached(SHAPES["trimmed-with-header-lines"].source)
    messages = [{"role": "system", "content": " \n Be brief. "}, USER]
    before, _, after = split(tokenizer.apply_chat_template(messages, tokenize=False))
    assert before + after == base.apply_chat_template(messages, tokenize=False)


def test_white_space_that_the_template_keeps_stays() -> None:
    tokenizer, _, _ = attached(tiny.CHATML)
    _, _, after = split(tokenizer.apply_chat_template([{"role": "system", "content": " \n x"}, USER], tokenize=False))
    assert after.startswith(" \n x")


def test_the_separator_stands_behind_each_patch() -> None:
    tokenizer, model = tiny.tokenizer(), tiny.llama()
    base = tiny.base_of(model, tokenizer)
    attach(model, tokenizer, [tiny.patch(base, separator="\n"), tiny.patch(base, "tiny/two", separator=" ")])
    text = tokenizer.apply_chat_template([USER], tokenize=False)
    runs = re.findall(r"(?:<\|patchpm:[0-9a-f]{32}:\d{4}\|>)+(\s?)", str(text))
    assert runs == ["\n", " "]


def test_named_templates_are_all_patched() -> None:
    named = {"default": SHAPES["default-system-turn"].source, "tool_use": SHAPES["default-system-turn"].source}
    tokenizer, _, _ = attached(named)
    for tools in (None, [TOOL]):
        assert split(tokenizer.apply_chat_template([USER], tools=tools, tokenize=False))[0] == "<|im_start|>system\n"


def refused(template: Any) -> CannotError:
    tokenizer, model = tiny.tokenizer(template), tiny.llama()
    vocabulary, keys = tokenizer.get_vocab(), list(model.state_dict())
    with pytest.raises(CannotError) as caught:
        attach(model, tokenizer, [tiny.patch(tiny.base_of(model, tokenizer))])
    assert tokenizer.chat_template == template
    assert tokenizer.get_vocab() == vocabulary
    assert list(model.state_dict()) == keys
    assert not model._forward_pre_hooks
    return caught.value


def test_a_default_system_text_that_changes_with_the_date_is_refused() -> None:
    source = (
        "{%- if messages[0]['role'] != 'system' -%}"
        "{{ '<|im_start|>system\nIt is ' + strftime_now('%Y') + '<|im_end|>\n' }}{%- endif -%}"
    )
    error = refused(source + SHAPES["no-default"].source)
    assert error.code == "anchor-not-found"
    assert "date" in error.why


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{ 'nothing of the messages' }}", "neither"),
        ("{{ messages[0]['content'] }}{{ messages[0]['content'] }}", "neither"),
        ("{% for message in messages %}{{ message['content'] | upper }}{% endfor %}", "neither"),
        ("{{ raise_exception('never') }}", "neither"),
        ("{% for message in messages %}[INST] {{ message['content'] }} [/INST]{% endfor %}", "joins"),
        (
            "{% for m in messages %}{{ '<|im_start|>' + m['content'][:1] + '|' + m['content'] }}{% endfor %}",
            "another way",
        ),
    ],
)
def test_a_template_in_which_the_place_cannot_be_proven_is_refused(template: str, why: str) -> None:
    error = refused(template)
    assert error.code == "anchor-not-found"
    assert why in error.why


def sentencepiece_like(scheme: str) -> Any:
    """A tokenizer that writes spaces as ▁ and puts one before a text: the first one only, or each piece of one."""
    from tokenizers import Tokenizer, pre_tokenizers

    made = tiny.tokenizer()
    state = json.loads(made.backend_tokenizer.to_str())
    vocabulary = state["model"]["vocab"]
    vocabulary["▁"] = vocabulary.pop("ÿ")
    made._tokenizer = Tokenizer.from_str(json.dumps(state))
    made.backend_tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    return made


def test_a_tokenizer_that_puts_a_space_before_the_first_word_only_is_taken() -> None:
    tokenizer, model = sentencepiece_like("first"), tiny.llama()
    attach(model, tokenizer, [tiny.patch(tiny.base_of(model, tokenizer))]).verify()


def test_a_tokenizer_that_puts_a_space_behind_every_special_token_is_refused() -> None:
    tokenizer, model = sentencepiece_like("always"), tiny.llama()
    with pytest.raises(CannotError, match="anchor-not-found"):
        attach(model, tokenizer, [tiny.patch(tiny.base_of(model, tokenizer))])


def test_a_template_that_renders_a_written_out_default_in_another_way_is_refused() -> None:
    source = SHAPES["default-system-turn"].source + "{% if messages | length > 3 %}{{ messages | length }}{% endif %}"
    assert "default" in refused(source).why


def test_a_system_text_that_has_no_fixed_place_is_refused() -> None:
    source = (
        "{% for m in messages if m['role'] == 'user' %}{{ m['content'] + '<|im_end|>' }}{% endfor %}"
        "{% for m in messages if m['role'] != 'user' %}{{ m['content'] + '<|im_end|>' }}{% endfor %}"
    )
    assert "no place of its own" in refused(source).why


def test_content_in_parts_that_the_template_prints_as_a_list_is_refused_by_the_guard() -> None:
    source = tiny.CHATML.replace(" + message['content'] + ", " ~ message['content'] ~ ")
    tokenizer, model = tiny.tokenizer(source), tiny.llama()
    attach(model, tokenizer, [tiny.patch(tiny.base_of(model, tokenizer))])
    parts = [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, USER]
    ids = tokenizer.apply_chat_template(parts, return_tensors="pt", return_dict=True)
    with pytest.raises(IntegrityError, match="prefix-misplaced"):
        model(**ids)


def test_a_tokenizer_without_a_template_is_refused_at_system_start() -> None:
    assert refused(None).code == "anchor-not-found"


def test_named_templates_that_put_the_system_text_in_different_places_are_refused() -> None:
    named = {"default": SHAPES["default-system-turn"].source, "tool_use": SHAPES["trimmed-with-header-lines"].source}
    assert "different places" in refused(named).why
