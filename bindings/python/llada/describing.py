"""What a checkpoint is, without loading it."""

from __future__ import annotations

import json
from ctypes import byref, c_size_t, create_string_buffer
from typing import Any

from . import _abi
from ._convert import Path, file_name
from .errors import Error, call


def describe(path: Path) -> dict[str, Any]:
    """See `Model.describe`."""
    name = file_name(path)
    count = c_size_t(1 << 16)  # enough for all but lists of problems
    while True:
        buffer = create_string_buffer(count.value)
        try:
            call(_abi.lib.llada_model_describe, name, buffer, len(buffer), byref(count))
        except Error as problem:
            if problem.status != _abi.ERROR_BUFFER_TOO_SMALL:
                raise
        else:
            description: dict[str, Any] = json.loads(buffer.raw[: count.value].decode("utf-8"))
            return description
