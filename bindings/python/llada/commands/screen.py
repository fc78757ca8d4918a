"""An answer on a terminal, while it comes."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata

from ..progress import is_terminal

MASK = "░"
"""What stands for a masked position."""


class Screen:
    """Settled text as usual, and behind it, dim, the draft, which the next one replaces: in a terminal. Elsewhere,
    settled text alone."""

    def __init__(self) -> None:
        dumb = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
        self.terminal = is_terminal(sys.stdout) and not dumb
        self.columns, self.rows = shutil.get_terminal_size()
        self.column, self.wrapped = 0, False  # where settled text ends

    def show(self, settled: str, draft: str) -> None:
        """Shows what a TextStream gives."""
        if not self.terminal:
            print(settled, end="", flush=True)
            return
        text, _ = self._wrap(settled, None)
        before = self.column, self.wrapped
        behind, lines = self._wrap(draft, self.rows - 2)
        self.column, self.wrapped = before
        back = (f"\x1b[{lines}A" if lines else "") + f"\x1b[{self.column + 1}G"
        print(f"\x1b[J{text}\x1b[2m{behind}\x1b[m{back}", end="", flush=True)

    def wipe(self) -> None:
        """Leaves no draft behind."""
        if self.terminal:
            print("\x1b[J", end="", flush=True)

    def _wrap(self, text: str, most: int | None) -> tuple[str, int]:
        """Text with line breaks of ours at the terminal's edge, so that we know where the cursor is; and the lines it
        goes down. What a terminal would obey is shown, not sent."""
        shown: list[str] = []
        lines = 0
        for each in text:
            if each != "\n" and unicodedata.category(each) == "Cc":
                each = "·"
            width = 0 if unicodedata.category(each) in ("Mn", "Cf") else 1
            width = 2 if unicodedata.east_asian_width(each) in "WF" else width
            breaks = not self.wrapped if each == "\n" else self.column + width > self.columns
            if breaks and lines == most:
                break
            if breaks:
                shown, lines, self.column = [*shown, "\n"], lines + 1, 0
            self.wrapped = False
            if each != "\n":
                shown.append(each)
                self.column += width
            if self.column == self.columns and lines != most:
                shown, lines, self.column, self.wrapped = [*shown, "\n"], lines + 1, 0, True
        return "".join(shown), lines
