"""Several decoders of one model, stepped together: one forward serves them all, so that weights are read once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, contextmanager
from ctypes import c_void_p
from traceback import clear_frames
from typing import Any, Callable

from . import _abi
from ._convert import integer
from ._handle import Handle
from .decoder import Decoder, OnStep
from .errors import Cancelled, Error, InvalidArgumentError, StateError, Stopped, call
from .generation import Generation
from .policy import Policy, checked_policy
from .progress import Tally, tally_for
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
    on_error: str,
) -> Iterator[Any]:
    """What comes out of each prompt, in their order: see `Model.stream_many`. `make` makes the decoder of a prompt."""
    if isinstance(prompts, (str, bytes, Mapping)):
        raise TypeError(f"prompts must be several, not {prompts!r}; `generate` answers one")
    in_flight = integer(in_flight, "in_flight", low=1)
    if progress not in (None, True, False):
        raise TypeError(f"progress must be None, True or False, not {progress!r}")
    if record not in (True, False):
        raise TypeError(f"record must be True or False, not {record!r}; the trace of each answer can be saved")
    if on_error not in ON_ERROR:
        raise InvalidArgumentError(f"on_error is {on_error!r}; it must be one of {', '.join(map(repr, ON_ERROR))}")
    total = len(prompts) if isinstance(prompts, Sized) else None
    several = [checked_policy(each) for each in policy] if isinstance(policy, Sequence) else None
    one = None if isinstance(policy, Sequence) else checked_policy(policy)
    if several is not None and total not in (None, len(several)):
        raise InvalidArgumentError(f"there are {len(several)} policies for {total} prompts; expected one for each")

    numbered = enumerate(prompts)  # here, so that a TypeError does not wait for the first answer

    def asked() -> Iterator[tuple[Any, Policy | None]]:
        for index, prompt in numbered:
            if several is not None and index >= len(several):
                raise InvalidArgumentError(f"there are {len(several)} policies and more prompts; expected one for each")
            yield prompt, one if several is None else several[index]

    def decoder(index: int, prompt: Any, policy: Policy | None) -> Decoder:
        try:
            made = make(prompt, policy)
            if record:
                made.record()
            return made
        except Error as problem:
            if on_error == "raise":  # else its place says which
                problem.message = f"prompts[{index}]: {problem.message}"
            raise

    tally = tally_for(progress, "answering", total)
    return _Answering(asked(), decoder, in_flight, callback, tally, on_error == "return").answers()


ON_ERROR = ("raise", "return")


class _Answering:
    """Runs decoders to their ends, `in_flight` at a time, and yields what comes out in the order of the prompts. The
    next prompt is drawn when there is room for it.

    What goes wrong takes the place of an answer, so that it comes after the answers before it. If it is to be raised
    there, no prompt is drawn from then on, and those behind it are given up.
    """

    def __init__(
        self,
        asked: Iterator[tuple[Any, Policy | None]],
        make: Callable[[int, Any, Policy | None], Decoder],
        in_flight: int,
        callback: OnStep | None,
        tally: Tally | None,
        returning: bool,
    ) -> None:
        self._asked: Iterator[tuple[int, tuple[Any, Policy | None]]] | None = enumerate(asked)
        self._make, self._in_flight, self._callback = make, in_flight, callback
        self._tally, self._returning = tally, returning
        self._working: dict[int, Decoder] = {}
        self._done: dict[int, Generation | Exception] = {}
        self._end: tuple[int, Exception] | None = None  # what the prompts raised, in place of the next one
        self._drawn = 0

    def answers(self) -> Iterator[Any]:
        following = 0  # the next to be yielded
        try:
            while True:
                self._draw()
                if self._working:
                    self._step()
                while following in self._done:
                    if self._tally is not None:
                        self._tally.wipe()  # whoever gets this may want to print it
                    result = self._done.pop(following)
                    if isinstance(result, Exception) and not self._returning:
                        raise result
                    yield result
                    following += 1
                if self._end is not None and self._end[0] == following:
                    raise self._end[1]
                if not self._working and self._asked is None:
                    return
        finally:
            if self._tally is not None:
                self._tally.wipe()
            for decoder in self._working.values():
                decoder.close()

    def _draw(self) -> None:
        for _ in range(self._in_flight - len(self._working)):
            if self._asked is None:
                return
            try:
                number, (prompt, policy) = next(self._asked)
            except StopIteration:
                self._asked = None
                return
            except Exception as problem:
                self._asked, self._end = None, (self._drawn, problem)
                return
            self._drawn += 1
            try:
                decoder = self._make(number, prompt, policy)
            except Exception as problem:
                self._fail(number, problem)
                continue
            self._working[number] = decoder
            if decoder.finished:  # nothing to fill
                self._leave(number)

    def _step(self) -> None:
        """One step of each, and what is to happen after it."""
        problems = step_each(self._working)
        for number, decoder in list(self._working.items()):
            if number not in self._working:  # given up: one before it has failed
                continue
            if number in problems:
                self._fail(number, problems[number])
                continue
            try:
                done = (self._callback is not None and stops(self._callback(decoder), "callback")) or decoder.finished
            except Exception as problem:
                self._fail(number, problem)
                continue
            if done:
                self._leave(number)
        if self._tally is not None:
            self._tally.show(self._working.values())

    def _leave(self, number: int) -> None:
        decoder = self._working.pop(number)
        result = decoder.result
        decoder.close()
        self._done[number] = result
        if self._tally is not None:
            self._tally.finished(result)

    def _fail(self, number: int, problem: Exception) -> None:
        decoder = self._working.pop(number, None)
        if decoder is not None:
            decoder.close()
        self._done[number] = problem
        if self._returning:
            # They hold the decoder's memory, for as long as somebody keeps the exception.
            clear_frames(problem.__traceback__)
        else:
            self._asked = None
            for later in [each for each in self._working if each > number]:
                self._working.pop(later).close()


def step_each(working: Mapping[int, Decoder]) -> dict[int, Exception]:
    """`step_many`, of which each takes part even if others fail. Returns what went wrong.

    Raises:
        Cancelled: One was cancelled. That asks for an end, and is nothing about a prompt.
    """
    problems: dict[int, Exception] = {}

    def rest(number: int, decoder: Decoder) -> None:
        try:
            decoder.step()
        except Cancelled:
            raise
        except Exception as problem:
            problems[number] = problem

    together = True
    try:
        with _held(working.values()) as (decoders, pointers):
            ready = [index for index, decoder in enumerate(decoders) if decoder.phase == "ready"]
            _forward([decoders[index] for index in ready], [pointers[index] for index in ready])
            for number, decoder in working.items():
                rest(number, decoder)
    except Cancelled:
        raise
    except Exception:
        together = False  # nobody has taken the rest of the step
    if not together:
        for number, decoder in working.items():
            rest(number, decoder)
    return problems
