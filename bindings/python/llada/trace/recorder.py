"""Watches a decoder from within: it is told of every call that may change something, before and after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _abi
from ..errors import StateError
from ..text import detokenize
from .steps import CALLS, Call, Start, TraceResult, TraceStep

if TYPE_CHECKING:
    from ..decoder import Decoder
    from . import Trace

_PREFIX = "llada_decoder_"
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


def changes(function: Any) -> bool:
    """Whether a function of the library may change what a decoder will do."""
    name = function.__name__[len(_PREFIX) :]
    return name in CALLS or name in ("forward", "apply", "step")


def start(decoder: Decoder) -> Start:
    info = asdict(decoder._info)
    canvas = decoder.canvas
    return Start(
        library=_abi.lib.llada_version_string().decode(),
        model={"name": decoder._model_name, **{fact: info[fact] for fact in MODEL_FACTS}},
        prompt=canvas[: decoder.prompt_length],
        options=dict(decoder._options),
        policy=decoder.policy,
        snapshot=None if decoder._untouched else decoder.to_bytes(),
        forwards=decoder.forwards,
        canvas=canvas,
        step_map=decoder.step_map,
    )


class Recorder:
    """Makes a TraceStep of every forward and hands it to the trace once it is complete. It holds no decoder: the decoder
    holds it."""

    def __init__(self, decoder: Decoder, trace: Trace) -> None:
        self.trace = trace
        self.calls: list[Call] = []
        self.step: TraceStep | None = None  # forwarded and not applied
        self.forwards = decoder.forwards
        self.read_texts(decoder, decoder.canvas)
        trace._begin()
        if decoder.phase in ("forwarded", "proposed"):
            self._see(decoder)

    @contextmanager
    def around(self, decoder: Decoder, function: Any, arguments: tuple) -> Iterator[None]:
        name = function.__name__[len(_PREFIX) :]
        if name in CALLS:
            # Noted before it is done: a rule in C is asked within propose, and what it does comes after that.
            call = _call(name, arguments)
            self.calls.append(call)
            try:
                yield
            except BaseException:
                self.calls = [noted for noted in self.calls if noted is not call]
                raise
            if name == "ban" and self.step is not None:
                self._predicted(decoder)
        elif name == "apply":
            proposal = decoder.proposal if decoder.phase == "proposed" else None
            yield
            if self.step is not None:
                self._close(decoder, proposal=proposal, events=decoder.events)
        else:
            yield
            self.look(decoder)

    def look(self, decoder: Decoder) -> None:
        """Has it done a forward? Asked after each call that may, also on behalf of several decoders."""
        if decoder.forwards > self.forwards:
            again = self.step is not None
            if self.step is not None:
                self._close(decoder)
            self._see(decoder, again)

    def stop(self, decoder: Decoder) -> None:
        if self.step is not None:
            self._close(decoder)
        result = decoder.result
        self.read_texts(decoder, decoder.canvas)
        try:
            usage = decoder.expert_usage
        except StateError:
            usage = None  # not watched
        self.trace._end(
            TraceResult(
                self.calls,
                result.tokens,
                result.text,
                result.forwards,
                result.edits,
                result.finish_reason,
                decoder.canvas,
                decoder.step_map,
                usage,
            )
        )

    def _see(self, decoder: Decoder, again: bool = False) -> None:
        state = decoder._state()
        self.forwards = state.forwards
        active = range(state.active_first, state.active_first + state.active_count)
        there = slice(active.start, active.stop)
        predictions, confidences = decoder._predictions()
        self.step = TraceStep(
            len(self.trace.steps) + 1,
            state.forwards,
            active.stop // state.block_length - 1,
            state.block_step,
            active,
            state.editing_blocks,
            again,
            self.calls,
            decoder.canvas[there],
            predictions[there],
            confidences[there],
        )
        self.calls = []
        self.read_texts(decoder, self.step.predictions)

    def _predicted(self, decoder: Decoder) -> None:
        """Anew, after a ban."""
        there = slice(self.step.active.start, self.step.active.stop)
        predictions, confidences = decoder._predictions()
        self.step = replace(self.step, predictions=predictions[there], confidences=confidences[there])
        self.read_texts(decoder, self.step.predictions)

    def _close(self, decoder: Decoder, **rest: Any) -> None:
        step, self.step = replace(self.step, after=self.calls, **rest), None
        self.calls = []
        self.read_texts(decoder, step.canvas)
        self.read_texts(decoder, np.array([event.new for event in step.events or ()], np.int32))
        self.trace._add(step)

    def read_texts(self, decoder: Decoder, tokens: np.ndarray) -> None:
        """Of the tokens that were not there yet, so that a trace can be shown without its model."""
        if decoder._info.has_tokenizer:
            for token in np.unique(tokens).tolist():
                if token not in self.trace.texts:
                    self.trace.texts[token] = detokenize(decoder._model, np.array([token], np.int32), False, False)


def _call(name: str, arguments: tuple) -> Call:
    if name == "set_proposal":
        return (name, tuple((edit.position, edit.token, edit.confidence) for edit in arguments[0]))
    return (name, *(kind(value) for kind, value in zip(CALLS[name], arguments)))
