"""Many samples for one prompt, and what a trainer is told of them."""

from __future__ import annotations

import numpy as np
import pytest

import llada
from conftest import model

PROMPT = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
FILLING = llada.Policy.low_confidence(threshold=0.9, steps=4, temperature=1.0)
EDITING = llada.Policy.joint_threshold(threshold=0.1, editing_threshold=0.2, temperature=1.0)


@pytest.mark.parametrize("policy", [FILLING, EDITING])
def test_each_is_what_generate_gives(gqa, policy):
    seeds = [5, 0, 7]
    found = gqa.rollouts(PROMPT, policy=policy, seeds=seeds, block_length=8, gen_length=24)
    assert len(found) == 3 and len({tuple(row) for row in found.tokens.tolist()}) == 3
    for index, seed in enumerate(seeds):
        alone = gqa.generate(PROMPT, policy.replace(seed=seed), block_length=8, gen_length=24)
        assert np.array_equal(found.generations[index].tokens, alone.tokens)
        end = len(PROMPT) + len(alone.tokens)
        assert found.lengths[index] == end
        assert np.array_equal(found.tokens[index, len(PROMPT) : end], alone.tokens)
        assert found.generations[index].forwards == alone.forwards
    assert (found.tokens[:, : len(PROMPT)] == PROMPT).all() and found.tokens.shape[1] % 8 == 0
    # The prompt's whole blocks were computed by the first alone.
    assert [g.reused_positions for g in found.generations] == [0, 8, 8]


@pytest.mark.parametrize("policy", [FILLING, EDITING])
def test_step_maps_and_probabilities_are_those_of_the_last_writing(gqa, policy):
    found = gqa.rollouts(PROMPT, 3, policy, block_length=8, gen_length=24)
    for index in range(3):
        steps, log_probs = np.zeros_like(found.step_maps[index]), np.full(found.tokens.shape[1], np.nan, np.float32)
        with gqa.decoder(PROMPT, policy.replace(seed=index), block_length=8, gen_length=24) as dec:
            for step in dec:
                for event in step.events:
                    steps[event.position] = dec.forwards
                    log_probs[event.position] = np.log(np.float32(event.confidence))
            assert np.array_equal(dec.step_map[: len(steps)], steps)
        assert np.array_equal(found.step_maps[index], steps)
        assert np.array_equal(found.log_probs[index], log_probs, equal_nan=True)
    written = found.step_maps > 0
    assert np.array_equal(written, ~np.isnan(found.log_probs)) and (found.log_probs[written] <= 0).all()
    assert not written[:, : len(PROMPT)].any()


def test_probabilities_are_the_model_s_where_nothing_is_edited(gqa):
    """At temperature 1 a token is drawn from the model's distribution: at the step that wrote it, the model gives it
    the probability that the rollout has."""
    found = gqa.rollouts(PROMPT, 3, FILLING, block_length=8, gen_length=24)
    last = int(found.block_steps.max())
    assert last > 1
    for step in range(1, last + 1):
        noisy = found.noisy_at(step)
        for index in range(3):
            score = gqa.score(found.tokens[index], noisy[index], found.prompt_length, 8)
            now = (found.block_steps[index] == step) & score.scored[0]
            assert np.array_equal(now, found.block_steps[index] == step)
            assert np.abs(score.log_probs[0, now] - found.log_probs[index, now]).max(initial=0) < 1e-4


def test_states_at_a_step_are_those_the_decoder_had(gqa):
    found = gqa.rollouts(PROMPT, 1, FILLING, block_length=8, gen_length=24)
    with gqa.decoder(PROMPT, FILLING.replace(seed=0), block_length=8, gen_length=24) as dec:
        block, count = None, 0
        while not dec.finished:
            active = slice(dec.active.start, dec.active.stop)
            block, count = (active, 1) if active != block else (block, count + 1)
            assert np.array_equal(found.noisy_at(count)[0, active], dec.canvas[active])
            dec.step()


def test_rewards_and_advantages(gqa):
    found = gqa.rollouts(PROMPT, 4, FILLING, block_length=8, gen_length=24, reward=lambda answer: answer.tokens[0] % 7)
    expected = [answer.tokens[0] % 7 for answer in found.generations]
    assert found.rewards.tolist() == expected and len(set(expected)) > 1
    assert found.advantages == pytest.approx((np.array(expected) - np.mean(expected)) / np.std(expected))
    flat = gqa.rollouts(PROMPT, 2, FILLING, block_length=8, gen_length=8)
    assert flat.rewards.tolist() == [0, 0] and flat.advantages.tolist() == [0, 0]
    with pytest.raises(ZeroDivisionError):
        gqa.rollouts(PROMPT, 2, FILLING, block_length=8, gen_length=8, reward=lambda answer: 1 / 0)


def test_what_ebpo_takes(gqa):
    found = gqa.rollouts(PROMPT, 3, FILLING, block_length=8, gen_length=24, reward=lambda answer: len(answer.tokens))
    batch = found.noised([1, 2])
    for index, sequence in enumerate(batch):
        end = found.lengths[index]
        assert sequence.noisy.shape == (2, found.tokens.shape[1])
        assert np.array_equal(sequence.tokens[:end], found.tokens[index, :end])
        masked = sequence.noisy != sequence.tokens
        assert (
            masked[0, len(PROMPT) : end].all() and not masked[:, end:].any()
        )  # at the first step all are still to come
        assert 0 < masked[1].sum() < masked[0].sum()
    other = model("gqa_group", dtype="int8")
    ratios = llada.ebpo(gqa, batch, other, found.advantages, block_length=8)
    assert ratios.log_ratios.shape == (3,) and (ratios.log_ratios != 0).all()
    each = found.noised([[1, 2], [2, 3], [3, 1]])
    assert np.array_equal(each[2].noisy[1], batch[2].noisy[0]) and np.array_equal(each[1].noisy[0], batch[1].noisy[1])
    for steps in (1, [[1, 2]], [0]):
        with pytest.raises(llada.InvalidArgumentError):
            found.noised(steps)


def test_refusals(gqa):
    for arguments in ({"n": 0}, {"seeds": []}, {"seeds": [-1]}):
        with pytest.raises(llada.InvalidArgumentError):
            gqa.rollouts(PROMPT, **arguments)
    with pytest.raises(TypeError):
        gqa.rollouts(PROMPT, policy="quality")
