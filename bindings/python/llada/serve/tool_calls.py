"""Calls of tools, found in an answer's text as the chat layout has them (spec: text.md, section 5.1)."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from .stops import Stops

# With the line feed that the layout puts before a call, and without.
_BEGINNINGS, _END = ("\n<tool_call>", "<tool_call>"), "</tool_call>"
_MARKS = re.compile(r'\\.|["\x00-\x1f]')


class ToolCall(NamedTuple):
    """A function's name, and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCalls:
    """Divides settled text into what is said and what is called. A call that is none, by its JSON, stays text."""

    def __init__(self) -> None:
        self._said = Stops(_BEGINNINGS)
        self._call: str | None = None  # the text of the call that has begun

    def push(self, text: str) -> tuple[str, list[ToolCall]]:
        """Takes settled text; returns what of it is said, and the calls that it completes."""
        said, calls = "", []
        while text:
            if self._call is None:
                said += self._said.push(text)
                if not self._said.stopped:
                    break
                self._call, text = "", self._said.rest
            self._call += text
            place = self._end()
            if place < 0:
                break
            inside, text = self._call[:place], self._call[place + len(_END) :]
            call = _parsed(inside)
            if call is None:
                said += self._said.word + inside + _END
            else:
                calls.append(call)
            self._said, self._call = Stops(_BEGINNINGS), None
        return said, calls

    def _end(self) -> int:
        """Where the end of the call that has begun stands, which is in no string of its JSON; -1 if it has not come."""
        assert self._call is not None
        place = self._call.find(_END)
        while place >= 0 and _ends_in_string(self._call[:place]):
            place = self._call.find(_END, place + len(_END))
        return place

    def finish(self) -> str:
        """At the end: what was held back, or a call that was not finished."""
        return self._said.finish() if self._call is None else self._said.word + self._call


def _ends_in_string(text: str) -> bool:
    """Whether the beginning of a JSON text ends within a string. No string goes on behind a control character."""
    inside = False
    for mark in _MARKS.findall(text):
        inside = not inside if mark == '"' else inside and mark[0] == "\\"
    return inside


def _parsed(text: str) -> ToolCall | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", {})
    return ToolCall(value["name"], arguments if isinstance(arguments, str) else json.dumps(arguments))
