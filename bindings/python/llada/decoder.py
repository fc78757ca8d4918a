"""A canvas that is being denoised, step by step: look at everything, change anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Callable, NoReturn, Optional

from . import _abi, branching, drawing, forwarded, inside, interfering, portrait
from ._calls import Calls
from ._convert import Path, file_name, integer
from ._convert import position as as_position
from ._handle import Handle
from .errors import BusyError, ClosedError, StateError
from .generation import Generation, so_far
from .info import OpenedModel
from .policy import Policy, checked_policy
from .progress import Reporting
from .proposing import Proposing, begin, own_rule
from .records import Edit, Event, Step
from .stopping import Stop, stops
from .trace.trace import Trace
from .view import DecoderView


class Decoder(DecoderView):
    """A canvas: the prompt, then masks that are turned into tokens, block by block. `Model.decoder` makes one.

    ::

        for step in decoder: ...                                    # whole steps
        decoder.forward(); decoder.propose(); decoder.apply()       # or the three parts of a step

    Between any two calls you may look and interfere. Positions are those of the canvas, from 0, with the prompt first.
    One thread at a time: a second one gets BusyError. `cancel()` and `close()` may be called from any thread. Ctrl-C
    takes effect within a second, also in the forward over a long prompt. After `close()`, all but `rule` and
    `mask_token_id` raises ClosedError.
    """

    def __init__(
        self, handle: Handle, model: OpenedModel, rule: Rule | None, options: dict[str, Any], untouched: bool = False
    ) -> None:
        # `options`: what the library does not tell of its making, for the first line of a trace.
        super().__init__(Calls(handle, untouched), model)
        self._options = options
        self._proposing = Proposing(self._calls, rule)
        self._trace: Trace | None = None
        self._kept = 0  # candidates that the host wants
        self._keeping = 0  # that it or the rule wants
        self._keep(self._kept, self.rule)

    # -- Stepping

    def forward(self) -> None:
        """Runs the model over the active positions. Then predictions, confidences, candidates and logits are there.

        It may be done again before apply, after a `set`, say: that is one forward more.

        Raises:
            StateError: The decoder has finished.
            Cancelled: `cancel` was called.
            OutOfMemoryError: The prefix cache has no room.
        """
        self._calls.change(_abi.lib.llada_decoder_forward)

    def propose(self, edits: Any = None) -> list[Edit]:
        """Decides what apply will write.

        Args:
            edits: None: the policy decides, then the decoder's own rule, if it has one. Else they are taken in place of
                the policy's: an iterable of (position, token), of Edit, or of plain positions, which are given the
                token predicted there; a dict {position: token}; or an array of bool [rows] (see `rows`), True where the
                token predicted there is to be written. The mask id masks a position again. Edit.insert(position, token)
                puts a token in before the one there, Edit.delete(position) takes that one out: what stands behind it,
                to the end of the block, moves. All positions are those before the step.

        Returns:
            What apply will write.

        Raises:
            StateError: There was no forward.
            InvalidArgumentError: A position is not active, of the prompt, locked, or written or deleted twice.
            TypeError: The edits are of no such form.
        """
        self._proposing.propose(self, edits)
        return self.proposal

    @property
    def rule(self) -> Rule | None:
        """A decoding rule of your own, or None. It can be changed at any time.

        It is called with the decoder after each forward and the policy's proposal, looks at what it likes (`rows` above
        all), and returns edits in any form that `propose` takes, or None to agree with the policy. It may call `lock`,
        `ban`, `set_logit_bias`, `end_block`, `set` and `mask`. What it raises is raised by the step, which can be done
        again. A block that it never lets end goes on for ever: `block_step` counts.

        A rule that looks at `candidates` or `row_candidates` says how many in an attribute, `reads_candidates`: then
        they come out of the forward (see `keep_candidates`). One that does not say works too, and costs what it looks
        at.

        An object that is called, and may keep what it likes between steps, is copied (copy.deepcopy) for each decoder
        it is given to, and with its state for each fork: decoders share nothing by it. Functions and methods are not
        copied. If it has a method `begin`, that is called with the decoder when a decoder is made with the rule, or is
        given it, before anything is computed. What it raises is raised there.
        """
        return self._proposing.rule

    @rule.setter
    def rule(self, rule: Rule | None) -> None:
        rule = own_rule(rule)
        begin(rule, self)
        self._keep(self._kept, rule)
        self._proposing.rule = rule

    @property
    def proposal(self) -> list[Edit]:
        """What apply will write. Assigning to it is `propose(edits)`. StateError if there is no proposal at hand."""
        return super().proposal

    @proposal.setter
    def proposal(self, edits: Any) -> None:
        self.propose(edits)

    def apply(self) -> list[Event]:
        """Writes the proposal to the canvas. A block that is done becomes settled.

        Returns:
            What changed.

        Raises:
            StateError: There is no proposal.
        """
        self._calls.change(_abi.lib.llada_decoder_apply)
        return self.events

    def step(self) -> Step:
        """The rest of the current step: what of forward, propose, apply has not been done.

        Returns:
            What was done.

        Raises:
            StateError: The decoder has finished.
            Cancelled, OutOfMemoryError: As `forward`.
        """
        before = self._state()
        if self._at_once:
            self._calls.change(_abi.lib.llada_decoder_step)
        else:
            if _abi.PHASES[before.phase] == "ready":
                self.forward()
            if _abi.PHASES[before.phase] != "proposed" or self._proposing.awaits_rule:
                self.propose()
            self._calls.change(_abi.lib.llada_decoder_apply)
        active = range(before.active_first, before.active_first + before.active_count)
        return Step(active, self.events, before.editing_blocks, self.forwards)

    def __iter__(self) -> Iterator[Step]:
        while not self.finished:
            yield self.step()

    def run(self, callback: OnStep | None = None) -> Decoder:
        """Steps to the end; after it, does nothing.

        Args:
            callback: Called with the decoder after each step, when it may do all a host may. It stops the run by
                raising, which is raised here, or by returning llada.STOP. A later run goes on from there.

        Returns:
            The decoder itself.

        Raises:
            Cancelled, OutOfMemoryError: As `forward`.
        """
        return self._run(_abi.lib.llada_decoder_run, callback, None)

    def run_block(self, callback: OnStep | None = None) -> Decoder:
        """Steps until the active block is done, its revisiting included; after the end, does nothing.

        Args:
            callback: As for `run`.

        Returns:
            The decoder itself.
        """
        return self._run(_abi.lib.llada_decoder_run_block, callback, self.active.stop)

    def _run(self, function: Any, callback: OnStep | None, end: int | None) -> Decoder:
        if callback is None and self._at_once:
            if not self.finished:
                self._calls.run(function)
            return self
        while not self.finished and (end is None or self.active.stop <= end):
            self.step()
            if callback is not None and stops(callback(self), "callback"):
                break
        return self

    @property
    def _at_once(self) -> bool:
        """Whether the library can do a step, or all, in one call. A rule may do what C's may not, and a recorder sees
        the parts of a step."""
        return self.rule is None and self._calls.recorder is None

    def cancel(self) -> None:
        """From any thread: the call at work, or else the next one, raises Cancelled within some tenths of a second.
        The step can be done again."""
        self._calls.cancel()

    @property
    def result(self) -> Generation:
        """What has come out so far."""
        return so_far(self, self._trace if self._trace is not None and self._trace.recording else None)

    # -- Its end

    def close(self) -> None:
        """Gives the decoder back. A call at work in another thread is cancelled, and the memory lives until it ends."""
        self._calls.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._calls.closed

    def __enter__(self) -> Decoder:
        with self._calls.held():
            return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a decoder cannot be copied or pickled: fork() makes a second one, to_bytes() a snapshot")

    # -- Interfering

    def set(self, position: int, token: int) -> None:
        """Writes a token anywhere on the canvas.

        In a finished block or the prompt, what the model remembers of it and of all blocks behind it is computed anew;
        their tokens stay. In a block to come it is a draft that waits. A proposal at hand stays as it is and may write
        over yours; lock the position to keep it.

        Args:
            position: On the canvas.
            token: Of the vocabulary.

        Raises:
            InvalidArgumentError: One of the two is out of range.
            StateError: The decoder has finished.
        """
        self._calls.change(_abi.lib.llada_decoder_set_token, as_position(position), integer(token, "token"))

    def mask(self, position: int) -> None:
        """Masks a position of the active block or of one to come.

        Args:
            position: Not of the prompt.

        Raises:
            InvalidArgumentError: It is of the prompt, of a finished block, or out of range.
        """
        self._calls.change(_abi.lib.llada_decoder_mask, as_position(position))

    def lock(self, position: int) -> None:
        """The policy leaves a locked position as it is; a mask that is locked stays one, and the block is done without
        it.

        Args:
            position: On the canvas.
        """
        self._calls.change(_abi.lib.llada_decoder_lock, as_position(position), True)

    def unlock(self, position: int) -> None:
        """Takes back `lock`.

        Args:
            position: On the canvas.
        """
        self._calls.change(_abi.lib.llada_decoder_lock, as_position(position), False)

    def ban(self, token: int, position: int | None = None) -> None:
        """A banned token is never predicted. Predictions at hand are made anew.

        Args:
            token: Of the vocabulary.
            position: Where; None: anywhere.

        Raises:
            InvalidArgumentError: Nothing but the mask would be left, or one of the two is out of range.
        """
        interfering.ban(self._calls, token, position, True)

    def unban(self, token: int, position: int | None = None) -> None:
        """Takes back the same `ban`.

        Args:
            token: As given to `ban`.
            position: As given to `ban`.
        """
        interfering.ban(self._calls, token, position, False)

    def set_logit_bias(self, token: int, bias: float, position: int | None = None) -> None:
        """Sets what is added to a token's logit before arg-max, softmax and sampling. Predictions at hand are made
        anew; `logits` are as the model gave them.

        Args:
            token: Of the vocabulary.
            bias: 0 adds nothing. -inf is a ban, which any other bias lifts.
            position: Where; None: everywhere. What is set for a position comes on top of what is set everywhere.

        Raises:
            InvalidArgumentError: The bias is not a number, or beyond -1e30 to 1e30; and as `ban`.
        """
        interfering.set_logit_bias(self._calls, token, bias, position)

    def end_block(self, done: bool | None = True) -> None:
        """Says whether the active block is done after the next apply, and that one alone.

        Args:
            done: True: masks that are left stay; a policy with multi-block editing revisits the block then. None leaves
                it to the policy.
        """
        interfering.end_block(self._calls, done)

    def truncate(self, position: int) -> None:
        """Forgets all that was generated from a position on: masked again, free of locks, and next to be denoised, also
        after the end. What was computed before it is kept; counters go on.

        Args:
            position: The start of a block, at most of the active one; after the end, at most the canvas's length.

        Raises:
            InvalidArgumentError: It is any other.
        """
        self._calls.change(_abi.lib.llada_decoder_truncate, as_position(position))

    # -- Branching

    def fork(self, policy: Policy | None = None, seed: int | None = None) -> Decoder:
        """A second decoder that is where this one is, in the midst of a step or not: same canvas, bans, biases,
        locks, rule, predictions and proposal.

        What was computed is shared, so that a fork costs what will differ; its `computed_positions` and
        `reused_positions` begin at 0. It is neither recorded nor watched.

        Args:
            policy: None: the same.
            seed: Of its policy, in place of the one there. What is drawn (temperature > 0) depends on it, on the number
                of the forward and on the position: forks of equal seeds draw equal tokens. Predictions at hand stay.
        """
        policy = checked_policy(policy) or self.policy
        policy = policy if seed is None else policy.replace(seed=seed)
        fork = type(self)(branching.fork(self._calls, policy), self._model, self.rule, self._options)
        fork._proposing.awaits_rule = self._proposing.awaits_rule
        fork._calls.biased = self._calls.biased
        fork.keep_candidates(self._kept)
        return fork

    def to_bytes(self, pages: bool = False) -> bytes:
        """A snapshot: all that decides how this decoder goes on. `Model.restore` makes a decoder of it, in this process
        or another, that goes on bit for bit as this one would have. A rule is not part of it.

        Args:
            pages: With the keys and values computed so far, nothing is computed again; without them the snapshot is
                small, and what stands before the active block is computed anew at the next forward: the same bits.
        """
        return branching.to_bytes(self._calls, pages)

    def save(self, path: Path, pages: bool = False) -> None:
        """Writes `to_bytes` to a file.

        Args:
            path: The file appears there whole or not at all, in place of one that was there.
            pages: As for `to_bytes`.

        Raises:
            FileError: It cannot be written.
        """
        with Reporting(False, "saving") as report:
            self._calls.look(_abi.lib.llada_decoder_save_file, bool(pages), file_name(path), report, None)

    def record(self, path: str | os.PathLike[str] | None = None) -> Trace:
        """Begins a Trace of all that is done from here on, by whatever means: by steps or their parts, by rules, by
        you, alone or beside others. Forks are not recorded with it.

        Args:
            path: A file that is written as well, each forward as it is done; None: there is none.

        Returns:
            The trace. It ends with `trace.stop()`, a `with` of the trace, or the decoder.

        Raises:
            StateError: The decoder is being recorded.
            OSError: The file cannot be written.
        """
        with self._calls.held():
            if self._calls.recorder is not None:
                raise StateError("the decoder is being recorded; stop that trace first")
            self._trace = Trace._recorded(self, self._options, path)
            return self._trace

    def keep_candidates(self, k: int) -> None:
        """Says that the k most likely tokens of each row are to be kept, from the next forward on: then `candidates`
        and `row_candidates` of up to k are free, and the forward takes little longer. Otherwise they run the head of
        the model again: over one row at first, and each time over eight times as many more; the next forward then keeps
        as many as were asked for, up to 64.

        A rule says it for itself: see `rule`. Forks keep as many; snapshots do not say.

        Args:
            k: 0 to 1024; 0: none.
        """
        k = integer(k, "k", low=0, high=1024)
        with self._calls.held():
            self._keep(k, self.rule)
            self._kept = k

    def _keep(self, k: int, rule: Rule | None) -> None:
        read = integer(getattr(rule, "reads_candidates", 0), "reads_candidates of the rule", low=0, high=1024)
        if max(k, read) != self._keeping:
            forwarded.keep_candidates(self._calls, max(k, read))
            self._keeping = max(k, read)

    # -- Inside the model. Layers and experts are counted from 0.

    def watch(self, routing: bool = False, hidden: bool = False) -> None:
        """From the next forward on, keeps what is computed for the active positions. `watch()` ends it. Counts of
        `expert_usage` begin at 0; forks begin unwatched.

        Args:
            routing: Whether to keep what the routers choose.
            hidden: Whether to keep what the layers give.
        """
        inside.watch(self._calls, routing, hidden)

    def disable_expert(self, expert: int, layer: int, disabled: bool = True) -> None:
        """Disables an expert for this decoder and its forks to come: no position chooses it. What was computed before
        is computed anew.

        Args:
            expert: Its number in the layer.
            layer: One with experts.
            disabled: False enables it again.

        Raises:
            InvalidArgumentError: A position might then find fewer than num_experts_per_tok.
            StateError: The decoder has a prefix cache, whose keys and values others share.
        """
        inside.disable_expert(self._calls, expert, layer, disabled)

    # -- Being looked at

    def draw(self, width: int = 80, color: bool = True) -> str:
        """The canvas for a terminal: masks as ░, what the last step wrote and replaced highlighted.

        Args:
            width: In columns.
            color: Whether with ANSI codes.
        """
        return "\n".join(drawing.lines(portrait.spans(self, sure=False), width, color))

    def _repr_html_(self) -> str:
        return drawing.html([] if self.closed else portrait.spans(self, sure=True), repr(self))

    def play(self, memory: int = 1_000_000_000) -> Any:
        """In a notebook: a playground on which this decoder is stepped, forked and changed by hand, as
        ``python -m llada.play`` has it for a page. It begins with a fork: the decoder itself stays where it is.

        Args:
            memory: The bytes for the states that are kept.

        Returns:
            A widget. `widget.session.lanes` are the states that are shown, each with its `decoder`.

        Raises:
            ImportError: There is no anywidget: the extra `notebook`.
        """
        fork = self.fork()
        try:
            from .play.session import Session
            from .play.tree import Source
            from .play.widget import Playground
        except ImportError:
            fork.close()
            raise

        def begin(prompt: Any, policy: Policy, **options: Any) -> Decoder:
            handle, untold = branching.create(self._model, prompt, policy, **options)
            return type(self)(handle, self._model, self.rule, untold, untouched=True)

        def restore(snapshot: bytes) -> Decoder:
            return type(self)(branching.restore(self._model, snapshot, None), self._model, self.rule, {})

        session = Session([Source(self._model, begin, restore)], memory)
        session.begin(fork)
        return Playground(session)

    def __repr__(self) -> str:
        try:
            return portrait.line(self)
        except ClosedError:
            return "<llada.Decoder, closed>"
        except BusyError:
            return "<llada.Decoder, at work in another thread>"


Rule = Callable[[Decoder], Any]
"""A decoding rule of your own: see `Decoder.rule`."""

OnStep = Callable[[Decoder], Optional[Stop]]
"""What is called after each step: see `Decoder.run`."""
