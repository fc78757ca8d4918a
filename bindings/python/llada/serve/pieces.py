"""Answers as they come, piece by piece, from the thread that denoises to whoever sends them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .refusal import Refusal


class Likelihood(NamedTuple):
    """How likely a settled token was when it was written last.

    Attributes:
        text: Of the token.
        start: Where that begins in the answer's text, in characters.
        log_prob: The log of its probability; the least float32 where the model was never asked.
        top: The most likely tokens there, best first: texts and logs of probabilities.
    """

    text: str
    start: int
    log_prob: float
    top: list[tuple[str, float]]


class End(NamedTuple):
    """How an answer has ended, and what it took.

    Attributes:
        reason: "stop" or "length".
        tokens: Generated.
        forwards: Denoising forwards.
        edits: Tokens that replaced others.
        cached: Tokens of the prompt that were in the prefix cache.
    """

    reason: str
    tokens: int
    forwards: int
    edits: int
    cached: int


@dataclass
class Piece:
    """What has become of one answer since the piece before.

    Attributes:
        text: That has settled.
        likelihoods: Of its tokens, if asked for.
        draft: All text behind it that may still change; None if nobody asked, or nothing changed.
        edits: What replaced, masked, inserted or deleted tokens, as JSON has it.
        forwards: So far.
        end: There, if this is the last piece.
    """

    text: str = ""
    likelihoods: list[Likelihood] = field(default_factory=list)
    draft: str | None = None
    edits: list[dict[str, Any]] = field(default_factory=list)
    forwards: int = 0
    end: End | None = None

    def join(self, later: Piece) -> None:
        """Takes in the piece that follows: of drafts only the last one matters."""
        self.text += later.text
        self.likelihoods += later.likelihoods
        self.draft = self.draft if later.draft is None else later.draft
        self.edits += later.edits
        self.forwards, self.end = later.forwards, later.end


class Mailbox:
    """What the answers of one request have become since somebody looked. A reader who is slow finds less mail, and not
    more of it: pieces of one answer are joined."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pieces: dict[int, Piece] = {}
        self._problem: Refusal | None = None
        self._loop = asyncio.get_running_loop()
        self._mail = asyncio.Event()

    def post(self, index: int, piece: Piece) -> None:
        """From any thread: a piece of an answer."""
        with self._lock:
            if index in self._pieces:
                self._pieces[index].join(piece)
            else:
                self._pieces[index] = piece
        self._wake()

    def fail(self, problem: Refusal) -> None:
        """From any thread: there will be no more."""
        with self._lock:
            self._problem = self._problem or problem
        self._wake()

    async def take(self) -> dict[int, Piece]:
        """What there is by now, of each answer; waits for some. Raises the Refusal behind it."""
        await self._mail.wait()
        with self._lock:
            self._mail.clear()
            pieces, self._pieces = self._pieces, {}
            if not pieces and self._problem is not None:
                self._mail.set()
                raise self._problem
            if self._problem is not None:
                self._mail.set()
            return pieces

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits
            self._loop.call_soon_threadsafe(self._mail.set)
