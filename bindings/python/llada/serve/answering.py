"""One answer at work."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .._convert import Tokens
from ..cache import PrefixCache
from ..decoder import Decoder, Rule
from ..model import Model
from ..policy import Policy
from ..records import Event
from .likelihoods import Likelihoods
from .pieces import End, Mailbox, Piece
from .refusal import Refusal
from .stops import Stops

MASK = "░"
"""What stands in a draft for a position that is masked."""


@dataclass(frozen=True)
class Order:
    """What an answer is to be.

    Attributes:
        prompt: Token ids.
        policy: Which edits a step proposes.
        block_length: Tokens that are denoised together.
        max_tokens: At most.
        stop: Words that end it.
        likelihoods: None, or how many of the most likely tokens to tell beside each token's own likelihood.
        drafts: Whether to tell drafts and edits.
        logit_bias: What is added to tokens' logits.
        rule: A decoding rule.
    """

    prompt: Tokens
    policy: Policy
    block_length: int = 32
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    likelihoods: int | None = None
    drafts: bool = False
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    rule: Rule | None = None


class Answering:
    """An answer that waits, is denoised, or was put aside. All but `gone` and `fail` is for the scheduler's thread.

    A long prompt is read in pieces, so that others need not wait for it: first by decoders on its beginnings, which
    leave their keys and values in the prefix cache, then by its own.

    Attributes:
        index: Which of its request's answers it is.
        client: Whose it is.
        decoder: That is to be stepped; None while it waits.
        gone: Whether nobody wants it any more.
        followers: Answers to the same prompt. They begin when that has been read.
        is_reading: Whether its prompt has not been read.
    """

    def __init__(self, index: int, order: Order, mailbox: Mailbox, client: str, deadline: float) -> None:
        self.index, self.client, self._order, self._mailbox, self._deadline = index, client, order, mailbox, deadline
        self.decoder: Decoder | None = None
        self.gone = False
        self.followers: list[Answering] = []
        self.is_reading = True
        self._cached: int | None = None  # so much of the prompt was in the cache at first
        self._snapshot: bytes | None = None
        self._draft = ""
        self._length = 0  # of the text that has been told

    @property
    def is_late(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() > self._deadline

    def start(self, model: Model, cache: PrefixCache, piece: int) -> None:
        """Makes its decoder, anew if it was put aside.

        Args:
            model: The model.
            cache: What all share.
            piece: So many tokens of the prompt at a time.

        Raises:
            Error: See `Model.decoder` and `Model.restore`.
        """
        order = self._order
        if self._snapshot is not None:
            self.decoder = model.restore(self._snapshot, cache, rule=order.rule)
            self._snapshot = None
            return
        options: Any = {"block_length": order.block_length, "prefix_cache": cache}
        if self.is_reading:
            known = cache.pin(order.prompt, order.block_length)
            cache.unpin(order.prompt, order.block_length)
            self._cached = known if self._cached is None else self._cached
            piece = max(piece // order.block_length, 1) * order.block_length
            if known + piece < len(order.prompt):
                beginning = order.prompt[: known + piece]
                self.decoder = model.decoder(beginning, order.policy, gen_length=1, **options)
                return
        self.decoder = model.decoder(
            order.prompt,
            order.policy,
            gen_length=order.max_tokens,
            rule=order.rule,
            logit_bias=order.logit_bias,
            **options,
        )
        self._stream = model.text_stream(mask=MASK)
        self._stops = Stops(order.stop)
        tokenizer = model.tokenizer
        assert tokenizer is not None
        self._decode = tokenizer.decode
        self._likelihoods = None
        if order.likelihoods is not None:
            bias = order.logit_bias
            self._likelihoods = Likelihoods(self.decoder, tokenizer, model.text_stream(), order.likelihoods, bias)

    def stepped(self) -> bool:
        """What follows a step: what there is of the answer is told. Returns whether it has ended. While the prompt is
        being read it has no decoder then, and wants to be started again."""
        decoder = self.decoder
        assert decoder is not None
        if self.is_reading and decoder.prompt_length < len(self._order.prompt):
            self.close()
            return False
        self.is_reading = False
        return self._tell(decoder)

    def _tell(self, decoder: Decoder) -> bool:
        if self._likelihoods is not None:
            self._likelihoods.note(decoder)
        settled, draft = self._stream.update(decoder)
        text = self._stops.push(settled)
        stopped, finished = self._stops.stopped, decoder.finished
        draft = "" if stopped else self._stops.held + draft
        if finished and not stopped:
            text += self._stops.finish()
        self._length += len(text)
        piece = Piece(text, forwards=decoder.forwards)
        if self._likelihoods is not None:
            piece.likelihoods = self._likelihoods.settled(decoder, self._length, finished and not stopped)
        if self._order.drafts:
            piece.edits = [self._shown(event, decoder) for event in decoder.events if event.kind != "unmask"]
            if draft != self._draft:
                piece.draft = self._draft = draft
        if stopped or finished:
            reason = "length" if not stopped and decoder.finish_reason == "length" else "stop"
            count = len(decoder.tokens)
            piece.end = End(reason, count, decoder.forwards, decoder.edits, self._cached or 0)
        if text or piece.likelihoods or piece.edits or piece.draft is not None or piece.end:
            self._mailbox.post(self.index, piece)
        return piece.end is not None

    def _shown(self, event: Event, decoder: Decoder) -> dict[str, Any]:
        def text(token: int) -> str:
            return MASK if token == decoder.mask_token_id else self._decode([token])

        return {
            "kind": event.kind,
            "position": event.position - decoder.prompt_length,
            "old": text(event.old),
            "new": text(event.new),
            "confidence": event.confidence,
            "reason": event.reason,
        }

    def put_aside(self) -> None:
        """Gives its memory back, to go on later where it was: what was computed will be computed again."""
        if self.decoder is not None and not self.is_reading:
            self._snapshot = self.decoder.to_bytes()
        self.close()

    def fail(self, problem: Refusal) -> None:
        """There is no answer, or no more of it, and its request has ended."""
        self._mailbox.fail(problem)

    def close(self) -> None:
        """Gives the decoder back."""
        if self.decoder is not None:
            self.decoder.close()
            self.decoder = None
