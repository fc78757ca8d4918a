"""The thread that denoises: one batch, which answers join and leave between steps."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from traceback import clear_frames

from ..errors import Error, InvalidArgumentError, OutOfMemoryError
from ..many import step_each
from ..model import Model
from .answering import Answering
from .fair import FairQueue
from .limits import Limits
from .meters import Meters
from .refusal import Refusal


def _stopping() -> Refusal:
    return Refusal("the server is stopping", 503, code="stopping")


class Scheduler:
    """Runs answers to their ends, so many at a time, in a thread of its own. They share a prefix cache.

    Where the memory for keys and values does not suffice for all that run, the youngest is put aside until another one
    has ended. Other threads may call `submit`, `drop`, `retry_after`, `is_well` and `close`.
    """

    def __init__(self, model: Model, limits: Limits, meters: Meters) -> None:
        self._model, self._limits, self._meters = model, limits, meters
        self._cache = model.prefix_cache(limits.cache_bytes)
        self._changed = threading.Condition()
        self._queue: FairQueue[Answering] = FairQueue()  # held under `_changed`, and so is the next
        self._stopping = False
        self._running: list[Answering] = []  # this, and what follows, is the thread's alone; in the order of joining
        self._aside: list[Answering] = []
        self._is_full = False
        self._pace, self._left = 0.1, time.monotonic()  # seconds between two ends, on average; the last of them
        self._thread = threading.Thread(target=self._work, name="llada.serve", daemon=True)

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    def submit(self, answers: Sequence[Answering]) -> None:
        """Puts answers into their client's line.

        Raises:
            Refusal: The server is stopping.
        """
        with self._changed:
            if self._stopping or not self._thread.is_alive():
                raise _stopping()
            for answer in answers:
                self._queue.add(answer.client, answer)
            self._changed.notify()

    def drop(self, answers: Sequence[Answering]) -> None:
        """Nobody wants these any more, if they have not ended: their decoders go before the next step."""
        with self._changed:
            for answer in answers:
                answer.gone = True
                self._queue.remove(answer.client, answer)
            self._changed.notify()

    def retry_after(self) -> int:
        """In how many seconds there may be room for another one."""
        with self._changed:
            waiting = len(self._queue)
        return max(1, min(60, math.ceil(self._pace * (waiting + 1) / 2)))

    @property
    def is_well(self) -> bool:
        """Whether the thread is at work, or waits for some."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Takes no more, and waits until all have ended or were dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    # -- The thread

    def _work(self) -> None:
        problem = _stopping()
        try:
            while self._wait():
                self._leave()
                self._join()
                self._step()
        except BaseException:
            problem = Refusal("the server has failed", 500)
            raise
        finally:
            with self._changed:
                self._stopping = True
                rest = [*self._running, *self._aside, *self._queue]
            for answer in rest:
                answer.close()
                answer.fail(problem)
            self._cache.close()

    def _wait(self) -> bool:
        """Until there is something to do. Returns whether there is."""
        with self._changed:
            while not (self._queue or self._running or self._aside or self._stopping):
                self._meters.running.set(0)
                self._meters.waiting.set(0)
                self._changed.wait()
                self._left = time.monotonic()  # the time without work says nothing about the pace
            return bool(self._queue or self._running or self._aside)

    def _leave(self) -> None:
        """Those whom nobody wants go, and those whose time is over."""
        for answer in [*self._running, *self._aside]:
            if answer.gone or answer.is_late:
                self._end(answer)
                if not answer.gone:
                    answer.fail(self._late())
        with self._changed:
            late = [answer for answer in self._queue if answer.is_late]
            for answer in late:
                self._queue.remove(answer.client, answer)
        for answer in late:
            answer.fail(self._late())

    def _late(self) -> Refusal:
        return Refusal(f"the answer took longer than {self._limits.seconds:g} seconds", 504, code="timeout")

    def _end(self, answer: Answering) -> None:
        """An answer leaves, and there is room for another one."""
        answer.close()
        self._running = [each for each in self._running if each is not answer]
        self._aside = [each for each in self._aside if each is not answer]
        self._is_full = False
        now = time.monotonic()
        self._pace, self._left = 0.9 * self._pace + 0.1 * min(now - self._left, 60.0), now

    def _join(self) -> None:
        for answer in self._running:
            if answer.decoder is None:  # the next piece of its prompt
                self._start(answer)
        while len(self._running) < self._limits.running and not self._is_full:
            joining = self._next()
            if joining is None:
                break
            if self._start(joining):
                self._running.append(joining)
        with self._changed:
            waiting = len(self._queue)
        self._meters.running.set(len(self._running))
        self._meters.waiting.set(waiting + len(self._aside))

    def _start(self, answer: Answering) -> bool:
        """Whether it could be. Else it is put aside until there is room, or refused."""
        try:
            answer.start(self._model, self._cache, self._limits.piece_tokens)
            return True
        except Exception as problem:
            self._end(answer)
            if isinstance(problem, OutOfMemoryError) and self._running:
                self._aside.insert(0, answer)
                self._is_full = True
            else:
                self._refuse(answer, problem)
            return False

    def _next(self) -> Answering | None:
        if self._aside:
            return self._aside.pop(0)
        at_work = Counter(answer.client for answer in self._running)
        with self._changed:
            return self._queue.take(at_work.__getitem__) if self._queue else None

    def _step(self) -> None:
        turn = self._turn()
        if not turn:
            return
        started = time.monotonic()
        problems = step_each({index: answer.decoder for index, answer in enumerate(turn) if answer.decoder is not None})
        short: list[tuple[Answering, Exception]] = []
        ended = False
        for index, answer in enumerate(turn):
            was_reading, problem = answer.is_reading, problems.get(index)
            if problem is not None:
                clear_frames(problem.__traceback__)  # they hold the decoder's memory
                if isinstance(problem, OutOfMemoryError):
                    short.append((answer, problem))
                else:
                    self._end(answer)
                    self._refuse(answer, problem)
                continue
            done = answer.stepped()
            if was_reading and not answer.is_reading:
                self._follow(answer)
            if done:
                ended = True
                self._end(answer)
        if short and not ended:
            self._make_room(*short[0])
        self._meters.step.observe(time.monotonic() - started)
        self._meters.batch.observe(len(turn))
        info = self._cache.info
        self._meters.cache.set(info.bytes)
        self._meters.evicted.set(info.evicted_blocks)

    def _turn(self) -> list[Answering]:
        """Who takes part in the next step: all, but of those whose prompts are being read only as many as a step is to
        read, and one at least."""
        room, turn = self._limits.piece_tokens, []
        for answer in self._running:
            if answer.is_reading and answer.decoder is not None:
                if room <= 0:
                    continue
                room -= min(answer.decoder.prompt_length, self._limits.piece_tokens)
            turn.append(answer)
        return turn

    def _follow(self, answer: Answering) -> None:
        """The prompt of an answer has been read: those with the same one find it in the cache."""
        with self._changed:
            for follower in answer.followers:
                if not follower.gone:
                    self._queue.add(follower.client, follower)

    def _make_room(self, answer: Answering, problem: Exception) -> None:
        """There is no memory for an answer's keys and values: the youngest gives its own."""
        if len(self._running) == 1:
            self._end(answer)
            self._refuse(answer, problem)
            return
        youngest = self._running.pop()
        youngest.put_aside()
        self._aside.insert(0, youngest)
        self._is_full = True
        self._meters.aside.inc()

    def _refuse(self, answer: Answering, problem: Exception) -> None:
        """Tells what became of an answer. Its request has ended."""
        if isinstance(problem, OutOfMemoryError):
            answer.fail(Refusal(f"there is not enough memory for this answer: {problem}", 503, code="out_of_memory"))
        elif isinstance(problem, InvalidArgumentError):
            answer.fail(Refusal(str(problem)))
        else:
            kind = "" if isinstance(problem, Error) else f"{type(problem).__name__}: "
            answer.fail(Refusal(f"the answer failed: {kind}{problem}", 500))
