"""The best way through an automaton, position by position, where some tokens stand and others are to be chosen.

Positions are filled in any order, so what may stand at one depends on those to both sides of it: of all ways from the
state before the first position to a state that is allowed behind the last one, the best is found, and then what it has
at each position may be written, in any order. (The idea is that of DINGO, arXiv 2505.23061.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .automaton import Automaton


def best_way(
    automaton: Automaton, start: int, worth: NDArray[np.float64], allowed: NDArray[np.bool_]
) -> NDArray[np.intp] | None:
    """The classes of the tokens of the way whose worth is greatest; of equals, any, but always the same one.

    Args:
        start: The state before the first position.
        worth: What a class is worth at a position, -inf where it must not stand: float64 [positions, classes].
        allowed: Which states may be behind the last position: bool [states].

    Returns:
        [positions], or None if there is no way.
    """
    source, letter, into = automaton.source, automaton.letter, automaton.into
    states = len(automaton.next)
    reached = np.flatnonzero(np.diff(into))  # states that something leads into
    begin = into[:-1][reached]
    best = np.full(states, -np.inf)
    best[start] = 0.0
    sums = []
    for row in worth:
        through = best[source] + row[letter]
        best = np.full(states, -np.inf)
        if len(through):
            best[reached] = np.maximum.reduceat(through, begin)
        sums.append(through)
    best = np.where(allowed, best, -np.inf)
    state = int(best.argmax())
    if best[state] == -np.inf:
        return None
    way = np.empty(len(worth), np.intp)
    for index in range(len(worth) - 1, -1, -1):
        edge = into[state] + int(sums[index][into[state] : into[state + 1]].argmax())
        way[index], state = letter[edge], int(source[edge])
    return way


def reachable(automaton: Automaton, start: int, may: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The states that ways lead to before each position and behind the last one: bool [positions + 1, states].

    Args:
        start: The state before the first position.
        may: Whether a class may stand at a position: bool [positions, classes].
    """
    live = np.zeros((len(may) + 1, len(automaton.next)), bool)
    live[0, start] = True
    for index, row in enumerate(may):
        live[index + 1, automaton.target[live[index, automaton.source] & row[automaton.letter]]] = True
    return live


def forced(automaton: Automaton, start: int, may: NDArray[np.bool_], allowed: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The class that all ways have at a position; -1 where they differ, or there is none: [positions].

    Args:
        start: The state before the first position.
        may: Whether a class may stand at a position: bool [positions, classes].
        allowed: Which states may be behind the last position: bool [states].
    """
    live = reachable(automaton, start, may)
    leads = allowed
    only = np.full(len(may), -1, np.intp)
    for index in range(len(may) - 1, -1, -1):
        on_way = live[index, automaton.source] & may[index, automaton.letter] & leads[automaton.target]
        letters = automaton.letter[on_way]
        if len(letters) and (letters == letters[0]).all():
            only[index] = letters[0]
        leads = np.zeros(len(automaton.next), bool)
        leads[automaton.source[on_way]] = True
    return only
