"""What was recorded of a decoder, in memory and, while that goes on, in a file; and what can be said of it as
arrays."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .._convert import Tokens
from ..policy import Policy
from ..view import DecoderView
from . import jsonl
from .steps import Call, Start, TraceResult, TraceStep


class Recording:
    """What a decoder did: what a Recorder writes, and pictures and replay read. `llada.Trace` is one.

    Attributes:
        start: How the decoder was made.
        steps: One for each forward, so far.
        result: What came out, once the decoder has finished or the recording was stopped; None before, or if it was cut
            off.
        texts: Of each token that occurs, as far as the model has a tokenizer: {token: text}.
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self.steps: list[TraceStep] = []
        self.result: TraceResult | None = None
        self.texts: dict[int, str] = {}
        self._view: weakref.ref[DecoderView] | None = None  # of the decoder, while it is recorded
        self._file: jsonl.Writer | None = None

    # -- Being written

    def _begin(self, view: DecoderView, file: jsonl.Writer | None) -> None:
        self._view, self._file = weakref.ref(view), file
        if self._file is not None:
            self._file.add(partial(jsonl.start_line, self.start), self.texts)

    def _add(self, step: TraceStep) -> None:
        self.steps.append(step)
        if self._file is not None:
            self._file.add(partial(jsonl.step_line, step), self.texts)

    def _set_result(self, result: TraceResult | None) -> None:
        """The decoder has finished; or, with None, has not any more. More may follow."""
        if self._file is not None and self.result is not None:
            self._file.take_back_result()
        self.result = result
        if self._file is not None and result is not None:
            self._file.add_result(partial(jsonl.result_line, result), self.texts)

    def _end(self) -> None:
        self._view = None
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def recording(self) -> bool:
        """Whether more is recorded, as the decoder goes on."""
        return self._view is not None and self._view() is not None

    # -- Being read

    @property
    def prompt(self) -> Tokens:
        """The prompt, np.int32 [prompt_length]."""
        return self.start.prompt

    @property
    def policy(self) -> Policy:
        """The decoder's."""
        return self.start.policy

    @property
    def text(self) -> str | None:
        """The answer; None before the end, and without a tokenizer."""
        return self.result.text if self.result is not None else None

    @property
    def canvases(self) -> NDArray[np.int32]:
        """What each forward saw: np.int32 [steps, canvas_length]."""
        empty = np.empty((0, len(self.start.canvas)), np.int32)
        return np.stack([before for before, _ in self._canvases()]) if self.steps else empty

    @property
    def canvas(self) -> Tokens:
        """After the last step, and what the host did then: np.int32 [canvas_length]."""
        canvas = self.start.canvas.copy()
        for _, after in self._canvases():
            canvas = after
        if self.result is not None:
            self._do(self.result.before, canvas)
        return canvas

    @property
    def predictions(self) -> NDArray[np.int32]:
        """np.int32 [steps, canvas_length]; -1 outside the positions of the forward."""
        return self._spread("predictions", np.int32, -1)

    @property
    def confidences(self) -> NDArray[np.float32]:
        """np.float32 [steps, canvas_length]; not a number outside the positions of the forward."""
        return self._spread("confidences", np.float32, np.nan)

    def _canvases(self) -> Iterator[tuple[Tokens, Tokens]]:
        """For each step the canvas before its forward and after its apply."""
        canvas = self.start.canvas.copy()
        for step in self.steps:
            self._do(step.before, canvas)
            before = canvas.copy()
            self._do(step.after, canvas)
            for event in step.written():
                if event.moves:
                    event.move(canvas, event.new)
                else:
                    canvas[event.position] = event.new
            yield before, canvas.copy()

    def _do(self, calls: list[Call], canvas: Tokens) -> None:
        mask = self.start.mask_token_id
        for name, *arguments in calls:
            if name == "set_token":
                canvas[arguments[0]] = arguments[1]
            elif name == "mask":
                canvas[arguments[0]] = mask
            elif name == "truncate":
                # The prompt stays, but for what was to be filled in it.
                for position in range(arguments[0], len(canvas)):
                    if position >= len(self.prompt) or self.prompt[position] == mask:
                        canvas[position] = mask

    def _spread(self, name: str, dtype: DTypeLike, fill: float) -> NDArray[Any]:
        values = np.full((len(self.steps), len(self.start.canvas)), fill, dtype)
        for row, step in zip(values, self.steps):
            row[step.active.start : step.active.stop] = getattr(step, name)
        return values
