"""A trace, done again: what differs first?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _abi
from ..errors import Error
from .recorder import MODEL_FACTS
from .steps import Call, TraceResult, TraceStep

if TYPE_CHECKING:
    from ..decoder import Decoder
    from ..model import Model
    from . import Trace


@dataclass(frozen=True)
class Difference:
    """The first thing that came out differently.

    step      of the trace, from 1; 0 before the first; None for the result
    what      a field of TraceStep or TraceResult, a fact of the model, or a call that is refused now
    position  on the canvas, if it is about one
    expected  as recorded
    found     as it is now
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


def replay(trace: Trace, model: Model) -> Difference | None:
    for fact in MODEL_FACTS:
        expected, found = trace.start.model.get(fact), getattr(model.info, fact)
        if expected != found:
            return Difference(0, fact, None, expected, found)
    try:
        if trace.start.snapshot is not None:
            decoder = model.restore(trace.start.snapshot)
        else:
            decoder = model.decoder(trace.prompt, trace.policy, **trace.start.options)
    except (Error, TypeError, ValueError) as problem:
        return Difference(0, "decoder", None, "made", str(problem))
    with decoder, decoder.record() as again:
        # Recorded from the midst of a step: then its forward is not done, but there.
        ahead = decoder.phase in ("forwarded", "proposed")
        for step in trace.steps:
            difference = _follow(decoder, again, step, ahead and step.number == 1)
            if difference is not None:
                return difference
        if trace.result is None:
            return None
        refused = _do(decoder, trace.result.before)
        if refused is not None:
            return Difference(None, *refused)
        again.stop()
        return _compare_results(trace.result, again.result)


def _follow(decoder: Decoder, again: Trace, step: TraceStep, ahead: bool) -> Difference | None:
    """One step. The one before it, if its forward is done again here, has been compared up to its forward."""
    refused = _do(decoder, step.before)
    if refused is None and not ahead:
        refused = _try("forward", decoder.forward)
    if refused is None:
        here = decoder._recorder.step
        difference = _compare(step, here, ("forwards", "block", "block_step", "active", "editing_blocks", "again"))
        difference = difference or _compare_arrays(step, here, ("canvas",))
        if difference is not None:
            return difference
        refused = _do(decoder, step.after)
    if refused is None:
        # After what the host did, which may have been a ban: then there were new predictions.
        difference = _compare_arrays(step, decoder._recorder.step, ("predictions", "confidences"))
        if difference is not None or step.events is None:
            return difference
        refused = _try("apply", decoder.apply)
    if refused is not None:
        return Difference(step.number, *refused)
    return _compare_rows(step, again.steps[-1], "proposal") or _compare_rows(step, again.steps[-1], "events")


def _do(decoder: Decoder, calls: list[Call]) -> tuple | None:
    """What the host did. A refusal as the last fields of a Difference."""
    for name, *arguments in calls:
        if name == "set_proposal":
            edits = [_abi.Edit(*edit) for edit in arguments[0]]
            arguments = [(_abi.Edit * len(edits))(*edits), len(edits)]
        refused = _try(name, decoder._call, getattr(_abi.lib, f"llada_decoder_{name}"), *arguments)
        if refused is not None:
            return refused
    return None


def _try(name: str, function: Any, *arguments: Any) -> tuple | None:
    try:
        function(*arguments)
    except (Error, AttributeError) as problem:
        return name, None, "done", str(problem)
    return None


def _compare(step: TraceStep, here: TraceStep, names: tuple[str, ...]) -> Difference | None:
    for name in names:
        expected, found = getattr(step, name), getattr(here, name)
        if expected != found:
            return Difference(step.number, name, None, expected, found)
    return None


def _compare_arrays(step: TraceStep, here: TraceStep, names: tuple[str, ...]) -> Difference | None:
    for name in names:
        difference = _first(step.number, name, getattr(step, name), getattr(here, name), step.active.start)
        if difference is not None:
            return difference
    return None


def _first(step: int | None, name: str, expected: np.ndarray, found: np.ndarray, first: int) -> Difference | None:
    """Bit for bit: what is not a number equals itself, and 0 is not -0."""
    if len(expected) != len(found):
        return Difference(step, f"length of {name}", None, len(expected), len(found))
    differ = np.flatnonzero(_bits(expected) != _bits(found))
    if not differ.size:
        return None
    at = int(differ[0])
    return Difference(step, name, first + at, expected[at].item(), found[at].item())


def _compare_rows(step: TraceStep, here: TraceStep, name: str) -> Difference | None:
    expected, found = getattr(step, name), getattr(here, name)
    for there, now in zip(expected, found):
        if [*map(_plain, there)] != [*map(_plain, now)]:
            return Difference(step.number, name, there.position, tuple(there), tuple(now))
    if len(expected) != len(found):
        rest = (expected if len(expected) > len(found) else found)[min(len(expected), len(found))]
        return Difference(step.number, f"number of {name}", rest.position, len(expected), len(found))
    return None


def _compare_results(expected: TraceResult, found: TraceResult) -> Difference | None:
    for name in ("tokens", "canvas", "step_map"):
        difference = _first(None, name, getattr(expected, name), getattr(found, name), 0)
        if difference is not None:
            return difference
    for name in ("forwards", "edits", "finish_reason", "text"):
        if getattr(expected, name) != getattr(found, name):
            return Difference(None, name, None, getattr(expected, name), getattr(found, name))
    return None


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint32)


def _plain(value: Any) -> Any:
    return np.float32(value).tobytes() if isinstance(value, float) else value


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return str(np.float32(value))
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    return repr(value) if isinstance(value, str) else str(value)
