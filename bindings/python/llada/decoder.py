"""A canvas that is being denoised, step by step: look at everything, change anything."""

from __future__ import annotations

import copy
import os
import threading
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from ctypes import (
    POINTER, byref, c_bool, c_float, c_int32, c_size_t, c_uint8, c_void_p, pointer as pointer_to, sizeof,
)
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from . import _abi, drawing
from ._convert import Handle, Tokens, collect, file_name, integer, position as as_position, snapshot, token_pointer, tokens
from .cache import PrefixCache
from .errors import BusyError, ClosedError, Error, InvalidArgumentError, StateError, call, check
from .inside import Inside
from .policy import Policy
from .recording import Recorded
from .records import Candidate, Edit, Event, Generation, Rule, State, Step
from .text import detokenize
from .trace.recorder import changes
from .window import Windowed

if TYPE_CHECKING:
    from .model import Model


class Decoder(Windowed, Inside, Recorded):
    """A canvas: the prompt, then masks that are turned into tokens, block by block. `Model.decoder` makes one.

        for step in decoder: ...                                    # whole steps
        decoder.forward(); decoder.propose(); decoder.apply()       # or the three parts of a step

    Between any two calls you may look and interfere. Positions are absolute on the canvas, from 0, and every array is
    as long as the canvas, so that positions index all of them alike; arrays are read-only snapshots, yours to keep.

    policy          which edits a step proposes; None: Policy.quality()
    block_length    tokens that are denoised together
    gen_length      tokens to generate at most
    eos_early_stop  stop as soon as the answer is known to have ended
    infill          mask ids in the prompt are positions to fill; else they are refused (SpecialTokenError)
    use_cache       False recomputes everything at every step, for comparison: same bits
    prefix_cache    a PrefixCache of the model, through which decoders share what they have computed
    rule            a decoding rule of your own, see `rule`

    One thread at a time: a second one gets BusyError. `cancel()` and `close()` may be called from any thread. Ctrl-C
    takes effect between steps.
    """

    # Whether the proposal at hand is the policy's alone, because the rule raised something.
    _awaits_rule = False

    def __init__(
        self, model: Model, prompt: Any, policy: Policy | None = None, block_length: int = 32,
        gen_length: int = 256, eos_early_stop: bool = False, *, infill: bool = False, use_cache: bool = True,
        prefix_cache: PrefixCache | None = None, rule: Rule | None = None,
    ) -> None:
        policy = Policy._checked(policy)
        self._model = model._live()
        self._info = model.info
        self._policy = policy
        self._lock = threading.RLock()
        self._locked: set[int] = set()
        self.rule = rule

        options = _abi.DecoderOptions()
        check(_abi.lib.llada_decoder_options_init(byref(options), sizeof(options)))
        options.block_length = integer(block_length, "block_length")
        options.gen_length = integer(gen_length, "gen_length")
        options.eos_early_stop = bool(eos_early_stop)
        options.infill = bool(infill)
        options.use_cache = bool(use_cache)
        options.policy = pointer_to(policy._as_struct())
        if prefix_cache is not None:
            if not isinstance(prefix_cache, PrefixCache):
                raise TypeError(f"prefix_cache must be a llada.PrefixCache, not {prefix_cache!r}")
            cache = prefix_cache._live()  # held until the decoder has it
            options.prefix_cache = cache._as_parameter_
        ids = tokens(prompt)
        decoder = c_void_p()
        call(
            _abi.lib.llada_decoder_create, self._model, token_pointer(ids), len(ids), byref(options), byref(decoder)
        )
        self._handle: Handle | None = Handle(decoder, _abi.lib.llada_decoder_free)
        self._untouched = True
        named = {name: getattr(options, name) for name in ("infill", "eos_early_stop", "use_cache")}
        self._name_options(model, named)

    # -- Stepping

    def forward(self) -> None:
        """Runs the model over the active positions. Then predictions, confidences, candidates and logits are there.
        It may be done again before apply, after a `set`, say: that is one forward more."""
        self._call(_abi.lib.llada_decoder_forward)

    def propose(self, edits: Any = None) -> list[Edit]:
        """Decides what apply will write, and returns it.

        Without an argument the policy decides, then the decoder's own rule, if it has one. Else `edits` are taken in
        place of the policy's: an iterable of (position, token), of Edit, or of plain positions, which are given the
        token predicted there; a dict {position: token}; or an array of bool over the active positions (see `window`),
        True where the token predicted there is to be written. The mask id masks a position again.

        Raises StateError before a forward; InvalidArgumentError for positions that are not active, of the prompt,
        locked, or named twice."""
        if edits is None:
            self._call(_abi.lib.llada_decoder_propose)
            self._awaits_rule = self._rule is not None
            edits = self._rule(self) if self._rule is not None else None
        if edits is not None:
            array = self._edits(edits)
            self._call(_abi.lib.llada_decoder_set_proposal, array, len(array))
        self._awaits_rule = False
        return self.proposal

    @property
    def rule(self) -> Rule | None:
        """A decoding rule of your own (see Rule), or None. It can be changed at any time.

        An object that is called, and may keep what it likes between steps, is copied (copy.deepcopy) for each decoder it
        is given to, and with its state for each fork: decoders share nothing by it. Functions and methods are not copied.
        """
        return self._rule

    @rule.setter
    def rule(self, rule: Rule | None) -> None:
        if rule is not None and not callable(rule):
            raise TypeError(f"rule must be callable with a decoder, not {rule!r}")
        try:
            self._rule = rule if isinstance(rule, types.MethodType) else copy.deepcopy(rule)
        except Exception as problem:
            raise TypeError(
                f"rule {rule!r} cannot be copied for the decoder ({problem}); functions and methods are not copied"
            ) from problem

    def apply(self) -> list[Event]:
        """Writes the proposal to the canvas and returns what changed. A block that is done becomes settled."""
        self._call(_abi.lib.llada_decoder_apply)
        return self.events

    def step(self) -> Step:
        """The rest of the current step: what of forward, propose, apply has not been done. StateError at the end."""
        before = self._state()
        if self.rule is None and self._recorder is None:
            self._call(_abi.lib.llada_decoder_step)
        else:
            if before.phase == _abi.PHASES.index("ready"):
                self.forward()
            if before.phase != _abi.PHASES.index("proposed") or self._awaits_rule:
                self.propose()
            self._call(_abi.lib.llada_decoder_apply)
        active = range(before.active_first, before.active_first + before.active_count)
        return Step(active, self.events, before.editing_blocks, self.forwards)

    def __iter__(self) -> Iterator[Step]:
        while not self.finished:
            yield self.step()

    def run(self, callback: Callable[[Decoder], object] | None = None) -> Decoder:
        """Steps to the end; `callback(decoder)` after each step, when it may do all a host may. It stops the run by
        returning True; a later run goes on from there. What it raises is raised here."""
        return self._run(callback, lambda state: False)

    def run_block(self, callback: Callable[[Decoder], object] | None = None) -> Decoder:
        """Steps until the active block is done, its revisiting included."""
        start = self._state()
        end = start.active_first + start.active_count
        return self._run(callback, lambda state: state.active_first + state.active_count > end)

    def _run(self, callback: Callable[[Decoder], object] | None, done: Callable[[Any], bool]) -> Decoder:
        # In Python rather than through llada_decoder_run: so callbacks may interfere, not only look, and exceptions and
        # Ctrl-C need no passage through C.
        state = self._state()
        while not state.finished and not done(state):
            self.step()
            if callback is not None and callback(self) is True:
                break
            state = self._state()
        return self

    # -- Branching

    def fork(self, policy: Policy | None = None, seed: int | None = None) -> Decoder:
        """A second decoder that is where this one is, in the midst of a step or not: same canvas, bans, locks, rule,
        predictions and proposal. What was computed is shared, so that a fork costs what will differ; its
        `computed_positions` and `reused_positions` begin at 0.

        policy  None: the same
        seed    of its policy, in place of the one there. What is drawn (temperature > 0) depends on it, on the number of
                the forward and on the position: forks of equal seeds draw equal tokens. Predictions at hand stay.
        """
        policy = self._policy if policy is None else Policy._checked(policy)
        if seed is not None:
            policy = policy.replace(seed=seed)
        pointer = c_void_p()
        with self._held() as handle:
            call(_abi.lib.llada_decoder_fork, handle, byref(policy._as_struct()), byref(pointer))
            fork = object.__new__(type(self))
            fork.__dict__.update(self.__dict__)
            fork._handle = Handle(pointer, _abi.lib.llada_decoder_free)
            fork._recorder, fork._untouched = None, False
            fork._policy, fork._lock, fork._locked = policy, threading.RLock(), set(self._locked)
            fork.rule = self._rule
        return fork

    def truncate(self, position: int) -> None:
        """Forgets all that was generated from `position` on: masked again, free of locks, and next to be denoised, also
        after the end. What was computed before it is kept; counters go on.

        `position` is the start of a block, at most of the active one; after the end, at most the canvas's length. Raises
        InvalidArgumentError for any other."""
        position = as_position(position)
        with self._held():
            self._call(_abi.lib.llada_decoder_truncate, position)
            states = self.states
            self._locked = {at for at in self._locked if at < position or states[at] == State.PROMPT}

    # -- Snapshots

    def to_bytes(self, pages: bool = False) -> bytes:
        """A snapshot: all that decides how this decoder goes on. `Model.restore` makes a decoder of it, in this process or
        another, that goes on bit for bit as this one would have. A rule is not part of it.

        pages  with the keys and values computed so far, nothing is computed again; without them the snapshot is small, and
               what stands before the active block is computed anew at the next forward: the same bits"""
        size = c_size_t()
        with self._held() as handle:
            try:
                call(_abi.lib.llada_decoder_save, handle, bool(pages), None, 0, byref(size))
            except Error as problem:
                if problem.status != _abi.ERROR_BUFFER_TOO_SMALL:
                    raise
            buffer = np.empty(size.value, np.uint8)
            call(_abi.lib.llada_decoder_save, handle, bool(pages), buffer.ctypes.data, buffer.size, byref(size))
        return buffer.tobytes()

    def save(self, path: str | os.PathLike, pages: bool = False) -> None:
        """`to_bytes` to a file, which appears whole or not at all, in place of one that was there. FileError if it cannot be
        written."""
        name = file_name(path)
        with self._held() as handle:
            call(_abi.lib.llada_decoder_save_file, handle, bool(pages), name)

    @classmethod
    def _restored(cls, model: Model, source: Any, cache: PrefixCache | None, rule: Rule | None) -> Decoder:
        decoder = object.__new__(cls)
        decoder._model, decoder._info = model._live(), model.info
        decoder._lock, decoder.rule = threading.RLock(), rule
        if cache is not None and not isinstance(cache, PrefixCache):
            raise TypeError(f"cache must be a llada.PrefixCache, not {cache!r}")
        shared = cache._live() if cache is not None else None
        pointer = c_void_p()
        if isinstance(source, (bytes, bytearray, memoryview)):
            content = np.frombuffer(source, np.uint8)
            call(
                _abi.lib.llada_decoder_restore, decoder._model, shared, content.ctypes.data, content.size, byref(pointer)
            )
        else:
            call(_abi.lib.llada_decoder_restore_file, decoder._model, shared, file_name(source), byref(pointer))
        handle = decoder._handle = Handle(pointer, _abi.lib.llada_decoder_free)
        policy = _abi.Policy()
        check(_abi.lib.llada_decoder_get_policy(handle, byref(policy)))
        decoder._policy = Policy._from_struct(policy)
        locked, count = POINTER(c_bool)(), c_size_t()
        check(_abi.lib.llada_decoder_locked(handle, byref(locked), byref(count)))
        decoder._locked = {position for position in range(count.value) if locked[position]}
        decoder._name_options(model, {})
        return decoder

    def cancel(self) -> None:
        """From any thread: the call at work, or else the next one, raises Cancelled within the time of one layer. The
        step can be done again."""
        handle = self._handle
        if handle is not None:
            _abi.lib.llada_decoder_cancel(handle)

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
                Event(e.position, _abi.EVENT_KINDS[e.kind], e.old_token, e.new_token, e.confidence,
                      _abi.REASONS[e.reason])
                for e in array[: count.value]
            ]

    # -- Looking: counters

    @property
    def policy(self) -> Policy:
        return self._policy

    @property
    def phase(self) -> str:
        """"ready" (forward is next), "forwarded" (propose), "proposed" (apply) or "finished"."""
        return _abi.PHASES[self._state().phase]

    @property
    def finished(self) -> bool:
        return self._state().finished

    @property
    def finish_reason(self) -> str | None:
        """"eos", "length", or None before the end."""
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
            forwards=state.forwards, commits=state.commits, prefills=state.prefills, edits=state.edits,
            computed_positions=state.computed_positions, reused_positions=state.reused_positions,
            finish_reason=_abi.FINISH_REASONS[state.finish_reason] if state.finish_reason else None,
            trace=None if self._recorder is None else self._recorder.trace,
        )

    # -- Interfering

    def set(self, position: int, token: int) -> None:
        """Writes a token anywhere on the canvas. In a finished block or the prompt, what the model remembers of it and
        of all blocks behind it is computed anew; their tokens stay. In a block to come it is a draft that waits.
        A proposal at hand stays as it is and may write over yours; lock the position to keep it."""
        self._call(_abi.lib.llada_decoder_set_token, as_position(position), integer(token, "token"))

    def mask(self, position: int) -> None:
        """Masks a position of the active block or of one to come; not of the prompt."""
        self._call(_abi.lib.llada_decoder_mask, as_position(position))

    def lock(self, position: int) -> None:
        """The policy leaves a locked position as it is; a mask that is locked stays one, and the block is done
        without it."""
        self._call(_abi.lib.llada_decoder_lock, as_position(position), True)
        self._locked.add(int(position))

    def unlock(self, position: int) -> None:
        self._call(_abi.lib.llada_decoder_lock, as_position(position), False)
        self._locked.discard(int(position))

    def ban(self, token: int, position: int | None = None) -> None:
        """The token is never predicted at `position`, or, without one, anywhere. Predictions at hand are made anew."""
        self._ban(token, position, True)

    def unban(self, token: int, position: int | None = None) -> None:
        """Takes back the same `ban`."""
        self._ban(token, position, False)

    def _ban(self, token: int, position: int | None, banned: bool) -> None:
        place = -1 if position is None else as_position(position)
        self._call(_abi.lib.llada_decoder_ban, place, integer(token, "token"), banned)

    def end_block(self, done: bool | None = True) -> None:
        """Says whether the active block is done after the next apply, and that one alone: True (masks that are left
        stay; a policy with multiple block editing revisits it then), False, or None, which leaves it to the policy."""
        if done not in (None, True, False):
            raise TypeError(f"done must be True, False or None, not {done!r}")
        end = "auto" if done is None else "now" if done else "not_yet"
        self._call(_abi.lib.llada_decoder_end_block, _abi.BLOCK_ENDS.index(end))

    # -- Its end

    def close(self) -> None:
        """Gives the decoder back. A call at work in another thread is cancelled, and the memory lives until it ends."""
        try:
            self._end_recording()
        finally:
            self.cancel()
            self._handle = None

    @property
    def closed(self) -> bool:
        return self._handle is None

    def __enter__(self) -> Decoder:
        with self._held():
            return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- Being looked at

    def draw(self, width: int = 80, color: bool = True) -> str:
        """The canvas for a terminal: masks as ░, what the last step wrote and replaced highlighted."""
        return "\n".join(drawing.lines(self._spans(), width, color))

    def _repr_html_(self) -> str:
        return drawing.html([] if self.closed else self._spans(sure=True), repr(self))

    def __repr__(self) -> str:
        try:
            state, states = self._state(), self.states
        except ClosedError:
            return "<llada.Decoder, closed>"
        except BusyError:
            return "<llada.Decoder, at work in another thread>"
        blocks = state.canvas_length // state.block_length
        block = (state.active_first + state.active_count) // state.block_length
        where = _abi.FINISH_REASONS[state.finish_reason] if state.finished else _abi.PHASES[state.phase]
        return (
            f"<llada.Decoder {where}: block {block} of {blocks}, step {state.block_step}, "
            f"{int(np.count_nonzero(states == State.MASKED))} masked of {state.canvas_length}, "
            f"forwards={state.forwards}, edits={state.edits}>"
        )

    def _spans(self, sure: bool = False) -> list[drawing.Span]:
        """`sure`: how sure the last forward was of the tokens that it agreed with, as well."""
        canvas, states = self._canvas()
        changed = {event.position: event.kind for event in self.events}
        decode = (lambda ids: detokenize(self._model, ids, False, False)) if self._info.has_tokenizer else None
        masked = states == State.MASKED
        kinds = [
            "mask" if masked[i] else changed.get(i) or ("prompt" if states[i] == State.PROMPT else "token")
            for i in range(len(canvas))
        ]
        if sure and self.forwards:
            try:
                predictions, confidences = self._predictions()
            except StateError:
                return drawing.spans(canvas, kinds, decode)  # a forward was cut short
            for place in np.flatnonzero(predictions == canvas):
                if kinds[place] == "token":
                    kinds[place] = drawing.level(confidences[place])
        return drawing.spans(canvas, kinds, decode)

    # -- Underneath

    @contextmanager
    def _held(self) -> Iterator[Handle]:
        """The handle, for this thread alone: borrowed memory stays valid until the block is left."""
        handle = self._handle
        if handle is None:
            raise ClosedError("the decoder is closed")
        if not self._lock.acquire(blocking=False):
            raise BusyError("the decoder is at work in another thread")
        try:
            yield handle
        finally:
            self._lock.release()

    def _call(self, function: Any, *arguments: Any) -> None:
        with self._held() as handle:
            self._untouched = self._untouched and not changes(function)
            if self._recorder is None:
                call(function, handle, *arguments)
            else:
                with self._recorder.around(self, function, arguments):
                    call(function, handle, *arguments)

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
                _abi.lib.llada_decoder_predictions(
                    handle, byref(first), byref(ids), byref(confidences), byref(count)
                ),
                "there are no predictions: call forward first",
            )
            there = slice(first.value, first.value + count.value)
            all_ids[there] = snapshot(ids, count.value, np.int32)
            all_confidences[there] = snapshot(confidences, count.value, np.float32)
        all_ids.flags.writeable = all_confidences.flags.writeable = False
        return all_ids, all_confidences

    def _edits(self, edits: Any) -> Any:
        predictions, confidences = self._predictions()
        if isinstance(edits, np.ndarray) and edits.dtype == np.bool_:
            positions = self.window.positions
            if edits.shape != positions.shape:
                raise InvalidArgumentError(
                    f"edits are bool of shape {edits.shape}; expected {positions.shape}, one for each active position"
                )
            edits = positions[edits]
        rows = []
        for edit in edits.items() if isinstance(edits, Mapping) else edits:
            if isinstance(edit, Iterable):
                place, token = tuple(edit)[:2]
                place, token = as_position(place), integer(token, "token")
            else:
                place = as_position(edit)
                token = int(predictions[place]) if place < len(predictions) else -1
                if token < 0:
                    raise InvalidArgumentError(f"position {place} was not in the last forward: nothing is predicted")
            sure = place < len(predictions) and token == predictions[place]
            rows.append(_abi.Edit(place, token, float(confidences[place]) if sure else 0.0))
        return (_abi.Edit * len(rows))(*rows)
