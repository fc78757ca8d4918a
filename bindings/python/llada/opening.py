"""A checkpoint, opened by the library."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from ctypes import byref, c_int32, c_uint64, c_void_p, sizeof

import numpy as np
from numpy.typing import ArrayLike

from . import _abi
from ._convert import Path, choice, file_name, integer, pointer
from ._handle import Handle
from .cluster import Cluster
from .errors import InvalidArgumentError, call, missing
from .progress import Progress, Reporting


def folder_name(folder: bytes) -> str:
    """The last part of a path."""
    return os.path.basename(os.path.normpath(os.fsdecode(folder)))


def open_model(
    path: Path,
    dtype: str,
    threads: int | None,
    mask_token_id: int | None,
    eos_token_id: int | Sequence[int] | None,
    blas: str,
    use_mmap: bool | None,
    expert_capacity: int,
    progress: Progress,
    kv_dtype: str,
    delete_token_id: int | None,
    split_token_id: int | None,
    memory_limit: int | None,
    cluster: Cluster | None,
    expert_usage: ArrayLike | None,
) -> Handle:
    """See `Model.load`."""
    folder = file_name(path)
    options = _abi.ModelOptions()
    call(_abi.lib.llada_model_options_init, byref(options), sizeof(options))
    options.dtype = choice(dtype, "dtype", _abi.DTYPES)
    options.kv_dtype = choice(kv_dtype, "kv_dtype", _abi.DTYPES)
    options.blas = choice(blas, "blas", _abi.BLAS)
    options.use_mmap = _abi.MMAP.index("auto" if use_mmap is None else "on" if use_mmap else "off")
    options.expert_capacity = integer(expert_capacity, "expert_capacity", low=0)
    if memory_limit is not None:
        options.memory_limit = integer(memory_limit, "memory_limit", low=1, high=(1 << 63) - 1)
    handle = None if cluster is None else cluster._live()
    if handle is not None:
        options.cluster = handle._as_parameter_
    if expert_usage is not None:
        counts = np.asarray(expert_usage)
        if counts.dtype.kind not in "iu" or (counts < 0).any():
            raise InvalidArgumentError("expert_usage must be counts: integers from 0 on")
        usage = np.ascontiguousarray(counts, np.uint64)
        options.expert_usage, options.expert_usage_count = pointer(usage, c_uint64), usage.size
    if threads is not None:
        options.threads = integer(threads, "threads", low=1)
    if mask_token_id is not None:
        options.mask_token_id = integer(mask_token_id, "mask_token_id", low=0)
    if delete_token_id is not None:
        options.delete_token_id = integer(delete_token_id, "delete_token_id", low=0)
    if split_token_id is not None:
        options.split_token_id = integer(split_token_id, "split_token_id", low=0)
    if eos_token_id is not None:
        several = eos_token_id if isinstance(eos_token_id, Iterable) else [eos_token_id]
        ends = [integer(each, "eos_token_id", low=0) for each in several]
        if not ends:
            raise InvalidArgumentError("eos_token_id is empty; it must be an id, or several")
        options.eos_token_ids, options.eos_token_id_count = (c_int32 * len(ends))(*ends), len(ends)
    opened = c_void_p()
    with missing(folder), Reporting(progress, f"loading {folder_name(folder)}") as options.progress:
        call(_abi.lib.llada_model_open, folder, byref(options), byref(opened))
    return Handle(opened, _abi.lib.llada_model_free)
