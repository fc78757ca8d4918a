"""What a decoder shows: its canvas, the last forward, the proposal, counters."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from ctypes import POINTER, byref, c_float, c_int32, c_size_t, c_uint8
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _abi
from ._convert import Handle, Tokens, collect, integer, position as as_position, snapshot
from .errors import call, check
from .records import Candidate, Edit, Event, Generation, State
from .text import detokenize

if TYPE_CHECKING:
    from .model import ModelInfo
    from .policy import Policy


class Looking:
    """The part of Decoder that looks. Positions are absolute on the canvas; arrays are read-only snapshots."""

    _model: Handle
    _info: ModelInfo
    _policy: Policy
    _locked: set[int]
    propose: Callable[[Any], list[Edit]]
    _held: Callable[[], AbstractContextManager[Handle]]
    _call: Callable[..., None]

    # -- Looking: the canvas

    @property
    def canvas(self) -> Tokens:
        """All tokens, prompt first: np.int32 [canvas_length]."""
        return self._canvas()[0]

    @property
    def states(self) -> np.ndarray:
        """What each position is: np.uint8 [canvas_length] of State."""
        return self._canvas()[1]

    @property
    def step_map(self) -> np.ndarray:
        """For each token, how many forwards there had been when it was written last; 0 where none was:
        np.int32 [canvas_length]."""
        forwards, count = POINTER(c_int32)(), c_size_t()
        with self._held() as handle:
            check(_abi.lib.llada_decoder_step_map(handle, byref(forwards), byref(count)))
            return snapshot(forwards, count.value, np.int32)

    @property
    def active(self) -> range:
        """The positions that the next forward denoises, or the last one did."""
        state = self._state()
        return range(state.active_first, state.active_first + state.active_count)

    @property
    def masked(self) -> np.ndarray:
        """The active positions that are masked and not locked: what a rule may fill. np.intp, ascending."""
        return self._active_in(State.MASKED)

    @property
    def drafts(self) -> np.ndarray:
        """The active positions that are written and not locked: what a rule may replace. np.intp, ascending."""
        return self._active_in(State.DRAFT)

    @property
    def locked(self) -> frozenset[int]:
        """The positions locked with `lock`."""
        return frozenset(self._locked)

    @property
    def tokens(self) -> Tokens:
        """The generated tokens, np.int32: up to and including the first end-of-sequence token, else gen_length of them.
        Before the end: the settled ones. Filled positions of the prompt (infill) are not among them: see `canvas`."""
        guess = self.gen_length
        with self._held() as handle:
            return collect(_abi.lib.llada_decoder_output, handle, guess=guess)

    @property
    def text(self) -> str:
        """`tokens` as text, without control tokens. Before the end, a last character that is not complete waits."""
        return detokenize(self._model, self.tokens, skip_control=True, hold_back=not self.finished)

    # -- Looking: the last forward

    @property
    def predictions(self) -> Tokens:
        """The predicted tokens, np.int32 [canvas_length]; -1 outside the positions of the last forward.

        Bans and penalty are applied. StateError before the first forward."""
        return self._predictions()[0]

    @property
    def confidences(self) -> np.ndarray:
        """The softmax probability of each prediction, float32 [canvas_length]; 0 outside the last forward."""
        return self._predictions()[1]

    def candidates(self, position: int, k: int = 5) -> list[Candidate]:
        """The k most likely tokens at a position of the last forward, best first, ties by lower id."""
        limit = min(integer(k, "k", low=0, high=2**63 - 1), self._info.vocab_size)
        array, count = (_abi.Candidate * limit)(), c_size_t()
        self._call(_abi.lib.llada_decoder_candidates, as_position(position), limit, array, byref(count))
        return [Candidate(c.token, c.logit, c.probability) for c in array[: count.value]]

    def logits(self, position: int) -> np.ndarray:
        """The logits at a position of the last forward, as the model gave them: float32 [vocab_size]."""
        values, count = POINTER(c_float)(), c_size_t()
        with self._held() as handle:
            call(_abi.lib.llada_decoder_logits, handle, as_position(position), byref(values), byref(count))
            return snapshot(values, count.value, np.float32)

    # -- Looking: what is about to happen, and what did

    @property
    def proposal(self) -> list[Edit]:
        """What apply will write. Assigning to it is `propose(edits)`. StateError if there is no proposal at hand."""
        array, count = POINTER(_abi.Edit)(), c_size_t()
        with self._held() as handle:
            check(
                _abi.lib.llada_decoder_proposal(handle, byref(array), byref(count)),
                "there is no proposal: call propose first",
            )
            return [Edit(e.position, e.token, e.confidence, _abi.REASONS[e.reason]) for e in array[: count.value]]

    @proposal.setter
    def proposal(self, edits: Any) -> None:
        self.propose(edits)

    @property
    def events(self) -> list[Event]:
        """What the last apply changed, and what you had changed since the apply before it."""
        array, count = POINTER(_abi.Event)(), c_size_t()
        with self._held() as handle:
            check(_abi.lib.llada_decoder_events(handle, byref(array), byref(count)))
            return [
                Event(
                    e.position, _abi.EVENT_KINDS[e.kind], e.old_token, e.new_token, e.confidence, _abi.REASONS[e.reason]
                )
                for e in array[: count.value]
            ]

    # -- Looking: counters

    @property
    def policy(self) -> Policy:
        return self._policy

    @property
    def phase(self) -> str:
        """ "ready" (forward is next), "forwarded" (propose), "proposed" (apply) or "finished"."""
        return _abi.PHASES[self._state().phase]

    @property
    def finished(self) -> bool:
        return self._state().finished

    @property
    def finish_reason(self) -> str | None:
        """ "eos", "length", or None before the end."""
        reason = self._state().finish_reason
        return _abi.FINISH_REASONS[reason] if reason else None

    @property
    def forwards(self) -> int:
        """Denoising forwards so far, as the papers count them; multiple block editing's included."""
        return self._state().forwards

    @property
    def commits(self) -> int:
        """Forwards run only to compute K/V of finished blocks."""
        return self._state().commits

    @property
    def prefills(self) -> int:
        """Forwards run only to compute K/V of the prompt; its last piece rides with a step."""
        return self._state().prefills

    @property
    def edits(self) -> int:
        """Tokens that replaced another token."""
        return self._state().edits

    @property
    def computed_positions(self) -> int:
        """Positions run through the model by all forwards of this decoder: what it has cost."""
        return self._state().computed_positions

    @property
    def reused_positions(self) -> int:
        """Positions that the prefix cache had, and that did not have to be computed."""
        return self._state().reused_positions

    @property
    def mask_token_id(self) -> int:
        return self._info.mask_token_id

    @property
    def block_length(self) -> int:
        return self._state().block_length

    @property
    def prompt_length(self) -> int:
        return self._state().prompt_length

    @property
    def gen_length(self) -> int:
        """The answer ends at prompt_length + gen_length, which may be before the canvas does."""
        return self._state().gen_length

    @property
    def settled_length(self) -> int:
        """Positions before this are final."""
        return self._state().settled_length

    @property
    def block_step(self) -> int:
        """Steps done in this block."""
        return self._state().block_step

    @property
    def editing_blocks(self) -> bool:
        """Whether the step at hand revisits finished blocks (multiple block editing)."""
        return self._state().editing_blocks

    @property
    def result(self) -> Generation:
        """What has come out so far."""
        state, generated = self._state(), self.tokens
        return Generation(
            tokens=generated,
            text=self.text if self._info.has_tokenizer else None,
            forwards=state.forwards,
            commits=state.commits,
            prefills=state.prefills,
            edits=state.edits,
            computed_positions=state.computed_positions,
            reused_positions=state.reused_positions,
            finish_reason=_abi.FINISH_REASONS[state.finish_reason] if state.finish_reason else None,
            trace=None if self._recorder is None else self._recorder.trace,
        )

    # -- Underneath

    def _state(self) -> _abi.DecoderState:
        state = _abi.DecoderState()
        with self._held() as handle:
            check(_abi.lib.llada_decoder_get_state(handle, byref(state)))
        return state

    def _canvas(self) -> tuple[Tokens, np.ndarray]:
        ids, states, count = POINTER(c_int32)(), POINTER(c_uint8)(), c_size_t()
        with self._held() as handle:
            check(_abi.lib.llada_decoder_canvas(handle, byref(ids), byref(states), byref(count)))
            return snapshot(ids, count.value, np.int32), snapshot(states, count.value, np.uint8)

    def _active_in(self, wanted: State) -> np.ndarray:
        active = self.active
        there = np.flatnonzero(self.states[active.start : active.stop] == wanted) + active.start
        return there[~np.isin(there, list(self._locked))] if self._locked else there

    def _predictions(self) -> tuple[Tokens, np.ndarray]:
        first, count = c_int32(), c_size_t()
        ids, confidences = POINTER(c_int32)(), POINTER(c_float)()
        state = self._state()
        all_ids = np.full(state.canvas_length, -1, np.int32)
        all_confidences = np.zeros(state.canvas_length, np.float32)
        with self._held() as handle:
            check(
                _abi.lib.llada_decoder_predictions(handle, byref(first), byref(ids), byref(confidences), byref(count)),
                "there are no predictions: call forward first",
            )
            there = slice(first.value, first.value + count.value)
            all_ids[there] = snapshot(ids, count.value, np.int32)
            all_confidences[there] = snapshot(confidences, count.value, np.float32)
        all_ids.flags.writeable = all_confidences.flags.writeable = False
        return all_ids, all_confidences
