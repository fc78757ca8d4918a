"""A trace, done again: what differs first?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

from .. import _abi, branching
from .._calls import Calls
from ..errors import Error
from ..info import AnyModel, OpenedModel
from ..policy import Policy
from ..view import DecoderView
from .recorder import MODEL_FACTS, Recorder, start
from .recording import Recording
from .steps import Call, TraceResult, TraceStep, reordered


@dataclass(frozen=True)
class Difference:
    """The first thing that came out differently.

    Attributes:
        step: Of the trace, from 1; 0 before the first; None for the result.
        what: A field of TraceStep or TraceResult, a fact of the model, or a call that is refused now.
        position: On the canvas, if it is about one.
        expected: As recorded.
        found: As it is now.
    """

    step: int | None
    what: str
    position: int | None
    expected: Any
    found: Any

    def __str__(self) -> str:
        where = "result" if self.step is None else f"step {self.step}" if self.step else "model"
        at = "" if self.position is None else f" at position {self.position}"
        return f"{where}: {self.what}{at}: recorded {_shown(self.expected)}, now {_shown(self.found)}"


_Refusal = tuple[str, None, str, str]
"""The last fields of the Difference that a refused call is."""


def replay(trace: Recording, model: AnyModel) -> Difference | None:
    """Does all of it again with a decoder of its own, and compares bit for bit."""
    opened = model._opened()
    for fact in MODEL_FACTS:
        expected, found = trace.start.model.get(fact), getattr(opened.info, fact)
        if expected != found:
            return Difference(0, fact, None, expected, found)
    try:
        calls = _again(trace, opened)
    except (Error, TypeError, ValueError) as problem:
        return Difference(0, "decoder", None, "made", str(problem))
    try:
        return _replay(trace, DecoderView(calls, opened))
    finally:
        calls.close()


def _again(trace: Recording, model: OpenedModel) -> Calls:
    """A decoder as the trace's was when the recording began."""
    if trace.start.snapshot is not None:
        return Calls(branching.restore(model, trace.start.snapshot, None), untouched=False)
    handle, _ = branching.create(model, trace.prompt, trace.policy, **trace.start.options)
    return Calls(handle, untouched=True)


def _replay(trace: Recording, view: DecoderView) -> Difference | None:
    calls, here = view._calls, Recorder(view, Recording(start(view, {})), None)
    # Recorded from the midst of a step: then its forward is not done, but there.
    ahead = here.step is not None
    for step in trace.steps:
        difference = _follow(calls, here, step, ahead and step.number == 1)
        if difference is not None:
            return difference
    if trace.result is None:
        return None
    refused = _do(calls, trace.result.before)
    if refused is not None:
        return Difference(None, *refused)
    calls.stop_recording()
    return _compare_results(trace.result, here.recording.result)


def _follow(calls: Calls, here: Recorder, step: TraceStep, ahead: bool) -> Difference | None:
    """One step. The one before it, if its forward is done again here, has been compared up to its forward."""
    refused = _do(calls, step.before)
    if refused is None and not ahead:
        refused = _try("forward", calls.change, _abi.lib.llada_decoder_forward)
    if refused is None:
        difference = _compare_before(step, here.step)
        if difference is not None:
            return difference
        refused = _do(calls, step.after)
    if refused is None:
        # After what the host did, which may have been a ban or a bias: then there were new predictions.
        difference = _compare_arrays(step, here.step, ("predictions", "confidences"))
        if difference is not None or step.events is None:
            return difference
        refused = _try("apply", calls.change, _abi.lib.llada_decoder_apply)
    if refused is not None:
        return Difference(step.number, *refused)
    done = here.recording.steps[-1]
    return _compare_rows(step, done, "proposal") or _compare_rows(step, done, "events")


def _do(calls: Calls, recorded: list[Call]) -> _Refusal | None:
    """What the host did."""
    for name, *arguments in recorded:
        if name == "set_proposal":
            edits = [
                _abi.Edit(place, token, sure, 0, _abi.EDIT_KINDS.index(kind))
                for place, token, sure, kind in arguments[0]
            ]
            arguments = [(_abi.Edit * len(edits))(*edits), len(edits)]
        if name == "fork":
            refused = _try(name, _fork, calls, *arguments)
        else:
            function = getattr(_abi.lib, f"llada_decoder_{name}")
            refused = _try(name, calls.change, function, *reordered(name, tuple(arguments)))
        if refused is not None:
            return refused
    return None


def _fork(calls: Calls, policy: Policy) -> None:
    calls.become(branching.fork(calls, policy))


def _try(name: str, function: Callable[..., None], *arguments: Any) -> _Refusal | None:
    try:
        function(*arguments)
    except Error as problem:
        return name, None, "done", str(problem)
    return None


def compare(expected: Recording, found: Recording) -> Difference | None:
    """What differs first between two recordings of the same, bit for bit."""
    for step, here in zip(expected.steps, found.steps):
        difference = _compare_before(step, here) or _compare_arrays(step, here, ("predictions", "confidences"))
        if difference is not None:
            return difference
        if step.events is not None:
            difference = _compare_rows(step, here, "proposal") or _compare_rows(step, here, "events")
            if difference is not None:
                return difference
    if len(expected.steps) != len(found.steps):
        return Difference(None, "number of steps", None, len(expected.steps), len(found.steps))
    return None if expected.result is None else _compare_results(expected.result, found.result)


def _compare_before(step: TraceStep, here: TraceStep | None) -> Difference | None:
    """What is known before the predictions are."""
    facts = ("forwards", "block", "block_step", "active", "editing_blocks", "again")
    return _compare(step, here, facts) or _compare_arrays(step, here, ("canvas",))


def _compare(step: TraceStep, here: TraceStep | None, names: tuple[str, ...]) -> Difference | None:
    for name in names:
        expected, found = getattr(step, name), getattr(here, name)
        if expected != found:
            return Difference(step.number, name, None, expected, found)
    return None


def _compare_arrays(step: TraceStep, here: TraceStep | None, names: tuple[str, ...]) -> Difference | None:
    for name in names:
        difference = _first(step.number, name, getattr(step, name), getattr(here, name), step.active.start)
        if difference is not None:
            return difference
    return None


def _first(step: int | None, name: str, expected: NDArray[Any], found: NDArray[Any], first: int) -> Difference | None:
    """Bit for bit: what is not a number equals itself, and 0 is not -0."""
    if len(expected) != len(found):
        return Difference(step, f"length of {name}", None, len(expected), len(found))
    differ = np.flatnonzero(_bits(expected) != _bits(found))
    if not differ.size:
        return None
    at = int(differ[0])
    return Difference(step, name, first + at, expected[at].item(), found[at].item())


def _compare_rows(step: TraceStep, here: TraceStep, name: str) -> Difference | None:
    expected, found = getattr(step, name), getattr(here, name) or []
    for there, now in zip(expected, found):
        if [*map(_plain, there)] != [*map(_plain, now)]:
            return Difference(step.number, name, there.position, tuple(there), tuple(now))
    if len(expected) != len(found):
        rest = (expected if len(expected) > len(found) else found)[min(len(expected), len(found))]
        return Difference(step.number, f"number of {name}", rest.position, len(expected), len(found))
    return None


def _compare_results(expected: TraceResult, found: TraceResult | None) -> Difference | None:
    for name in ("tokens", "canvas", "step_map"):
        difference = _first(None, name, getattr(expected, name), getattr(found, name), 0)
        if difference is not None:
            return difference
    for name in ("forwards", "edits", "insertions", "deletions", "finish_reason", "text"):
        if getattr(expected, name) != getattr(found, name):
            return Difference(None, name, None, getattr(expected, name), getattr(found, name))
    return None


def _bits(values: NDArray[Any]) -> NDArray[np.uint32]:
    return np.ascontiguousarray(values).view(np.uint32)


def _plain(value: Any) -> Any:
    return np.float32(value).tobytes() if isinstance(value, float) else value


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return str(np.float32(value))
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    return repr(value) if isinstance(value, str) else str(value)
