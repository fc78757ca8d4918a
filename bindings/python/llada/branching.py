"""Ways to go on from where a decoder is, and back: forks, truncation, snapshots."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from ctypes import POINTER, byref, c_bool, c_size_t, c_void_p
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _abi
from ._convert import Handle, file_name, position as as_position
from .cache import PrefixCache
from .errors import Error, call, check, missing
from .policy import Policy
from .records import Rule, State

if TYPE_CHECKING:
    from .decoder import Decoder
    from .model import Model


class Branching:
    """The part of Decoder that makes other decoders of it, and goes back."""

    _policy: Policy
    _locked: set[int]
    _rule: Rule | None
    states: np.ndarray
    _held: Callable[[], AbstractContextManager[Handle]]
    _call: Callable[..., None]

    def fork(self, policy: Policy | None = None, seed: int | None = None) -> Decoder:
        """A second decoder that is where this one is, in the midst of a step or not: same canvas, bans, locks, rule,
        predictions and proposal. What was computed is shared, so that a fork costs what will differ; its
        `computed_positions` and `reused_positions` begin at 0.

        policy  None: the same
        seed    of its policy, in place of the one there. What is drawn (temperature > 0) depends on it, on the number of
                the forward and on the position: forks of equal seeds draw equal tokens. Predictions at hand stay.
        """
        policy = self._policy if policy is None else Policy._checked(policy)
        if seed is not None:
            policy = policy.replace(seed=seed)
        pointer = c_void_p()
        with self._held() as handle:
            call(_abi.lib.llada_decoder_fork, handle, byref(policy._as_struct()), byref(pointer))
            fork = object.__new__(type(self))
            fork.__dict__.update(self.__dict__)
            fork._handle = Handle(pointer, _abi.lib.llada_decoder_free)
            fork._recorder, fork._untouched, fork._asking = None, False, False
            fork._policy, fork._lock, fork._locked = policy, threading.RLock(), set(self._locked)
            fork.rule = self._rule
        return fork

    def truncate(self, position: int) -> None:
        """Forgets all that was generated from `position` on: masked again, free of locks, and next to be denoised, also
        after the end. What was computed before it is kept; counters go on.

        `position` is the start of a block, at most of the active one; after the end, at most the canvas's length. Raises
        InvalidArgumentError for any other."""
        position = as_position(position)
        with self._held():
            self._call(_abi.lib.llada_decoder_truncate, position)
            states = self.states
            self._locked = {at for at in self._locked if at < position or states[at] == State.PROMPT}

    # -- Snapshots

    def to_bytes(self, pages: bool = False) -> bytes:
        """A snapshot: all that decides how this decoder goes on. `Model.restore` makes a decoder of it, in this process or
        another, that goes on bit for bit as this one would have. A rule is not part of it.

        pages  with the keys and values computed so far, nothing is computed again; without them the snapshot is small, and
               what stands before the active block is computed anew at the next forward: the same bits"""
        size = c_size_t()
        with self._held() as handle:
            try:
                call(_abi.lib.llada_decoder_save, handle, bool(pages), None, 0, byref(size))
            except Error as problem:
                if problem.status != _abi.ERROR_BUFFER_TOO_SMALL:
                    raise
            buffer = np.empty(size.value, np.uint8)
            call(_abi.lib.llada_decoder_save, handle, bool(pages), buffer.ctypes.data, buffer.size, byref(size))
        return buffer.tobytes()

    def save(self, path: str | os.PathLike, pages: bool = False) -> None:
        """`to_bytes` to a file, which appears whole or not at all, in place of one that was there. FileError if it cannot be
        written."""
        name = file_name(path)
        with self._held() as handle:
            call(_abi.lib.llada_decoder_save_file, handle, bool(pages), name)

    @classmethod
    def _restored(cls, model: Model, source: Any, cache: PrefixCache | None, rule: Rule | None) -> Decoder:
        decoder = object.__new__(cls)
        decoder._model, decoder._info = model._live(), model.info
        decoder._lock, decoder.rule = threading.RLock(), rule
        if cache is not None and not isinstance(cache, PrefixCache):
            raise TypeError(f"prefix_cache must be a llada.PrefixCache, not {cache!r}")
        shared = cache._live() if cache is not None else None
        pointer = c_void_p()
        if isinstance(source, (bytes, bytearray, memoryview)):
            content = np.frombuffer(source, np.uint8)
            call(
                _abi.lib.llada_decoder_restore,
                decoder._model,
                shared,
                content.ctypes.data,
                content.size,
                byref(pointer),
            )
        else:
            name = file_name(source)
            with missing(name):
                call(_abi.lib.llada_decoder_restore_file, decoder._model, shared, name, byref(pointer))
        handle = decoder._handle = Handle(pointer, _abi.lib.llada_decoder_free)
        policy = _abi.Policy()
        check(_abi.lib.llada_decoder_get_policy(handle, byref(policy)))
        decoder._policy = Policy._from_struct(policy)
        locked, count = POINTER(c_bool)(), c_size_t()
        check(_abi.lib.llada_decoder_locked(handle, byref(locked), byref(count)))
        decoder._locked = {position for position in range(count.value) if locked[position]}
        decoder._name_options(model, {})
        return decoder
