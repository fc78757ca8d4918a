"""Progress bars on stderr: for checkpoints that take a while to load or to save, and for many prompts."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Callable, Iterator, TextIO, Union

from . import _abi
from .errors import Stopped

if TYPE_CHECKING:
    from .decoder import Decoder
    from .records import Generation

Progress = Union[bool, Callable[[float], object], None]
"""None: a bar if stderr is a terminal. True, False: a bar, none. A function: called with the fraction, 0 to 1; it stops
the work by returning True."""


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
        full = int(fraction * self.width)
        return "█" * full + "░" * (self.width - full)

    def draw(self, line: str) -> None:
        if line != self.drawn and time.monotonic() - self.started >= self.delay:
            self._write("\r" + line.ljust(len(self.drawn)))
            self.drawn = line

    def wipe(self) -> None:
        if self.drawn:
            self._write("\r" + " " * len(self.drawn) + "\r")
            self.drawn = ""

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (UnicodeError, ValueError, OSError):
            pass  # a stream that cannot show the bar is no reason to fail


class Tally(Bar):
    """How many of several answers are there, of how many if that is known, and how fast they come."""

    def __init__(self, label: str, total: int | None = None, **options: Any) -> None:
        super().__init__(label, **options)
        self.total = total
        self.shown = 0.0
        self.answers = self.tokens = self.forwards = 0

    def finished(self, answer: Generation) -> None:
        self.answers += 1
        self.tokens += len(answer.tokens)
        self.forwards += answer.forwards

    def show(self, working: Iterable[Decoder]) -> None:
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


def bar_for(progress: Progress, label: str, kind: type[Bar] = Bar, **options: Any) -> Any:
    """The bar that `progress` asks for, or None."""
    if sys.stderr is None:
        return None
    if progress is True:
        return kind(label, delay=0.0, **options)
    return kind(label, **options) if progress is None and sys.stderr.isatty() else None


@contextmanager
def reporting(progress: Progress, label: str) -> Iterator[Any]:
    """The callback to pass to the library, which reports as `progress` wants it. What that raises is raised here."""
    bar = bar_for(progress, label)
    report: Callable[[float], object] = progress if callable(progress) else bar or (lambda fraction: None)
    raised: list[BaseException] = []

    # Set even when nobody asked for progress: it is here that Ctrl-C gets its chance.
    @_abi.ProgressCallback
    def on_progress(fraction: float, _: Any) -> int:
        try:
            return int(report(fraction) is True)
        except BaseException as problem:  # no exception may cross C; it goes on below
            raised.append(problem)
            return 1

    try:
        yield on_progress
    except Stopped:
        if raised:
            raise raised[0] from None
        raise
    finally:
        if bar is not None:
            bar.wipe()
