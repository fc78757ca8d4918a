"""Text that may still change: what is settled, and what is draft."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_void_p, string_at
from typing import Any, NamedTuple, Protocol

from . import _abi
from ._calls import Calls
from ._convert import token_pointer, tokens
from ._handle import Handle
from .errors import BusyError, InvalidArgumentError, call
from .info import AnyModel


class StreamText(NamedTuple):
    """What a `TextStream` gives.

    Attributes:
        settled: What has become settled since the update before; it stays.
        draft: All text behind it that may still change.
    """

    settled: str
    draft: str


class Streamed(Protocol):
    """A decoder, as a stream knows it."""

    _calls: Calls


class Followed(Streamed, Protocol):
    """A decoder that can be followed."""

    @property
    def finished(self) -> bool: ...
    def step(self) -> object: ...


class TextStream:
    """Text while it comes, in two parts: settled text is given once and never taken back, the draft is what decoding
    may still change, and is given as a whole each time. `Model.text_stream` makes one.

    ::

        for settled, draft in model.text_stream().follow(decoder): ...

    A character is held back until all of its bytes have come, over however many tokens; a token that is U+FFFD is a
    character like any other. All settled text, joined, is `decoder.text` at the decoder's end.

    A stream is bound to no decoder: a fork may go on where its origin was. Decoders that go on side by side have a
    stream each. One thread at a time: a second one gets BusyError.
    """

    def __init__(self, model: AnyModel, skip_control: bool = True, mask: str | None = None) -> None:
        self._handle = create(model._opened().handle, skip_control, mask)
        self._lock = threading.Lock()

    def update(self, decoder: Streamed) -> StreamText:
        """Takes what the decoder has settled since the update before. At the decoder's end all is settled: a character
        that is cut off becomes U+FFFD, and the draft is empty.

        Args:
            decoder: A Decoder, at any time: after a step, in a callback, in a rule.

        Raises:
            StateError: Its output does not continue what the stream has taken: it was truncated, a finished block was
                written to, or it is another decoder. The stream stays as it is; `finish` makes it ready to begin anew.
        """
        with self._held() as stream, decoder._calls.held() as handle:
            return ask(_abi.lib.llada_text_stream_update, stream, handle)

    def follow(self, decoder: Followed) -> Iterator[StreamText]:
        """Steps a decoder to its end, with an update after each step. If it is at its end already, there is one.

        Args:
            decoder: A Decoder.

        Raises:
            StateError: As `update`.
            Cancelled, OutOfMemoryError: As `Decoder.step`.
        """
        if decoder.finished:
            yield self.update(decoder)
        while not decoder.finished:
            decoder.step()
            yield self.update(decoder)

    def push(self, ids: Any) -> str:
        """Without a decoder: takes tokens as settled.

        Args:
            ids: Token ids.

        Returns:
            The text that they complete.

        Raises:
            InvalidArgumentError: An id is outside the vocabulary. None is taken then.
        """
        array = tokens(ids)
        with self._held() as stream:
            return ask(_abi.lib.llada_text_stream_push, stream, token_pointer(array), len(array)).settled

    def finish(self) -> str:
        """Ends what was pushed, or a decoder that is left before its end. The stream then begins anew.

        Returns:
            What was held back: U+FFFD for a character that is cut off, or nothing.
        """
        with self._held() as stream:
            return ask(_abi.lib.llada_text_stream_finish, stream).settled

    @contextmanager
    def _held(self) -> Iterator[Handle]:
        """The handle, for this thread alone: what the library lends stays until the block is left."""
        if not self._lock.acquire(blocking=False):
            raise BusyError("the stream is at work in another thread")
        try:
            yield self._handle
        finally:
            self._lock.release()


def create(model: Handle, skip_control: bool, mask: str | None) -> Handle:
    """A stream of the library."""
    flags = _abi.TEXT_SKIP_CONTROL if skip_control else 0
    if mask is not None and (not isinstance(mask, str) or "\0" in mask):
        raise InvalidArgumentError(f"mask is {mask!r}; it must be None, or a str without a NUL character")
    stream = c_void_p()
    shown = None if mask is None else mask.encode("utf-8")
    call(_abi.lib.llada_text_stream_create, model, flags, shown, byref(stream))
    return Handle(stream, _abi.lib.llada_text_stream_free)


def ask(function: Any, *arguments: Any) -> StreamText:
    """What a function that gives text gives."""
    text = _abi.Text()
    call(function, *arguments, byref(text))
    return StreamText(
        string_at(text.settled, text.settled_count).decode("utf-8"),
        string_at(text.draft, text.draft_count).decode("utf-8"),
    )
