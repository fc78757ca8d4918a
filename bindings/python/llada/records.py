"""What a decoder tells: states, edits, events, steps, candidates, and the rows of its last forward."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._convert import Tokens


class State(IntEnum):
    """What a position of the canvas is: the values of `Decoder.states`."""

    PROMPT = 0
    """Part of the prompt."""
    MASKED = 1
    """To be filled."""
    DRAFT = 2
    """Written, and may still be edited."""
    SETTLED = 3
    """Final."""


class Edit(NamedTuple):
    """What apply will do at a position.

    Attributes:
        position: On the canvas as it is before the step: edits of one proposal do not see each other.
        token: What is written there, or put in before it; the mask id leaves that to the model. Of "delete": what goes.
        confidence: The probability of the prediction; 0 for a token that was not predicted.
        reason: "threshold" or "fallback" (a mask is filled), "edit", "post_edit" or "block_edit" (a token is replaced),
            or "host" (a rule, or you).
        kind: "write"; "insert": the token comes in before the one at the position, and what stands from there to the
            end of the block moves back by one, where the last one, often a mask, is lost; or "delete": the token goes,
            what stands behind it moves up, and a mask comes in at the end. Nothing moves across the prompt or what is
            locked.
    """

    position: int
    token: int
    confidence: float = 0.0
    reason: str = "host"
    kind: str = "write"

    @classmethod
    def insert(cls, position: int, token: int) -> Edit:
        """An edit for a proposal of yours: the token is put in before the one at the position. Several at one position
        come in their order.

        Args:
            position: Active, not of the prompt and not locked.
            token: The mask id (`Decoder.mask_token_id`) leaves it to the model.
        """
        return cls(position, token, kind="insert")

    @classmethod
    def delete(cls, position: int) -> Edit:
        """An edit for a proposal of yours: the token at the position is taken out.

        Args:
            position: Active, not of the prompt and not locked.
        """
        return cls(position, -1, kind="delete")


class Event(NamedTuple):
    """What a step changed. Positions are those at the moment of the event, after the events before it.

    Attributes:
        position: On the canvas.
        kind: "unmask", "replace" or "remask"; "insert": `new` came in at the position, what stood from there to
            `last` - 1 moved back by one, and `old`, which stood at `last`, is lost (often it is a mask); "delete":
            `old` was taken out at the position, what stood behind it to `last` moved up by one, and `new`, the mask,
            came in at `last`.
        old: The token that stood there.
        new: The token that stands there.
        confidence: As in Edit.
        reason: As in Edit.
        last: The last position that changed; the same as `position`, unless tokens moved.
    """

    position: int
    kind: str
    old: int
    new: int
    confidence: float
    reason: str
    last: int

    def move(self, values: Any, fill: Any) -> None:
        """Does to a list or an array that has something for each position what an "insert" or a "delete" did to the
        tokens. Other events move nothing.

        Args:
            values: [canvas_length], which is changed.
            fill: For the position where a token or a mask came in.
        """
        first, last = self.position, self.last
        if self.kind == "insert":
            values[first + 1 : last + 1] = values[first:last].copy()
            values[first] = fill
        elif self.kind == "delete":
            values[first:last] = values[first + 1 : last + 1].copy()
            values[last] = fill

    @property
    def moves(self) -> bool:
        """Whether tokens moved: "insert" and "delete"."""
        return self.kind in ("insert", "delete")


class Candidate(NamedTuple):
    """One of the most likely tokens at a position.

    Attributes:
        token: Its id.
        logit: Biases, bans and penalty applied.
        probability: By softmax of the logits.
    """

    token: int
    logit: float
    probability: float


class Step(NamedTuple):
    """One step, as it was done.

    Attributes:
        active: The positions it ran over.
        events: What it changed.
        editing_blocks: Whether it revisited finished blocks (multi-block editing).
        forwards: Denoising forwards so far, this one included.
    """

    active: range
    events: list[Event]
    editing_blocks: bool
    forwards: int


class Rows(NamedTuple):
    """The rows of the last forward, one for each of its positions: `Decoder.rows`. Arrays are [rows], and read-only.

    Attributes:
        positions: On the canvas, np.intp, ascending.
        tokens: What stands there, np.int32; the mask id where masked.
        states: np.uint8 of State.
        locked: bool.
        predictions: np.int32: the most likely token, or the one drawn; biases, bans and penalty applied. It may be the
            mask id.
        confidences: np.float32: the probability of the prediction, at a draft too; that of the token there is in
            `Decoder.row_logits`.
        block_step: Steps done in this block.
        editing_blocks: Whether finished blocks are revisited (multi-block editing).
        computed: bool: whether the row ran through the model. Others, of a policy with `refresh`, have what their last
            forward gave.
    """

    positions: NDArray[np.intp]
    tokens: Tokens
    states: NDArray[np.uint8]
    locked: NDArray[np.bool_]
    predictions: Tokens
    confidences: NDArray[np.float32]
    block_step: int
    editing_blocks: bool
    computed: NDArray[np.bool_]

    @property
    def masked(self) -> NDArray[np.bool_]:
        """Where a mask may be filled: masked and not locked. bool [rows]."""
        masked: NDArray[np.bool_] = (self.states == State.MASKED) & ~self.locked
        return masked

    @property
    def drafts(self) -> NDArray[np.bool_]:
        """Where a token may be replaced, or masked again: written and not locked. bool [rows]."""
        drafts: NDArray[np.bool_] = (self.states == State.DRAFT) & ~self.locked
        return drafts


class Candidates(NamedTuple):
    """The most likely tokens of each row, best first, ties by lower id: `Decoder.row_candidates`.

    Where there are fewer than k, for bans, the rest is token -1, logit -inf, probability 0.

    Attributes:
        tokens: np.int32 [rows, k].
        logits: np.float32 [rows, k]; biases, bans and penalty applied.
        probabilities: np.float32 [rows, k].
    """

    tokens: Tokens
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
