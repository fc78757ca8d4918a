"""The canvas as a picture: for terminals and for notebooks."""

from __future__ import annotations

import html as escaping
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple


class Span(NamedTuple):
    """A stretch of the canvas: "prompt", "token", "mask", or what the last step did there: "unmask", "replace"."""

    kind: str
    text: str


_ANSI = {"prompt": "\x1b[2m", "token": "", "mask": "\x1b[2m", "unmask": "\x1b[32m", "replace": "\x1b[1;33m"}
_CSS = {
    "prompt": "color:#888", "token": "", "mask": "color:#bbb", "unmask": "background:#cfc;color:#000",
    "replace": "background:#fd8;color:#000",
}
_MASK = "░"


def spans(canvas: Any, kinds: Sequence[str], decode: Callable[[Any], str] | None) -> list[Span]:
    """The canvas in stretches of one kind; without `decode` tokens are shown as numbers."""
    result = []
    for kind, group in groupby(range(len(canvas)), key=kinds.__getitem__):
        places = list(group)
        ids = canvas[places[0] : places[-1] + 1]
        if kind == "mask":
            text = _MASK * len(places)
        else:
            text = decode(ids) if decode else "".join(f"{token} " for token in ids)
        result.append(Span(kind, text))
    return result


def lines(parts: Sequence[Span], width: int, color: bool) -> list[str]:
    """The spans wrapped to `width` columns, in colour with ANSI codes, each line complete in itself."""
    result, column, style = [""], 0, ""
    for kind, character in _characters(parts):
        columns = _columns(character)
        if character == "\n" or column + columns > max(width, 2):
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
        column += columns
    result[-1] += "\x1b[0m" if style else ""
    return result


def html(parts: Sequence[Span], caption: str) -> str:
    body = "".join(f'<span style="{_CSS[kind]}">{escaping.escape(text)}</span>' for kind, text in parts)
    return f'<pre style="white-space:pre-wrap">{body}</pre><small>{escaping.escape(caption)}</small>'


def _characters(parts: Sequence[Span]) -> Iterator[tuple[str, str]]:
    for kind, text in parts:
        for character in text.replace("\r\n", "\n").replace("\t", "    "):
            # A model can write escape sequences; a terminal should not obey them.
            printable = character == "\n" or unicodedata.category(character) not in ("Cc", "Cs")
            yield kind, character if printable else "\ufffd"


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
