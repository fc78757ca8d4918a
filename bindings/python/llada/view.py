"""A decoder as it can be looked at, by whoever: hosts, rules, recorders."""

from __future__ import annotations

from ctypes import POINTER, byref, c_bool, c_int32, c_size_t, c_uint8
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _abi, forwarded, inside
from ._calls import Calls
from ._convert import Tokens, collect, snapshot
from .errors import call
from .info import OpenedModel
from .inside import Routing
from .policy import Policy
from .records import Candidate, Candidates, Edit, Event, Rows, State
from .text_stream import ask, create


class DecoderView:
    """What a decoder shows, and nothing that changes it. `Decoder` is a view that can step, as well.

    Positions are absolute on the canvas, from 0. Every array but those of `rows` is as long as the canvas, so that
    positions index all of them alike. Arrays are read-only snapshots, yours to keep.
    """

    def __init__(self, calls: Calls, model: OpenedModel) -> None:
        self._calls = calls
        self._model = model

    # -- The canvas

    @property
    def canvas(self) -> Tokens:
        """All tokens, prompt first: np.int32 [canvas_length]."""
        return self._canvas()[0]

    @property
    def states(self) -> NDArray[np.uint8]:
        """What each position is: np.uint8 [canvas_length] of State."""
        return self._canvas()[1]

    @property
    def step_map(self) -> NDArray[np.int32]:
        """For each token, how many forwards there had been when it was written last; 0 where none was:
        np.int32 [canvas_length]."""
        forwards, count = POINTER(c_int32)(), c_size_t()
        with self._calls.held() as handle:
            call(_abi.lib.llada_decoder_step_map, handle, byref(forwards), byref(count))
            return snapshot(forwards, count.value, np.int32)

    @property
    def active(self) -> range:
        """The positions that the next forward denoises, or the last one did."""
        state = self._state()
        return range(state.active_first, state.active_first + state.active_count)

    @property
    def masked(self) -> NDArray[np.intp]:
        """The active positions that are masked and not locked: what a rule may fill. Ascending."""
        return self._active_in(State.MASKED)

    @property
    def drafts(self) -> NDArray[np.intp]:
        """The active positions that are written and not locked: what a rule may replace. Ascending."""
        return self._active_in(State.DRAFT)

    @property
    def locked(self) -> frozenset[int]:
        """The positions that are locked."""
        return frozenset(np.flatnonzero(self._locked()).tolist())

    @property
    def tokens(self) -> Tokens:
        """The generated tokens, np.int32: up to and including the first end-of-sequence token, else gen_length of them.
        Before the end: the settled ones. Filled positions of the prompt (infill) are not among them: see `canvas`."""
        guess = self.gen_length
        with self._calls.held() as handle:
            return collect(_abi.lib.llada_decoder_output, handle, guess=guess)

    @property
    def text(self) -> str:
        """`tokens` as text, without control tokens. Before the end, a last character that is not complete waits."""
        with self._calls.held() as handle:
            stream = create(self._model.handle, True, None)
            return ask(_abi.lib.llada_text_stream_update, stream, handle).settled

    # -- The last forward

    @property
    def predictions(self) -> Tokens:
        """The predicted tokens, np.int32 [canvas_length]; -1 outside the positions of the last forward. Biases,
        bans and penalty are applied. StateError before the first forward."""
        return self._predictions()[0]

    @property
    def confidences(self) -> NDArray[np.float32]:
        """The softmax probability of each prediction, np.float32 [canvas_length]; 0 outside the last forward."""
        return self._predictions()[1]

    @property
    def rows(self) -> Rows:
        """The rows of the last forward, one for each of its positions: what stands there and what is predicted, as
        arrays [rows]. StateError before the first forward."""
        return forwarded.rows(self._calls)

    def candidates(self, position: int, k: int = 5) -> list[Candidate]:
        """The most likely tokens at a position, biases, bans and penalty applied, temperature not.

        Args:
            position: One of the last forward.
            k: How many.

        Returns:
            At most k, best first, ties by lower id.

        Raises:
            StateError: There was no forward.
            InvalidArgumentError: The position was not part of it.
        """
        return forwarded.candidates(self._calls, position, k, self._model.info.vocab_size)

    def row_candidates(self, k: int = 5) -> Candidates:
        """`candidates` of each row of the last forward.

        Args:
            k: How many.

        Returns:
            Arrays [rows, k].

        Raises:
            StateError: There was no forward.
        """
        return forwarded.row_candidates(self._calls, k, self._model.info.vocab_size)

    def logits(self, position: int) -> NDArray[np.float32]:
        """The logits at a position, as the model gave them.

        Args:
            position: One of the last forward.

        Returns:
            np.float32 [vocab_size].

        Raises:
            StateError: There was no forward.
            InvalidArgumentError: The position was not part of it.
        """
        return forwarded.logits(self._calls, position)

    def row_logits(self) -> NDArray[np.float32]:
        """`logits` of each row of the last forward. Biases, bans and penalty are not in them, but in
        `row_candidates`.

        Returns:
            np.float32 [rows, vocab_size], yours to change.

        Raises:
            StateError: There was no forward.
        """
        return forwarded.row_logits(self._calls, self._model.info.vocab_size)

    def routing(self, layer: int) -> Routing:
        """Which experts a layer chose in the last forward, for each of its rows, and with what weights.

        Args:
            layer: One with experts, counted from 0.

        Returns:
            Arrays [rows, num_experts_per_tok].

        Raises:
            StateError: That forward was not watched: see `Decoder.watch`.
            InvalidArgumentError: The layer has no experts.
        """
        return inside.routing(self._calls, layer, self._model.info)

    def hidden(self, layer: int) -> NDArray[np.float32]:
        """The hidden states after a layer in the last forward.

        Args:
            layer: Counted from 0.

        Returns:
            np.float32 [rows, hidden_size].

        Raises:
            StateError: That forward was not watched: see `Decoder.watch`.
            InvalidArgumentError: There is no such layer.
        """
        return inside.hidden(self._calls, layer, self._model.info)

    @property
    def expert_usage(self) -> NDArray[np.uint64]:
        """How many positions each expert has had in all forwards since `watch(routing=True)`: np.uint64
        [num_hidden_layers, num_experts]; a layer without experts has zeros. StateError if nothing is watched."""
        return inside.expert_usage(self._calls, self._model.info)

    # -- What is about to happen, and what did

    @property
    def proposal(self) -> list[Edit]:
        """What apply will do. StateError if there is no proposal at hand."""
        array, count = POINTER(_abi.Edit)(), c_size_t()
        with self._calls.held() as handle:
            call(_abi.lib.llada_decoder_proposal, handle, byref(array), byref(count))
            return [
                Edit(e.position, e.token, e.confidence, _abi.REASONS[e.reason], _abi.EDIT_KINDS[e.kind])
                for e in array[: count.value]
            ]

    @property
    def events(self) -> list[Event]:
        """What you had changed since the apply before the last one, then what the last apply changed. Done one after
        the other, they lead from the canvas before to that after: see Event."""
        array, count = POINTER(_abi.Event)(), c_size_t()
        with self._calls.held() as handle:
            call(_abi.lib.llada_decoder_events, handle, byref(array), byref(count))
            return [
                Event(
                    e.position,
                    _abi.EVENT_KINDS[e.kind],
                    e.old_token,
                    e.new_token,
                    e.confidence,
                    _abi.REASONS[e.reason],
                    e.last,
                )
                for e in array[: count.value]
            ]

    # -- Where it stands, and how it was made

    @property
    def policy(self) -> Policy:
        """What proposes edits. Its numbers are as the library holds them: float32, and 64-bit for the seed."""
        policy = _abi.Policy()
        self._calls.look(_abi.lib.llada_decoder_get_policy, byref(policy))
        return Policy._from_struct(policy)

    @property
    def phase(self) -> str:
        """ "ready" (forward is next), "forwarded" (propose), "proposed" (apply) or "finished"."""
        return _abi.PHASES[self._state().phase]

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.phase == "finished"

    @property
    def finish_reason(self) -> str | None:
        """ "eos", "length", or None before the end."""
        reason = self._state().finish_reason
        return _abi.FINISH_REASONS[reason] if reason else None

    @property
    def forwards(self) -> int:
        """Denoising forwards so far, as the papers count them; multi-block editing's included."""
        return int(self._state().forwards)

    @property
    def commits(self) -> int:
        """Forwards run only to compute keys and values of finished blocks."""
        return int(self._state().commits)

    @property
    def prefills(self) -> int:
        """Forwards run only to compute keys and values of the prompt; its last piece rides with a step."""
        return int(self._state().prefills)

    @property
    def edits(self) -> int:
        """Tokens that replaced another token."""
        return int(self._state().edits)

    @property
    def insertions(self) -> int:
        """Tokens, and masks, that were put in before others."""
        return int(self._state().insertions)

    @property
    def deletions(self) -> int:
        """Tokens, and masks, that were taken out."""
        return int(self._state().deletions)

    @property
    def computed_forwards(self) -> int:
        """Denoising forwards that were run through the model: those of `forwards` that are missing ran along in the one
        before them."""
        return int(self._state().computed_forwards)

    @property
    def judged_positions(self) -> int:
        """Positions whose logits were judged: those whose prediction the policy reads, or somebody asked for."""
        return int(self._state().judged_positions)

    @property
    def computed_positions(self) -> int:
        """Positions run through the model by all forwards of this decoder: what it has cost."""
        return int(self._state().computed_positions)

    @property
    def reused_positions(self) -> int:
        """Positions that the prefix cache had, and that did not have to be computed."""
        return int(self._state().reused_positions)

    @property
    def mask_token_id(self) -> int:
        """The model's mask id."""
        return self._model.mask

    @property
    def block_length(self) -> int:
        """So many tokens are denoised together."""
        return int(self._state().block_length)

    @property
    def prompt_length(self) -> int:
        """The answer begins at this position."""
        return int(self._state().prompt_length)

    @property
    def gen_length(self) -> int:
        """The answer ends at prompt_length + gen_length, which may be before the canvas does."""
        return int(self._state().gen_length)

    @property
    def settled_length(self) -> int:
        """Positions before this are final."""
        return int(self._state().settled_length)

    @property
    def block_step(self) -> int:
        """Steps done in this block."""
        return int(self._state().block_step)

    @property
    def editing_blocks(self) -> bool:
        """Whether the step at hand revisits finished blocks (multi-block editing)."""
        return bool(self._state().editing_blocks)

    # -- Underneath

    def _state(self) -> Any:
        state = _abi.DecoderState()
        self._calls.look(_abi.lib.llada_decoder_get_state, byref(state))
        return state

    def _canvas(self) -> tuple[Tokens, NDArray[np.uint8]]:
        ids, states, count = POINTER(c_int32)(), POINTER(c_uint8)(), c_size_t()
        with self._calls.held() as handle:
            call(_abi.lib.llada_decoder_canvas, handle, byref(ids), byref(states), byref(count))
            return snapshot(ids, count.value, np.int32), snapshot(states, count.value, np.uint8)

    def _locked(self) -> NDArray[np.bool_]:
        values, count = POINTER(c_bool)(), c_size_t()
        with self._calls.held() as handle:
            call(_abi.lib.llada_decoder_locked, handle, byref(values), byref(count))
            return snapshot(values, count.value, np.bool_)

    def _active_in(self, wanted: State) -> NDArray[np.intp]:
        with self._calls.held():
            there, free = self.active, (self.states == wanted) & ~self._locked()
        return np.flatnonzero(free[there.start : there.stop]) + there.start

    def _predictions(self) -> tuple[Tokens, NDArray[np.float32]]:
        return forwarded.predictions(self._calls, self._state().canvas_length)
