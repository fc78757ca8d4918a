"""Holds on what the library hands out, given back when nothing refers to them any more."""

from __future__ import annotations

import weakref
from ctypes import c_void_p
from typing import Callable, NoReturn, TypeVar

from .errors import ClosedError


class Handle:
    """One hold on a llada_model, llada_decoder, llada_prefix_cache or llada_text_stream.

    Whoever uses the pointer keeps a reference to this object meanwhile, so that it is freed when the last use is over,
    no matter which thread closes what.
    """

    __slots__ = ("_as_parameter_", "__weakref__")

    def __init__(self, pointer: c_void_p, free: Callable[[c_void_p], None]) -> None:
        self._as_parameter_ = pointer
        # Not at exit: a daemon thread may still be in the library then, and the process gives its memory back anyway.
        weakref.finalize(self, free, pointer).atexit = False


AnyHeld = TypeVar("AnyHeld", bound="Held")


class Held:
    """An object with a handle that many threads may use at once, and that can be closed."""

    _handle: Handle | None
    _what: str
    """What it is, for errors."""

    def close(self) -> None:
        """Gives it back. Calls at work in other threads finish first; decoders that use it keep it alive."""
        self._handle = None

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._handle is None

    def _live(self) -> Handle:
        handle = self._handle
        if handle is None:
            raise ClosedError(f"the {self._what} is closed")
        return handle

    def __enter__(self: AnyHeld) -> AnyHeld:
        self._live()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {self._what} cannot be copied or pickled: it belongs to this process")
