"""How a callback stops the work that calls it: by raising, or by returning STOP."""

from __future__ import annotations

from collections.abc import Generator
from enum import Enum
from functools import partial
from types import TracebackType
from typing import Any, Callable, Final

from .errors import Stopped


class Stop(Enum):
    """The type of STOP, which is its only value."""

    STOP = "STOP"

    def __repr__(self) -> str:
        return "llada.STOP"


STOP: Final = Stop.STOP
"""What a callback returns to stop the work that calls it. To go on, it returns None."""


def stops(answer: object, name: str) -> bool:
    """Whether a callback's answer stops the work. Raises TypeError for what is neither STOP nor None."""
    if answer is not None and answer is not STOP:
        raise TypeError(f"{name} must return None to go on, or llada.STOP to stop, not {answer!r}")
    return answer is STOP


class _Sender:
    """`sender ** x` is `send(x)`."""

    __slots__ = ("__pow__",)

    def __init__(self, send: Callable[[Any], int]) -> None:
        self.__pow__ = send


class CCallback:
    """A function of Python's as a callback of the library: a context manager, to be entered around the call. Or the
    library keeps it for many calls: after one that was stopped comes `raise_again`.

    The function is given the first argument of C's; the second, `user`, must be NULL. What it raises stops the work,
    and is raised in place of Stopped when the call has returned. So is Ctrl-C, which can come at any of its calls.
    """

    def __init__(self, kind: Callable[[Callable[..., int]], Any], function: Callable[[Any], object], name: str) -> None:
        self._raised: BaseException | None = None
        # CPython raises KeyboardInterrupt where it enters a function, before the function's own `try`, and ctypes can
        # but print it there. A generator is entered inside its `try`. It takes one argument of the two that C has:
        # pow(sender, x, None) is sender ** x.
        self._answers = self._answering(function, name)
        next(self._answers)
        self.callback = kind(partial(pow, _Sender(self._answers.send)))

    def _answering(self, function: Callable[[Any], object], name: str) -> Generator[int, Any, None]:
        answer, asked = 0, False
        while True:
            try:
                argument, asked = (yield answer), True
                answer = int(stops(function(argument), name))
            except BaseException as problem:  # it must not cross C
                if isinstance(problem, GeneratorExit) and not asked:
                    return  # the end of the callback
                self._raised = problem
                answer = 1
            asked = False

    def __enter__(self) -> Any:
        return self.callback

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._answers.close()
        del self.callback  # a cycle: it refers to the generator, and that to this object
        if isinstance(problem, Stopped):
            self.raise_again()

    def raise_again(self) -> None:
        """Raises what stopped the work, if that was raised here."""
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised from None
