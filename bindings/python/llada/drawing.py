"""The canvas as a picture: for terminals and for notebooks."""

from __future__ import annotations

import html as escaping
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._convert import Tokens
from .records import Event, State


class Span(NamedTuple):
    """A stretch of the canvas: "prompt", "token", "mask"; what the last step did there: "unmask", "replace", "host",
    "insert" (it came in), "gap" (a mask that came in), "delete" (something went before it); or, of a token, how sure
    the model is of it: see `level`."""

    kind: str
    text: str


# Orange is unsure, blue is sure: apart for every kind of eye.
_LEVELS = (
    ("sure0", 0.5, 208, "#b35900"),
    ("sure1", 0.8, 215, "#8a6d3b"),
    ("sure2", 0.95, 250, "#777"),
    ("sure3", 0.99, 117, "#2f7fb5"),
    ("sure4", 2.0, 75, "#0b5a94"),
)
_ANSI = {
    "prompt": "\x1b[2m",
    "token": "",
    "mask": "\x1b[2m",
    "unmask": "\x1b[32m",
    "replace": "\x1b[1;33m",
    "host": "\x1b[1;7;35m",
    "insert": "\x1b[1;4;36m",
    "gap": "\x1b[1;36m",
    "delete": "\x1b[4;31m",
    **{name: f"\x1b[38;5;{code}m" for name, _, code, _ in _LEVELS},
}
_CSS = {
    "prompt": "color:#888",
    "token": "",
    "mask": "color:#bbb",
    "unmask": "background:#cfc;color:#000",
    "replace": "background:#fd8;color:#000",
    "host": "background:#e9c8dd;color:#000",
    "insert": "background:#bfe8ee;color:#000;border-bottom:2px solid #0a7d8c",
    "gap": "color:#0a7d8c;font-weight:bold",
    "delete": "border-left:3px solid #c62828",
    **{name: f"color:{css}" for name, _, _, css in _LEVELS},
}
_MASK = "░"


def level(confidence: float) -> str:
    """The kind of a token that the model gives this probability."""
    return next(name for name, below, _, _ in _LEVELS if confidence < below)


def changes(events: Iterable[Event], length: int, mask: int) -> dict[int, Event]:
    """What the events of a step did, by the position where it is seen afterwards: the last change of each, and where
    the text has closed up over a token, its deletion."""
    found: list[Event | None] = [None] * length
    for event in events:
        if event.moves:
            event.move(found, event if event.kind == "insert" else None)
            if event.kind == "delete" and event.old != mask and event.last > event.position:
                found[event.position] = found[event.position] or event
        else:
            found[event.position] = event
    return {place: event for place, event in enumerate(found) if event is not None}


def kinds(states: NDArray[np.uint8], changed: Mapping[int, str]) -> list[str]:
    """Of each position, as a Span has it. `changed`: what the last step did where."""
    names = {State.PROMPT: "prompt", State.MASKED: "mask"}
    return [
        ("gap" if changed.get(place) == "insert" else "mask")
        if state == State.MASKED
        else changed.get(place) or names.get(State(state), "token")
        for place, state in enumerate(states)
    ]


def add_confidences(kinds: list[str], canvas: Tokens, predictions: Tokens, confidences: NDArray[np.float32]) -> None:
    """Where a token stands that the model would predict: how sure it is of it."""
    for place in np.flatnonzero(predictions == canvas):
        if kinds[place] == "token":
            kinds[place] = level(float(confidences[place]))


def spans(canvas: Any, kinds: Sequence[str], decode: Callable[[Any], str] | None) -> list[Span]:
    """The canvas in stretches of one kind; without `decode` tokens are shown as numbers."""
    result = []
    for kind, group in groupby(range(len(canvas)), key=kinds.__getitem__):
        places = list(group)
        ids = canvas[places[0] : places[-1] + 1]
        if kind in ("mask", "gap"):
            text = _MASK * len(places)
        else:
            text = decode(ids) if decode else "".join(f"{token} " for token in ids)
        result.append(Span(kind, text))
    return result


def lines(parts: Sequence[Span], width: int, color: bool) -> list[str]:
    """The spans wrapped to `width` columns, in colour with ANSI codes, each line complete in itself."""
    result, column, style = [""], 0, ""
    for kind, character in _characters(parts):
        width_here = _columns(character)
        if character == "\n" or column + width_here > max(width, 2):
            result[-1] += "\x1b[0m" if style else ""
            result.append("")
            column, style = 0, ""
            if character == "\n":
                continue
        wanted = _ANSI[kind] if color else ""
        if wanted != style:
            result[-1] += ("\x1b[0m" if style else "") + wanted
            style = wanted
        result[-1] += character
        column += width_here
    result[-1] += "\x1b[0m" if style else ""
    return result


def html(parts: Sequence[Span], caption: str) -> str:
    body = "".join(f'<span style="{_CSS[kind]}">{escaping.escape(text)}</span>' for kind, text in parts)
    return f'<pre style="white-space:pre-wrap">{body}</pre><small>{escaping.escape(caption)}</small>'


def printable(text: str) -> str:
    """A model can write escape sequences; a terminal should not obey them, and no picture can show them."""
    return "".join("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") and c != "\n" else c for c in text)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(map(_columns, text))


def _characters(parts: Sequence[Span]) -> Iterator[tuple[str, str]]:
    for kind, text in parts:
        for character in printable(text.replace("\r\n", "\n").replace("\t", "    ")):
            yield kind, character


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
