"""Two runs over the same questions: what differs, with errors that leave out what the questions have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from results import Outcome

RESAMPLES = 2000

Pair = tuple[Outcome, Outcome]  # after, before


def pairs(after: Iterable[Outcome], before: Iterable[Outcome]) -> list[Pair]:
    """The two outcomes of each question that both runs were asked."""
    earlier = {outcome.question: outcome for outcome in before}
    return [(outcome, earlier[outcome.question]) for outcome in after if outcome.question in earlier]


def points(both: Sequence[Pair], score: str) -> tuple[float, float]:
    """How much higher `score` ("final", "strict") is after than before, in points, with the paired standard error."""
    gains = np.array([getattr(after, score) - getattr(before, score) for after, before in both])
    return 100 * gains.mean(), 100 * gains.std(ddof=1) / np.sqrt(len(gains))


def tpf_ratio(both: Sequence[Pair]) -> tuple[float, float]:
    """Tokens per forward after, over those before, with the standard error of a bootstrap over questions."""
    counts = np.array([(a.tokens, a.forwards, b.tokens, b.forwards) for a, b in both], dtype=float)

    def ratio(tokens_after: float, forwards_after: float, tokens_before: float, forwards_before: float) -> float:
        return (tokens_after / forwards_after) / (tokens_before / forwards_before)

    # How often each question is drawn, in each resample.
    drawn = np.random.default_rng(0).multinomial(len(both), np.full(len(both), 1 / len(both)), RESAMPLES)
    return ratio(*counts.sum(axis=0)), ratio(*(drawn @ counts).T).std(ddof=1)
