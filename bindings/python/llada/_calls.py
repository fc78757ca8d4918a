"""The calls on one decoder: one thread makes them at a time, and a recorder is told of those that change something."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from . import _abi
from ._handle import Handle
from .errors import BusyError, ClosedError, Stopped, call
from .stopping import CCallback


class Watcher(Protocol):
    """Who is told of calls: a trace's Recorder. Calls holds its watcher; a watcher is given the Calls each time and
    holds none, so that a decoder is freed as soon as nothing refers to it."""

    def around(self, calls: Calls, name: str, arguments: tuple[Any, ...]) -> AbstractContextManager[None]:
        """Entered around a call that may change something. `name` is the function's, without llada_decoder_."""

    def forwarded(self, calls: Calls) -> None:
        """Called after a forward on behalf of several decoders, which this one may have been left out of."""

    def stop(self, calls: Calls) -> None:
        """Called when nothing more is told."""


class Calls:
    """What a Decoder, its parts and a recorder call the library through.

    Attributes:
        recorder: Who is told of what changes something.
        untouched: Whether the decoder is as it was made, so that it can be made again without a snapshot.
        biased: Whether logits may have biases or bans.
    """

    def __init__(self, handle: Handle, untouched: bool) -> None:
        self._lock = threading.RLock()
        self.recorder: Watcher | None = None
        self.untouched = untouched
        self.biased = not untouched
        # Called in forwards that take long: it is there that Ctrl-C gets its chance.
        self._interrupts = CCallback(_abi.ProgressCallback, lambda fraction: None, "progress")
        self.become(handle)

    def become(self, handle: Handle) -> None:
        """Calls go to this decoder from now on: the first one, or a fork that goes on in its place."""
        self._handle: Handle | None = handle
        call(_abi.lib.llada_decoder_set_progress, handle, self._interrupts.callback, None)

    @contextmanager
    def held(self) -> Iterator[Handle]:
        """The handle, for this thread alone: borrowed memory stays valid until the block is left.

        Raises:
            ClosedError: The decoder was closed.
            BusyError: It is at work in another thread.
        """
        handle = self._handle
        if handle is None:
            raise ClosedError("the decoder is closed")
        if not self._lock.acquire(blocking=False):
            raise BusyError("the decoder is at work in another thread")
        try:
            yield handle
        finally:
            self._lock.release()

    def look(self, function: Any, *arguments: Any) -> None:
        """Calls a function of the library that changes nothing."""
        with self.held() as handle:
            call(function, handle, *arguments)

    def change(self, function: Any, *arguments: Any) -> None:
        """Calls a function of the library that may change what the decoder will do."""
        with self.held() as handle:
            self.untouched = False
            if self.recorder is None:
                self._call(function, handle, *arguments)
            else:
                with self.recorder.around(self, function.__name__[len("llada_decoder_") :], arguments):
                    self._call(function, handle, *arguments)

    def _call(self, function: Any, *arguments: Any) -> None:
        try:
            call(function, *arguments)
        except Stopped:
            self.stopped()
            raise

    def stopped(self) -> None:
        """A forward was stopped. Raises what stopped it, if that was Ctrl-C."""
        self._interrupts.raise_again()

    def run(self, function: Any) -> None:
        """Calls llada_decoder_run, or run_block. Ctrl-C, which comes to the main thread alone, takes effect between
        steps, and in forwards that take long."""
        if threading.current_thread() is not threading.main_thread():
            return self.change(function, _abi.StepCallback(), None)
        with CCallback(_abi.StepCallback, lambda decoder: None, "callback") as callback:
            return self.change(function, callback, None)

    def forwarded(self) -> None:
        """A forward was done on the decoder's behalf, or may have been."""
        self.untouched = False
        if self.recorder is not None:
            self.recorder.forwarded(self)

    def stop_recording(self) -> None:
        """The recorder, if there is one, is told of nothing more."""
        recorder = self.recorder
        if recorder is not None:
            with self.held():
                self.recorder = None
                recorder.stop(self)

    def cancel(self) -> None:
        """From any thread: the call at work, or else the next one, raises Cancelled."""
        handle = self._handle
        if handle is not None:
            _abi.lib.llada_decoder_cancel(handle)

    def close(self) -> None:
        """From any thread. A call at work is cancelled, and the memory lives until it ends; if it is recorded, that
        goes on to its end, and the trace stays without a result."""
        try:
            self.stop_recording()
        except (BusyError, ClosedError):
            pass
        finally:
            self.cancel()
            self._handle = None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._handle is None
