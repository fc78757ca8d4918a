"""Noisy versions of sequences, judged by a model in one pass: all blocks of a version at once."""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import byref, c_float, c_int32, c_size_t, sizeof
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _abi
from ._convert import Tokens, integer, pointer, token_pointer
from ._convert import tokens as as_tokens
from .errors import InvalidArgumentError, call
from .info import AnyModel
from .progress import Progress, Reporting


class Noised:
    """A sequence x_0 and noisy versions x_t of it.

    Args:
        tokens: Token ids [n], prompt first; n need not be a multiple of the block length.
        noisy: Token ids [versions, n]; [n] is one version. In the prompt the same as `tokens`.
        prompt_length: 0 to n.

    Attributes:
        tokens: np.int32 [n].
        noisy: np.int32 [versions, n].
        prompt_length: 0 to n.

    Raises:
        InvalidArgumentError: A shape or a length is another.
        TypeError: The ids are no integers.
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
        self.noisy: NDArray[np.int32] = as_tokens(versions.reshape(-1)).reshape(versions.shape)
        self.prompt_length = integer(prompt_length, "prompt_length", 0, len(self.tokens))

    def __repr__(self) -> str:
        versions, length = self.noisy.shape
        return f"<llada.Noised: {versions} versions of {length} tokens, {self.prompt_length} of the prompt>"


@dataclass(frozen=True)
class Scores:
    """What a model makes of the noisy versions of one sequence; arrays are [versions, n].

    A position is scored where its noisy token is not the sequence's own, or everywhere after the prompt if that was
    asked for. Elsewhere there is NaN, and -1 for a prediction.

    Attributes:
        sequence: What was judged.
        block_length: As given.
        log_probs: Of the sequence's own token there, in nats; np.float32.
        predictions: The most likely token, ties by lower id; np.int32.
        confidences: The probability of the prediction: what a decoder has for the same canvas, bit for bit; np.float32.
        entropies: Of the distribution over all tokens, in nats, np.float32; None if not asked for.
    """

    sequence: Noised
    block_length: int
    log_probs: NDArray[np.float32]
    predictions: NDArray[np.int32]
    confidences: NDArray[np.float32]
    entropies: NDArray[np.float32] | None

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which positions were scored: bool [versions, n]."""
        return self.predictions >= 0

    @property
    def block_log_probs(self) -> NDArray[np.float64]:
        """log p(y^b | x_t^b, x_0^<b): the sum of log_probs over the scored positions of each block; float64
        [versions, blocks], 0 where a block has none."""
        values = np.where(self.scored, self.log_probs, 0.0)
        versions, length = values.shape
        blocks = -(-length // self.block_length)
        padded = np.zeros((versions, blocks * self.block_length))
        padded[:, :length] = values
        sums: NDArray[np.float64] = padded.reshape(versions, blocks, self.block_length).sum(axis=2)
        return sums

    @property
    def log_likelihoods(self) -> NDArray[np.float64]:
        """The sum over all blocks; float64 [versions]."""
        sums: NDArray[np.float64] = self.block_log_probs.sum(axis=1)
        return sums


def score_many(
    model: AnyModel,
    sequences: Iterable[Noised],
    block_length: int = 32,
    *,
    everywhere: bool = False,
    entropies: bool = False,
    progress: Progress = False,
) -> list[Scores]:
    """Judges noisy versions of several sequences in one pass, under the mask of training (2.0 report, eq. 3): block b
    of a version sees the sequence's blocks before b, and itself in both directions, which is what a decoder sees that
    has come to block b. All blocks, versions and sequences go together, and what sequences begin with in common is run
    once.

    Any thread may call it. Results are the same, bit for bit, whatever else is in the call and however many threads
    there are.

    Args:
        model: A llada.Model.
        sequences: What to judge.
        block_length: Tokens of a block.
        everywhere: True: every position after the prompt is scored; False: those whose noisy token is not the
            sequence's own.
        entropies: Whether they are wanted: about a tenth more work for a large vocabulary.
        progress: As in `Model.load`.

    Returns:
        Of each sequence.

    Raises:
        InvalidArgumentError: A token is outside the vocabulary, the prompt is noisy, or a sequence is longer than the
            model's max_position_embeddings.
        Stopped: `progress` returned llada.STOP.
    """
    handle = model._opened().handle
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
    call(_abi.lib.llada_score_options_init, byref(options), sizeof(options))
    options.block_length = block_length
    options.everywhere = bool(everywhere)
    pointers = [pointer(row, c_float) for row in floats]
    with Reporting(progress, "scoring") as options.progress:
        call(
            _abi.lib.llada_model_score,
            handle,
            array,
            len(sequences),
            byref(options),
            pointers[0],
            pointer(predictions, c_int32),
            pointers[1],
            pointers[2] if entropies else None,
            total,
            byref(c_size_t()),
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
