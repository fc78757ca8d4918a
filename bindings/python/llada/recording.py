"""The part of a decoder that lets itself be recorded."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from .errors import BusyError, ClosedError, StateError
from .trace import Trace
from .trace.recorder import Recorder

if TYPE_CHECKING:
    from ._abi import DecoderState
    from ._convert import Handle
    from .model import Model


class Recorded:
    """The part of Decoder that begins and ends a Trace. The recorder is told of each call by `Decoder._call`."""

    _recorder: Recorder | None = None
    _untouched = False  # nothing was done to it that a recording from here on would miss
    _model_name: str
    _options: dict[str, Any]
    _held: Callable[[], AbstractContextManager[Handle]]
    _state: Callable[[], DecoderState]

    def record(self, path: str | os.PathLike | None = None) -> Trace:
        """Begins a Trace of all that is done from here on, by whatever means: by steps or their parts, by rules, by you, alone
        or beside others. With a path it is written there as well, each forward as it is done.

        It ends with `trace.stop()`, a `with` of the trace, or the decoder. Forks are not recorded with it. StateError if the
        decoder is being recorded."""
        with self._held():
            if self._recorder is not None:
                raise StateError("the decoder is being recorded; stop that trace first")
            trace, self._recorder = Trace._of(self, path)
            return trace

    def _name_options(self, model: Model, options: dict[str, Any]) -> None:
        """For the first line of a trace."""
        state = self._state()
        self._model_name = model.name
        self._options = {"block_length": state.block_length, "gen_length": state.gen_length, **options}

    def _forwarded(self) -> None:
        """A forward was done on its behalf."""
        self._untouched = False
        if self._recorder is not None:
            self._recorder.look(self)

    def _stop_recording(self) -> None:
        recorder = self._recorder
        if recorder is not None:
            with self._held():
                self._recorder = None
                recorder.stop(self)

    def _end_recording(self) -> None:
        """The decoder is being closed, perhaps by another thread than the one at work: that goes on recording to its end, and
        the trace stays without a result."""
        try:
            self._stop_recording()
        except (BusyError, ClosedError):
            pass
