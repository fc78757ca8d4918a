"""A trace in the terminal: drawn again and again where there is one, a line for each forward where there is none."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

import numpy as np

from .. import drawing
from ..progress import is_terminal
from ..records import Event
from .film import END, MASK, Frame, edit_texts, frames, reader, shown
from .recording import Recording


def play(trace: Recording, delay: float = 0.4, stream: TextIO | None = None, width: int | None = None) -> None:
    stream = sys.stdout if stream is None else stream
    if not is_terminal(stream):
        for frame in frames(trace):
            stream.write(writable(plain(trace, frame, width or 100), stream) + "\n")
        return
    columns, rows = shutil.get_terminal_size()
    columns = columns if width is None else min(columns, width)
    drawn = 0
    for number, frame in enumerate(frames(trace)):
        if number:
            time.sleep(delay)
        picture = coloured(trace, frame, columns)
        picture = [picture[0], *picture[1:][-(rows - 2) :]]  # what has scrolled away cannot be drawn again
        lines = "".join(f"{writable(line, stream)}\x1b[K\n" for line in picture)
        stream.write((f"\x1b[{drawn}A\r" if drawn else "") + lines + "\x1b[J")
        stream.flush()
        drawn = len(picture)


_PLAIN_SIGNS = str.maketrans({MASK: "_", END: "#", "·": "|", "→": "->"})


def writable(text: str, stream: TextIO) -> str:
    """The text in characters that the stream's encoding has."""
    encoding = stream.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAIN_SIGNS).encode(encoding, "backslashreplace").decode(encoding)
    return text


def plain(trace: Recording, frame: Frame, width: int) -> str:
    """The forward's number, the answer with its masks, and what was edited."""
    text, places = reader(trace), shown(trace)
    answer = drawing.Span("token", "".join(text(frame.canvas[place]) for place in places).rstrip(END))
    lines = drawing.lines([answer], width - 6, False)
    edits = drawing.Span("token", "   ".join(edit_texts(frame, text, places)))
    lines += [f"    {line}" for line in drawing.lines([edits], width - 10, False) if line]
    return "\n".join(f"{frame.forwards if not index else '':>4}  {line}".rstrip() for index, line in enumerate(lines))


def coloured(trace: Recording, frame: Frame, width: int) -> list[str]:
    text, places, changes = reader(trace), shown(trace), frame.changes
    spans = (
        [drawing.Span("prompt", "".join(text(token) for token in frame.canvas[: places.start]))] if places.start else []
    )
    for place in places:
        spans.append(drawing.Span(kind(trace, frame, place, changes.get(place)), text(frame.canvas[place])))
    edits = drawing.Span("prompt", "   ".join(edit_texts(frame, text, places)))
    counters = drawing.lines([drawing.Span("prompt", frame.counters())], width, True)[0]
    return [counters, *drawing.lines(spans, width, True), *drawing.lines([edits], width, True)]


def kind(trace: Recording, frame: Frame, place: int, change: Event | None) -> str:
    """How a position is drawn: what happened to it, else how sure the model is of it."""
    if frame.canvas[place] == trace.start.mask_token_id:
        return "gap" if change is not None and change.kind == "insert" else "mask"
    if change is not None and change.moves:
        return change.kind
    if change is not None and (change.kind == "replace" or change.reason == "host"):
        return "replace" if change.kind == "replace" else "host"
    return "token" if np.isnan(frame.sure[place]) else drawing.level(frame.sure[place])
