from __future__ import annotations

import torch

from patchpm.train.prefix_model import PrefixModel
from patchpm.train.replies import BATCH, end_tokens, greedy_replies, sampled_replies
from tests.train.tiny_run import END, HARMFUL, prefix_model, random_prefix, silent

PROMPTS = ["What is the capital of France?", "Hi", "One two three four five six"]


def next_logits(model: PrefixModel, prefix: torch.Tensor | None, prompt: str, said: list[int]) -> torch.Tensor:
    """What the model would say next, `(vocabulary,)`, computed anew for one row."""
    with torch.no_grad():
        return model.read(model.opening(prefix), [model.frame.tail(prompt)], [[*said, 0]]).logits[0, -1]


def sample(
    model: PrefixModel, *, samples: int = 4, seed: int = 1, temperature: float = 1.0, top_p: float = 0.9
) -> list[list[tuple[int, ...]]]:
    drawn = sampled_replies(
        model,
        None,
        PROMPTS,
        tokens=5,
        samples=samples,
        seed=seed,
        progress=silent,
        temperature=temperature,
        top_p=top_p,
    )
    return [[reply.ids for reply in replies] for replies in drawn]


def test_greedy_replies_are_the_likeliest_tokens_one_by_one() -> None:
    model, prefix = prefix_model(), random_prefix() * 3
    replies = greedy_replies(model, prefix, PROMPTS, tokens=8, progress=silent, top=3)
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        expected: list[int] = []
        while len(expected) < 8 and END not in expected:
            logits = next_logits(model, prefix, prompt, expected)
            top = logits.log_softmax(-1).topk(3)
            torch.testing.assert_close(reply.top_logs[len(expected)], top.values, atol=1e-4, rtol=0)
            expected.append(int(logits.argmax()))
        assert list(reply.ids) == expected
        assert reply.top_ids.shape == reply.top_logs.shape == (len(expected), 3)
        assert reply.top_ids[:, 0].tolist() == expected


def test_a_prefix_changes_the_reply() -> None:
    model = prefix_model()
    one, other = (
        greedy_replies(model, prefix, HARMFUL, tokens=6, progress=silent) for prefix in (None, random_prefix() * 3)
    )
    assert [reply.ids for reply in one] != [reply.ids for reply in other]


def test_replies_end_with_the_end_of_the_turn_or_where_they_are_as_long_as_allowed() -> None:
    model = prefix_model()
    model.model.generation_config.eos_token_id = [END, *range(100, 200)]  # type: ignore[union-attr]
    ends = end_tokens(model)
    assert len(ends) == 101
    drawn = sampled_replies(model, None, PROMPTS, tokens=9, samples=20, seed=3, progress=silent)
    ended = 0
    for reply in (reply for replies in drawn for reply in replies):
        assert not ends & {*reply.ids[:-1]}
        ended += reply.ids[-1] in ends
        assert reply.ids[-1] in ends or len(reply.ids) == 9
    assert ended > 10


def test_replies_come_in_the_order_of_the_prompts_however_they_are_batched() -> None:
    model = prefix_model()
    prompts = [f"{'long ' * (number % 7)}prompt {number}" for number in range(BATCH + 9)]
    seen: list[tuple[int, int]] = []
    replies = greedy_replies(model, None, prompts, tokens=4, progress=lambda *at: seen.append(at))
    assert seen == [(BATCH, BATCH + 9), (BATCH + 9, BATCH + 9)]
    for number in (0, 13, BATCH + 8):
        alone = greedy_replies(model, None, [prompts[number]], tokens=4, progress=silent)[0]
        assert replies[number].ids == alone.ids


def test_the_same_seed_draws_the_same_samples_and_another_does_not() -> None:
    model = prefix_model()
    first = sample(model)
    assert [len(replies) for replies in first] == [4, 4, 4]
    assert sample(model) == first
    assert sample(model, seed=2) != first
    assert any(len({*replies}) > 1 for replies in first)


def test_a_seed_may_be_as_large_or_as_negative_as_a_recipe_can_say() -> None:
    model = prefix_model()
    assert sample(model, samples=2, seed=(1 << 63) - 1) != sample(model, samples=2, seed=-(1 << 63))


def test_every_token_of_a_sample_is_within_the_nucleus() -> None:
    model = prefix_model()
    outside = 0
    for prompt, replies in zip(PROMPTS, sample(model, samples=12, temperature=0.7, top_p=0.5), strict=True):
        for reply in replies:
            for place, token in enumerate(reply):
                weights = (next_logits(model, None, prompt, list(reply[:place])) / 0.7).softmax(-1)
                likelier = weights[weights > weights[token] + 1e-6].sum()
                assert likelier <= 0.5 + 1e-4
                outside += int(weights[token] < weights.max() - 1e-4)
    assert outside > 0


def test_a_nucleus_of_nothing_leaves_the_likeliest_token() -> None:
    model = prefix_model()
    greedy = greedy_replies(model, None, PROMPTS, tokens=5, progress=silent)
    assert sample(model, samples=2, top_p=0.0) == [[reply.ids] * 2 for reply in greedy]


def test_a_model_without_an_end_token_speaks_to_the_last_token() -> None:
    model = prefix_model()
    model.model.generation_config.eos_token_id = None  # type: ignore[union-attr]
    assert end_tokens(model) == frozenset()
    assert {len(reply.ids) for reply in greedy_replies(model, None, PROMPTS, tokens=5, progress=silent)} == {5}
