"""Several decoders of one model, stepped together: one forward serves them all, so that weights are read once."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager
from ctypes import c_void_p
from typing import Any, Callable

from . import _abi
from ._convert import integer
from ._handle import Handle
from .decoder import Decoder, OnStep
from .errors import Error, InvalidArgumentError, StateError, Stopped, call
from .generation import Generation
from .policy import Policy, checked_policy
from .progress import tally_for
from .records import Step
from .stopping import stops


def forward_many(decoders: Iterable[Decoder]) -> None:
    """`Decoder.forward` of each, as one forward. What each computes is what it would have alone, bit for bit.

    Where a forward fails (Cancelled, say), some have done theirs and others have not; each can go on from there.

    Args:
        decoders: Of one model. Every decoder may have its own prompt, length, block length, step and policy.

    Raises:
        InvalidArgumentError: A decoder is there twice, or they are of different models.
        StateError: One has finished.
        BusyError: One is at work in another thread.
    """
    with _held(decoders) as (decoders, pointers):
        _forward(decoders, pointers)


def step_many(decoders: Iterable[Decoder]) -> list[Step]:
    """The rest of each one's current step, with one forward for those that need it; rules are asked one by one.

    ::

        while working := [dec for dec in decoders if not dec.finished]:
            llada.step_many(working)

    Args:
        decoders: As for `forward_many`.

    Returns:
        What each has done.

    Raises:
        InvalidArgumentError, StateError, BusyError: As `forward_many`.
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
def _held(decoders: Iterable[Decoder]) -> Iterator[tuple[list[Decoder], list[Any]]]:
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
            handles.append(stack.enter_context(decoder._calls.held()))
        try:
            yield decoders, [handle._as_parameter_.value for handle in handles]
        finally:
            handles.clear()  # the traceback of an exception would keep them


def _forward(decoders: list[Decoder], pointers: list[Any]) -> None:
    try:
        call(_abi.lib.llada_decoders_forward, (c_void_p * len(pointers))(*pointers), len(pointers))
    except Stopped:
        for decoder in decoders:
            decoder._calls.stopped()
        raise
    finally:
        for decoder in decoders:  # where it failed, some have done theirs
            decoder._calls.forwarded()


def stream(
    prompts: Iterable[Any],
    policy: Policy | Sequence[Policy] | None,
    make: Callable[[Any, Policy | None], Decoder],
    in_flight: int,
    callback: OnStep | None,
    progress: bool | None,
    record: bool,
) -> Iterator[Generation]:
    """What comes out of each prompt, in their order: see `Model.stream_many`. `make` makes the decoder of a prompt."""
    if isinstance(prompts, (str, bytes, Mapping)):
        raise TypeError(f"prompts must be several, not {prompts!r}; `generate` answers one")
    in_flight = integer(in_flight, "in_flight", low=1)
    if progress not in (None, True, False):
        raise TypeError(f"progress must be None, True or False, not {progress!r}")
    if record not in (True, False):
        raise TypeError(f"record must be True or False, not {record!r}; the trace of each answer can be saved")
    total = len(prompts) if isinstance(prompts, Sized) else None
    several = [checked_policy(each) for each in policy] if isinstance(policy, Sequence) else None
    one = None if isinstance(policy, Sequence) else checked_policy(policy)
    if several is not None and total not in (None, len(several)):
        raise InvalidArgumentError(f"there are {len(several)} policies for {total} prompts; expected one for each")

    def decoder(index: int, prompt: Any) -> Decoder:
        if several is not None and index >= len(several):
            raise InvalidArgumentError(f"there are {len(several)} policies and more prompts; expected one for each")
        try:
            made = make(prompt, one if several is None else several[index])
            if record:
                made.record()
            return made
        except Error as problem:
            problem.message = f"prompts[{index}]: {problem.message}"
            raise

    return _generations(itertools.starmap(decoder, enumerate(prompts)), in_flight, callback, progress, total)


def _generations(
    decoders: Iterator[Decoder],
    in_flight: int,
    callback: OnStep | None,
    progress: bool | None,
    total: int | None,
) -> Iterator[Generation]:
    """Runs decoders to their ends, `in_flight` at a time, and yields what comes out in their order. The next one is
    drawn when there is room for it."""
    tally = tally_for(progress, "answering", total)
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
            for number, decoder in itertools.islice(waiting, in_flight - len(working)):
                working[number] = decoder
                if decoder.finished:  # nothing to fill
                    leave(number)
            if not working and not done:
                return
            step_many(working.values())
            for number, decoder in list(working.items()):
                if (callback is not None and stops(callback(decoder), "callback")) or decoder.finished:
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
