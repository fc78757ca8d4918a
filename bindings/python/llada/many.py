"""Several decoders of one model, stepped together: one forward serves them all, so that weights are read once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from ctypes import c_void_p
from itertools import islice
from typing import Callable

from . import _abi
from ._convert import Handle
from .decoder import Decoder
from .errors import InvalidArgumentError, StateError, call
from .progress import Tally, bar_for
from .records import Generation, Step


def forward_many(decoders: Iterable[Decoder]) -> None:
    """`Decoder.forward` of each, as one forward. Every decoder may have its own prompt, length, block length, step and
    policy; what each computes is what it would have alone, bit for bit.

    Raises InvalidArgumentError for a decoder that is there twice, or decoders of different models; StateError if one has
    finished, BusyError if one is at work in another thread. Where a forward fails (Cancelled, say), some have done
    theirs and others have not; each can go on from there."""
    with _held(decoders) as (decoders, pointers):
        _forward(decoders, pointers)


def step_many(decoders: Iterable[Decoder]) -> list[Step]:
    """The rest of each one's current step, with one forward for those that need it; rules are asked one by one. Raises
    what `forward_many` raises.

        while working := [dec for dec in decoders if not dec.finished]:
            llada.step_many(working)
    """
    with _held(decoders) as (decoders, pointers):
        ready, theirs = [], []
        for index, (decoder, pointer) in enumerate(zip(decoders, pointers)):
            phase = decoder.phase
            if phase == "finished":
                raise StateError(f"decoders[{index}] has finished")
            if phase == "ready":
                ready.append(decoder)
                theirs.append(pointer)
        _forward(ready, theirs)
        return [decoder.step() for decoder in decoders]


@contextmanager
def _held(decoders: Iterable[Decoder]) -> Iterator[tuple[list[Decoder], list[int]]]:
    """All of them and their pointers, for this thread alone. Nothing waits for a lock, so the order does not matter."""
    decoders = list(decoders)
    seen: dict[int, int] = {}
    with ExitStack() as stack:
        handles: list[Handle] = []
        for index, decoder in enumerate(decoders):
            if not isinstance(decoder, Decoder):
                raise TypeError(f"decoders[{index}] must be a llada.Decoder, not {decoder!r}")
            before = seen.setdefault(id(decoder), index)
            if before != index:
                raise InvalidArgumentError(f"decoders[{index}] is decoders[{before}]; each must be there once")
            handles.append(stack.enter_context(decoder._held()))
        try:
            yield decoders, [handle._as_parameter_.value for handle in handles]
        finally:
            handles.clear()  # the traceback of an exception would keep them


def _forward(decoders: list[Decoder], pointers: list[int]) -> None:
    try:
        call(_abi.lib.llada_decoders_forward, (c_void_p * len(pointers))(*pointers), len(pointers))
    finally:
        for decoder in decoders:  # where it failed, some have done theirs
            decoder._forwarded()


def generations(
    decoders: Iterator[Decoder],
    in_flight: int,
    callback: Callable[[Decoder], object] | None,
    progress: bool | None,
    total: int | None,
) -> Iterator[Generation]:
    """Runs decoders to their ends, `in_flight` at a time, and yields what comes out in their order. The next one is drawn
    when there is room for it. See `Model.stream_many`."""
    tally = bar_for(progress, "answering", Tally, total=total)
    waiting = enumerate(decoders)
    working: dict[int, Decoder] = {}
    done: dict[int, Generation] = {}
    following = 0  # the next to be yielded

    def leave(number: int) -> None:
        decoder = working[number]
        done[number] = decoder.result
        decoder.close()
        del working[number]
        if tally is not None:
            tally.finished(done[number])

    try:
        while True:
            for number, decoder in islice(waiting, in_flight - len(working)):
                working[number] = decoder
                if decoder.finished:  # nothing to fill
                    leave(number)
            if not working and not done:
                return
            step_many(working.values())
            for number, decoder in list(working.items()):
                if (callback is not None and callback(decoder) is True) or decoder.finished:
                    leave(number)
            if tally is not None:
                tally.show(working.values())
            while following in done:
                if tally is not None:
                    tally.wipe()  # whoever gets this may want to print it
                yield done.pop(following)
                following += 1
    finally:
        if tally is not None:
            tally.wipe()
        for decoder in working.values():
            decoder.close()
