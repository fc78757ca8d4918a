"""Watches a decoder from within: it is told of every call that may change something, before and after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from .. import _abi, branching
from .._calls import Calls
from .._convert import Tokens
from ..errors import StateError
from ..policy import Policy
from ..text import detokenize
from ..view import DecoderView
from . import jsonl
from .recording import Recording
from .steps import CALLS, Call, Start, TraceResult, TraceStep, reordered

MODEL_FACTS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "first_k_dense_replace",
    "num_experts",
    "num_experts_per_tok",
    "num_parameters",
    "mask_token_id",
    "eos_token_id",
)


def start(view: DecoderView, options: dict[str, Any]) -> Start:
    """How the decoder was made, as far as `options` tell, and where it stands."""
    calls, model, canvas = view._calls, view._model, view.canvas
    info = asdict(model.info)
    return Start(
        library=_abi.lib.llada_version_string().decode(),
        model={"name": model.name, **{fact: info[fact] for fact in MODEL_FACTS}},
        prompt=canvas[: view.prompt_length],
        options={"block_length": view.block_length, "gen_length": view.gen_length, **options},
        policy=view.policy,
        snapshot=None if calls.untouched else branching.to_bytes(calls, pages=False),
        forwards=view.forwards,
        canvas=canvas,
        step_map=view.step_map,
    )


class Recorder:
    """Makes a TraceStep of every forward and hands it to the recording once it is complete."""

    def __init__(self, view: DecoderView, recording: Recording, file: jsonl.Writer | None) -> None:
        self.model, self.recording = view._model, recording
        self.noted: list[Call] = []
        self.step: TraceStep | None = None  # forwarded and not applied
        self.forwards = recording.start.forwards
        self.read_texts(recording.start.canvas)
        recording._begin(view, file)
        if view.phase in ("forwarded", "proposed"):
            self._see(view)
        self._judge(view)
        view._calls.recorder = self

    @contextmanager
    def around(self, calls: Calls, name: str, arguments: tuple[Any, ...]) -> Iterator[None]:
        """See Watcher."""
        view = DecoderView(calls, self.model)
        if name in CALLS:
            # Noted before it is done: a rule in C is asked within propose, and what it does comes after that.
            note = noted(name, arguments)
            self.noted.append(note)
            try:
                yield
            except BaseException:
                self.noted = [other for other in self.noted if other is not note]
                raise
            if name in ("ban", "set_logit_bias") and self.step is not None and view.phase != "ready":
                self._predicted(view, self.step)
        elif name == "apply":
            proposal = view.proposal if view.phase == "proposed" else None
            yield
            self._close(proposal=proposal, events=view.events)
        else:
            yield
            self.forwarded(calls)
        self._judge(view)

    def forwarded(self, calls: Calls) -> None:
        """See Watcher."""
        view = DecoderView(calls, self.model)
        if view.forwards > self.forwards:
            again = self.step is not None
            self._close()
            self._see(view, again)

    def stop(self, calls: Calls) -> None:
        """See Watcher."""
        self._close()
        self.recording._set_result(self._result(DecoderView(calls, self.model)))
        self.recording._end()

    def branch(self, view: DecoderView, recording: Recording, policy: Policy | None = None) -> None:
        """Goes on with a fork in a recording of its own, which begins with what has been recorded here.

        Args:
            view: Of the fork, which nothing has been done to.
            recording: A new one, of the same start.
            policy: The fork's, if it is another.
        """
        other = copy(self)
        other.recording, other.noted = recording, list(self.noted)
        if policy is not None:
            other.noted.append(("fork", policy))
        recording.steps, recording.result, recording.texts = (
            list(self.recording.steps),
            self.recording.result,
            self.recording.texts,
        )
        recording._begin(view, None)
        view._calls.recorder = other

    def _judge(self, view: DecoderView) -> None:
        """A decoder that has finished has a result. More may follow: it can be truncated and go on."""
        if view.finished or self.recording.result is not None:
            self.recording._set_result(self._result(view) if view.finished else None)

    def _result(self, view: DecoderView) -> TraceResult:
        self.read_texts(view.canvas)
        try:
            usage = view.expert_usage
        except StateError:
            usage = None  # not watched
        return TraceResult(
            list(self.noted),
            view.tokens,
            view.text if self.model.info.has_tokenizer else None,
            view.forwards,
            view.edits,
            view.finish_reason,
            view.canvas,
            view.step_map,
            usage,
            view.insertions,
            view.deletions,
        )

    def _see(self, view: DecoderView, again: bool = False) -> None:
        rows, state = view.rows, view._state()
        active = range(state.active_first, state.active_first + state.active_count)
        self.forwards = state.forwards
        self.step = TraceStep(
            len(self.recording.steps) + 1,
            state.forwards,
            active.stop // state.block_length - 1,
            state.block_step,
            active,
            state.editing_blocks,
            again,
            self.noted,
            rows.tokens,
            rows.predictions,
            rows.confidences,
            computed=None if rows.computed.all() else rows.computed,
        )
        self.noted = []
        self.read_texts(rows.predictions)

    def _predicted(self, view: DecoderView, step: TraceStep) -> None:
        """Anew, after a ban or a bias."""
        rows = view.rows
        self.step = replace(step, predictions=rows.predictions, confidences=rows.confidences)
        self.read_texts(rows.predictions)

    def _close(self, **rest: Any) -> None:
        """The step at hand is complete, if there is one."""
        if self.step is None:
            return
        step, self.step = replace(self.step, after=self.noted, **rest), None
        self.noted = []
        self.read_texts(step.canvas)
        self.read_texts(np.array([event.new for event in step.events or ()], np.int32))
        self.recording._add(step)

    def read_texts(self, tokens: Tokens) -> None:
        """Of the tokens that were not there yet, so that a trace can be shown without its model."""
        texts = self.recording.texts
        if self.model.info.has_tokenizer:
            for token in np.unique(tokens).tolist():
                if token not in texts:
                    texts[token] = detokenize(self.model.handle, np.array([token], np.int32), False)


def noted(name: str, arguments: tuple[Any, ...]) -> Call:
    """A call of the library as a trace has it."""
    if name == "set_proposal":
        edits = ((edit.position, edit.token, edit.confidence, _abi.EDIT_KINDS[edit.kind]) for edit in arguments[0])
        return (name, tuple(edits))
    return (name, *(kind(value) for kind, value in zip(CALLS[name], reordered(name, arguments))))
