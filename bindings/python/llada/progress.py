"""Progress bars on stderr: for checkpoints that take a while to load or to save, and for many prompts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sized
from types import TracebackType
from typing import Any, Callable, Protocol, TextIO, Union

from . import _abi
from .stopping import CCallback, Stop

Progress = Union[bool, Callable[[float], Union[Stop, None]], None]
"""None: a bar if stderr is a terminal. True, False: a bar, none. A function: called with the fraction that is done, 0
to 1; it stops the work by raising, or by returning llada.STOP."""


class Bar:
    """Drawn only once the work has taken longer than `delay` seconds, and wiped at the end: short waits stay silent."""

    def __init__(self, label: str, stream: TextIO | None = None, delay: float = 0.5, width: int = 30) -> None:
        self.label, self.delay, self.width = label, delay, width
        self.stream = sys.stderr if stream is None else stream
        self.started = time.monotonic()
        self.drawn = ""

    def __call__(self, fraction: float) -> None:
        self.draw(f"{self.label} {self.filled(fraction)} {fraction:4.0%}")

    def filled(self, fraction: float) -> str:
        """So much of a bar."""
        full = int(fraction * self.width)
        return "█" * full + "░" * (self.width - full)

    def draw(self, line: str) -> None:
        """Draws a line over the one before."""
        if line != self.drawn and time.monotonic() - self.started >= self.delay:
            self._write("\r" + line.ljust(len(self.drawn)))
            self.drawn = line

    def wipe(self) -> None:
        """Leaves the line empty."""
        if self.drawn:
            self._write("\r" + " " * len(self.drawn) + "\r")
            self.drawn = ""

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (AttributeError, UnicodeError, ValueError, OSError):
            pass  # a stream that cannot show the bar is no reason to fail


class Answer(Protocol):
    """What a Tally counts: a Generation."""

    @property
    def tokens(self) -> Sized: ...
    @property
    def forwards(self) -> int: ...


class Working(Protocol):
    """What a Tally looks at: a Decoder."""

    @property
    def settled_length(self) -> int: ...
    @property
    def prompt_length(self) -> int: ...
    @property
    def forwards(self) -> int: ...


class Tally(Bar):
    """How many of several answers are there, of how many if that is known, and how fast they come."""

    def __init__(self, label: str, total: int | None = None, **options: Any) -> None:
        super().__init__(label, **options)
        self.total = total
        self.shown = 0.0
        self.answers = self.tokens = self.forwards = 0

    def finished(self, answer: Answer) -> None:
        """Counts one more."""
        self.answers += 1
        self.tokens += len(answer.tokens)
        self.forwards += answer.forwards

    def show(self, working: Iterable[Working]) -> None:
        """With what is settled of those that are at work. Asked after every step, drawn ten times a second."""
        now = time.monotonic()
        if self.drawn and now < self.shown + 0.1:
            return
        self.shown = now
        tokens, forwards = self.tokens, self.forwards
        for decoder in working:
            tokens += max(0, decoder.settled_length - decoder.prompt_length)
            forwards += decoder.forwards
        count = f"{self.answers}" if self.total is None else f"{self.answers}/{self.total}"
        bar = "" if not self.total else self.filled(min(1, self.answers / self.total)) + " "
        rate = tokens / max(now - self.started, 1e-9)
        self.draw(f"{self.label} {bar}{count}, {rate:.0f} tokens/s, {tokens / max(forwards, 1):.2f} per forward")


def is_terminal(stream: Any) -> bool:
    """Whether somebody sees it. A stream may be None, closed, or an object that has `write` and little else."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError, OSError):
        return False


def _delay(progress: Progress) -> float | None:
    """After how many seconds a bar is drawn; None: there is none."""
    if sys.stderr is None or callable(progress):
        return None
    return 0.0 if progress is True else 0.5 if progress is None and is_terminal(sys.stderr) else None


def bar_for(progress: Progress, label: str) -> Bar | None:
    """The bar that `progress` asks for, if it asks for one."""
    delay = _delay(progress)
    return None if delay is None else Bar(label, delay=delay)


def tally_for(progress: bool | None, label: str, total: int | None) -> Tally | None:
    """The same for a Tally."""
    delay = _delay(progress)
    return None if delay is None else Tally(label, total, delay=delay)


class Reporting:
    """The callback to pass to the library, which reports as `progress` wants it: a context manager, to be entered
    around the call. What the callback raises is raised here."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._bar = bar_for(progress, label)
        # Given to the library even when nobody asked for progress: it is there that Ctrl-C gets its chance.
        report = progress if callable(progress) else self._bar or (lambda fraction: None)
        self._callback = CCallback(_abi.ProgressCallback, report, "progress")

    def __enter__(self) -> Any:
        return self._callback.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.wipe()
        self._callback.__exit__(kind, problem, traceback)
