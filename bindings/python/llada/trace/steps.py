"""What a trace consists of: how the decoder was made, its forwards, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Union

import numpy as np

from ..policy import Policy
from ..records import Edit, Event

Call = tuple[Union[str, int, bool, tuple], ...]
"""Something the host did, by the name of llada.h without its llada_decoder_: ("set_token", position, token)."""

# What changes what a decoder will do, and the kinds of its arguments. A proposal's edits are (position, token, confidence).
CALLS: dict[str, tuple[type, ...]] = {
    "propose": (),
    "set_proposal": (tuple,),
    "set_token": (int, int),
    "mask": (int,),
    "lock": (int, bool),
    "ban": (int, int, bool),
    "truncate": (int,),
    "end_block": (int,),
    "disable_expert": (int, int, bool),
}


@dataclass(frozen=True)
class Start:
    """The first line: all that is needed to make such a decoder again, and where it stood when the recording began.

    snapshot  of the decoder at that moment (`Decoder.to_bytes`); None: nothing had been done to it, it is made from the rest
    """

    library: str
    model: dict[str, Any]
    prompt: np.ndarray
    options: dict[str, Any]
    policy: Policy
    snapshot: bytes | None
    forwards: int
    canvas: np.ndarray
    step_map: np.ndarray

    @property
    def mask_token_id(self) -> int:
        return self.model["mask_token_id"]


@dataclass(frozen=True)
class TraceStep:
    """One forward, and what followed it.

    number          from 1, within the trace
    forwards        of the decoder, this one included
    block           the block at work, from 0; of several that are revisited, the last
    block_step      steps done in it before
    active          the positions it ran over, a range; the three arrays are as long as it
    canvas          the tokens that stood there before
    predictions, confidences
                    what the model would write, and its probability: as they stood when the step was applied
    editing_blocks  whether finished blocks are revisited (multiple block editing)
    again           the same step's forward, done once more
    before, after   what the host did before the forward, and between it and apply: Call. The policy's propose is among them
    proposal        list of Edit; None: the step was not applied, for its forward was done again, or nothing followed
    events          list of Event: what changed, the host's own writing since the last apply included
    """

    number: int
    forwards: int
    block: int
    block_step: int
    active: range
    editing_blocks: bool
    again: bool
    before: list[Call]
    canvas: np.ndarray
    predictions: np.ndarray
    confidences: np.ndarray
    after: list[Call] = field(default_factory=list)
    proposal: list[Edit] | None = None
    events: list[Event] | None = None

    def written(self) -> list[Event]:
        """What apply wrote, without what the host had written itself. A position that is locked is in the proposal alone."""
        last = {event.position: event for event in self.events or ()}
        proposed = ((edit, last.get(edit.position)) for edit in self.proposal or ())
        return [event for edit, event in proposed if event is not None and event.new == edit.token]


@dataclass(frozen=True)
class TraceResult:
    """The last line: where the decoder stood when the recording ended. `before`: what the host did after the last forward's
    apply. `expert_usage`, [num_hidden_layers, num_experts], if the decoder was watching its routers; else None."""

    before: list[Call]
    tokens: np.ndarray
    text: str | None
    forwards: int
    edits: int
    finish_reason: str | None
    canvas: np.ndarray
    step_map: np.ndarray
    expert_usage: np.ndarray | None = None

    @property
    def tpf(self) -> float:
        """Tokens per forward."""
        return len(self.tokens) / self.forwards if self.forwards else 0.0
