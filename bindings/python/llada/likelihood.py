"""How likely answers are: bounds by Monte Carlo over noise, and answers ranked by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._convert import Tokens, integer
from ._convert import tokens as as_tokens
from .errors import InvalidArgumentError
from .info import AnyModel
from .progress import Progress
from .scoring import Noised, score_many


@dataclass(frozen=True)
class Elbo:
    """An estimate of the bound on log p(answer | prompt), in nats.

    Attributes:
        estimates: Of each sample (of each complementary pair), all unbiased: np.float64 [samples].
        tokens: So many are bounded together.
    """

    estimates: NDArray[np.float64]
    tokens: int

    @property
    def mean(self) -> float:
        """The estimate of the bound, for the whole answer."""
        return float(self.estimates.mean())

    @property
    def standard_error(self) -> float:
        """Of `mean`; NaN with one sample."""
        count = len(self.estimates)
        return float(self.estimates.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")

    @property
    def per_token(self) -> float:
        """`mean` over the number of tokens."""
        return self.mean / self.tokens if self.tokens else 0.0

    def __repr__(self) -> str:
        bound = f"{self.mean:.3f} ± {self.standard_error:.3f} nats"
        return f"<llada.Elbo {bound} for {self.tokens} tokens, {self.per_token:.4f} each>"


class Draw(NamedTuple):
    """Noise drawn for one sequence: `weights` is float64 [versions, n], 0 where nothing is masked. The estimate of
    sample s is the mean, over its `group` versions, of the weighted sum of log-probabilities."""

    noised: Noised
    weights: NDArray[np.float64]
    group: int
    tokens: int

    def elbo(self, log_probs: NDArray[np.float32]) -> Elbo:
        """From what a model makes of the noise."""
        sums = (np.where(self.weights > 0, log_probs, 0.0) * self.weights).sum(axis=1)
        return Elbo(sums.reshape(-1, self.group).mean(axis=1), self.tokens)


def draw_noise(
    tokens: Any,
    prompt_length: int,
    block_length: int,
    mask: int,
    samples: int,
    seed: int,
    complementary: bool,
    band: tuple[float, float] | None,
) -> Draw:
    """The versions that `Model.elbo` scores, and their weights. The last block is completed with masks."""
    own = as_tokens(tokens)
    prompt_length = integer(prompt_length, "prompt_length", 0, len(own))
    block_length = integer(block_length, "block_length", low=1)
    samples = integer(samples, "samples", low=1)
    rng = np.random.Generator(np.random.PCG64(integer(seed, "seed", 0, 2**64 - 1)))
    length = -(-len(own) // block_length) * block_length
    canvas = np.full(length, mask, np.int32)
    canvas[: len(own)] = own
    positions = np.arange(prompt_length, len(own))
    group = 2 if complementary else 1
    masked = np.zeros((samples, group, length), bool)
    weights = np.zeros((samples, group, length))
    if band is None:
        for block in (
            np.split(positions, np.flatnonzero(np.diff(positions // block_length)) + 1) if len(positions) else ()
        ):
            # Of a block's m tokens k are masked, k as likely as any other: what a rate uniform in (0, 1] comes to, with
            # the rate itself summed over. The complement of k is m - k, so that with it 0 counts as well.
            count = len(block)
            masks = rng.integers(0 if complementary else 1, count + 1, samples)
            first = rng.random((samples, count)).argsort(axis=1).argsort(axis=1) < masks[:, None]
            for index, chosen in enumerate((first, ~first)[:group]):
                chosen_count = chosen.sum(axis=1, keepdims=True)
                masked[:, index, block] = chosen
                weights[:, index, block] = chosen * ((count + group - 1) / np.maximum(chosen_count, 1))
    else:
        low, high = band
        if not 0 < low <= high <= 1 or (complementary and high == 1):
            raise InvalidArgumentError(
                f"band is ({low}, {high}); expected 0 < low <= high <= 1, and below 1 with complementary masks"
            )
        rates = rng.uniform(low, high, samples)[:, None]
        first = rng.random((samples, len(positions))) < rates
        for index, (chosen, rate) in enumerate(((first, rates), (~first, 1 - rates))[:group]):
            masked[:, index, positions] = chosen
            weights[:, index, positions] = chosen / rate
    noisy = np.where(masked, np.int32(mask), canvas).reshape(samples * group, length)
    return Draw(Noised(canvas, noisy, prompt_length), weights.reshape(samples * group, length), group, len(positions))


def elbos(model: AnyModel, draws: list[Draw], block_length: int, progress: Progress = False) -> list[Elbo]:
    """The bounds of several sequences, in one pass."""
    scores = score_many(model, [draw.noised for draw in draws], block_length, progress=progress)
    return [draw.elbo(score.log_probs) for draw, score in zip(draws, scores)]


class Choice(NamedTuple):
    """One of several answers.

    Attributes:
        index: Its place among the answers that were given.
        score: Log-likelihood, or the bound on it, in nats, of `tokens` tokens.
        standard_error: Of a bound; 0 for the pseudo-likelihood, which nothing is drawn for.
        tokens: Of the answer, with the end of the sequence.
    """

    index: int  # type: ignore[assignment]  # a tuple has a method of this name, which nobody wants of this one
    score: float
    standard_error: float
    tokens: int

    @property
    def per_token(self) -> float:
        """`score` over the number of tokens."""
        return self.score / self.tokens if self.tokens else 0.0


def pseudo_noise(own: Tokens, prompt_length: int, block_length: int, mask: int) -> Noised:
    """Version j masks the j-th token of each block, so as many versions as a block has tokens serve all blocks. The
    last block is completed with masks."""
    length = -(-len(own) // block_length) * block_length
    canvas = np.full(length, mask, np.int32)
    canvas[: len(own)] = own
    noisy = np.tile(canvas, (min(block_length, len(own)), 1))
    positions = np.arange(prompt_length, len(own))
    noisy[positions % block_length, positions] = mask
    return Noised(canvas, noisy, prompt_length)


def choose(
    model: AnyModel,
    prompt: Tokens,
    answers: Sequence[Tokens],
    by: str,
    samples: int,
    seed: int,
    per_token: bool,
    block_length: int,
) -> list[Choice]:
    """Ranks answers to a prompt: see `Model.choose`."""
    mask = model._opened().mask
    start, sequences = len(prompt), [np.concatenate([prompt, answer]) for answer in answers]
    if by == "elbo":
        draws = [draw_noise(ids, start, block_length, mask, samples, seed, True, None) for ids in sequences]
        bounds = elbos(model, draws, block_length)
        choices = [Choice(i, bound.mean, bound.standard_error, bound.tokens) for i, bound in enumerate(bounds)]
    else:
        noised = [pseudo_noise(ids, start, block_length, mask) for ids in sequences]
        scores = score_many(model, noised, block_length)
        choices = [
            Choice(i, float(score.log_likelihoods.sum()), 0.0, len(answer))
            for i, (score, answer) in enumerate(zip(scores, answers))
        ]
    return sorted(choices, key=lambda choice: -(choice.per_token if per_token else choice.score))
