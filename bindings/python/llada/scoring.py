"""Noisy versions of sequences, judged by a model in one pass: all blocks of a version at once."""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import POINTER, byref, c_float, c_int32, sizeof
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _abi
from ._convert import Tokens, integer, token_pointer, tokens as as_tokens
from .errors import InvalidArgumentError, SpecialTokenError, call, check
from .progress import Progress, reporting

if TYPE_CHECKING:
    from .model import Model


class Noised:
    """A sequence x_0 and noisy versions x_t of it.

    tokens         np.int32 [n], prompt first; n need not be a multiple of the block length
    noisy          np.int32 [versions, n]; given as [n], one version. In the prompt the same as `tokens`
    prompt_length  0 to n
    """

    __slots__ = ("noisy", "prompt_length", "tokens")

    def __init__(self, tokens: Any, noisy: Any, prompt_length: int = 0) -> None:
        self.tokens: Tokens = as_tokens(tokens)
        versions = np.asarray(noisy)
        if versions.ndim == 1:
            versions = versions[None]
        if versions.ndim != 2 or versions.shape[1] != len(self.tokens):
            raise InvalidArgumentError(
                f"noisy is of shape {np.shape(noisy)}; expected [versions, {len(self.tokens)}] or [{len(self.tokens)}]"
            )
        self.noisy: np.ndarray = as_tokens(versions.reshape(-1)).reshape(versions.shape)
        self.prompt_length = integer(prompt_length, "prompt_length", 0, len(self.tokens))

    def __repr__(self) -> str:
        return f"<llada.Noised: {len(self.noisy)} versions of {len(self.tokens)} tokens, {self.prompt_length} of the prompt>"


@dataclass(frozen=True)
class Scores:
    """What a model makes of the noisy versions of one sequence; arrays are [versions, n].

    A position is scored where its noisy token is not the sequence's own, or everywhere after the prompt if that was asked
    for. Elsewhere there is NaN, and -1 for a prediction.

    log_probs    of the sequence's own token there, in nats; float32
    predictions  the most likely token, ties by lower id; np.int32
    confidences  its probability: what a decoder has for the same canvas, bit for bit; float32
    entropies    of the distribution over all tokens, in nats, float32; None if not asked for
    """

    sequence: Noised
    block_length: int
    log_probs: np.ndarray
    predictions: np.ndarray
    confidences: np.ndarray
    entropies: np.ndarray | None

    @property
    def scored(self) -> np.ndarray:
        """Which positions were scored: bool [versions, n]."""
        return self.predictions >= 0

    @property
    def block_log_probs(self) -> np.ndarray:
        """log p(y^b | x_t^b, x_0^<b): the sum of log_probs over the scored positions of each block; float64
        [versions, blocks], 0 where a block has none."""
        values = np.where(self.scored, self.log_probs, 0.0)
        versions, length = values.shape
        blocks = -(-length // self.block_length)
        padded = np.zeros((versions, blocks * self.block_length))
        padded[:, :length] = values
        return padded.reshape(versions, blocks, self.block_length).sum(axis=2)

    @property
    def log_likelihoods(self) -> np.ndarray:
        """The sum over all blocks; float64 [versions]."""
        return self.block_log_probs.sum(axis=1)


def score_many(
    model: Model,
    sequences: Iterable[Noised],
    block_length: int = 32,
    *,
    everywhere: bool = False,
    entropies: bool = False,
    progress: Progress = False,
) -> list[Scores]:
    """Judges noisy versions of several sequences in one pass, under the mask of training (2.0 report, eq. 3): block b
    of a version sees the sequence's blocks before b, and itself in both directions, which is what a decoder sees that has
    come to block b. All blocks, versions and sequences go together, and what sequences begin with in common is run once.

    everywhere  True: every position after the prompt is scored; False: those whose noisy token is not the sequence's own
    entropies   whether they are wanted: about a tenth more work for a large vocabulary
    progress    as in `Model.load`

    Any thread may call it. Raises InvalidArgumentError for tokens outside the vocabulary, noise in a prompt, or a sequence
    longer than the model's max_position_embeddings; Stopped if `progress` returned True. Results are the same, bit for bit,
    whatever else is in the call and however many threads there are.
    """
    handle = model._live()
    sequences = list(sequences)
    block_length = integer(block_length, "block_length", low=1)
    array = (_abi.NoisedSequence * len(sequences))()
    for entry, sequence in zip(array, sequences):
        if not isinstance(sequence, Noised):
            raise TypeError(f"sequences must be llada.Noised, not {sequence!r}")
        entry.tokens, entry.count = token_pointer(sequence.tokens), len(sequence.tokens)
        entry.noisy, entry.versions = token_pointer(sequence.noisy), len(sequence.noisy)
        entry.prompt_length = sequence.prompt_length
    total = sum(sequence.noisy.size for sequence in sequences)
    floats = np.empty((3 if entropies else 2, total), np.float32)
    predictions = np.empty(total, np.int32)
    options = _abi.ScoreOptions()
    check(_abi.lib.llada_score_options_init(byref(options), sizeof(options)))
    options.block_length = block_length
    options.everywhere = bool(everywhere)
    pointers = [row.ctypes.data_as(POINTER(c_float)) for row in floats]
    with reporting(progress, "scoring") as options.progress:
        call(
            _abi.lib.llada_model_score,
            handle,
            array,
            len(sequences),
            byref(options),
            pointers[0],
            predictions.ctypes.data_as(POINTER(c_int32)),
            pointers[1],
            pointers[2] if entropies else None,
            total,
        )
    scores, start = [], 0
    for sequence in sequences:
        place, shape = slice(start, start + sequence.noisy.size), sequence.noisy.shape
        log_probs, confidences, *rest = (row[place].reshape(shape) for row in floats)
        scores.append(
            Scores(
                sequence,
                block_length,
                log_probs,
                predictions[place].reshape(shape),
                confidences,
                rest[0] if rest else None,
            )
        )
        start = place.stop
    return scores


def mask_of(model: Model) -> int:
    """The mask id, without which there is no noise to be made."""
    if model.mask_token_id is None:
        raise SpecialTokenError("the model's mask id is unknown: pass mask_token_id to Model.load")
    return model.mask_token_id
