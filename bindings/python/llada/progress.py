"""A progress bar on stderr, for checkpoints that take a while to load."""

from __future__ import annotations

import sys
import time
from typing import Callable, TextIO, Union

Progress = Union[bool, Callable[[float], object], None]
"""None: a bar if stderr is a terminal. True, False: a bar, none. A function: called with the fraction, 0 to 1; it stops
the loading by returning True."""


class Bar:
    """Drawn only once loading has taken longer than `delay` seconds, and wiped at the end: short waits stay silent."""

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
            pass  # a stream that cannot show the bar is no reason not to load


def bar_for(progress: Progress, label: str) -> Bar | None:
    """The bar that `progress` asks for, if it asks for one."""
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    if progress is True:
        return Bar(label, delay=0.0) if sys.stderr is not None else None
    return Bar(label) if progress is None and on_terminal else None
