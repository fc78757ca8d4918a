"""What comes out of a generation."""

from __future__ import annotations

from dataclasses import dataclass, field

from ._convert import Tokens
from .trace.trace import Trace
from .view import DecoderView


@dataclass(frozen=True)
class Generation:
    """What came out.

    Attributes:
        tokens: np.int32, up to and including the first end-of-sequence token.
        text: Without control tokens; None if the model has no tokenizer.
        forwards: Denoising forwards, as the papers count them; multi-block editing's included.
        commits: Forwards run only to compute keys and values of finished blocks.
        prefills: Forwards run only to compute keys and values of the prompt.
        edits: Tokens that replaced another token.
        insertions: Tokens, and masks, that were put in before others.
        deletions: Tokens, and masks, that were taken out.
        computed_forwards: Denoising forwards that were run through the model; the others of `forwards` ran along in the
            one before them.
        judged_positions: Positions whose logits were judged.
        computed_positions: Positions run through the model in all forwards.
        reused_positions: Positions found in the prefix cache instead.
        finish_reason: "eos" or "length"; None if a callback ended it.
        trace: How it came about, if that was recorded; else None.
    """

    tokens: Tokens
    text: str | None
    forwards: int
    commits: int
    prefills: int
    edits: int
    insertions: int
    deletions: int
    computed_forwards: int
    judged_positions: int
    computed_positions: int
    reused_positions: int
    finish_reason: str | None
    trace: Trace | None = field(default=None, repr=False)

    @property
    def tpf(self) -> float:
        """Tokens per forward."""
        return len(self.tokens) / self.forwards if self.forwards else 0.0

    def __str__(self) -> str:
        return repr(self) if self.text is None else self.text


def so_far(decoder: DecoderView, trace: Trace | None) -> Generation:
    """What has come out of a decoder."""
    return Generation(
        decoder.tokens,
        decoder.text if decoder._model.info.has_tokenizer else None,
        decoder.forwards,
        decoder.commits,
        decoder.prefills,
        decoder.edits,
        decoder.insertions,
        decoder.deletions,
        decoder.computed_forwards,
        decoder.judged_positions,
        decoder.computed_positions,
        decoder.reused_positions,
        decoder.finish_reason,
        trace,
    )
