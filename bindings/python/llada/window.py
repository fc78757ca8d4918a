"""The active positions as NumPy arrays: what a decoding rule looks at."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from ctypes import POINTER, byref, c_float, c_size_t, memmove, sizeof
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import _abi
from ._convert import integer, snapshot
from .errors import call, check
from .records import State

if TYPE_CHECKING:
    from ._convert import Handle
    from .model import ModelInfo


class Window(NamedTuple):
    """The positions of the last forward. Arrays have an element for each, [active], and are read-only.

    positions       on the canvas, np.intp, ascending
    tokens          np.int32; the mask id where masked
    states          np.uint8 of State
    locked          bool
    predictions     np.int32: the most likely token, or the one drawn; bans and penalty applied. It may be the mask id
    confidences     np.float32: its probability, at a draft too; that of the token there is in `window_logits`
    block_step      steps done in this block
    editing_blocks  whether finished blocks are revisited (multiple block editing)
    """

    positions: np.ndarray
    tokens: np.ndarray
    states: np.ndarray
    locked: np.ndarray
    predictions: np.ndarray
    confidences: np.ndarray
    block_step: int
    editing_blocks: bool

    @property
    def masked(self) -> np.ndarray:
        """Where a mask may be filled: masked and not locked. bool [active]."""
        return (self.states == State.MASKED) & ~self.locked

    @property
    def drafts(self) -> np.ndarray:
        """Where a token may be replaced, or masked again: written and not locked. bool [active]."""
        return (self.states == State.DRAFT) & ~self.locked


class Candidates(NamedTuple):
    """The most likely tokens at each of the active positions, best first, ties by lower id. Where there are fewer than k,
    for bans, the rest is token -1, logit -inf, probability 0.

    tokens         np.int32 [active, k]
    logits         np.float32 [active, k]
    probabilities  np.float32 [active, k]
    """

    tokens: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray


_CANDIDATE = np.dtype([("token", np.int32), ("logit", np.float32), ("probability", np.float32)])


class Windowed:
    """The part of Decoder that shows the active positions at once."""

    _info: ModelInfo
    _held: Callable[[], AbstractContextManager[Handle]]

    @property
    def window(self) -> Window:
        """The positions of the last forward, what stands there and what is predicted. StateError before the first."""
        with self._held() as handle:
            active = self._active(handle)
            positions = np.arange(active.first, active.first + active.count, dtype=np.intp)
            positions.flags.writeable = False
            return Window(
                positions,
                snapshot(active.tokens, active.count, np.int32),
                snapshot(active.states, active.count, np.uint8),
                snapshot(active.locked, active.count, np.bool_),
                snapshot(active.predictions, active.count, np.int32),
                snapshot(active.confidences, active.count, np.float32),
                active.block_step,
                active.editing_blocks,
            )

    def window_candidates(self, k: int = 5) -> Candidates:
        """The k most likely tokens at each position of the last forward; bans and penalty applied, temperature not."""
        k = min(integer(k, "k", low=0, high=2**63 - 1), self._info.vocab_size)
        with self._held() as handle:
            active, count = self._active(handle), c_size_t()
            found = np.empty((active.count, k), _CANDIDATE)
            found["token"], found["logit"], found["probability"] = -1, -np.inf, 0
            for row in range(active.count):
                place = found[row].ctypes.data_as(POINTER(_abi.Candidate))
                call(_abi.lib.llada_decoder_candidates, handle, active.first + row, k, place, byref(count))
        return Candidates(*(np.ascontiguousarray(found[name]) for name in _CANDIDATE.names))

    def window_logits(self) -> np.ndarray:
        """The logits at each position of the last forward, as the model gave them, float32 [active, vocab_size]: yours to
        change. Bans and penalty are not in them; they are in `window_candidates`."""
        with self._held() as handle:
            active, count, values = self._active(handle), c_size_t(), POINTER(c_float)()
            logits = np.empty((active.count, self._info.vocab_size), np.float32)
            for row in range(active.count):
                call(_abi.lib.llada_decoder_logits, handle, active.first + row, byref(values), byref(count))
                memmove(logits[row].ctypes.data, values, count.value * sizeof(c_float))
        return logits

    @staticmethod
    def _active(handle: Handle) -> _abi.Active:
        active = _abi.Active()
        check(_abi.lib.llada_decoder_active(handle, byref(active)), "there are no predictions: call forward first")
        return active
