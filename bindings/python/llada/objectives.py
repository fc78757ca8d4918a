"""The losses and ratios that LLaDA2.x is trained with, as numbers: to evaluate a model, or to check a trainer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import InvalidArgumentError
from .likelihood import draw_noise, elbos
from .model import Model
from .scoring import Noised, score_many


def _checked(sequences: Iterable[Noised]) -> list[Noised]:
    sequences = list(sequences)
    for sequence in sequences:
        if not isinstance(sequence, Noised):
            raise TypeError(f"sequences must be llada.Noised, not {sequence!r}")
    return sequences


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean(dtype=np.float64)) if len(values) else 0.0


class CapLoss(NamedTuple):
    """`loss` = `cross_entropy` + lambda * `entropy`, in nats.

    Attributes:
        loss: The sum.
        cross_entropy: The mean over the masked tokens.
        entropy: The mean over those of them that are predicted right; 0 if none are.
        masked: How many tokens are masked.
        right: How many of them are predicted right.
    """

    loss: float
    cross_entropy: float
    entropy: float
    masked: int
    right: int


def cap_loss(model: Model, batch: Iterable[Noised], lambda_: float = 2.0, block_length: int = 32) -> CapLoss:
    """Confidence-aware parallel training: L_SFT + lambda L_conf of a batch (2.0 report, "CAP"). Only masked positions
    count, all alike.

    Args:
        model: What is trained.
        batch: Sequences and their noise.
        lambda_: dFactory's confidence_beta, for which it recommends 2; that of the release is unpublished.
        block_length: Tokens of a block.

    Raises:
        InvalidArgumentError: As `score_many`.
        SpecialTokenError: The model's mask id is unknown.
    """
    mask = model._opened().mask
    losses, entropies, right = [], [], []
    for score in score_many(model, _checked(batch), block_length, entropies=True):
        masked = score.scored & (score.sequence.noisy == mask)
        losses.append(-score.log_probs[masked])
        assert score.entropies is not None  # they were asked for
        entropies.append(score.entropies[masked])
        right.append((score.predictions == score.sequence.tokens)[masked])
    loss, entropy, hits = (np.concatenate(part) if part else np.empty(0) for part in (losses, entropies, right))
    hits = hits.astype(bool)
    cross_entropy, confidence = _mean(loss), _mean(entropy[hits])
    return CapLoss(cross_entropy + lambda_ * confidence, cross_entropy, confidence, len(loss), int(hits.sum()))


class EditingLosses(NamedTuple):
    """Mean cross-entropies in nats, 0 where there is nothing, and of how many tokens.

    Attributes:
        m2t: Mask to token: masked positions.
        t2t: Token to token: positions whose token is wrong.
        keep: Positions after the prompt whose token is right: how sure the model is that it may stay.
        m2t_tokens: Of how many tokens.
        t2t_tokens: Of how many tokens.
        keep_tokens: Of how many tokens.
    """

    m2t: float
    t2t: float
    keep: float
    m2t_tokens: int
    t2t_tokens: int
    keep_tokens: int


def m2t_t2t_losses(model: Model, batch: Iterable[Noised], block_length: int = 32) -> EditingLosses:
    """The two streams of the 2.1 mixture, and what they leave alone (2.1 report, "M2T + T2T"). The release's ratio of
    the two is unpublished.

    Args:
        model: What is trained.
        batch: Sequences and their noise.
        block_length: Tokens of a block.

    Raises:
        InvalidArgumentError: As `score_many`.
        SpecialTokenError: The model's mask id is unknown.
    """
    mask = model._opened().mask
    parts: list[list[NDArray[np.float32]]] = [[], [], []]
    for score in score_many(model, _checked(batch), block_length, everywhere=True):
        masked, kept = score.sequence.noisy == mask, score.sequence.noisy == score.sequence.tokens
        for part, kind in zip(parts, (masked & ~kept, ~masked & ~kept, ~masked & kept)):
            part.append(-score.log_probs[score.scored & kind])
    losses = [np.concatenate(part) if part else np.empty(0) for part in parts]
    m2t, t2t, keep = map(_mean, losses)
    return EditingLosses(m2t, t2t, keep, *map(len, losses))


def log_likelihoods(model: Model, sequences: Iterable[Noised], block_length: int = 32) -> list[NDArray[np.float64]]:
    """For each sequence and time step, sum_b log p(y^b | z_n, x): what `ebpo` takes as the old policy's when that is
    gone.

    Args:
        model: The policy.
        sequences: Rollouts and their noise.
        block_length: Tokens of a block.

    Returns:
        Of each sequence, np.float64 [versions].

    Raises:
        InvalidArgumentError: As `score_many`.
    """
    return [score.log_likelihoods for score in score_many(model, _checked(sequences), block_length)]


@dataclass(frozen=True)
class Ebpo:
    """Of N rollouts, all np.float64 [N].

    Attributes:
        log_ratios: log rho = sum_n w_n sum_b (log p_new(y^b | z_n, x) - log p_old(y^b | z_n, x)).
        advantages: As given.
        surrogates: min(rho A, clip(rho, 1 - eps_low, 1 + eps_high) A).
        clipped: bool: where the clipped one is the smaller.
        new: The log-likelihoods of each time step: of each rollout, np.float64 [versions].
        old: Those of the old policy, likewise.
    """

    log_ratios: NDArray[np.float64]
    advantages: NDArray[np.float64]
    surrogates: NDArray[np.float64]
    clipped: NDArray[np.bool_]
    new: list[NDArray[np.float64]]
    old: list[NDArray[np.float64]]

    @property
    def ratios(self) -> NDArray[np.float64]:
        """rho, np.float64 [N]."""
        ratios: NDArray[np.float64] = np.exp(self.log_ratios)
        return ratios

    @property
    def objective(self) -> float:
        """What is to be made large: the mean of `surrogates`."""
        return _mean(self.surrogates)


def ebpo(
    model: Model,
    sequences: Iterable[Noised],
    old: Model | Sequence[Any],
    advantages: Any,
    *,
    weights: Any = None,
    eps_low: float = 0.2,
    eps_high: float = 0.2,
    block_length: int = 32,
) -> Ebpo:
    """ELBO-based block-level policy optimisation (2.1 report, eq. 4-5): the ratio of two policies for rollouts, by one
    pass over all time steps of all of them, and the clipped surrogate.

    What counts of a block are its masked and its wrong tokens. Time steps, weights, bounds and advantages of the
    release are unpublished.

    Args:
        model: The new policy.
        sequences: Of each rollout y_0 and z_n, its noisy version at each time step: `Rollouts.noised`, or your own.
        old: The policy that wrote them, or what `log_likelihoods` said of it: N arrays [versions].
        advantages: [N].
        weights: w_n: [versions] for all, or N of those; None: 1.
        eps_low: rho is clipped below 1 - eps_low.
        eps_high: rho is clipped above 1 + eps_high.
        block_length: Tokens of a block.

    Raises:
        InvalidArgumentError: Arrays are of other shapes; and as `score_many`.
    """
    sequences = _checked(sequences)
    new = log_likelihoods(model, sequences, block_length)
    if isinstance(old, Model):
        before = log_likelihoods(old, sequences, block_length)
    else:
        before = [np.asarray(values, np.float64) for values in old]
    gains = np.asarray(advantages, np.float64)
    if gains.shape != (len(sequences),) or len(before) != len(sequences):
        raise InvalidArgumentError(
            f"there are {len(sequences)} sequences, {len(before)} old values, advantages of shape {gains.shape}"
        )
    if weights is None:
        weights = [np.ones(len(sequence.noisy)) for sequence in sequences]
    elif np.ndim(weights[0]) == 0:
        weights = [weights] * len(sequences)
    if len(weights) != len(sequences):
        raise InvalidArgumentError(f"there are weights for {len(weights)} sequences of {len(sequences)}")
    ratios = np.zeros(len(sequences))
    for index, (mine, theirs, weight) in enumerate(zip(new, before, weights)):
        weight = np.asarray(weight, np.float64)
        if not mine.shape == theirs.shape == weight.shape:
            raise InvalidArgumentError(
                f"sequence {index} has {len(mine)} versions, old values of shape {theirs.shape}, "
                f"weights of shape {weight.shape}"
            )
        ratios[index] = (weight * (mine - theirs)).sum()
    rho = np.exp(ratios)
    plain, clipped = rho * gains, np.clip(rho, 1 - eps_low, 1 + eps_high) * gains
    return Ebpo(ratios, gains, np.minimum(plain, clipped), clipped < plain, new, before)


@dataclass(frozen=True)
class Dpo:
    """Of N pairs.

    Attributes:
        bounds: B(theta, x | c), np.float64 [N, 2 (chosen, rejected), 2 (policy, reference)], in nats.
        margins: beta [(B_policy - B_reference of the chosen) - (the same of the rejected)], np.float64 [N].
        losses: -log sigmoid(margin), np.float64 [N].
    """

    bounds: NDArray[np.float64]
    margins: NDArray[np.float64]
    losses: NDArray[np.float64]

    @property
    def loss(self) -> float:
        """The mean of `losses`."""
        return _mean(self.losses)


def dpo_margins(
    policy: Model,
    reference: Model,
    pairs: Iterable[tuple[Any, Any, Any]],
    beta: float = 0.1,
    seed: int = 0,
    samples: int = 1,
    block_length: int = 32,
) -> Dpo:
    """Direct preference optimisation on the bound (2.0 report, "DPO").

    Args:
        policy: What is trained.
        reference: What it is compared with, by the same noise.
        pairs: (prompt, chosen, rejected), each token ids: answers without the prompt.
        beta: How much a margin weighs.
        seed: The noise of pair i is drawn with the seed `seed + i`, for both answers alike.
        samples: Draws of noise for each bound; 1 as in training.
        block_length: Tokens of a block.

    Raises:
        InvalidArgumentError: A pair has another number of parts; and as `Model.elbo`.
        SpecialTokenError: The model's mask id is unknown.
    """
    mask = policy._opened().mask
    draws = []
    for index, (prompt, *answers) in enumerate(pairs):
        if len(answers) != 2:
            raise InvalidArgumentError(f"pair {index} has {len(answers) + 1} parts; expected prompt, chosen, rejected")
        for answer in answers:
            ids = np.concatenate([np.asarray(prompt, np.int64), np.asarray(answer, np.int64)])
            draws.append(draw_noise(ids, len(prompt), block_length, mask, samples, seed + index, False, None))
    bounds = np.array(
        [[bound.mean for bound in elbos(model, draws, block_length)] for model in (policy, reference)]
    ).T.reshape(-1, 2, 2)
    gains = bounds[:, :, 0] - bounds[:, :, 1]
    margins = beta * (gains[:, 0] - gains[:, 1])
    return Dpo(bounds, margins, np.logaddexp(0.0, -margins))
