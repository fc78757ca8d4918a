"""Between Python and C: checked integers and token arrays in, copies of borrowed memory out, handles that free."""

from __future__ import annotations

import operator
import os
import weakref
from ctypes import POINTER, c_int32, c_size_t, c_void_p, byref, sizeof, string_at
from typing import Any, Callable, TypeVar

import numpy as np

from . import _abi
from .errors import ClosedError, InvalidArgumentError, call

Tokens = np.ndarray
"""A one-dimensional np.int32 array of token ids."""

NO_TOKENS = np.empty(0, np.int32)


class Handle:
    """One hold on a llada_model or llada_decoder.

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

    def __reduce__(self) -> Any:
        raise TypeError(f"a {self._what} cannot be copied or pickled: it belongs to this process")


def integer(value: Any, name: str, low: int = -(2**31), high: int = 2**31 - 1) -> int:
    """`value` as an int within [low, high]: ctypes would wrap around silently.

    Raises TypeError if it is no integer, InvalidArgumentError (a ValueError) if it is out of range."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if not low <= number <= high:
        raise InvalidArgumentError(f"{name} is {number}; it must be from {low} to {high}")
    return number


def number(value: Any, name: str) -> float:
    """`value` as a float, NaN and infinities included. Raises TypeError if it is none, a str too."""
    if not isinstance(value, (str, bytes)):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    raise TypeError(f"{name} must be a number, not {value!r}")


def position(value: Any) -> int:
    return integer(value, "position", low=0)


def file_name(path: str | os.PathLike) -> bytes:
    """A path as C has it."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("the path holds a NUL character")
    return name


def choice(value: str, name: str, choices: tuple[str, ...]) -> int:
    """The number of a named option."""
    if value not in choices:
        raise InvalidArgumentError(f"{name} is {value!r}; it must be one of {', '.join(map(repr, choices))}")
    return choices.index(value)


def tokens(ids: Any) -> Tokens:
    """Any flat sequence of integers as a contiguous np.int32 array.

    Raises TypeError for what is not integers, InvalidArgumentError for what is not flat or not in int32."""
    try:
        array = np.asarray(ids)
    except ValueError:
        raise InvalidArgumentError("token ids must be a flat sequence, not sequences of different lengths") from None
    if array.ndim == 0:
        raise InvalidArgumentError(f"token ids must be a flat sequence, not {ids!r}")
    if array.ndim != 1:
        raise InvalidArgumentError(f"token ids must be a flat sequence, not of shape {array.shape}")
    if array.size == 0:
        return NO_TOKENS
    if array.dtype.kind not in "iu":
        raise TypeError(f"token ids must be integers, not {array.dtype}")
    if array.min() < -(2**31) or array.max() >= 2**31:
        raise InvalidArgumentError("a token id does not fit into 32 bits")
    return np.ascontiguousarray(array, np.int32)


def token_pointer(array: Tokens) -> Any:
    return array.ctypes.data_as(POINTER(c_int32))


def collect(function: Any, *arguments: Any, guess: int) -> Tokens:
    """What a token-filling function of the library writes; asks again if it is more than the guess."""
    capacity, count = guess, c_size_t()
    while True:
        buffer = np.empty(capacity, np.int32)
        try:
            call(function, *arguments, token_pointer(buffer), capacity, byref(count))
        except Exception as problem:
            if getattr(problem, "status", 0) != _abi.ERROR_BUFFER_TOO_SMALL or count.value <= capacity:
                raise
            capacity = count.value
        else:
            return buffer[: count.value].copy()


def needed(function: Any, *arguments: Any) -> int:
    """How many elements a filling function of the library has for a buffer: it is asked with `arguments`, which have none."""
    count = c_size_t()
    try:
        call(function, *arguments, 0, byref(count))
    except Exception as problem:
        if getattr(problem, "status", 0) != _abi.ERROR_BUFFER_TOO_SMALL:
            raise
    return count.value


def snapshot(pointer: Any, count: int, dtype: Any) -> np.ndarray:
    """A read-only copy of `count` items of borrowed memory, which the next call on the handle may take away."""
    if count == 0:
        return np.frombuffer(b"", dtype)
    return np.frombuffer(string_at(pointer, count * sizeof(pointer._type_)), dtype)
