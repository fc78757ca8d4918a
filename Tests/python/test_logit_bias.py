"""`logit_bias`: what is added to logits before they are judged, by numpy; and that all ways to go on carry it."""

from __future__ import annotations

import math

import numpy as np
import pytest

import llada

PROMPT = [5, 6, 7]


@pytest.fixture
def model(gqa):
    return gqa


def options(**more):
    return {"block_length": 8, "gen_length": 16, **more}


def judged(rows, biases):
    """Most likely tokens and their probabilities, in double precision."""
    logits = rows.astype(np.float64)
    for token, bias in biases.items():
        logits[:, token] += bias
    best = logits.argmax(axis=1)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return best, odds.max(axis=1) / odds.sum(axis=1)


def test_predictions_are_those_of_the_sums(model):
    biases = {3: 2.5, 40: 12.0, 9: -4.0}
    with model.decoder(PROMPT, logit_bias=biases, **options()) as decoder:
        decoder.forward()
        best, sure = judged(decoder.row_logits(), biases)
        assert decoder.rows.predictions.tolist() == best.tolist() and 40 in best
        np.testing.assert_allclose(decoder.rows.confidences, sure, rtol=1e-5)
        place = decoder.active[4]
        decoder.set_logit_bias(40, 3.5, place)  # comes on top
        best, sure = judged(decoder.row_logits()[4:5], {**biases, 40: 15.5})
        assert decoder.predictions[place] == best[0] == 40
        np.testing.assert_allclose(decoder.confidences[place], sure[0], rtol=1e-5)
        candidates = decoder.candidates(place, 2)
        assert candidates[0].token == 40
        assert candidates[0].logit == decoder.logits(place)[40] + np.float32(15.5)


def test_minus_infinity_is_a_ban_and_another_bias_lifts_it(model):
    with model.decoder(PROMPT, **options()) as decoder:
        decoder.forward()
        before = decoder.predictions
        place = int(decoder.active[-1])
        token = int(before[place])
        decoder.set_logit_bias(token, -math.inf)
        assert token not in decoder.predictions
        decoder.set_logit_bias(token, 0.0)
        assert np.array_equal(decoder.predictions, before)
        decoder.set_logit_bias(token, -math.inf, place)
        assert decoder.predictions[place] != token
        decoder.unban(token, place)
        assert np.array_equal(decoder.predictions, before)


@pytest.mark.parametrize("bias", [math.nan, math.inf, 2e30, -2e30])
def test_refuses_what_is_no_bias(model, bias):
    with pytest.raises(llada.InvalidArgumentError, match="logit_bias of token 3"):
        model.decoder(PROMPT, logit_bias={3: bias}, **options())


def test_refuses_other_forms(model):
    with pytest.raises(TypeError, match="dict"):
        model.generate(PROMPT, logit_bias=[3], **options())
    with pytest.raises(llada.InvalidArgumentError, match="token is 128"):
        model.generate(PROMPT, logit_bias={128: 1.0}, **options())


@pytest.mark.parametrize(
    "policy", [llada.Policy.low_confidence(), llada.Policy.speedy(mbe_window=2), llada.Policy.speedy(temperature=1.0)]
)
def test_forks_snapshots_batches_and_replay_carry_it(model, policy, tmp_path):
    biases = {3: 4.0, 40: 5.0}
    plain = model.generate(PROMPT, policy, **options())
    whole = model.generate(PROMPT, policy, logit_bias=biases, record=tmp_path / "trace", **options())
    assert whole.tokens.tolist() != plain.tokens.tolist()
    together = model.generate_many([PROMPT] * 3, policy, logit_bias=biases, progress=False, **options())
    assert all(answer.tokens.tolist() == whole.tokens.tolist() for answer in together)
    with model.decoder(PROMPT, policy, logit_bias=biases, **options()) as decoder:
        decoder.set_logit_bias(41, 3.0, 12)
        decoder.step()
        decoder.forward()
        ways = [decoder.fork(), model.restore(decoder.to_bytes()), decoder]
        ends = [way.run().canvas.tolist() for way in ways]
        assert ends[0] == ends[1] == ends[2]
    assert llada.Trace.load(tmp_path / "trace").replay(model) is None


def test_a_trace_has_what_was_set_meanwhile(model, tmp_path):
    with model.decoder(PROMPT, llada.Policy.speedy(), **options()) as decoder:
        trace = decoder.record()
        decoder.step()
        decoder.set_logit_bias(40, 6.0)
        decoder.forward()
        decoder.set_logit_bias(3, -math.inf, 9)
        decoder.run()
    trace.save(tmp_path / "trace")
    assert llada.Trace.load(tmp_path / "trace").replay(model) is None
