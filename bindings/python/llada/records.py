"""What a decoder tells: states, edits, events, steps, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from ._convert import Tokens

if TYPE_CHECKING:
    import llada


class State(IntEnum):
    """What a position of the canvas is: the values of `Decoder.states`."""

    PROMPT = 0
    MASKED = 1
    DRAFT = 2
    SETTLED = 3


class Edit(NamedTuple):
    """What apply will write. `reason`: "threshold", "fallback" (masks), "edit", "post_edit", "block_edit" or "host"."""

    position: int
    token: int
    confidence: float
    reason: str


class Event(NamedTuple):
    """What a step changed. `kind`: "unmask", "replace" or "remask"; `reason` as in Edit."""

    position: int
    kind: str
    old: int
    new: int
    confidence: float
    reason: str


class Candidate(NamedTuple):
    token: int
    logit: float
    probability: float


class Step(NamedTuple):
    """One step, as it was done.

    active          the positions it ran over, a range
    events          list of Event
    editing_blocks  whether it revisited finished blocks (multiple block editing)
    forwards        denoising forwards so far, this one included
    """

    active: range
    events: list
    editing_blocks: bool
    forwards: int


Rule = Callable[["llada.Decoder"], Any]
"""A decoding rule of your own: called after each forward and the policy's proposal, with the decoder. It looks at what it
likes (`decoder.window` above all) and returns the edits in any form that `Decoder.propose` takes, or None to leave the
policy's proposal as it is. It may call what interferes as well: `lock`, `ban`, `end_block`, `set`, `mask`."""


@dataclass(frozen=True)
class Generation:
    """What came out.

    tokens         np.int32, up to and including the first end-of-sequence token
    text           without control tokens; None if the model has no tokenizer
    forwards       denoising forwards, as the papers count them; multiple block editing's included
    commits        forwards run only to compute K/V of finished blocks
    prefills       forwards run only to compute K/V of the prompt
    edits          tokens that replaced another token
    computed_positions, reused_positions
                   run through the model in all forwards; found in the prefix cache instead
    finish_reason  "eos" or "length"; None if a callback ended it
    trace          how it came about, if that was recorded; else None
    """

    tokens: Tokens
    text: str | None
    forwards: int
    commits: int
    prefills: int
    edits: int
    computed_positions: int
    reused_positions: int
    finish_reason: str | None
    trace: llada.Trace | None = field(default=None, repr=False)

    @property
    def tpf(self) -> float:
        """Tokens per forward."""
        return len(self.tokens) / self.forwards if self.forwards else 0.0

    def __str__(self) -> str:
        return repr(self) if self.text is None else self.text
