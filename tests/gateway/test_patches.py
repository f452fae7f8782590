"""What an engine gets: the patches' rows at the anchor, exactly where transformers in process puts them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from patchpm.gateway.engine_template import PLACEHOLDER, engine_template
from patchpm.model.loaded import LoadedPatch
from tests.gateway.builders import HELLO, Gateway, counter, everybody, patch, running, tenants
from tests.gateway.engine import Engine
from tests.model import tiny
from tests.model.templates import SHAPES

SYSTEM: dict[str, Any] = {"role": "system", "content": "Be brief."}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "clock", "description": "Tells the time.", "parameters": {"type": "object", "properties": {}}},
}


def rows_of(*members: LoadedPatch) -> torch.Tensor:
    return torch.cat([member.rows for member in members])


def test_the_rows_stand_at_the_start_of_the_system_text_without_a_line_feed_between(gateway: Gateway) -> None:
    answer = gateway.chat([SYSTEM, *HELLO])
    assert answer.status == 200
    assert torch.equal(gateway.engine.rows[-1], patch("acme/a").rows)
    assert f"<|im_start|>system\n{PLACEHOLDER}Be brief.<|im_end|>" in gateway.engine.prompts[-1]


def test_a_conversation_without_a_system_text_keeps_the_default_of_the_template(gateway: Gateway) -> None:
    assert gateway.chat().status == 200
    assert f"<|im_start|>system\n{PLACEHOLDER}You are a helpful model<|im_end|>" in gateway.engine.prompts[-1]


def test_patches_without_a_separator_are_one_part_in_the_order_of_the_set() -> None:
    members = (patch("acme/a"), patch("acme/b", tokens=3), patch("acme/c"))
    with running(everybody(*members)) as gateway:
        assert gateway.chat().headers["x-patchpm-tokens"] == "13"
        kinds = [part["type"] for part in gateway.engine.bodies[-1]["messages"][0]["content"]]
        assert kinds == ["prompt_embeds", "text"]
        assert torch.equal(gateway.engine.rows[-1], rows_of(*members))


def test_separators_stand_behind_each_patch_as_its_manifest_says() -> None:
    members = (patch("acme/a", separator="\n\n"), patch("acme/b", separator=" "))
    with running(everybody(*members)) as gateway:
        assert gateway.chat([SYSTEM, *HELLO]).status == 200
        assert f"system\n{PLACEHOLDER}\n\n{PLACEHOLDER} Be brief." in gateway.engine.prompts[-1]
        assert torch.equal(gateway.engine.rows[-1], rows_of(*members))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_prefix_is_where_the_patched_template_of_the_same_base_puts_it(shape: str) -> None:
    source = SHAPES[shape].source
    engine = Engine(engine_template(tiny.tokenizer(source)))
    placed = counter(source).place("")
    with running(everybody(patch("acme/a"), template=source), engine) as gateway:
        for messages in (HELLO, [SYSTEM, *HELLO], [*HELLO, {"role": "assistant", "content": "Paris."}, *HELLO]):
            local = placed.start.template
            tokenizer = tiny.tokenizer(source)
            try:
                expected = tokenizer.apply_chat_template(
                    messages, chat_template=local, tokenize=False, add_generation_prompt=True
                )
            except Exception:
                assert gateway.chat(messages).status >= 400
                continue
            answer = gateway.chat(messages)
            assert answer.status == 200, answer.data
            mark = next(word for word in expected.replace("|>", "|> ").split() if "<|patchpm:" in word)
            mark = mark[mark.index("<|patchpm:") :]
            assert gateway.engine.prompts[-1] == expected.replace(mark, PLACEHOLDER)


def test_developer_messages_become_the_system_text_where_the_template_knows_none(gateway: Gateway) -> None:
    messages = [SYSTEM, {"role": "developer", "content": "Use SI units."}, *HELLO]
    assert gateway.chat(messages).status == 200
    assert f"system\n{PLACEHOLDER}Be brief.\n\nUse SI units.<|im_end|>" in gateway.engine.prompts[-1]


def test_content_in_parts_stays_in_parts_and_is_joined_as_the_engine_joins_it(gateway: Gateway) -> None:
    parts = [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]
    assert gateway.chat([{"role": "system", "content": parts}, *HELLO]).status == 200
    assert f"system\n{PLACEHOLDER}Be brief.\nBe kind.<|im_end|>" in gateway.engine.prompts[-1]


def test_tools_and_calls_of_tools_are_counted_as_the_engine_renders_them() -> None:
    source = SHAPES["another-default-with-tools"].source
    call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": '{"zone": "UTC"}'}}
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "12:00"}]},
    ]
    with running(everybody(patch("acme/a"), template=source), Engine(engine_template(tiny.tokenizer(source)))) as one:
        answer = one.chat(messages, tools=[TOOL])
        assert answer.status == 200, answer.data
        assert f"system\n{PLACEHOLDER}You call tools.\n\n# Tools" in one.engine.prompts[-1]
        assert one.engine.bodies[-1]["tools"] == [TOOL]


def test_each_tenant_gets_its_own_set_and_the_answer_says_which() -> None:
    roster = tenants({"ann": (patch("acme/a"),), "bob": (patch("acme/b"), patch("acme/c")), "zoe": ()})
    with running(roster) as gateway:
        for tenant in roster.tenants:
            answer = gateway.chat(key=f"key-of-{tenant.name}")
            members = tenant.injection.patches.patches
            assert answer.status == 200
            assert answer.headers["x-patchpm-set"] == str(tenant.injection.patches.digest)
            assert answer.headers["x-patchpm-tokens"] == str(5 * len(members))
            assert torch.equal(gateway.engine.rows[-1], rows_of(*members) if members else torch.empty(0))


def test_an_engine_that_drops_the_prefix_is_found_out_in_the_answer() -> None:
    with running(everybody(patch("acme/a"))) as gateway:
        gateway.engine.strips = True
        answer = gateway.chat()
        assert (answer.status, answer.error) == (502, "patch_not_proven")
        streamed = gateway.chat(stream=True)
        assert streamed.events[-1]["error"]["code"] == "patch_not_proven"
        assert gateway.metric('patchpm_gateway_count_checks_total{result="wrong"}') == 2


def test_with_the_policy_alarm_the_answer_goes_out_and_the_log_says_it() -> None:
    with running(everybody(patch("acme/a")), policy="alarm") as gateway:
        gateway.engine.strips = True
        assert gateway.chat().status == 200
        assert gateway.chat(stream=True).events[-1] is None
        wrong = [record for record in gateway.records if record.getMessage() == "wrong count"]
        assert len(wrong) == 2
        assert wrong[0].fields["expected"] == wrong[0].fields["found"] + 5  # type: ignore[attr-defined]


def test_an_engine_with_another_template_is_not_given_requests() -> None:
    template = "{% for m in messages %}{% for part in m['content'] %}{{ part['text'] + '\n' }}{% endfor %}{% endfor %}"
    with running(everybody(patch("acme/a")), Engine(template), wait=False) as gateway:
        site = gateway.site
        assert site is not None
        gateway.wait_for(lambda: "template" in site.upstreams.all[0].why)
        assert (gateway.chat().status, gateway.get("/health").status) == (503, 503)
        assert not gateway.engine.chats
