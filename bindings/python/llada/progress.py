"""A progress bar on stderr, for checkpoints that take a while to load or to save."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterator, TextIO, Union

from . import _abi
from .errors import Stopped

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
        if time.monotonic() - self.started < self.delay:
            return
        full = int(fraction * self.width)
        line = f"{self.label} {'█' * full}{'░' * (self.width - full)} {fraction:4.0%}"
        if line != self.drawn:
            self._write("\r" + line)
            self.drawn = line

    def close(self) -> None:
        if self.drawn:
            self._write("\r" + " " * len(self.drawn) + "\r")

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (UnicodeError, ValueError, OSError):
            pass  # a stream that cannot show the bar is no reason to fail


def bar_for(progress: Progress, label: str) -> Bar | None:
    """The bar that `progress` asks for, if it asks for one."""
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    if progress is True:
        return Bar(label, delay=0.0) if sys.stderr is not None else None
    return Bar(label) if progress is None and on_terminal else None


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
            bar.close()
