"""The losses and ratios that LLaDA2.x is trained with, as numbers: to evaluate a model, or to check a trainer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .errors import InvalidArgumentError
from .likelihood import draw_noise, elbos
from .scoring import Noised, mask_of, score_many

if TYPE_CHECKING:
    from .model import Model


def _checked(sequences: Iterable[Noised]) -> list[Noised]:
    sequences = list(sequences)
    for sequence in sequences:
        if not isinstance(sequence, Noised):
            raise TypeError(f"sequences must be llada.Noised, not {sequence!r}")
    return sequences


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64)) if len(values) else 0.0


class CapLoss(NamedTuple):
    """`loss` = `cross_entropy` + lambda * `entropy`, in nats.

    cross_entropy  the mean over the `masked` masked tokens
    entropy        the mean over those of them, `right` in number, that are predicted right; 0 if none are
    """

    loss: float
    cross_entropy: float
    entropy: float
    masked: int
    right: int


def cap_loss(model: Model, batch: Iterable[Noised], lambda_: float = 2.0, block_length: int = 32) -> CapLoss:
    """Confidence-aware parallel training: L_SFT + lambda L_conf of a batch (2.0 report, "CAP"; dFactory's confidence_beta, for
    which it recommends 2; that of the release is unpublished). Only masked positions count, all alike. Raises as `score_many`."""
    mask = mask_of(model)
    losses, entropies, right = [], [], []
    for score in score_many(model, _checked(batch), block_length, entropies=True):
        masked = score.scored & (score.sequence.noisy == mask)
        losses.append(-score.log_probs[masked])
        entropies.append(score.entropies[masked])
        right.append((score.predictions == score.sequence.tokens)[masked])
    loss, entropy, hits = (np.concatenate(part) if part else np.empty(0) for part in (losses, entropies, right))
    hits = hits.astype(bool)
    cross_entropy, confidence = _mean(loss), _mean(entropy[hits])
    return CapLoss(cross_entropy + lambda_ * confidence, cross_entropy, confidence, len(loss), int(hits.sum()))


class EditingLosses(NamedTuple):
    """Mean cross-entropies in nats, 0 where there is nothing, and of how many tokens.

    m2t   mask to token: masked positions
    t2t   token to token: positions whose token is wrong
    keep  positions after the prompt whose token is right: how sure the model is that it may stay
    """

    m2t: float
    t2t: float
    keep: float
    m2t_tokens: int
    t2t_tokens: int
    keep_tokens: int


def m2t_t2t_losses(model: Model, batch: Iterable[Noised], block_length: int = 32) -> EditingLosses:
    """The two streams of the 2.1 mixture, and what they leave alone (2.1 report, "M2T + T2T"). The release's ratio of the two
    is unpublished. Raises as `score_many`."""
    mask = mask_of(model)
    parts: list[list[np.ndarray]] = [[], [], []]
    for score in score_many(model, _checked(batch), block_length, everywhere=True):
        masked, kept = score.sequence.noisy == mask, score.sequence.noisy == score.sequence.tokens
        for part, kind in zip(parts, (masked & ~kept, ~masked & ~kept, ~masked & kept)):
            part.append(-score.log_probs[score.scored & kind])
    losses = [np.concatenate(part) if part else np.empty(0) for part in parts]
    return EditingLosses(*map(_mean, losses), *map(len, losses))


def log_likelihoods(model: Model, sequences: Iterable[Noised], block_length: int = 32) -> list[np.ndarray]:
    """For each sequence and time step, sum_b log p(y^b | z_n, x): what `ebpo` takes as the old policy's when that is gone.
    A list of float64 [versions]. Raises as `score_many`."""
    return [score.log_likelihoods for score in score_many(model, _checked(sequences), block_length)]


@dataclass(frozen=True)
class Ebpo:
    """Of N rollouts, all float64 [N].

    log_ratios   log rho = sum_n w_n sum_b (log p_new(y^b | z_n, x) - log p_old(y^b | z_n, x))
    advantages   as given
    surrogates   min(rho A, clip(rho, 1 - eps_low, 1 + eps_high) A)
    clipped      bool: where the clipped one is the smaller
    new, old     the log-likelihoods of each time step: lists of float64 [versions]
    """

    log_ratios: np.ndarray
    advantages: np.ndarray
    surrogates: np.ndarray
    clipped: np.ndarray
    new: list
    old: list

    @property
    def ratios(self) -> np.ndarray:
        return np.exp(self.log_ratios)

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
    """ELBO-based block-level policy optimisation (2.1 report, eq. 4-5): the ratio of two policies for rollouts, by one pass
    over all time steps of all of them, and the clipped surrogate.

    sequences   of each rollout y_0 and z_n, its noisy version at each time step: `Rollouts.noised`, or your own
    old         the policy that wrote them, or what `log_likelihoods` said of it: N arrays [versions]
    advantages  [N]
    weights     w_n: [versions] for all, or N of those; None: 1
    eps_low, eps_high
                time steps, weights, bounds and advantages of the release are unpublished

    What counts of a block are its masked and its wrong tokens. Raises as `score_many`, and InvalidArgumentError for arrays of
    other shapes."""
    sequences = _checked(sequences)
    new = log_likelihoods(model, sequences, block_length)
    if hasattr(old, "_live"):
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
                f"sequence {index} has {len(mine)} versions, old values of shape {theirs.shape}, weights of shape {weight.shape}"
            )
        ratios[index] = (weight * (mine - theirs)).sum()
    rho = np.exp(ratios)
    plain, clipped = rho * gains, np.clip(rho, 1 - eps_low, 1 + eps_high) * gains
    return Ebpo(ratios, gains, np.minimum(plain, clipped), clipped < plain, new, before)


@dataclass(frozen=True)
class Dpo:
    """Of N pairs.

    bounds   B(theta, x | c), float64 [N, 2 (chosen, rejected), 2 (policy, reference)], in nats
    margins  beta [(B_policy - B_reference of the chosen) - (the same of the rejected)], float64 [N]
    losses   -log sigmoid(margin), float64 [N]
    """

    bounds: np.ndarray
    margins: np.ndarray
    losses: np.ndarray

    @property
    def loss(self) -> float:
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
    """Direct preference optimisation on the bound (2.0 report, "DPO"): each B by `samples` draws of noise, 1 as in training, the
    same for policy and reference.

    pairs  (prompt, chosen, rejected), each token ids: answers without the prompt

    The noise of pair i is drawn with the seed `seed + i`, for both answers alike. Raises as `Model.elbo`."""
    mask = mask_of(policy)
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
