"""Draws against numpy: the distribution by sorting in double precision, the random number by Philox in Python."""

from __future__ import annotations

import numpy as np
import pytest

import llada
from conftest import model

WAYS = [
    {"temperature": 1.0},
    {"temperature": 0.6},
    {"temperature": 1.0, "top_k": 5},
    {"temperature": 1.5, "top_p": 0.8},
    {"temperature": 0.9, "top_k": 20, "top_p": 0.9},
    {"temperature": 2.0, "top_k": 1},
]


def uniform(seed: int, forward: int, position: int) -> float:
    """Philox 4x32-10 of (forward, position), by the specification: 53 bits of a number in [0, 1)."""
    word = (1 << 32) - 1
    counter = [forward & word, forward >> 32, position & word, position >> 32]
    key = [seed & word, seed >> 32]
    for _ in range(10):
        one, two = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(two >> 32) ^ counter[1] ^ key[0], two & word, (one >> 32) ^ counter[3] ^ key[1], one & word]
        key = [(key[0] + 0x9E3779B9) & word, (key[1] + 0xBB67AE85) & word]
    return ((counter[0] << 32 | counter[1]) >> 11) / 2**53


def distribution(logits: np.ndarray, temperature: float, top_k: int = 0, top_p: float = 1.0):
    """The tokens that are kept, in the order in which they are drawn, and their probabilities."""
    z = (logits.astype(np.float32) / np.float32(temperature)).astype(np.float64)
    kept = np.arange(z.size)
    if 0 < top_k < z.size:
        kept = kept[z >= np.sort(z)[-top_k]]
    weights = np.exp(z - z.max())
    if top_p < 1:
        kept = kept[np.lexsort((kept, -z[kept]))]
        p = weights[kept] / weights[kept].sum()
        kept = kept[np.cumsum(p) - p <= np.float32(top_p)]
    return kept, weights[kept] / weights[kept].sum()


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_draws_are_those_of_numpy(way, threads):
    policy = llada.Policy.low_confidence(threshold=0.9, seed=2**40 + 7).replace(**way)
    drawn = 0
    with model("gqa_group", threads=threads).decoder([3, 1, 4, 1, 5], policy, gen_length=60, block_length=8) as dec:
        dec.ban(11)
        dec.set_logit_bias(7, 1.5)
        while not dec.finished:
            dec.forward()
            logits = dec.row_logits()
            logits[:, 11], logits[:, 7] = -np.inf, logits[:, 7] + np.float32(1.5)
            for position, row, token, confidence in zip(
                dec.rows.positions, logits, dec.rows.predictions, dec.rows.confidences
            ):
                kept, p = distribution(row, **way)
                ends = np.cumsum(p)
                number = uniform(policy.seed, dec.forwards, int(position))
                expected = min(int(np.searchsorted(ends, number, side="right")), kept.size - 1)
                if np.abs(ends - number).min() > 1e-6:  # else rounding decides
                    assert token == kept[expected]
                    assert confidence == pytest.approx(p[expected], rel=1e-5)
                    drawn += 1
            dec.step()
    assert drawn > 60


def test_candidates_that_a_rule_reads():
    """A rule that says what it reads, one that does not, and no rule at all: the same candidates, to the bit."""
    seen = {}

    class Reader:
        def __init__(self, says: int) -> None:
            self.says = says
            if says:
                self.reads_candidates = says

        def __call__(self, dec) -> None:
            found = dec.row_candidates(4)
            seen.setdefault(self.says, []).append([part.tobytes() for part in found])
            best = dec.candidates(dec.active[-1], 1)[0]
            assert best.token == found.tokens[-1, 0] and best.probability == found.probabilities[-1, 0]
            assert np.array_equal(found.tokens[:, 0], dec.rows.predictions)
            assert np.array_equal(found.probabilities[:, 0], dec.rows.confidences)
            logits = dec.row_logits()
            order = np.lexsort((np.broadcast_to(np.arange(logits.shape[1]), logits.shape), -logits), axis=1)
            assert np.array_equal(found.tokens, order[:, :4])
            p = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            assert np.allclose(found.probabilities, np.take_along_axis(p, order[:, :4], 1), rtol=1e-5)

    for says in (0, 2, 4, 9):
        dec = model("gqa_group").decoder([3, 1, 4], rule=Reader(says), gen_length=20, block_length=8)
        fork = dec.fork()
        dec.run()
        assert fork._keeping == says
    assert len(seen) == 4 and all(rows == seen[0] for rows in seen.values())


def test_keeping_candidates_is_asked_for_in_words():
    def rule(dec):
        return None

    dec = model("gqa_group").decoder([3, 1, 4], gen_length=20, block_length=8)
    for wrong in (-1, 1025):
        with pytest.raises(llada.InvalidArgumentError, match="k is"):
            dec.keep_candidates(wrong)
    rule.reads_candidates = 2000
    with pytest.raises(llada.InvalidArgumentError, match="reads_candidates of the rule is 2000"):
        dec.rule = rule
    assert dec.rule is None
    rule.reads_candidates = "three"
    with pytest.raises(TypeError, match="reads_candidates"):
        model("gqa_group").decoder([3, 1, 4], rule=rule)
    rule.reads_candidates = 3
    dec.keep_candidates(2)
    dec.rule = rule
    assert dec._keeping == 3
    dec.rule = None
    assert dec._keeping == 2
