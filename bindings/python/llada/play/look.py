"""What there is to see of a decoder at one moment, kept when the decoder itself is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._convert import Tokens
from ..errors import Error, StateError
from ..info import ModelInfo
from ..inside import Routing
from ..policy import Policy
from ..records import Edit, Event
from ..trace.film import Standing


@dataclass(frozen=True)
class Look:
    """Arrays are [canvas_length] unless they say otherwise.

    Attributes:
        canvas: np.int32.
        states: np.uint8 of State.
        locked: bool.
        standing: How sure the model is of what stands there, who wrote it and when.
        thoughts: What the last forward that ran over a position predicted there, np.int32; -1 where none has.
        sure: The probability of that, np.float32.
        rows: The positions of the last forward; empty before the first.
        phase: As of Decoder.
        finish_reason: As of Decoder.
        active: The positions that the next forward denoises.
        policy: As of Decoder.
        counts: forwards, commits, edits, insertions, deletions, settled_length, block_step.
        proposal: What apply will write; None: there is none.
        events: What the last action applied.
        routing: Of the last forward: {layer: what it chose, [rows, num_experts_per_tok]}.
    """

    canvas: Tokens
    states: NDArray[np.uint8]
    locked: NDArray[np.bool_]
    standing: Standing
    thoughts: NDArray[np.int32]
    sure: NDArray[np.float32]
    rows: range
    phase: str
    finish_reason: str | None
    active: range
    policy: Policy
    counts: dict[str, int]
    proposal: list[Edit] | None
    events: list[Event]
    routing: dict[int, Routing]

    @property
    def bytes(self) -> int:
        """So many are taken by its arrays."""
        arrays: list[NDArray[Any]] = [self.canvas, self.states, self.locked, self.thoughts, self.sure]
        arrays += [
            self.standing.sure,
            self.standing.written,
            *(array for routing in self.routing.values() for array in routing),
        ]
        return sum(array.nbytes for array in arrays) + 100 * len(self.events) + 2000


_COUNTS = (
    "forwards",
    "commits",
    "edits",
    "insertions",
    "deletions",
    "settled_length",
    "block_step",
)


def look(decoder: Any, info: ModelInfo, before: Look | None, start: Look | None, applied: bool) -> Look:
    """What there is to see now.

    Args:
        decoder: Whose.
        info: Of its model.
        before: What there was to see before the action.
        start: What there was to see where the decoder was forked for it: the same, or a forward further on.
        applied: Whether the action did an apply.
    """
    canvas, mask = decoder.canvas, decoder.mask_token_id
    counts = {name: getattr(decoder, name) for name in _COUNTS}
    events = decoder.events if applied else []
    phase = decoder.phase
    rows, thoughts, sure, routing = range(0), np.full(len(canvas), -1, np.int32), np.zeros(len(canvas), np.float32), {}
    if start is not None:
        rows, thoughts, sure, routing = start.rows, start.thoughts.copy(), start.sure.copy(), start.routing
    standing = Standing(decoder.step_map, mask) if before is None else before.standing.copy()
    there = None
    try:
        there = decoder.rows
    except StateError:  # there was no forward
        rows, routing = range(0), {}
    if there is not None and len(there.positions):
        rows = range(int(there.positions[0]), int(there.positions[-1]) + 1)
        if start is None or counts["forwards"] > start.counts["forwards"]:
            routing = _routing(decoder, info)
        thoughts[rows.start : rows.stop], sure[rows.start : rows.stop] = there.predictions, there.confidences
    for event in events:
        event.move(thoughts, -1)
        event.move(sure, 0)
    if before is not None:
        standing.change(before.canvas, canvas, events, counts["forwards"])
        if not applied:
            for place in np.flatnonzero((canvas != before.canvas) & (canvas != mask)):
                standing.reasons[place], standing.written[place] = "host", counts["forwards"]
    if there is not None and len(rows):
        span = slice(rows.start, rows.stop)
        standing.judge(canvas, span, thoughts[span], sure[span])
    return Look(
        canvas,
        decoder.states,
        decoder._locked(),
        standing,
        thoughts,
        sure,
        rows,
        phase,
        decoder.finish_reason,
        decoder.active,
        decoder.policy,
        counts,
        decoder.proposal if phase == "proposed" else None,
        events,
        routing,
    )


def _routing(decoder: Any, info: ModelInfo) -> dict[int, Routing]:
    found = {}
    for layer in range(info.first_k_dense_replace, info.num_hidden_layers):
        try:
            chosen = decoder.routing(layer)
        except Error:  # not watched, or of a cluster's other rank
            return {}
        found[layer] = Routing(chosen.experts.astype(np.int16), chosen.weights.astype(np.float16))
    return found
