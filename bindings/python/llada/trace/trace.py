"""A trace: kept in a file, looked at, drawn, and done again."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ..info import AnyModel
from ..view import DecoderView
from . import heat, jsonl, page, svg, terminal
from .jsonl import TraceError
from .recorder import Recorder, start
from .recording import Recording
from .replay import Difference, replay


class Trace(Recording):
    """What a decoder did: `Decoder.record` makes one, `Trace.load` reads one.

    A trace that is recorded is a context manager, whose end is that of the recording. It is complete as soon as the
    decoder has finished; what is done after that, a `truncate` say, is recorded as well.

    Attributes:
        start: How the decoder was made: Start.
        steps: A TraceStep for each forward, so far.
        result: What came out, a TraceResult, once the decoder has finished or the recording was stopped; None before,
            or if it was cut off.
        texts: Of each token that occurs, as far as the model has a tokenizer: {token: text}.
    """

    @classmethod
    def _recorded(cls, decoder: DecoderView, options: dict[str, Any], path: str | os.PathLike[str] | None) -> Trace:
        trace = cls(start(decoder, options))
        Recorder(decoder, trace, None if path is None else jsonl.Writer(path))
        return trace

    def stop(self) -> None:
        """Ends the recording; the decoder goes on unwatched. So does leaving a `with` of the trace, and the decoder's
        end.

        Raises:
            BusyError: The decoder is at work in another thread.
        """
        decoder = self._view() if self._view is not None else None
        if decoder is not None:
            decoder._calls.stop_recording()
        self._end()

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- Files

    def save(self, path: str | os.PathLike[str] | IO[bytes]) -> None:
        """Writes JSON Lines: the start, a line for each forward, the result. Floats read back bit for bit.

        Args:
            path: The file, which is written over; or one that is open for writing bytes.

        Raises:
            OSError: It cannot be written.
        """
        with open(path, "wb") if isinstance(path, (str, os.PathLike)) else nullcontext(path) as file:
            file.write(jsonl.start_line(self.start, self.texts).encode())
            file.writelines(jsonl.step_line(step, {}).encode() for step in self.steps)
            if self.result is not None:
                file.write(jsonl.result_line(self.result, {}).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str] | IO[bytes], partial: bool = False) -> Trace:
        """Reads what `save` or a recording wrote.

        Args:
            path: The file; or one that is open for reading bytes.
            partial: Whether a file that ends before the result is read as far as it is whole.

        Raises:
            TraceError: The file is damaged, of another version, or ends before the result. It says the line.
            OSError: It cannot be read.
        """
        reader = jsonl.Reader(Path(path) if isinstance(path, (str, os.PathLike)) else path, partial)
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

    # -- Looking, beside what every Recording has

    @property
    def step_map(self) -> NDArray[np.int32]:
        """For each token, how many forwards there had been when it was written last, 0 where none was: np.int32
        [canvas_length], what trainers by reinforcement want of a rollout."""
        if self.result is not None:
            return self.result.step_map
        decoder = self._view() if self._view is not None else None
        if decoder is None:
            raise TraceError("the trace was cut off: there is no step map; expected a result")
        return decoder.step_map

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
        """In the terminal: the canvas, coloured by confidence, edits marked. Elsewhere: lines.

        Args:
            delay: Seconds a forward.
            stream: Where to; None: sys.stdout.
            width: Columns; None: those of the terminal, or 100.
        """
        terminal.play(self, delay, stream, width)

    def html(self, path: str | os.PathLike[str]) -> None:
        """One page that needs nothing else, no network either: the canvas over time with a slider, the facts of each
        token.

        Args:
            path: The file, which is written over.
        """
        Path(path).write_text(page.page(self), encoding="utf-8")

    def svg(self, path: str | os.PathLike[str], seconds: float = 0.9, width: int = 88) -> None:
        """A picture that moves.

        Args:
            path: The file, which is written over.
            seconds: A forward takes so long.
            width: In columns of text.
        """
        Path(path).write_text(svg.svg(self, seconds, width), encoding="utf-8")

    def heat_map(self, path: str | os.PathLike[str]) -> None:
        """Confidence by forward and position, with what was written and edited.

        Args:
            path: A PNG, or what else the name ends with that matplotlib writes.

        Raises:
            ImportError: There is no matplotlib: the extra `pictures`.
            TraceError: There is no forward to draw.
        """
        heat.confidence(self, path)

    def expert_map(self, path: str | os.PathLike[str]) -> None:
        """How much each expert of each layer had to do. The decoder must have been watching its routers:
        `decoder.watch(routing=True)`.

        Args:
            path: A PNG, or what else the name ends with that matplotlib writes.

        Raises:
            ImportError: There is no matplotlib: the extra `pictures`.
            TraceError: The decoder was not watching, or has not come to a result.
        """
        if self.result is None or self.result.expert_usage is None:
            raise TraceError(
                "expert usage was not recorded; expected decoder.watch(routing=True), and the recording to be over"
            )
        heat.experts(self.result.expert_usage, path, self.start.model["name"])

    def _repr_html_(self) -> str:
        return page.framed(self)

    # -- Doing it again

    def replay(self, model: AnyModel) -> Difference | None:
        """Does all of it again with a decoder of its own, the host's doing included, and compares bit for bit.

        A recording that began later starts from its snapshot of the decoder, which is refused by any other model.

        Args:
            model: A llada.Model.

        Returns:
            None if all is the same; else the first difference.
        """
        return replay(self, model)
