"""The ways in which a decoder comes to be, and to be kept: creation, forks, snapshots. `Decoder` and `Model` document
each."""

from __future__ import annotations

from ctypes import byref, c_size_t, c_void_p, sizeof
from ctypes import pointer as pointer_to
from typing import Any

import numpy as np

from . import _abi
from ._calls import Calls
from ._convert import Path, file_name, integer, token_pointer, tokens
from ._handle import Handle
from .cache import PrefixCache
from .errors import Error, call, missing
from .info import OpenedModel
from .policy import Policy, checked_policy
from .progress import Reporting


def create(
    model: OpenedModel,
    prompt: Any,
    policy: Policy | None,
    *,
    block_length: int = 32,
    gen_length: int = 256,
    eos_early_stop: bool = True,
    infill: bool = False,
    use_cache: bool = True,
    prefix_cache: PrefixCache | None = None,
) -> tuple[Handle, dict[str, Any]]:
    """A decoder on a prompt, and those of its options that it does not tell. The defaults of a generation are here."""
    policy = checked_policy(policy)
    options = _abi.DecoderOptions()
    call(_abi.lib.llada_decoder_options_init, byref(options), sizeof(options))
    options.block_length = integer(block_length, "block_length")
    options.gen_length = integer(gen_length, "gen_length")
    options.eos_early_stop = bool(eos_early_stop)
    options.infill = bool(infill)
    options.use_cache = bool(use_cache)
    if policy is not None:
        options.policy = pointer_to(policy._as_struct())
    cache = _shared(prefix_cache)  # held until the decoder has it
    options.prefix_cache = None if cache is None else cache._as_parameter_
    ids = tokens(prompt)
    decoder = c_void_p()
    call(_abi.lib.llada_decoder_create, model.handle, token_pointer(ids), len(ids), byref(options), byref(decoder))
    untold = {name: getattr(options, name) for name in ("infill", "eos_early_stop", "use_cache")}
    return Handle(decoder, _abi.lib.llada_decoder_free), untold


def fork(calls: Calls, policy: Policy) -> Handle:
    """A second decoder that is where the first one is."""
    decoder = c_void_p()
    calls.look(_abi.lib.llada_decoder_fork, byref(policy._as_struct()), byref(decoder))
    return Handle(decoder, _abi.lib.llada_decoder_free)


def to_bytes(calls: Calls, pages: bool) -> bytes:
    """A snapshot."""
    size = c_size_t()
    with calls.held() as handle:
        try:
            call(_abi.lib.llada_decoder_save, handle, bool(pages), _abi.ProgressCallback(), None, None, 0, byref(size))
        except Error as problem:
            if problem.status != _abi.ERROR_BUFFER_TOO_SMALL:
                raise
        buffer = np.empty(size.value, np.uint8)
        with Reporting(False, "saving") as report:
            place = buffer.ctypes.data, buffer.size
            call(_abi.lib.llada_decoder_save, handle, bool(pages), report, None, *place, byref(size))
    return buffer.tobytes()


def restore(model: OpenedModel, snapshot: bytes | Path, prefix_cache: PrefixCache | None) -> Handle:
    """The decoder that a snapshot, or the file of one, was taken of."""
    cache = _shared(prefix_cache)
    decoder = c_void_p()
    with Reporting(False, "restoring") as report:
        if isinstance(snapshot, (bytes, bytearray, memoryview)):
            content = np.frombuffer(snapshot, np.uint8)
            place = content.ctypes.data, content.size
            call(_abi.lib.llada_decoder_restore, model.handle, cache, *place, report, None, byref(decoder))
        else:
            name = file_name(snapshot)
            with missing(name):
                call(_abi.lib.llada_decoder_restore_file, model.handle, cache, name, report, None, byref(decoder))
    return Handle(decoder, _abi.lib.llada_decoder_free)


def _shared(cache: PrefixCache | None) -> Handle | None:
    if cache is not None and not isinstance(cache, PrefixCache):
        raise TypeError(f"prefix_cache must be a llada.PrefixCache, not {cache!r}")
    return None if cache is None else cache._live()
