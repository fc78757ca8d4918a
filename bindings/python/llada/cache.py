"""Keys and values that decoders of one model share, so that a beginning they have in common is computed once."""

from __future__ import annotations

import os
from ctypes import byref, c_size_t, c_uint64, c_void_p
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _abi
from ._convert import Handle, Held, file_name, integer, token_pointer, tokens
from .errors import ClosedError, call, check, missing

if TYPE_CHECKING:
    from .model import Model


class CacheInfo(NamedTuple):
    """What a prefix cache holds, and has done.

    max_bytes       its budget
    bytes           of the blocks that are cached, and of those that decoders hold
    blocks          cached
    pinned_blocks   of them, those that stay
    lookups, hits   how often a decoder lacked whole blocks and looked for them; how often it found some
    reused_tokens   that did not have to be computed
    evicted_blocks  that had to go, for lack of room
    """

    max_bytes: int
    bytes: int
    blocks: int
    pinned_blocks: int
    lookups: int
    hits: int
    reused_tokens: int
    evicted_blocks: int


class PrefixCache(Held):
    """Keys and values of whole blocks, under the tokens they were computed from. `Model.prefix_cache` makes one.

        with model.prefix_cache(bytes=1 << 30) as cache:
            model.generate(conversation, prefix_cache=cache)

    A decoder that is given the cache takes from it what others have computed, and leaves there what it computes: a system
    prompt, a document, a conversation up to now. Nothing is copied, and results are the same, bit for bit.

    All that decoders with this cache hold counts towards its budget, `max_bytes`. Where that is reached, blocks that no
    decoder holds go, those least recently used first; where none are left, a decoder gets OutOfMemoryError, and can go on
    when there is room. Any thread may use a cache at any time.
    """

    _what = "prefix cache"

    def __init__(self, model: Model, max_bytes: int) -> None:
        cache = c_void_p()
        call(
            _abi.lib.llada_prefix_cache_create,
            model._live(),
            integer(max_bytes, "max_bytes", 1, 2**63 - 1),
            byref(cache),
        )
        self._handle: Handle | None = Handle(cache, _abi.lib.llada_prefix_cache_free)

    @property
    def info(self) -> CacheInfo:
        """What it holds now, and has done so far."""
        info = _abi.PrefixCacheInfo()
        check(_abi.lib.llada_prefix_cache_get_info(self._live(), byref(info)))
        return CacheInfo(*(getattr(info, name) for name in CacheInfo._fields))

    def pin(self, ids: Any, block_length: int = 32) -> int:
        """Keeps what is cached of the whole blocks of `ids`, whatever else needs room. Returns how many tokens that are:
        fewer than there are, where no decoder has computed them yet. `block_length` is that of the decoders."""
        return self._pin(ids, block_length, True)

    def unpin(self, ids: Any, block_length: int = 32) -> int:
        """Takes one `pin` of the same ids back, and returns as it does."""
        return self._pin(ids, block_length, False)

    def _pin(self, ids: Any, block_length: int, pinned: bool) -> int:
        sequence, found = tokens(ids), c_size_t()
        call(
            _abi.lib.llada_prefix_cache_pin,
            self._live(),
            token_pointer(sequence),
            len(sequence),
            integer(block_length, "block_length"),
            pinned,
            byref(found),
        )
        return found.value

    def clear(self) -> None:
        """Forgets all that is not pinned. Decoders keep what they hold."""
        check(_abi.lib.llada_prefix_cache_clear(self._live()))

    def save(self, path: str | os.PathLike) -> None:
        """Writes all that is cached, with its pins, to a file, which appears whole or not at all, in place of one that was
        there. Decoders may go on meanwhile. FileError if it cannot be written."""
        call(_abi.lib.llada_prefix_cache_save, self._live(), file_name(path))

    def load(self, path: str | os.PathLike) -> int:
        """Adds what a file of `save` has, and returns how many tokens that are: a long prompt is computed once, and not again
        by the next process. Nothing that is cached goes for it; what has no room is left out, pinned prefixes last, then
        those used last. SnapshotError if it is damaged, or was saved with another model, dtype or expert_capacity;
        FileMissingError if there is none."""
        count = c_uint64()
        name = file_name(path)
        with missing(name):
            call(_abi.lib.llada_prefix_cache_load, self._live(), name, byref(count))
        return count.value

    def __repr__(self) -> str:
        try:
            info = self.info
        except ClosedError:
            return "<llada.PrefixCache, closed>"
        pinned = f" ({info.pinned_blocks} pinned)" if info.pinned_blocks else ""
        return (
            f"<llada.PrefixCache {info.bytes / 1e6:.1f} of {info.max_bytes / 1e6:.1f} MB: {info.blocks} blocks{pinned}, "
            f"{info.reused_tokens} tokens reused, {info.hits} hits in {info.lookups} lookups, "
            f"{info.evicted_blocks} blocks evicted>"
        )
