"""A decoder in one line, and its canvas as stretches to be drawn."""

from __future__ import annotations

import contextlib

from . import drawing
from .errors import StateError
from .records import State
from .text import detokenize
from .view import DecoderView


def line(decoder: DecoderView) -> str:
    """What `repr` says of a Decoder."""
    length, size = len(decoder.canvas), decoder.block_length
    masked = int((decoder.states == State.MASKED).sum())
    return (
        f"<llada.Decoder {decoder.finish_reason or decoder.phase}: block {decoder.active.stop // size} of "
        f"{length // size}, step {decoder.block_step}, {masked} masked of {length}, "
        f"forwards={decoder.forwards}, edits={decoder.edits}{moved(decoder)}>"
    )


def moved(decoder: DecoderView) -> str:
    """Insertions and deletions, where there are any."""
    if not decoder.insertions and not decoder.deletions:
        return ""
    return f", insertions={decoder.insertions}, deletions={decoder.deletions}"


def spans(decoder: DecoderView, sure: bool) -> list[drawing.Span]:
    """The canvas. `sure`: how sure the last forward was of the tokens that it agreed with, as well."""
    model = decoder._model
    changed = drawing.changes(decoder.events, len(decoder.canvas), model.mask)
    kinds = drawing.kinds(decoder.states, {place: event.kind for place, event in changed.items()})
    if sure and decoder.forwards:
        with contextlib.suppress(StateError):  # a forward was cut short
            drawing.add_confidences(kinds, decoder.canvas, decoder.predictions, decoder.confidences)
    decode = (lambda ids: detokenize(model.handle, ids, False)) if model.info.has_tokenizer else None
    return drawing.spans(decoder.canvas, kinds, decode)
