"""Words at which an answer stops."""

from __future__ import annotations

from collections.abc import Sequence


class Stops:
    """Settled text up to the first of some words that is whole. What may be the beginning of one is held back.

    Attributes:
        held: What is held back.
        stopped: Whether one has come. It, and what is behind it, is no part of the answer.
        word: The one that has come.
        rest: What came behind it, up to then.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self.held = self.word = self.rest = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """Takes settled text.

        Returns:
            What of all text so far belongs to the answer for certain, and was not returned before.
        """
        if self.stopped:
            return ""
        text = self.held + text
        # The one that is whole first, however the text comes; of several, the longest.
        places = ((text.find(word), word) for word in self._words)
        found = [(place + len(word), place, word) for place, word in places if place >= 0]
        if found:
            _, place, self.word = min(found)
            self.held, self.rest, self.stopped = "", text[place + len(self.word) :], True
            return text[:place]
        keep = max((_beginning(text, word) for word in self._words), default=0)
        self.held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """At the end: what was held back."""
        held, self.held = self.held, ""
        return held


def _beginning(text: str, word: str) -> int:
    """How many characters at a text's end are the beginning of a word."""
    return next((size for size in range(min(len(word) - 1, len(text)), 0, -1) if text.endswith(word[:size])), 0)
