"""What a server serves, found out over real HTTP from real logits of a tiny model."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from patchpm.errors import NetworkError, UsageError
from patchpm.guard.endpoint import Endpoint
from patchpm.guard.served import (
    AsLocked,
    Doubt,
    Half,
    HalfStripped,
    LeftOut,
    OtherRelease,
    Stripped,
    Unclear,
    WrongOrder,
    WrongPatch,
)
from patchpm.guard.verdict import Counts, Finding
from tests.guard.conftest import Locked
from tests.guard.openai_server import Server
from tests.model import tiny


def found(locked: Locked, server: Server) -> Finding:
    with server.running() as url:
        return Endpoint(url, seconds=20).find(locked.reference)


def test_a_server_of_the_locked_set_is_right(locked: Locked) -> None:
    finding = found(locked, Server(locked.patches))
    assert finding.served == AsLocked()
    assert finding.distance is not None
    assert finding.distance < 0.001
    assert finding.counts is Counts.WITH_PREFIX


def test_texts_of_tokens_do_where_a_server_gives_no_bytes(locked: Locked) -> None:
    assert found(locked, Server(locked.patches, with_bytes=False)).served == AsLocked()


def test_five_log_probabilities_do_where_a_server_allows_no_more(locked: Locked) -> None:
    server = Server(locked.patches, most_logprobs=5)
    finding = found(locked, server)
    assert finding.served == AsLocked()
    assert not finding.by_text
    assert [body["top_logprobs"] for body in server.requests] == [20, *[5] * len(locked.reference.probes)]


def test_a_stripped_prefix_is_found(locked: Locked) -> None:
    finding = found(locked, Server())
    assert finding.served == Stripped()
    assert finding.counts is Counts.WITHOUT_PREFIX


@pytest.mark.parametrize("half", Half)
def test_half_a_prefix_is_found(locked: Locked, half: Half) -> None:
    one, two, three = locked.patches
    middle = replace(two, rows=two.rows[:3] if half is Half.FIRST else two.rows[3:])
    served = (one, middle) if half is Half.FIRST else (middle, three)
    assert found(locked, Server(served)).served == HalfStripped(half)


def test_a_swapped_order_is_found_though_its_counts_are_right(locked: Locked) -> None:
    one, two, three = locked.patches
    finding = found(locked, Server((two, one, three)))
    assert finding.served == WrongOrder((two.name, one.name, three.name))
    assert finding.counts is Counts.WITH_PREFIX


def test_a_patch_left_out_is_named(locked: Locked) -> None:
    one, two, three = locked.patches
    assert found(locked, Server((one, three))).served == LeftOut(two.name)


def test_an_export_of_last_month_is_named_by_the_release_that_it_has(locked: Locked) -> None:
    one, _, three = locked.patches
    finding = found(locked, Server((one, locked.earlier, three)))
    assert finding.served == OtherRelease(locked.earlier.name, locked.earlier.version)
    assert finding.counts is Counts.WITH_PREFIX


def test_a_foreign_prefix_is_a_wrong_patch(locked: Locked) -> None:
    one, two, _ = locked.patches
    finding = found(locked, Server((one, two, locked.foreign)))
    assert finding.served == WrongPatch()
    assert finding.counts is Counts.WITH_PREFIX


def test_what_is_nearest_to_the_locked_set_and_a_little_too_far_is_unclear_and_farther_is_wrong(locked: Locked) -> None:
    one, *others = locked.patches
    with Server((replace(one, rows=one.rows * 1.02), *others)).running() as url:
        near = Endpoint(url, seconds=20).find(locked.reference)
        assert near.distance is not None
        assert near.served == AsLocked()
        for share, expected in ((0.6, Unclear(Doubt.TOO_FAR)), (0.4, WrongPatch())):
            strict = replace(locked.reference, threshold=share * near.distance)
            assert Endpoint(url, seconds=20).find(strict).served == expected


def test_a_template_that_the_operator_overrides_is_found(locked: Locked) -> None:
    assert found(locked, Server(locked.patches, template=tiny.CHATML)).served == Stripped()


def test_token_counts_that_lie_acquit_nobody(locked: Locked) -> None:
    finding = found(locked, Server(counts=18))
    assert finding.served == Stripped()
    assert finding.counts is Counts.WITH_PREFIX


def test_token_counts_that_deny_the_prefix_leave_it_unclear(locked: Locked) -> None:
    assert found(locked, Server(locked.patches, counts=-18)).served == Unclear(Doubt.COUNTS_DENY)


def test_a_server_without_token_counts_is_judged_by_its_answers(locked: Locked) -> None:
    assert found(locked, Server(locked.patches, counts=None)).served == AsLocked()


def test_recorded_answers_of_another_set_are_found(locked: Locked) -> None:
    import json

    one, two, three = locked.patches
    other = Server((three, one, two))
    recorded = {}
    with other.running():
        for probe in locked.reference.probes:
            body = {"messages": list(probe.messages), "max_tokens": 1, "logprobs": True, "top_logprobs": 20}
            recorded[probe.messages[-1]["content"]] = json.dumps(other.answer(body)[1]).encode()
    assert found(locked, Server(locked.patches, recorded=recorded)).served == WrongOrder(
        (three.name, one.name, two.name)
    )


def test_an_oversized_answer_is_not_read_to_its_end(locked: Locked) -> None:
    with Server(locked.patches, padding=600_000).running() as url, pytest.raises(NetworkError) as caught:
        Endpoint(url, seconds=20).find(locked.reference)
    assert caught.value.code == "unreachable"
    assert "262,144 bytes" in caught.value.why


def test_a_slow_server_is_given_up(locked: Locked) -> None:
    with Server(locked.patches, delay=3).running() as url, pytest.raises(NetworkError):
        Endpoint(url, seconds=0.2).find(locked.reference)


def test_a_server_without_log_probabilities_is_judged_by_texts_and_counts(locked: Locked) -> None:
    finding = found(locked, Server(locked.patches, most_logprobs=0))
    assert finding.by_text
    assert finding.served == AsLocked()
    assert found(locked, Server(most_logprobs=0)).served == Stripped()


def test_texts_without_counts_prove_too_little(locked: Locked) -> None:
    assert found(locked, Server(locked.patches, most_logprobs=0, counts=None)).served == Unclear(Doubt.TEXT_ONLY)


def test_an_error_of_the_server_is_told(locked: Locked) -> None:
    finding = found(locked, Server(locked.patches, needs_key="secret"))
    assert finding.served == Unclear(Doubt.NO_ANSWER)
    assert "wrong key" in finding.detail


def test_an_api_key_is_sent(locked: Locked) -> None:
    with Server(locked.patches, needs_key="secret").running() as url:
        assert Endpoint(url + "/v1", key="secret", seconds=20).find(locked.reference).right


def test_an_api_key_does_not_go_over_a_network_in_the_clear() -> None:
    with pytest.raises(UsageError):
        Endpoint("http://example.org", key="secret")


def test_one_token_that_alone_can_come_is_no_proof(locked: Locked) -> None:
    assert not found(locked, Server(likely=1, counts=None)).right


def test_slowloris_a_server_that_drips_headers_is_given_up(locked: Locked) -> None:
    began = time.monotonic()
    with Server(locked.patches, drips=True).running() as url, pytest.raises(NetworkError, match="unreachable"):
        Endpoint(url, seconds=1).find(locked.reference)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(("url", "key"), [("http://[::1", None), ("https://host", "key\n"), ("https://host", "ключ")])
def test_an_address_or_a_key_that_no_request_can_carry_is_refused(url: str, key: str | None) -> None:
    with pytest.raises(UsageError, match="invalid-endpoint"):
        Endpoint(url, key=key)
