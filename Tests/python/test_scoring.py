"""Likelihoods and losses: against PyTorch (make_scoring.py), against logits block by block, and against decoders."""

from __future__ import annotations

import json

import numpy as np
import pytest

import llada
from conftest import CHECKPOINTS, CONFORMANCE, ROOT, load, model, runs, safetensors, write_checkpoint
from llada.likelihood import draw_noise

FIXTURES = ROOT / "Tests" / "Fixtures" / "scoring"
CLOSE = 1e-4


def fixture(name: str) -> dict:
    return json.loads((FIXTURES / f"{name}.json").read_text())


def noised(case: dict) -> llada.Noised:
    return llada.Noised(case["tokens"], case["noisy"], case["prompt_length"])


def in_blocks_of(length: int, cases: list) -> list:
    return [noised(case) for case in cases if case["block_length"] == length]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """gqa_group, and the same with another last norm."""
    folder = tmp_path_factory.mktemp("pair") / "old"
    tensors = {
        name: ("F32", array) for name, array in safetensors(CONFORMANCE / "gqa_group" / "model.safetensors").items()
    }
    norm = tensors["model.norm.weight"][1]
    tensors["model.norm.weight"] = ("F32", (norm * np.float32(fixture("pair")["old_norm"])).astype(np.float32))
    write_checkpoint(folder, json.loads((CONFORMANCE / "gqa_group" / "config.json").read_text()), tensors)
    run = runs("gqa_group")[0]
    with llada.Model.load(folder, mask_token_id=run["mask_id"], eos_token_id=run["eos_id"], threads=1) as old:
        yield model("gqa_group"), old


# -- Scores


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_scores_are_those_of_the_concatenated_mask(name):
    for case in fixture(name)["sequences"]:
        sequence = noised(case)
        everywhere = model(name).score(
            case["tokens"], case["noisy"], case["prompt_length"], case["block_length"], everywhere=True, entropies=True
        )
        changed = model(name).score(case["tokens"], case["noisy"], case["prompt_length"], case["block_length"])
        after_prompt = np.arange(len(sequence.tokens)) >= case["prompt_length"]
        assert np.array_equal(everywhere.scored, np.broadcast_to(after_prompt, everywhere.scored.shape))
        assert np.array_equal(changed.scored, sequence.noisy != sequence.tokens)
        assert np.abs(everywhere.log_probs - case["log_probs"])[everywhere.scored].max() < CLOSE
        assert np.abs(everywhere.entropies - case["entropies"])[everywhere.scored].max() < CLOSE
        assert np.array_equal(
            everywhere.predictions[everywhere.scored], np.array(case["predictions"])[everywhere.scored]
        )
        assert changed.entropies is None
        assert (
            np.isnan(changed.log_probs[~changed.scored]).all() and np.isnan(changed.confidences[~changed.scored]).all()
        )
        for a, b in ((changed.log_probs, everywhere.log_probs), (changed.confidences, everywhere.confidences)):
            assert np.array_equal(a[changed.scored], b[changed.scored])
        blocks = np.arange(len(sequence.tokens)) // case["block_length"]
        for version, row in enumerate(np.where(changed.scored, case["log_probs"], 0.0)):
            expected = np.bincount(blocks, row)
            assert np.abs(changed.block_log_probs[version] - expected).max() < CLOSE * case["block_length"]
            assert changed.log_likelihoods[version] == changed.block_log_probs[version].sum()


def test_many_sequences_at_once_are_each_its_own(gqa):
    """Of very different sizes; some share a beginning, and one has nothing to score."""
    cases = in_blocks_of(8, fixture("gqa_group")["sequences"])
    shared = llada.Noised(np.r_[cases[0].tokens[:24], 5, 6, 7], np.r_[cases[0].tokens[:24], 127, 127, 7], 24)
    nothing = llada.Noised(cases[0].tokens, cases[0].tokens)
    none = llada.Noised(cases[0].tokens, np.empty((0, len(cases[0].tokens)), np.int32))
    together = llada.score_many(gqa, [*cases, shared, nothing, none, shared], 8, entropies=True)
    for sequence, score in zip([*cases, shared, nothing, none, shared], together):
        alone = gqa.score(sequence.tokens, sequence.noisy, sequence.prompt_length, 8, entropies=True)
        for name in ("log_probs", "predictions", "confidences", "entropies"):
            assert getattr(score, name).shape == sequence.noisy.shape
            assert np.array_equal(getattr(score, name), getattr(alone, name), equal_nan=True), name
    assert not together[-3].scored.any() and together[-2].log_likelihoods.shape == (0,)
    assert llada.score_many(gqa, [], 8) == []


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_scores_are_what_a_decoder_sees(name):
    """Each state of a decoder's active block is a noisy version of the final canvas: same predictions, and confidences
    to the bit."""
    engine, block = model(name), 8
    policy, lengths = llada.Policy.low_confidence(threshold=0.9, steps=4), {"block_length": block, "gen_length": 24}
    with engine.decoder([1, 2, 3, 4, 5], policy, **lengths, eos_early_stop=False) as dec:
        states, seen = [], []
        while not dec.finished:
            dec.forward()
            active = slice(dec.active.start, dec.active.stop)
            states.append((active, dec.canvas[active], dec.predictions, dec.confidences))
            dec.propose()
            dec.apply()
        canvas = dec.canvas
    noisy = np.tile(canvas, (len(states), 1))
    for version, (active, tokens, _, _) in enumerate(states):
        noisy[version, active] = tokens
        seen.append(noisy[version] != canvas)
    score = engine.score(canvas, noisy, 5, block)
    assert np.array_equal(score.scored, seen) and np.any(seen)
    for version, (_, _, predictions, confidences) in enumerate(states):
        where = score.scored[version]
        assert np.array_equal(score.predictions[version, where], predictions[where])
        assert np.array_equal(score.confidences[version, where], confidences[where])


def test_refusals(gqa):
    tokens = [1, 2, 3, 4]
    for noisy, prompt_length in (([1, 127, 3, 4], 2), ([1, 2, 3, 128], 2), ([1, 2, 3, -1], 2)):
        with pytest.raises(llada.InvalidArgumentError, match="sequence 0"):
            gqa.score(tokens, noisy, prompt_length, 4)
    for noisy in ([1, 2, 3], [[[1, 2, 3, 4]]], [[1, 2]]):
        with pytest.raises(llada.InvalidArgumentError, match="shape"):
            llada.Noised(tokens, noisy)
    for prompt_length in (-1, 5):
        with pytest.raises(llada.InvalidArgumentError, match="prompt_length"):
            llada.Noised(tokens, tokens, prompt_length)
    with pytest.raises(llada.InvalidArgumentError, match="block_length"):
        gqa.score(tokens, tokens, 0, 0)
    with pytest.raises(TypeError):
        llada.score_many(gqa, [(tokens, tokens)])
    with load("gqa_group") as closed:
        pass
    with pytest.raises(llada.ClosedError):
        closed.score(tokens, tokens)


def test_progress_sees_the_end_and_may_stop(gqa):
    sequence = llada.Noised(np.arange(100), np.full((20, 100), 127))
    seen = []
    llada.score_many(gqa, [sequence], 8, progress=seen.append)
    assert len(seen) > 2 and seen[-1] == 1 and seen == sorted(seen)
    with pytest.raises(llada.Stopped):
        llada.score_many(gqa, [sequence], 8, progress=lambda fraction: llada.STOP)
    with pytest.raises(KeyError):
        llada.score_many(gqa, [sequence], 8, progress=lambda fraction: {}[0])


# -- Bounds


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_elbo_of_given_noise(name):
    for case in fixture(name)["bounds"]:
        for key, complementary in (("pairs", True), ("single", False)):
            bound = model(name).elbo(
                case["tokens"],
                case["prompt_length"],
                case["block_length"],
                samples=case["samples"],
                seed=case["seed"],
                complementary=complementary,
            )
            expected = np.array(case[key])
            assert np.abs(bound.estimates - expected).max() < CLOSE * np.abs(expected).max()
            assert bound.tokens == len(case["tokens"]) - case["prompt_length"]
            assert bound.mean == bound.estimates.mean() and bound.per_token == bound.mean / bound.tokens
            assert bound.standard_error == pytest.approx(expected.std(ddof=1) / 2, rel=1e-4)


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("complementary", [True, False])
def test_elbo_is_the_bound_that_all_noise_gives(name, complementary):
    """Against the integral over t, by every mask there is."""
    for case in fixture(name)["bounds"]:
        bound = model(name).elbo(
            case["tokens"],
            case["prompt_length"],
            case["block_length"],
            samples=600,
            seed=1,
            complementary=complementary,
        )
        assert bound.standard_error < 0.02 * abs(case["exact"])
        assert abs(bound.mean - case["exact"]) < 4 * bound.standard_error
        assert np.isnan(model(name).elbo(case["tokens"], 3, case["block_length"], samples=1).standard_error)


def test_noise_in_a_band():
    tokens = np.arange(2000) % 100
    draw = draw_noise(tokens, 200, 32, 127, 40, 3, True, (0.3, 0.8))
    masked = (draw.noised.noisy == 127)[:, 200:2000]
    first, second = masked[0::2], masked[1::2]
    assert np.array_equal(first, ~second)
    assert (draw.noised.noisy[:, :200] == tokens[:200]).all() and (draw.noised.noisy[:, 2000:] == 127).all()
    rates = first.mean(axis=1)
    assert 0.26 < rates.min() < 0.4 and 0.7 < rates.max() < 0.84
    for version in range(len(masked)):
        weights = draw.weights[version, 200:2000]
        assert (weights[~masked[version]] == 0).all() and (draw.weights[version, 2000:] == 0).all()
        assert np.unique(weights[masked[version]]).size == 1
        assert weights.sum() == pytest.approx(1800, rel=0.15)  # each token 1/t with probability t
    again = draw_noise(tokens, 200, 32, 127, 40, 3, True, (0.3, 0.8))
    other = draw_noise(tokens, 200, 32, 127, 40, 4, True, (0.3, 0.8))
    assert np.array_equal(again.noised.noisy, draw.noised.noisy) and not np.array_equal(
        other.noised.noisy, draw.noised.noisy
    )
    for band in ((0.0, 0.5), (0.6, 0.5), (0.5, 1.1), (0.5, 1.0)):
        with pytest.raises(llada.InvalidArgumentError, match="band"):
            draw_noise(tokens, 200, 32, 127, 1, 0, True, band)


def test_elbo_in_a_band_weighs_by_the_rate(gqa):
    """All t the same: the mean of 1/t times the sum over the masked."""
    tokens = fixture("gqa_group")["bounds"][0]["tokens"]
    bound = gqa.elbo(tokens, 6, 8, samples=5, seed=2, complementary=False, band=(0.5, 0.5))
    draw = draw_noise(tokens, 6, 8, 127, 5, 2, False, (0.5, 0.5))
    score = gqa.score(draw.noised.tokens, draw.noised.noisy, 6, 8)
    assert bound.estimates == pytest.approx(2 * score.log_likelihoods)


def test_nothing_to_bound(gqa):
    bound = gqa.elbo([1, 2, 3], 3, 8)
    assert bound.mean == 0 and bound.tokens == 0 and bound.per_token == 0


# -- Choices


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_choosing_by_pseudo_likelihood(name):
    engine = model(name)
    for case in fixture(name)["bounds"]:
        prompt, answer = case["tokens"][: case["prompt_length"]], case["tokens"][case["prompt_length"] :]
        others = [answer[::-1], answer[:3]]
        choices = engine.choose(prompt, [answer, *others], "pseudo", end=False, block_length=case["block_length"])
        assert [choice.score for choice in choices] == sorted((choice.score for choice in choices), reverse=True)
        own = next(choice for choice in choices if choice.index == 0)
        assert abs(own.score - case["pseudo"]) < CLOSE * len(answer)
        assert own.tokens == len(answer) and own.standard_error == 0
        each = engine.choose(
            prompt, [answer, *others], "pseudo", end=False, per_token=True, block_length=case["block_length"]
        )
        assert [c.per_token for c in each] == sorted((c.score / c.tokens for c in choices), reverse=True)


def test_choosing_by_the_bound(gqa):
    prompt, answers = [1, 2, 3, 4, 5], [[9, 8, 7, 6], [50, 60], [9, 8, 7, 6, 5, 4, 3, 2, 1]]
    choices = gqa.choose(prompt, answers, samples=7, seed=3, block_length=4)
    assert sorted(choice.index for choice in choices) == [0, 1, 2]
    for choice in choices:
        bound = gqa.elbo([*prompt, *answers[choice.index], gqa.eos_token_id], 5, 4, samples=7, seed=3)
        assert (choice.score, choice.standard_error, choice.tokens) == (bound.mean, bound.standard_error, bound.tokens)
    with pytest.raises(llada.InvalidArgumentError, match="by is"):
        gqa.choose(prompt, answers, "luck")
    assert gqa.choose(prompt, []) == []


# -- Losses, ratios, margins


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_losses(name):
    expected = fixture(name)["losses"]
    parts = []
    for length in (1, 4, 8, 32):
        batch = in_blocks_of(length, fixture(name)["sequences"])
        cap = llada.cap_loss(model(name), batch, expected["lambda"], length)
        parts.append((cap, llada.m2t_t2t_losses(model(name), batch, length)))
        assert cap.loss == cap.cross_entropy + expected["lambda"] * cap.entropy
    caps, streams = zip(*parts)
    masked, wrong, kept, right = expected["counts"]
    assert [sum(c) for c in zip(*((s.m2t_tokens, s.t2t_tokens, s.keep_tokens) for s in streams))] == [
        masked,
        wrong,
        kept,
    ]
    assert (sum(c.masked for c in caps), sum(c.right for c in caps)) == (masked, right)
    cross_entropy = sum(c.cross_entropy * c.masked for c in caps) / masked
    entropy = sum(c.entropy * c.right for c in caps) / max(right, 1)
    assert abs(entropy - expected["entropy"]) < CLOSE
    assert abs(cross_entropy + expected["lambda"] * entropy - expected["cap"]) < CLOSE
    assert abs(sum(s.m2t * s.m2t_tokens for s in streams) / masked - expected["m2t"]) < CLOSE
    assert abs(sum(s.t2t * s.t2t_tokens for s in streams) / wrong - expected["t2t"]) < CLOSE
    assert abs(sum(s.keep * s.keep_tokens for s in streams) / kept - expected["keep"]) < CLOSE


def test_losses_of_nothing(gqa):
    assert llada.cap_loss(gqa, []) == (0, 0, 0, 0, 0)
    assert llada.m2t_t2t_losses(gqa, []) == (0, 0, 0, 0, 0, 0)


def test_ebpo(pair):
    new, old = pair
    case = fixture("pair")["ebpo"]
    batch = [noised(each) for each in case["sequences"]]
    options = {"weights": case["weights"], "eps_low": case["eps"][0], "eps_high": case["eps"][1]}
    found = llada.ebpo(new, batch, old, case["advantages"], block_length=8, **options)
    assert np.abs(found.log_ratios - case["log_ratios"]).max() < CLOSE
    assert np.abs(found.surrogates - case["surrogates"]).max() < CLOSE
    assert np.abs(np.array(found.old) - case["old"]).max() < 1e-6 * np.abs(case["old"]).max() + CLOSE
    rho, gains = np.exp(found.log_ratios), np.array(case["advantages"])
    out = (rho > 1 + options["eps_high"]) & (gains > 0) | (rho < 1 - options["eps_low"]) & (gains < 0)
    assert np.array_equal(found.clipped, out) and out.any() and not out.all()
    assert found.objective == found.surrogates.mean()
    # Stored values in place of the model, weights of each.
    stored = llada.ebpo(
        new,
        batch,
        llada.log_likelihoods(old, batch, 8),
        gains,
        block_length=8,
        **{**options, "weights": [case["weights"]] * len(batch)},
    )
    assert np.array_equal(stored.log_ratios, found.log_ratios)
    same = llada.ebpo(new, batch, new, gains, block_length=8)
    assert (same.log_ratios == 0).all() and np.array_equal(same.surrogates, gains)
    for wrong in (
        {"advantages": gains[1:]},
        {"old": found.old[1:]},
        {"old": [o[1:] for o in found.old]},
        {"weights": [1.0, 2.0]},
        {"weights": [[1.0] * 4] * 3},
    ):
        with pytest.raises(llada.InvalidArgumentError):
            llada.ebpo(new, batch, **{"old": found.old, "advantages": gains, "block_length": 8, **wrong})


def test_dpo(pair):
    policy, reference = pair
    case = fixture("pair")["dpo"]
    pairs = [tuple(map(np.array, each)) for each in case["pairs"]]
    found = llada.dpo_margins(policy, reference, pairs, case["beta"], case["seed"], block_length=case["block_length"])
    assert np.abs(found.bounds - case["bounds"]).max() < CLOSE * np.abs(case["bounds"]).max()
    assert np.abs(found.margins - case["margins"]).max() < CLOSE
    assert np.abs(found.losses - case["losses"]).max() < CLOSE
    assert found.loss == found.losses.mean()
    assert (llada.dpo_margins(policy, policy, pairs).margins == 0).all()
    with pytest.raises(llada.InvalidArgumentError, match="pair 0"):
        llada.dpo_margins(policy, reference, [([1], [2])])
