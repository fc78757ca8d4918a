"""Calls of tools, found in an answer's text as the chat layout has them (spec: text.md, section 5.1)."""

from __future__ import annotations

import json
from typing import NamedTuple

from .stops import Stops

# With the line feed that the layout puts before a call, and without.
_BEGINNINGS, _END = ("\n<tool_call>", "<tool_call>"), "</tool_call>"


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
            inside, end, text = self._call.partition(_END)
            if not end:
                break
            call = _parsed(inside)
            if call is None:
                said += self._said.word + inside + _END
            else:
                calls.append(call)
            self._said, self._call = Stops(_BEGINNINGS), None
        return said, calls

    def finish(self) -> str:
        """At the end: what was held back, or a call that was not finished."""
        return self._said.finish() if self._call is None else self._said.word + self._call


def _parsed(text: str) -> ToolCall | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", {})
    return ToolCall(value["name"], arguments if isinstance(arguments, str) else json.dumps(arguments))
