"""Keys and values that decoders of one model share, so that a beginning they have in common is computed once."""

from __future__ import annotations

from ctypes import byref, c_size_t, c_void_p
from typing import Any, NamedTuple

from . import _abi
from ._convert import Path, file_name, integer, token_pointer, tokens
from ._handle import Handle, Held
from .errors import ClosedError, call, missing
from .info import AnyModel
from .progress import Reporting


class CacheInfo(NamedTuple):
    """What a prefix cache holds, and has done: `PrefixCache.info`.

    Attributes:
        max_bytes: Its budget.
        bytes: Of the blocks that are cached, and of those that decoders hold.
        blocks: Cached.
        pinned_blocks: Of them, those that stay.
        lookups: How often a decoder lacked whole blocks and looked for them.
        hits: How often it found some.
        reused_tokens: That did not have to be computed.
        evicted_blocks: That had to go, for lack of room.
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

    ::

        with model.prefix_cache(bytes=1 << 30) as cache:
            model.generate(conversation, prefix_cache=cache)

    A decoder that is given the cache takes from it what others have computed, and leaves there what it computes: a
    system prompt, a document, a conversation up to now. Nothing is copied, and results are the same, bit for bit.

    All that decoders with this cache hold counts towards its budget, `max_bytes`. Where that is reached, blocks that no
    decoder holds go, those least recently used first; where none are left, a decoder gets OutOfMemoryError, and can go
    on when there is room. Any thread may use a cache at any time.
    """

    _what = "prefix cache"

    def __init__(self, model: AnyModel, max_bytes: int) -> None:
        cache = c_void_p()
        call(
            _abi.lib.llada_prefix_cache_create,
            model._opened().handle,
            integer(max_bytes, "max_bytes", 1, 2**63 - 1),
            byref(cache),
        )
        self._handle: Handle | None = Handle(cache, _abi.lib.llada_prefix_cache_free)

    @property
    def info(self) -> CacheInfo:
        """What it holds now, and has done so far."""
        info = _abi.PrefixCacheInfo()
        call(_abi.lib.llada_prefix_cache_get_info, self._live(), byref(info))
        return CacheInfo(*(getattr(info, name) for name in CacheInfo._fields))

    def pin(self, ids: Any, block_length: int = 32) -> int:
        """Keeps what is cached of a sequence's whole blocks, whatever else needs room.

        Args:
            ids: Token ids, from the beginning of a canvas.
            block_length: That of the decoders.

        Returns:
            How many tokens are kept: fewer than there are, where no decoder has computed them yet.

        Raises:
            InvalidArgumentError: The ids are no flat sequence, or the block length is none.
        """
        return self._pin(ids, block_length, True)

    def unpin(self, ids: Any, block_length: int = 32) -> int:
        """Takes one `pin` of the same ids back.

        Args:
            ids: As given to `pin`.
            block_length: As given to `pin`.

        Returns:
            How many tokens that is.
        """
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
        call(_abi.lib.llada_prefix_cache_clear, self._live())

    def save(self, path: Path) -> None:
        """Writes all that is cached, with its pins, to a file. Decoders may go on meanwhile.

        Args:
            path: The file appears there whole or not at all, in place of one that was there.

        Raises:
            FileError: It cannot be written.
        """
        with Reporting(False, "saving") as report:
            call(_abi.lib.llada_prefix_cache_save, self._live(), file_name(path), report, None)

    def load(self, path: Path) -> int:
        """Adds what a file of `save` has: a long prompt is computed once, and not again by the next process.

        Nothing that is cached goes for it; what has no room is left out, pinned prefixes last, then those used last.

        Args:
            path: The file.

        Returns:
            How many tokens were added.

        Raises:
            SnapshotError: It is damaged, or was saved with another model, dtype or expert_capacity.
            FileMissingError: There is none.
        """
        count = c_size_t()
        name = file_name(path)
        with missing(name), Reporting(False, "loading") as report:
            call(_abi.lib.llada_prefix_cache_load, self._live(), name, report, None, byref(count))
        return count.value

    def __repr__(self) -> str:
        try:
            info = self.info
        except ClosedError:
            return "<llada.PrefixCache, closed>"
        pinned = f" ({info.pinned_blocks} pinned)" if info.pinned_blocks else ""
        held = f"{info.bytes / 1e6:.1f} of {info.max_bytes / 1e6:.1f} MB"
        return (
            f"<llada.PrefixCache {held}: {info.blocks} blocks{pinned}, {info.reused_tokens} tokens reused, "
            f"{info.hits} hits in {info.lookups} lookups, {info.evicted_blocks} blocks evicted>"
        )
