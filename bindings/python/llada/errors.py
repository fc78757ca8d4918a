"""Every refusal of the library as an exception that says what went wrong, and is also the Python one you expect."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref
from typing import Any

from . import _abi


class Error(Exception):
    """The library refused. str() is the reason.

    Attributes:
        message: The reason, with what was found and what was expected.
        status: The code of llada.h.
    """

    status: int = 0

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status

    def __str__(self) -> str:
        return self.message

    @property
    def name(self) -> str:
        """The name that llada.h has for the status: "LLADA_ERROR_IO"."""
        return str(_abi.lib.llada_status_name(self.status).decode())


class InvalidArgumentError(Error, ValueError):
    """An argument is out of its range."""

    status = _abi.ERROR_INVALID_ARGUMENT


class OutOfMemoryError(Error, MemoryError):
    """There is no memory, or no room in a prefix cache."""

    status = _abi.ERROR_OUT_OF_MEMORY


class FileError(Error, OSError):
    """A file of a checkpoint, a snapshot or a cache cannot be read or written, or ends early."""

    status = _abi.ERROR_IO


class FileMissingError(FileError, FileNotFoundError):
    """There is nothing at the path of a checkpoint, a snapshot or a cache."""


class CheckpointError(Error):
    """The checkpoint is broken or contradicts itself; `status` tells config, index, tensors and formats apart."""

    status = _abi.ERROR_CONFIG


class TokenizerError(Error):
    """The model has no tokenizer, or a broken one."""

    status = _abi.ERROR_TOKENIZER


class UnsupportedError(Error, NotImplementedError):
    """Well-formed, but nothing this library implements."""

    status = _abi.ERROR_UNSUPPORTED


class StateError(Error, RuntimeError):
    """Out of order: propose before forward, say, or a step after the end."""

    status = _abi.ERROR_STATE


class ClosedError(StateError):
    """The model, decoder or prefix cache was closed."""


class BusyError(Error, RuntimeError):
    """The decoder is at work in another thread, or is asking its rule."""

    status = _abi.ERROR_BUSY


class Cancelled(Error):
    """Decoder.cancel() or .close() was called. A decoder that was cancelled can go on."""

    status = _abi.ERROR_CANCELLED


class Stopped(Error):
    """A progress callback stopped the work: loading, saving or scoring."""

    status = _abi.ERROR_STOPPED


class SpecialTokenError(Error, ValueError):
    """The mask id is unknown, or stands where it must not."""

    status = _abi.ERROR_SPECIAL_TOKEN


class SnapshotError(Error, ValueError):
    """A snapshot is damaged, of another version of the library, or of another model."""

    status = _abi.ERROR_SNAPSHOT


class NumericError(Error, ArithmeticError):
    """Weights are NaN or infinite, or what the model computes from them is."""

    status = _abi.ERROR_NUMERIC


class ClusterError(Error, ConnectionError):
    """Another rank of a cluster has died, hangs, or is of another version or another model."""

    status = _abi.ERROR_CLUSTER


class CheckpointWarning(UserWarning):
    """Something that loading a checkpoint left out or assumed: `Model.notes`."""


_classes: dict[int, type[Error]] = {
    kind.status: kind
    for kind in (
        InvalidArgumentError,
        OutOfMemoryError,
        FileError,
        TokenizerError,
        UnsupportedError,
        StateError,
        BusyError,
        Cancelled,
        Stopped,
        SpecialTokenError,
        SnapshotError,
        NumericError,
        ClusterError,
    )
}
for _status in (
    _abi.ERROR_JSON,
    _abi.ERROR_CONFIG,
    _abi.ERROR_SAFETENSORS,
    _abi.ERROR_SHARD_INDEX,
    _abi.ERROR_TENSOR,
    _abi.ERROR_GGUF,
):
    _classes[_status] = CheckpointError


def from_status(status: int, message: str = "") -> Error:
    """The exception for a status code."""
    return _classes.get(status, Error)(message or _abi.lib.llada_status_name(status).decode(), status)


def call(function: Any, *arguments: Any) -> None:
    """Calls a function of the library whose last argument is its llada_error, and raises what that says."""
    error = _abi.Error()
    status = function(*arguments, byref(error))
    if status != _abi.OK:
        raise from_status(status, error.message.decode("utf-8", "replace"))


@contextmanager
def missing(path: Any) -> Iterator[None]:
    """A FileError is a FileMissingError where there is nothing at `path`."""
    try:
        yield
    except FileError as problem:
        if os.path.exists(path):
            raise
        raise FileMissingError(problem.message) from None
