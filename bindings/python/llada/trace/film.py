"""A trace as frames: what stood where after each forward, who wrote it, and how sure the model is of it. What pictures
share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import drawing
from .._convert import Tokens
from ..records import Event
from .recording import Recording
from .steps import TraceStep

MASK, END = "░", "∎"
MOVED = {"insert": "inserted", "delete": "deleted"}


@dataclass(frozen=True)
class Frame:
    """After one step; the first one is before any. Arrays are [canvas_length].

    Attributes:
        step: None for the first frame.
        canvas: What stands there, np.int32.
        sure: The model's probability for the token that stands there, as of the last forward that agreed, np.float32;
            else not a number.
        written: How many forwards there had been when it was written last, np.int32; 0: never.
        reasons: Why it was written last, as in Event; "" if it never was.
        events: What this step changed, the host's writing since the one before included.
        masks: Left in the answer, up to its end.
        tokens: Written of the answer.
        edits: Tokens that replaced another so far.
        changes: What this step did, by the position where it is seen, as of `drawing.changes`.
    """

    step: TraceStep | None
    canvas: Tokens
    sure: NDArray[np.float32]
    written: NDArray[np.int32]
    reasons: list[str]
    events: list[Event]
    masks: int
    tokens: int
    edits: int
    changes: dict[int, Event]

    @property
    def forwards(self) -> int:
        """Of the decoder."""
        return self.step.forwards if self.step is not None else 0

    @property
    def tpf(self) -> float:
        """Tokens per forward."""
        return self.tokens / self.forwards if self.forwards else 0.0

    def counters(self) -> str:
        """In words."""
        if self.step is None:
            return f"before the first forward · {self.masks} masks"
        kinds = [event.kind for event in self.events]
        return " · ".join(
            [
                f"forward {self.forwards}{' (once more)' if self.step.again else ''}",
                f"block {self.step.block}{' (revisiting)' if self.step.editing_blocks else ''}",
                f"{kinds.count('unmask')} written",
                f"{kinds.count('replace')} edited",
                *(f"{kinds.count(kind)} {word}" for kind, word in MOVED.items() if kind in kinds),
                f"{self.masks} masks left",
                f"{self.tpf:.2f} tokens a forward",
            ]
        )


class Standing:
    """Of each position of the canvas: how sure the model is of what stands there, who wrote it, and when. Arrays are
    those of Frame."""

    def __init__(self, step_map: NDArray[np.int32], mask: int) -> None:
        self.mask, self.written = mask, step_map.copy()
        self.sure = np.full(len(step_map), np.nan, np.float32)
        self.reasons = [""] * len(step_map)

    def copy(self) -> Standing:
        """To go on with, when this one is kept."""
        other = Standing(self.written, self.mask)
        other.sure, other.reasons = self.sure.copy(), list(self.reasons)
        return other

    def change(self, before: Tokens, canvas: Tokens, events: list[Event], forwards: int) -> None:
        """Events, after so many forwards, led from one canvas to another; where they tell nothing, a host did."""
        before = before.copy()
        for event in events:
            masked = event.new == self.mask
            if event.moves:
                event.move(before, event.new)
                event.move(self.sure, np.nan)
                event.move(self.reasons, "" if masked else event.reason)
                event.move(self.written, 0 if masked else forwards)
            else:
                self.reasons[event.position] = "" if masked else event.reason
                self.written[event.position] = 0 if masked else forwards
        for place in np.flatnonzero((canvas == self.mask) | (canvas != before)):
            self.sure[place] = np.nan
            if canvas[place] == self.mask:  # a truncation has no events
                self.written[place], self.reasons[place] = 0, ""

    def judge(self, canvas: Tokens, positions: slice, predictions: Tokens, confidences: NDArray[np.float32]) -> None:
        """A forward predicted this there."""
        there = canvas[positions]
        agreed = (predictions == there) & (there != self.mask)
        self.sure[positions] = np.where(agreed, confidences, self.sure[positions])


def frames(trace: Recording) -> Iterator[Frame]:
    """Before the first step, and after each."""
    start = trace.start
    length = len(start.canvas)
    mask, end = start.mask_token_id, start.model.get("eos_token_id")
    first, last = len(start.prompt), min(length, len(start.prompt) + start.options.get("gen_length", length))
    now, edits = Standing(start.step_map, mask), 0

    def frame(step: TraceStep | None, canvas: Tokens, events: list[Event]) -> Frame:
        answer = canvas[first:last]
        ends = np.flatnonzero(answer == end)
        answer = answer[: ends[0] + 1 if len(ends) else None]
        masks = int(np.count_nonzero(answer == mask))
        tokens = len(answer) - masks
        changes = drawing.changes(events, length, mask)
        here = now.copy()
        return Frame(step, canvas, here.sure, here.written, here.reasons, events, masks, tokens, edits, changes)

    yield frame(None, start.canvas, [])
    before = start.canvas
    for step, (_, canvas) in zip(trace.steps, trace._canvases()):
        events = list(step.events or ())
        edits += sum(event.kind == "replace" for event in events)
        now.change(before, canvas, events, step.forwards)
        now.judge(canvas, slice(step.active.start, step.active.stop), step.predictions, step.confidences)
        yield frame(step, canvas, events)
        before = canvas


def shown(trace: Recording) -> range:
    """The answer as far as any forward went; blocks that were never reached are not worth drawing."""
    first = len(trace.prompt)
    if trace.start.options.get("infill"):
        first = min(np.flatnonzero(trace.prompt == trace.start.mask_token_id).tolist(), default=first)
    end = max((step.active.stop for step in trace.steps), default=len(trace.start.canvas))
    return range(min(first, end), end)


def reader(trace: Recording) -> Callable[[Any], str]:
    """The text of one token; its number where the model has no tokenizer."""
    special = {trace.start.mask_token_id: MASK, trace.start.model.get("eos_token_id"): END}

    def text(token: Any) -> str:
        token = int(token)
        return special.get(token) or trace.texts.get(token, f"{token} ")

    return text


def edit_texts(frame: Frame, text: Callable[[Any], str], places: range) -> list[str]:
    """What was replaced, what came in and what went, and what the host wrote by itself, in words. What a rule filled is
    as ordinary as a policy's."""
    proposed = {id(event) for event in frame.step.written()} if frame.step is not None else set()

    def words(event: Event) -> str:
        if event.kind == "insert":
            lost = "" if text(event.old) in (MASK, END) else f", {text(event.old)!r} lost at the end"
            return f"+ {text(event.new)!r}{lost}"
        if event.kind == "delete":
            return f"- {text(event.old)!r}"
        return f"{text(event.old)!r} → {text(event.new)!r}"

    usual = {"edit", "post_edit"}
    return [
        words(event)
        + ("" if event.reason in usual or (event.moves and event.reason != "host") else f" ({event.reason})")
        for event in sorted(frame.events, key=lambda event: event.position)
        if event.position in places and (event.moves or event.kind == "replace" or id(event) not in proposed)
    ]
