"""Ways of decoding by name, as score.py takes them: `S`, or `S@0.3` for S with another threshold for masks."""

from __future__ import annotations

from math import inf
from typing import Any

# Fields of llada.Policy. `2.0` is low confidence; S and Q are joint threshold, with (threshold, editing_threshold);
# L is Levenshtein.
MODES: dict[str, dict[str, Any]] = {
    "2.0": {"kind": "low_confidence", "threshold": 0.95},
    "S": {"threshold": 0.5, "editing_threshold": 0.0},
    "Q": {"threshold": 0.7, "editing_threshold": 0.5},
    "S-noedit": {"threshold": 0.5, "editing_threshold": 1.0},
    "S-mbe": {"threshold": 0.5, "editing_threshold": 0.0, "mbe_window": 2},
    "Q-mbe": {"threshold": 0.7, "editing_threshold": 0.5, "mbe_window": 2},
    "L": {"kind": "levenshtein", "threshold": 0.5, "editing_threshold": 0.0},
    "L-nomove": {"kind": "levenshtein", "threshold": 0.5, "editing_threshold": 0.0},
}


def kind(mode: str) -> str:
    """The mode without its threshold: what the points of one sweep share."""
    return mode.partition("@")[0]


def fields(mode: str) -> dict[str, Any]:
    """The fields of the llada.Policy that `mode` names. Raises ValueError if it names none."""
    name, at, threshold = mode.partition("@")
    if name not in MODES:
        raise ValueError(f"mode {mode!r}: {name!r} is none of {', '.join(MODES)}")
    try:
        return {**MODES[name], "threshold": float(threshold)} if at else MODES[name]
    except ValueError:
        raise ValueError(f"mode {mode!r}: {threshold!r} is not a threshold") from None


def logit_bias(mode: str, moves: tuple[int | None, int | None]) -> dict[int, float]:
    """Of which tokens a mode knows nothing: `moves`, those for deletion and insertion, in L-nomove."""
    return {token: -inf for token in moves if token is not None} if kind(mode) == "L-nomove" else {}
