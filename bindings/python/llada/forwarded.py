"""What the last forward of a decoder left, read from the library. `DecoderView` documents each."""

from __future__ import annotations

from ctypes import POINTER, byref, c_float, c_size_t, memmove, sizeof

import numpy as np
from numpy.typing import NDArray

from . import _abi
from ._calls import Calls
from ._convert import Tokens, integer, pointer, snapshot
from ._convert import position as as_position
from ._handle import Handle
from .errors import call
from .records import Candidate, Candidates, Rows


def _active(handle: Handle) -> _abi.Active:
    active = _abi.Active()
    call(_abi.lib.llada_decoder_active, handle, byref(active))
    return active


def rows(calls: Calls) -> Rows:
    """All of its positions."""
    with calls.held() as handle:
        active = _active(handle)
        positions = np.arange(active.first, active.first + active.count, dtype=np.intp)
        positions.flags.writeable = False
        return Rows(
            positions,
            snapshot(active.tokens, active.count, np.int32),
            snapshot(active.states, active.count, np.uint8),
            snapshot(active.locked, active.count, np.bool_),
            snapshot(active.predictions, active.count, np.int32),
            snapshot(active.confidences, active.count, np.float32),
            active.block_step,
            active.editing_blocks,
            snapshot(active.computed, active.count, np.bool_),
        )


def predictions(calls: Calls, length: int) -> tuple[Tokens, NDArray[np.float32]]:
    """Predicted tokens, -1 elsewhere, and confidences, 0 there. Both [length], that of the canvas."""
    ids, confidences = np.full(length, -1, np.int32), np.zeros(length, np.float32)
    there = rows(calls)
    ids[there.positions], confidences[there.positions] = there.predictions, there.confidences
    ids.flags.writeable = confidences.flags.writeable = False
    return ids, confidences


def candidates(calls: Calls, position: int, k: int, vocab_size: int) -> list[Candidate]:
    """The k most likely tokens at a position."""
    limit = min(integer(k, "k", low=0, high=2**63 - 1), vocab_size)
    array, count = (_abi.Candidate * limit)(), c_size_t()
    calls.look(_abi.lib.llada_decoder_candidates, as_position(position), array, limit, byref(count))
    return [Candidate(c.token, c.logit, c.probability) for c in array[: count.value]]


def keep_candidates(calls: Calls, count: int) -> None:
    """From the next forward on."""
    calls.look(_abi.lib.llada_decoder_keep_candidates, count)


_CANDIDATE = np.dtype([("token", np.int32), ("logit", np.float32), ("probability", np.float32)])


def row_candidates(calls: Calls, k: int, vocab_size: int) -> Candidates:
    """The k most likely tokens of each row, [rows, k]."""
    k = min(integer(k, "k", low=0, high=2**63 - 1), vocab_size)
    with calls.held() as handle:
        active, count = _active(handle), c_size_t()
        found = np.empty((active.count, k), _CANDIDATE)
        found["token"], found["logit"], found["probability"] = -1, -np.inf, 0
        for row in range(active.count):
            place = pointer(found[row], _abi.Candidate)
            call(_abi.lib.llada_decoder_candidates, handle, active.first + row, place, k, byref(count))
    return Candidates(*(np.ascontiguousarray(found[name]) for name in ("token", "logit", "probability")))


def logits(calls: Calls, position: int) -> NDArray[np.float32]:
    """The logits at a position, [vocab_size]."""
    values, count = POINTER(c_float)(), c_size_t()
    with calls.held() as handle:
        call(_abi.lib.llada_decoder_logits, handle, as_position(position), byref(values), byref(count))
        return snapshot(values, count.value, np.float32)


def row_logits(calls: Calls, vocab_size: int) -> NDArray[np.float32]:
    """The logits of each row, [rows, vocab_size]."""
    with calls.held() as handle:
        active, count, values = _active(handle), c_size_t(), POINTER(c_float)()
        logits = np.empty((active.count, vocab_size), np.float32)
        for row in range(active.count):
            call(_abi.lib.llada_decoder_logits, handle, active.first + row, byref(values), byref(count))
            memmove(logits[row].ctypes.data, values, count.value * sizeof(c_float))
    return logits
