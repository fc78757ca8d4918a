"""What a question is, what a family of questions is, and which side of the split a question stands on."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import dataclass

LEVELS = (1, 2, 3)
SHARES = 16  # contents are dealt to so many shares by their hash
SPLITS = {"held_out": (0,), "validation": (1,), "train": tuple(range(2, SHARES))}


@dataclass(frozen=True)
class Question:
    family: str
    content: str  # what the split is decided on
    text: str  # as a user would type it
    worked: str  # the whole expected answer, in one of its wordings
    final: str  # the answer alone, as Family.final reads it from `worked`
    level: int = 0  # of LEVELS; 0 where a file does not say


# Of a generator: content, text, worked answer, final answer.
Drawn = tuple[str, str, str, str]


@dataclass(frozen=True)
class Family:
    name: str
    area: str
    weight: int  # how often it comes up, against the others: by how long it takes to learn
    draw: Callable[[random.Random, int], Drawn]
    final: Callable[[str], str | None]  # the final answer that stands in an answer, or None
    same: Callable[[str, str], bool] = str.__eq__  # is a final answer as good as the expected one?
    shares: tuple[int, int, int] = (1, 1, 1)  # how often each of LEVELS comes up
    consistency: bool = False  # what comes later in the answer decides what came before


def split_of(content: str) -> str:
    """Decided by the content, never by the phrasing: no way of asking carries a held-out question into training."""
    share = int.from_bytes(hashlib.sha256(content.encode()).digest()[:4], "big") % SHARES
    return next(name for name, shares in SPLITS.items() if share in shares)


def after_answer(answer: str) -> str | None:
    """The final answer of families that work up to it: what stands after the last `Answer: `."""
    before, mark, final = answer.rpartition("Answer: ")
    return final.strip() if mark else None


def before_steps(answer: str) -> str | None:
    """The final answer of families that state it first: `Answer: 50. First ...`."""
    stated = re.match(r"Answer: ([^.]*)\. (?:First|Start) ", answer)
    return stated[1] if stated else None
