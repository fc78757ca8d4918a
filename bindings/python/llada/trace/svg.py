"""A trace as an SVG that moves: shown by browsers, and by pages that allow pictures only."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..drawing import columns as text_columns
from ..drawing import printable
from ..records import Event
from .film import Frame, frames, reader, shown
from .recording import Recording

_CELL, _LINE = 8.4, 24.0  # a column, and a line, in pixels
_INK, _PALE, _MASK, _EDIT, _HOST = "#1f2328", "#59636e", "#dfe4e9", "#d9480f", "#8f3d76"
_GAP, _IN, _OUT = "#8fd3dc", "#0a7d8c", "#c62828"
_LINES = {"replace": _EDIT, "insert": _IN, "delete": _OUT}
_UNSURE, _SURE = (230, 120, 0), (0, 114, 178)


class _Look(NamedTuple):
    """How a position is drawn for some frames in a row."""

    text: str  # none: a mask
    fill: str | None
    line: str | None  # under it


def svg(trace: Recording, seconds: float = 0.9, width: int = 88, hold: float = 3.0) -> str:
    """`seconds` a forward, `width` columns, and `hold` seconds at the end before it begins again."""
    text, film = reader(trace), list(frames(trace))
    places = _answer(trace, film[-1])
    last_events = [frame.changes for frame in film]
    looks = {
        place: [_look(trace, frame, place, text, changes.get(place)) for frame, changes in zip(film, last_events)]
        for place in places
    }
    times = [index * seconds for index in range(len(film))] + [len(film) * seconds + hold]
    # A cell is as wide as the widest text that stands in it: nothing moves but what is written.
    column, line, parts = 0, 1, []
    for place in places:
        wide = max(1, *(text_columns(look.text) for look in looks[place]))
        if column and column + wide > width:
            column, line = 0, line + 1
        x, y = 12 + column * _CELL, 34 + line * _LINE
        for look, first, last in _runs(looks[place]):
            parts.append(_cell(look, x, y, wide, _shown(times, first, last)))
        column += wide
    for index, frame in enumerate(film):
        shown_then = _shown(times, index, index + 1)
        parts.append(f'<g>{shown_then}<text x="12" y="28" fill="{_PALE}">{_escape(frame.counters())}</text></g>')
    high, broad = 34 + line * _LINE + 18, 24 + width * _CELL
    # An answer that is read by someone who cannot see it.
    spoken = "".join(text(film[-1].canvas[place]) for place in places)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {broad:g} {high:g}" width="{broad:g}" height="{high:g}" '
        f'font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" xml:space="preserve">'
        f"<title>{_escape(spoken)}</title>"
        f'<rect width="100%" height="100%" rx="6" fill="#ffffff" stroke="#d1d9e0"/>{"".join(parts)}</svg>\n'
    )


def _answer(trace: Recording, last: Frame) -> list[int]:
    """Up to the end of the text, which is drawn once."""
    places = shown(trace)
    end = trace.start.model.get("eos_token_id")
    ends = [place for place in places if last.canvas[place] == end]
    return list(range(places.start, min(ends, default=places.stop - 1) + 1))


def _look(trace: Recording, frame: Frame, place: int, text: Callable[[int], str], change: Event | None) -> _Look:
    kind = change.kind if change is not None else ""
    if frame.canvas[place] == trace.start.mask_token_id:
        return _Look("", _GAP if kind == "insert" else _MASK, None)
    line = _LINES.get(kind) or (_HOST if frame.reasons[place] == "host" else None)
    sure = frame.sure[place]
    share = 0.0 if np.isnan(sure) else round(float(sure) ** 2 * 8) / 8  # few colours make few elements
    colour = tuple(round(low + (high - low) * share) for low, high in zip(_UNSURE, _SURE))
    fill = None if np.isnan(sure) else f"rgba({colour[0]},{colour[1]},{colour[2]},{0.5 - 0.3 * share:.2g})"
    return _Look(printable(text(frame.canvas[place]).replace("\n", "⏎")), fill, line)


def _runs(looks: Sequence[_Look]) -> list[tuple[_Look, int, int]]:
    runs: list[tuple[_Look, int, int]] = []
    for index, look in enumerate(looks):
        if runs and runs[-1][0] == look:
            runs[-1] = (look, runs[-1][1], index + 1)
        else:
            runs.append((look, index, index + 1))
    return runs


def _shown(times: Sequence[float], first: int, last: int) -> str:
    """From one time to another, again and again. Nothing for what is always there."""
    if first == 0 and last == len(times) - 1:
        return ""
    whole = times[-1]
    begin, end = times[first] / whole, (times[last] if last < len(times) - 1 else whole) / whole
    points = [(0.0, int(first == 0)), *([(begin, 1)] if first else []), *([(end, 0)] if end < 1 else [])]
    values, keys = ";".join(str(value) for _, value in points), ";".join(f"{time:.4g}" for time, _ in points)
    return (
        f'<animate attributeName="opacity" values="{values}" keyTimes="{keys}" calcMode="discrete" dur="{whole:g}s" '
        'repeatCount="indefinite"/>'
    )


def _cell(look: _Look, x: float, y: float, room: int, animation: str) -> str:
    if not look.text:
        mask = (
            f'<rect x="{x + 1:g}" y="{y - 15:g}" width="{room * _CELL - 2:g}" height="19" rx="3" fill="{look.fill}"/>'
        )
        return f"<g>{animation}{mask}</g>"
    wide = text_columns(look.text) * _CELL
    # Without the spaces at its ends, which not everyone keeps.
    word = look.text.strip()
    inner, left = (
        text_columns(word) * _CELL,
        text_columns(look.text[: len(look.text) - len(look.text.lstrip())]) * _CELL,
    )
    box = f'<rect x="{x:g}" y="{y - 16:g}" width="{wide:g}" height="21" fill="{look.fill}"/>' if look.fill else ""
    under = f'<rect x="{x:g}" y="{y + 4:g}" width="{wide:g}" height="2.5" fill="{look.line}"/>' if look.line else ""
    bold = ' font-weight="bold"' if look.line else ""
    if word:
        start = f'<text x="{x + left:g}" y="{y:g}" fill="{_INK}"{bold} textLength="{inner:g}">'
        word = f"{start}{_escape(word)}</text>"
    return f"<g>{animation}{box}{under}{word}</g>"


def _escape(text: str) -> str:
    return html.escape(printable(text), quote=False)
