"""results.json: what each checkpoint answered in each mode, question by question, and the sums made of it.

{"tiny-2.1": {"S": [{"question": ..., "family": ..., "final": true, ...}, ...], "Q": [...]}, ...}
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """One question, answered once."""

    question: str
    family: str
    final: bool  # the answer is right
    strict: bool  # and so is every worked step
    tokens: int
    forwards: int
    edits: int
    blocks: int  # of the canvas, that hold a part of the answer
    text: str | None  # the answer, unless it is strictly right
    insertions: int = 0
    deletions: int = 0
    level: int = 0  # of difficulty; 0 where the questions do not say


Results = dict[str, dict[str, list[Outcome]]]  # by checkpoint, then by mode


def merged(old: Results, new: Results) -> Results:
    """Both; a mode of a checkpoint that is in both is taken from `new` as a whole, for weights may have changed."""
    return {checkpoint: {**old.get(checkpoint, {}), **new.get(checkpoint, {})} for checkpoint in {**old, **new}}


def read(path: Path) -> Results:
    return {
        checkpoint: {mode: [Outcome(**outcome) for outcome in outcomes] for mode, outcomes in by_mode.items()}
        for checkpoint, by_mode in json.loads(path.read_text()).items()
    }


def add(path: Path, new: Results) -> None:
    """Merges `new` into the file. It is replaced in one go: hours of results are not lost to an interruption."""
    together = merged(read(path) if path.exists() else {}, new)
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(together, default=dataclasses.asdict) + "\n")
    os.replace(beside, path)


def by_family(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    families: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        families.setdefault(outcome.family, []).append(outcome)
    return families


def percent(right: Sequence[bool]) -> tuple[float, float]:
    """Per cent right, with the standard error."""
    share = sum(right) / len(right)
    return 100 * share, 100 * sqrt(share * (1 - share) / len(right))


def tpf(outcomes: Iterable[Outcome]) -> float:
    """Tokens per forward, of all answers together."""
    tokens, forwards = zip(*((o.tokens, o.forwards) for o in outcomes))
    return sum(tokens) / sum(forwards)
