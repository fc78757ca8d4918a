"""What a decoder did, forward by forward: to be kept, looked at, drawn, and done again.

    with model.decoder("What is 17 plus 25?") as dec, dec.record("run.jsonl") as trace:
        dec.run()
    print(trace.replay(model) or "the same, bit for bit")

`python -m llada.trace --help` does it from a shell.
"""

from __future__ import annotations

import io
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from ..policy import Policy
from . import heat, jsonl, page, svg, terminal
from .jsonl import TraceError
from .recorder import Recorder, start
from .replay import Difference, replay
from .steps import Start, TraceResult, TraceStep

if TYPE_CHECKING:
    from ..decoder import Decoder
    from ..model import Model

__all__ = ["Difference", "Start", "Trace", "TraceError", "TraceResult", "TraceStep"]


class Trace:
    """What a decoder did: `Decoder.record` makes one, `Trace.load` reads one.

    start   how the decoder was made: Start
    steps   a TraceStep for each forward, so far
    result  what came out: TraceResult; None while the recording goes on, or if it was cut off
    texts   of each token that occurs, as far as the model has a tokenizer: {token: text}
    """

    def __init__(self, start: Start) -> None:
        self.start = start
        self.steps: list[TraceStep] = []
        self.result: TraceResult | None = None
        self.texts: dict[int, str] = {}
        self._file: io.TextIOBase | None = None
        self._told: set[int] = set()  # of the texts, those in the file
        self._decoder: weakref.ref[Decoder] | None = None

    # -- Recording

    @classmethod
    def _of(cls, decoder: Decoder, path: str | os.PathLike | None) -> tuple[Trace, Recorder]:
        trace = cls(start(decoder))
        trace._decoder = weakref.ref(decoder)
        if path is not None:
            trace._file = open(path, "w", encoding="utf-8")
        return trace, Recorder(decoder, trace)

    def stop(self) -> None:
        """Ends the recording; the decoder goes on unwatched. So does leaving a `with` of the trace, and the decoder's end."""
        decoder = self._decoder() if self._decoder is not None else None
        if decoder is not None:
            decoder._stop_recording()
        self._release()

    def _begin(self) -> None:
        self._write(jsonl.start_line(self.start, self._news()))

    def _add(self, step: TraceStep) -> None:
        self.steps.append(step)
        self._write(jsonl.step_line(step, self._news()))

    def _end(self, result: TraceResult) -> None:
        self.result = result
        self._write(jsonl.result_line(result, self._news()))
        self._release()

    def _write(self, line: str) -> None:
        # Flushed: what follows may crash, and then this is what one wants to see.
        if self._file is not None:
            self._file.write(line)
            self._file.flush()

    def _news(self) -> dict[int, str]:
        news = {token: text for token, text in self.texts.items() if token not in self._told}
        self._told.update(news)
        return news

    def _release(self) -> None:
        self._decoder = None
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def recording(self) -> bool:
        return self._decoder is not None and self._decoder() is not None

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- Files

    def save(self, path: str | os.PathLike) -> None:
        """Writes JSON Lines: the start, a line for each forward, the result. Floats read back bit for bit."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(jsonl.start_line(self.start, self.texts))
            file.writelines(jsonl.step_line(step, {}) for step in self.steps)
            if self.result is not None:
                file.write(jsonl.result_line(self.result, {}))

    @classmethod
    def load(cls, path: str | os.PathLike, partial: bool = False) -> Trace:
        """Reads what `save` or a recording wrote. TraceError, with file and line, for what is damaged or of another version;
        and for a file that ends before the result, unless `partial`: then what is whole is read."""
        reader = jsonl.Reader(Path(path), partial)
        trace: Trace | None = None
        for value in reader.lines():
            if trace is None:
                trace = cls(reader.start(value))
            elif trace.result is not None:
                raise reader.refuse("a line after the result", "the end of the file")
            elif "result" in value:
                trace.result = reader.result(value, len(trace.start.canvas))
            else:
                trace.steps.append(reader.step(value, len(trace.steps) + 1, len(trace.start.canvas)))
            reader.texts(value, trace.texts)
        if trace is None:
            raise reader.refuse("the end of the file", "the start of a trace")
        if trace.result is None and not partial:
            raise reader.refuse("the end of the file", "more steps, or the result; partial=True reads what is there")
        trace._check(reader)
        return trace

    def _check(self, reader: jsonl.Reader) -> None:
        """Does each canvas follow from what was done to the one before?"""
        for index, (step, canvas) in enumerate(zip(self.steps, self.canvases)):
            there = canvas[step.active.start : step.active.stop]
            if not np.array_equal(there, step.canvas):
                wrong = int(np.flatnonzero(there != step.canvas)[0])
                reader.number = index + 2
                raise reader.refuse(
                    f"token {step.canvas[wrong]} at position {step.active.start + wrong}",
                    f"{there[wrong]}, by the lines before",
                )
        if self.result is not None and not np.array_equal(self.canvas, self.result.canvas):
            reader.number = len(self.steps) + 2
            raise reader.refuse("a canvas", "the one that the lines before lead to")

    # -- Looking

    @property
    def prompt(self) -> np.ndarray:
        return self.start.prompt

    @property
    def policy(self) -> Policy:
        return self.start.policy

    @property
    def text(self) -> str | None:
        """The answer; None before the end, and without a tokenizer."""
        return self.result.text if self.result is not None else None

    @property
    def canvases(self) -> np.ndarray:
        """What each forward saw: np.int32 [steps, canvas_length]."""
        empty = np.empty((0, len(self.start.canvas)), np.int32)
        return np.stack([before for before, _ in self._canvases()]) if self.steps else empty

    @property
    def canvas(self) -> np.ndarray:
        """After the last step, and what the host did then: np.int32 [canvas_length]."""
        canvas = self.start.canvas.copy()
        for _, canvas in self._canvases():
            pass
        if self.result is not None:
            self._do(self.result.before, canvas)
        return canvas

    @property
    def predictions(self) -> np.ndarray:
        """np.int32 [steps, canvas_length]; -1 outside the positions of the forward."""
        return self._spread("predictions", np.int32, -1)

    @property
    def confidences(self) -> np.ndarray:
        """np.float32 [steps, canvas_length]; not a number outside the positions of the forward."""
        return self._spread("confidences", np.float32, np.nan)

    @property
    def step_map(self) -> np.ndarray:
        """For each token, how many forwards there had been when it was written last, 0 where none was: np.int32
        [canvas_length], what trainers by reinforcement want of a rollout."""
        if self.result is not None:
            return self.result.step_map
        decoder = self._decoder() if self._decoder is not None else None
        if decoder is None:
            raise TraceError("the trace was cut off: there is no step map; expected a result")
        return decoder.step_map

    def _canvases(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each step the canvas before its forward and after its apply."""
        canvas = self.start.canvas.copy()
        for step in self.steps:
            self._do(step.before, canvas)
            before = canvas.copy()
            self._do(step.after, canvas)
            for event in step.written():
                canvas[event.position] = event.new
            yield before, canvas.copy()

    def _do(self, calls: list, canvas: np.ndarray) -> None:
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

    def _spread(self, name: str, dtype: type, fill: float) -> np.ndarray:
        values = np.full((len(self.steps), len(self.start.canvas)), fill, dtype)
        for row, step in zip(values, self.steps):
            row[step.active.start : step.active.stop] = getattr(step, name)
        return values

    def __repr__(self) -> str:
        what = (
            "recording"
            if self.recording
            else "cut off"
            if self.result is None
            else self.result.finish_reason or "stopped"
        )
        return f"<llada.Trace of {self.start.model['name']!r}: {len(self.steps)} forwards, {what}>"

    # -- Pictures

    def play(self, delay: float = 0.4, stream: TextIO | None = None, width: int | None = None) -> None:
        """In the terminal: the canvas, `delay` seconds a forward, coloured by confidence, edits marked. Elsewhere: lines."""
        terminal.play(self, delay, stream, width)

    def html(self, path: str | os.PathLike) -> None:
        """One page that needs nothing else, no network either: the canvas over time with a slider, the facts of each token."""
        Path(path).write_text(page.page(self), encoding="utf-8")

    def svg(self, path: str | os.PathLike, seconds: float = 0.9, width: int = 88) -> None:
        """A picture that moves, `seconds` a forward, `width` columns wide."""
        Path(path).write_text(svg.svg(self, seconds, width), encoding="utf-8")

    def heat_map(self, path: str | os.PathLike) -> None:
        """Confidence by forward and position, with what was written and edited, as PNG (or what else `path` ends with). Needs
        matplotlib: pip install 'llada[pictures]'."""
        heat.confidence(self, path)

    def expert_map(self, path: str | os.PathLike) -> None:
        """How much each expert of each layer had to do. The decoder must have been watching its routers:
        `decoder.watch(routing=True)`. Needs matplotlib: pip install 'llada[pictures]'."""
        if self.result is None or self.result.expert_usage is None:
            raise TraceError(
                "expert usage was not recorded; expected decoder.watch(routing=True), and the recording to be over"
            )
        heat.experts(self.result.expert_usage, path, self.start.model["name"])

    def _repr_html_(self) -> str:
        return page.framed(self)

    # -- Doing it again

    def replay(self, model: Model) -> Difference | None:
        """Does all of it again with a decoder of its own, the host's doing included, and compares bit for bit. None if all is
        the same; else the first difference. A recording that began later starts from its snapshot of the decoder, which
        is refused by any other model."""
        return replay(self, model)
