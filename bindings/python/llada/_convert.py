"""Between Python and C: checked numbers, names and token arrays in, copies of borrowed memory out."""

from __future__ import annotations

import operator
import os
from ctypes import POINTER, byref, c_int32, c_size_t, create_string_buffer, sizeof, string_at
from typing import Any, Union

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _abi
from .errors import Error, InvalidArgumentError, call

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
"""The path of a file or folder."""

Tokens = NDArray[np.int32]
"""A one-dimensional array of token ids."""

NO_TOKENS: Tokens = np.empty(0, np.int32)


def integer(value: Any, name: str, low: int = -(2**31), high: int = 2**31 - 1) -> int:
    """`value` as an int within [low, high]: ctypes would wrap around silently.

    Raises:
        TypeError: It is no integer.
        InvalidArgumentError: It is out of range; a ValueError.
    """
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
    """`value` as a position of a canvas."""
    return integer(value, "position", low=0)


def file_name(path: Path) -> bytes:
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
    """Any flat sequence of integers as a contiguous array.

    Raises:
        TypeError: They are no integers.
        InvalidArgumentError: The sequence is not flat, or a number does not fit into 32 bits.
    """
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


def pointer(array: NDArray[Any], kind: Any) -> Any:
    """To the first element of an array whose elements are `kind` of ctypes."""
    return array.ctypes.data_as(POINTER(kind))


def token_pointer(array: Tokens) -> Any:
    """To the first token."""
    return pointer(array, c_int32)


def collect(function: Any, *arguments: Any, guess: int) -> Tokens:
    """What a token-filling function of the library writes; asks again if it is more than the guess."""
    capacity, count = guess, c_size_t()
    while True:
        buffer = np.empty(capacity, np.int32)
        try:
            call(function, *arguments, token_pointer(buffer), capacity, byref(count))
        except Error as problem:
            if problem.status != _abi.ERROR_BUFFER_TOO_SMALL or count.value <= capacity:
                raise
            capacity = count.value
        else:
            return buffer[: count.value].copy()


def collect_text(function: Any, *arguments: Any, guess: int) -> str:
    """What a function of the library that fills text writes, likewise."""
    capacity, length = guess, c_size_t()
    while True:
        buffer = create_string_buffer(capacity)
        try:
            call(function, *arguments, buffer, capacity, byref(length))
        except Error as problem:
            if problem.status != _abi.ERROR_BUFFER_TOO_SMALL or length.value <= capacity:
                raise
            capacity = length.value
        else:
            return buffer.raw[: length.value].decode("utf-8")


def needed(function: Any, *arguments: Any) -> int:
    """How many elements a filling function of the library has for a buffer: it is asked with `arguments`, which have
    none."""
    count = c_size_t()
    try:
        call(function, *arguments, 0, byref(count))
    except Error as problem:
        if problem.status != _abi.ERROR_BUFFER_TOO_SMALL:
            raise
    return count.value


def snapshot(pointer: Any, count: int, dtype: DTypeLike) -> NDArray[Any]:
    """A read-only copy of `count` items of borrowed memory, which the next call on the handle may take away."""
    if count == 0:
        return np.frombuffer(b"", dtype)
    return np.frombuffer(string_at(pointer, count * sizeof(pointer._type_)), dtype)
