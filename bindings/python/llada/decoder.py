"""A canvas that is being denoised, step by step: look at everything, change anything."""

from __future__ import annotations

import copy
import threading
import types
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_void_p, pointer as pointer_to, sizeof
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from . import _abi, drawing
from ._convert import Handle, integer, token_pointer, tokens
from .branching import Branching
from .cache import PrefixCache
from .errors import BusyError, ClosedError, StateError, call, check
from .inside import Inside
from .interfering import Interfering
from .policy import Policy
from .recording import Recorded
from .records import Edit, Event, Rule, State, Step
from .text import detokenize
from .trace.recorder import changes

if TYPE_CHECKING:
    from .model import Model


class Decoder(Interfering, Branching, Inside, Recorded):
    """A canvas: the prompt, then masks that are turned into tokens, block by block. `Model.decoder` makes one.

        for step in decoder: ...                                    # whole steps
        decoder.forward(); decoder.propose(); decoder.apply()       # or the three parts of a step

    Between any two calls you may look and interfere. Positions are absolute on the canvas, from 0, and every array is
    as long as the canvas, so that positions index all of them alike; arrays are read-only snapshots, yours to keep.

    policy          which edits a step proposes; None: Policy.quality()
    block_length    tokens that are denoised together
    gen_length      tokens to generate at most
    eos_early_stop  stop as soon as the answer is known to have ended; False here, True for `Model.generate` and the like
    infill          mask ids in the prompt are positions to fill; else they are refused (SpecialTokenError)
    use_cache       False recomputes everything at every step, for comparison: same bits
    prefix_cache    a PrefixCache of the model, through which decoders share what they have computed
    rule            a decoding rule of your own, see `rule`

    One thread at a time: a second one gets BusyError. `cancel()` and `close()` may be called from any thread. Ctrl-C
    takes effect between steps.
    """

    # Whether the proposal at hand is the policy's alone, because the rule raised something.
    _awaits_rule = False
    # Whether the rule is being called.
    _asking = False

    def __init__(
        self,
        model: Model,
        prompt: Any,
        policy: Policy | None = None,
        block_length: int = 32,
        gen_length: int = 256,
        eos_early_stop: bool = False,
        *,
        infill: bool = False,
        use_cache: bool = True,
        prefix_cache: PrefixCache | None = None,
        rule: Rule | None = None,
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
        call(_abi.lib.llada_decoder_create, self._model, token_pointer(ids), len(ids), byref(options), byref(decoder))
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
            if self._asking:
                raise BusyError(
                    "the decoder is asking its rule, which cannot step it; a fork with `rule = None` can be"
                )
            self._call(_abi.lib.llada_decoder_propose)
            self._awaits_rule = self._rule is not None
            edits = self._asked() if self._rule is not None else None
        if edits is not None:
            array = self._edits(edits)
            self._call(_abi.lib.llada_decoder_set_proposal, array, len(array))
        self._awaits_rule = False
        return self.proposal

    def _asked(self) -> Any:
        self._asking = True
        try:
            return self._rule(self)
        finally:
            self._asking = False

    @property
    def rule(self) -> Rule | None:
        """A decoding rule of your own, or None. It can be changed at any time.

        It is called with the decoder after each forward and the policy's proposal, looks at what it likes (`window` above
        all), and returns edits in any form that `propose` takes, or None to agree with the policy. It may call `lock`, `ban`,
        `end_block`, `set` and `mask`. A block that it never lets end goes on for ever: `block_step` counts.

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
        """Steps until the active block is done, its revisiting included; after the end, does nothing."""
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

    def cancel(self) -> None:
        """From any thread: the call at work, or else the next one, raises Cancelled within the time of one layer. The
        step can be done again."""
        handle = self._handle
        if handle is not None:
            _abi.lib.llada_decoder_cancel(handle)

    # -- Its end

    def __reduce__(self) -> Any:
        raise TypeError("a decoder cannot be copied or pickled: fork() makes a second one, to_bytes() a snapshot")

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
