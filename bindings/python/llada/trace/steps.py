"""What a trace consists of: how the decoder was made, its forwards, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._convert import Tokens
from ..policy import Policy
from ..records import Edit, Event

Call = tuple[Any, ...]
"""Something the host did, by the name of llada.h without its llada_decoder_: ("set_token", position, token)."""

# What changes what a decoder will do, and the kinds of its arguments. A proposal's edits are (position, token,
# confidence, kind). "fork": what follows is done by a fork, with this policy.
CALLS: dict[str, tuple[type, ...]] = {
    "propose": (),
    "set_proposal": (tuple,),
    "set_token": (int, int),
    "mask": (int,),
    "lock": (int, bool),
    "ban": (int, int, bool),
    "set_logit_bias": (int, int, float),
    "truncate": (int,),
    "end_block": (int,),
    "disable_expert": (int, int, bool),
    "fork": (Policy,),
}


def reordered(name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """A call's arguments as llada.h has them, given as a trace has them, and the other way round. The format names a
    position before a token that is banned there, and a layer before its expert."""
    if name in ("ban", "disable_expert"):
        first, second, *rest = arguments
        return (second, first, *rest)
    return arguments


@dataclass(frozen=True)
class Start:
    """The first line: all that is needed to make such a decoder again, and where it stood when the recording began.

    Attributes:
        library: The version of the library.
        model: Facts of the model by which replay knows it, and its name.
        prompt: np.int32 [prompt_length].
        options: block_length, gen_length and, unless the decoder was restored, eos_early_stop, infill and use_cache.
        policy: The decoder's.
        snapshot: Of the decoder at that moment, as of `Decoder.to_bytes`. None: nothing had been done to it, it is made
            from the rest.
        forwards: Done before.
        canvas: np.int32 [canvas_length].
        step_map: np.int32 [canvas_length], as of `Decoder.step_map`.
    """

    library: str
    model: dict[str, Any]
    prompt: Tokens
    options: dict[str, Any]
    policy: Policy
    snapshot: bytes | None
    forwards: int
    canvas: Tokens
    step_map: NDArray[np.int32]

    @property
    def mask_token_id(self) -> int:
        """The model's mask id."""
        return int(self.model["mask_token_id"])


@dataclass(frozen=True)
class TraceStep:
    """One forward, and what followed it.

    Attributes:
        number: From 1, within the trace.
        forwards: Of the decoder, this one included.
        block: The block at work, from 0; of several that are revisited, the last.
        block_step: Steps done in it before.
        active: The positions it ran over. The three arrays are as long as it.
        editing_blocks: Whether finished blocks are revisited (multi-block editing).
        again: Whether it is the same step's forward, done once more.
        before: What the host did before the forward.
        canvas: The tokens that stood there before, np.int32.
        predictions: What the model would write, np.int32, as it stood when the step was applied.
        confidences: The probability of that, np.float32.
        after: What the host did between the forward and apply. The policy's propose is among them.
        proposal: What apply was to write. None: the step was not applied, for its forward was done again, or nothing
            followed.
        computed: Which rows ran through the model, bool; the others have what their last forward gave. None: all ran.
        events: What changed, the host's own writing since the last apply included; None as for `proposal`.
    """

    number: int
    forwards: int
    block: int
    block_step: int
    active: range
    editing_blocks: bool
    again: bool
    before: list[Call]
    canvas: Tokens
    predictions: Tokens
    confidences: NDArray[np.float32]
    after: list[Call] = field(default_factory=list)
    proposal: list[Edit] | None = None
    events: list[Event] | None = None
    computed: NDArray[np.bool_] | None = None

    def written(self) -> list[Event]:
        """What apply did, without what the host had written itself: it wrote, and then tokens moved. A position that is
        locked is in the proposal alone."""
        events = self.events or ()
        last = {event.position: event for event in events if not event.moves}
        proposed = ((edit, last.get(edit.position)) for edit in self.proposal or () if edit.kind == "write")
        wrote = [event for edit, event in proposed if event is not None and event.new == edit.token]
        return wrote + [event for event in events if event.moves]


@dataclass(frozen=True)
class TraceResult:
    """The last line: where the decoder stood when it had finished, or when the recording ended.

    Attributes:
        before: What the host did after the last forward's apply.
        tokens: As of `Decoder.tokens`.
        text: Without control tokens; None without a tokenizer.
        forwards: Of the decoder.
        edits: Tokens that replaced another.
        insertions: Tokens, and masks, that were put in before others.
        deletions: Tokens, and masks, that were taken out.
        finish_reason: "eos" or "length"; None if it had not finished.
        canvas: np.int32 [canvas_length].
        step_map: np.int32 [canvas_length], as of `Decoder.step_map`.
        expert_usage: np.uint64 [num_hidden_layers, num_experts], if the decoder was watching its routers; else None.
    """

    before: list[Call]
    tokens: Tokens
    text: str | None
    forwards: int
    edits: int
    finish_reason: str | None
    canvas: Tokens
    step_map: NDArray[np.int32]
    expert_usage: NDArray[np.uint64] | None = None
    insertions: int = 0
    deletions: int = 0

    @property
    def tpf(self) -> float:
        """Tokens per forward."""
        return len(self.tokens) / self.forwards if self.forwards else 0.0
