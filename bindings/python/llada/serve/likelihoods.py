"""How likely the tokens of an answer were, for `logprobs`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..decoder import Decoder
from ..errors import InvalidArgumentError
from ..text import Tokenizer
from ..text_stream import TextStream
from .pieces import Likelihood

NEVER = -9999.0
"""Of a token that the model was not asked for."""


class _Written(NamedTuple):
    log_prob: float
    top: list[tuple[int, float]]


class Likelihoods:
    """Keeps, for each position, how likely the token there was in the forward after which it was written last: softmax
    of the logits, biases applied, temperature not."""

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, stream: TextStream, top: int, bias: Mapping[int, float]):
        self._tokenizer, self._stream, self._top, self._bias = tokenizer, stream, top, bias
        self._mask = decoder.mask_token_id
        self._written = np.full(len(decoder.canvas), None, object)  # [canvas_length] of _Written
        self._told, self._characters = 0, 0
        self._waiting: list[Likelihood] = []

    def note(self, decoder: Decoder) -> None:
        """Notes what the last step wrote. Its forward's predictions are still at hand."""
        rows = np.arange(len(self._written))  # which row of the forward each position was
        for event in decoder.events:
            if event.moves:
                event.move(self._written, None)
                event.move(rows, -1)
            elif event.new != self._mask:
                self._written[event.position] = self._look(decoder, int(rows[event.position]), event.new)

    def _look(self, decoder: Decoder, row: int, token: int) -> _Written | None:
        if row < 0:
            return None
        try:
            best = decoder.candidates(row, max(self._top, 1))
            logit = float(decoder.logits(row)[token]) + self._bias.get(token, 0.0)
        except InvalidArgumentError:
            return None  # somebody wrote it elsewhere
        total = best[0].logit - math.log(best[0].probability)
        top = [(each.token, min(each.logit - total, 0.0)) for each in best[: self._top]]
        return _Written(max(min(logit - total, 0.0), NEVER), top)

    def settled(self, decoder: Decoder, length: int, whole: bool) -> list[Likelihood]:
        """Those of the tokens that have settled and that were not told before.

        Args:
            decoder: Where it stands.
            length: Of the text that has been told, in characters: tokens whose text begins behind it wait.
            whole: Whether all settled text has been told.
        """
        tokens = decoder.tokens
        for place in range(self._told, len(tokens)):
            token = int(tokens[place])
            if not self._tokenizer.decode([token], skip_control=True) and self._tokenizer.decode([token]):
                continue  # it is a control token, which the text does not show
            written: _Written | None = self._written[decoder.prompt_length + place]
            top = [] if written is None else [(self._text(each), value) for each, value in written.top]
            value = NEVER if written is None else written.log_prob
            self._waiting.append(Likelihood(self._text(token), self._characters, value, top))
            self._characters += len(self._stream.push([token]))
        self._told = len(tokens)
        told = [each for each in self._waiting if whole or each.start < length]
        self._waiting = self._waiting[len(told) :]
        return told

    def _text(self, token: int) -> str:
        return self._tokenizer.decode([token])


def listed(likelihood: Likelihood) -> dict[str, Any]:
    """As a chat completion has it."""
    top = [_entry(text, value) for text, value in likelihood.top]
    return {**_entry(likelihood.text, likelihood.log_prob), "top_logprobs": top}


def _entry(text: str, log_prob: float) -> dict[str, Any]:
    # A token that is a part of a character has no text of its own.
    return {"token": text, "logprob": log_prob, "bytes": None if "\ufffd" in text else list(text.encode("utf-8"))}
