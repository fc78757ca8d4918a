"""Which tokens may follow which, by a regular expression: an automaton whose letters are tokens.

outlines-core makes an automaton over bytes of the expression; tokens are followed through it here, all at once. Tokens
that do the same in every state are one class, so that a vocabulary of 157,000 becomes some hundred letters.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgumentError
from .vocabulary import Vocabulary

MOST_STATES = 8192
"""Of an expression; a step's cost and the time to build grow with them."""

MOST_SIZE = 50_000
"""Of an expression whose repetitions are written out, about: so much time and memory an automaton may take at most."""

_AT_ONCE = 64
_DEAD = -1


class Automaton:
    """The states that an answer can be in, before and after each token.

    There is one state more than the expression has, the last one, in which the answer has ended; and one class more
    than there are of text, the last one, of the tokens that end it. They lead there from every state that accepts, and
    from there to itself: behind an end come nothing but ends.

    Attributes:
        start: The state before the first token.
        classes: How many classes there are.
        class_of: Of each token; -1 for one that stands nowhere in an answer: np.int32 [vocab_size].
        members: The tokens of each class, ascending.
        next: The state behind a token of a class, -1 for none: np.int32 [states, classes].
        source, letter, target: `next` as a list by ascending target: np.int32 [edges].
        into: Where the edges into each state begin: np.intp [states + 1].
        distance: The fewest tokens from a state to the end, without the token that ends: np.int64 [states].
    """

    def __init__(self, table: NDArray[np.int32], start: int, accepts: NDArray[np.bool_], words: Vocabulary) -> None:
        states = len(table)
        hashes = _hashes(table, words)
        text = np.flatnonzero(hashes)
        _, first, kind = np.unique(hashes[text], return_index=True, return_inverse=True)
        count = len(first)
        following = np.full((states + 1, count + 1), _DEAD, np.int32)
        for index, token in enumerate(text[first].tolist()):
            state = np.arange(states, dtype=np.int32)
            for byte in words.text_of[token]:
                state = np.where(state >= 0, table[state, byte], np.int32(_DEAD))
            following[:states, index] = state
        following[np.flatnonzero(accepts), count] = states
        following[states, count] = states
        # States from which no whole token leads to an end are none: bytes may lead on where tokens do not.
        self.distance = _distances(following, np.append(accepts, True))
        following[(following >= 0) & (self.distance[following] < 0)] = _DEAD
        self.start, self.classes, self.next = start, count + 1, following
        self.class_of = np.full(words.size, _DEAD, np.int32)
        self.class_of[text] = kind
        self.class_of[list(words.ends)] = count
        order = np.argsort(kind, kind="stable")
        self.members = [*np.split(text[order], np.cumsum(np.bincount(kind, minlength=count))[:-1])] if count else []
        self.members.append(np.array(sorted(words.ends), np.intp))
        source, letter = np.nonzero(following >= 0)
        target = following[source, letter]
        order = np.argsort(target, kind="stable")
        self.source, self.letter, self.target = source[order], letter[order], target[order]
        self.into = np.searchsorted(self.target, np.arange(states + 2))
        self.end_class, self.ended = count, states
        # Of a row of logits, the part of each class begins here.
        self.by_class = np.concatenate(self.members)
        self.class_starts = np.cumsum([0, *map(len, self.members)])[:-1]


def build_automaton(regex: str, words: Vocabulary) -> Automaton:
    """Of an expression over a vocabulary.

    Raises:
        ImportError: There is no outlines-core: the extra `grammar`.
        InvalidArgumentError: It is no regular expression, it needs more than MOST_STATES states, or no text matches it.
    """
    table, start, accepts = _bytes_table(regex)
    return Automaton(table, start, accepts, words)


def _bytes_table(regex: str) -> tuple[NDArray[np.int32], int, NDArray[np.bool_]]:
    """The automaton over bytes: the next state [states, 256], -1 for none; the first state; which ones accept."""
    try:
        from outlines_core import Index
        from outlines_core import Vocabulary as Letters
    except ImportError:
        raise ImportError("a grammar needs outlines-core: pip install outlines-core") from None
    size = _size(regex)
    if size > MOST_SIZE:
        raise InvalidArgumentError(
            f"the regular expression has about {size} characters, repetitions written out; at most {MOST_SIZE} are "
            "supported: shorter bounds and less depth need fewer"
        )
    letters = Letters(256, {bytes([byte]): [byte] for byte in range(256)})
    # It makes an automaton that may begin anywhere in a text, which with counted repetitions grows without bound, and
    # of alternatives it takes the first that matches. So the text begins with a line feed, at which alone it can
    # begin, and has to be matched to its end.
    try:
        index: Any = Index(rf"\n(?:{regex})\z", letters)
    except Exception as problem:
        raise InvalidArgumentError(
            f"the regular expression has no automaton: {problem}; "
            "it is matched as a whole, without anchors or look-around"
        ) from None
    edges = index.get_transitions()
    finals = index.get_final_states()
    start = edges[index.get_initial_state()][ord("\n")]
    numbers: dict[int, int] = {start: 0}
    for state, moves in edges.items():
        if state != index.get_initial_state():
            for each in (state, *moves.values()):
                numbers.setdefault(each, len(numbers))
    table = np.full((len(numbers), 256), _DEAD, np.int32)
    for state, moves in edges.items():
        for byte, target in moves.items():
            if byte < 256 and target in numbers and state in numbers:
                table[numbers[state], byte] = numbers[target]
    accepts = np.zeros(len(numbers), bool)
    accepts[[numbers[state] for state in finals if state in numbers]] = True
    small = _smallest(table, 0, accepts)
    if len(small[0]) > MOST_STATES:
        raise InvalidArgumentError(
            f"the regular expression needs {len(small[0])} states; at most {MOST_STATES} are supported: shorter bounds "
            "and less depth need fewer"
        )
    return small


def _size(regex: str) -> int:
    """About how many characters an expression has with its repetitions written out, which bounds what is made of it; a
    class of more than ASCII counts as 8.

    Raises:
        InvalidArgumentError: A group is closed that was not opened: what stands around it would not stay around it.
    """
    sizes, last = [0], 0
    for piece in re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d+(?:,\d*)?\}|.", regex, re.S):
        if piece == "(":
            sizes.append(0)
        elif piece == ")":
            last = sizes.pop()
            if not sizes:
                raise InvalidArgumentError("the regular expression closes a group that is not open")
            sizes[-1] += last
        elif piece[0] == "{" and len(piece) > 1:
            sizes[-1] += last * max(0, max(map(int, re.findall(r"\d+", piece))) - 1)
        elif piece not in "*+?|":
            last = 8 if piece == "." or piece.startswith(("[^", r"\p", r"\w", r"\s", r"\d")) else 1
            sizes[-1] += last
    return sum(sizes)


def _smallest(
    table: NDArray[np.int32], start: int, accepts: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], int, NDArray[np.bool_]]:
    """The automaton with one state for all from which the same is accepted: kinds of states are told apart by what
    follows them, until that tells no more apart (Moore). Kinds are compared by hashes."""
    _, first_column = np.unique(table, axis=1, return_index=True)  # bytes that do the same
    columns = table[:, first_column]
    random = np.random.default_rng()

    def numbers(count: int) -> NDArray[np.uint64]:
        return random.integers(1, 2**63, count, np.uint64) * np.uint64(2) + np.uint64(1)

    of_column, of_itself = numbers(columns.shape[1]), numbers(1)
    kind, count = accepts.astype(np.intp), len(np.unique(accepts))
    while True:
        of_kind = np.append(numbers(len(table)), np.uint64(0))  # the last one is that of no state
        # What it was counts as well: no two that were told apart come together again.
        behind = np.where(columns >= 0, kind[columns], -1)
        hashes = (of_kind[behind] * of_column).sum(axis=1, dtype=np.uint64) + of_kind[kind] * of_itself
        _, first, kind = np.unique(hashes, return_index=True, return_inverse=True)
        if len(first) == count:
            break
        count = len(first)
    small = table[first]
    return np.where(small >= 0, kind[small], _DEAD).astype(np.int32), int(kind[start]), accepts[first]


def _hashes(table: NDArray[np.int32], words: Vocabulary) -> NDArray[np.uint64]:
    """For each token a number that says where it leads from each state, 0 for nowhere: a sum over states of products of
    random numbers, so that two tokens with equal ones do the same, up to a chance of some 2^-60."""
    states = len(table)
    random = np.random.default_rng()
    of_source, of_target = (random.integers(1, 2**63, states, np.uint64) * np.uint64(2) + np.uint64(1) for _ in "st")
    hashes = np.zeros(words.size, np.uint64)
    for first in range(0, states, _AT_ONCE):
        source = np.arange(first, min(first + _AT_ONCE, states))
        # Beginnings of tokens, each with a state before it and the state behind it.
        node = np.repeat(np.arange(words.levels[0].bytes.size), len(source)) if words.levels else np.empty(0, int)
        source = np.tile(source, len(node) // max(len(source), 1))
        state = source.astype(np.int32)
        for level in words.levels:
            state = table[state, level.bytes[node]]
            alive = state >= 0
            node, source, state = node[alive], source[alive], state[alive]
            if not len(node):
                break
            at_node = np.full(len(level.bytes), _DEAD, np.int32)
            at_node[level.with_tokens] = np.arange(len(level.with_tokens))
            group = at_node[node]
            ending = np.flatnonzero(group >= 0)
            which, group = np.repeat(ending, np.diff(level.first_token)[group[ending]]), group[ending]
            token = level.tokens[_ranges(level.first_token[group], level.first_token[group + 1])]
            np.add.at(hashes, token, of_source[source[which]] * of_target[state[which]])
            begin, end = level.first_child[node], level.first_child[node + 1]
            counts = end - begin
            source, state = np.repeat(source, counts), np.repeat(state, counts)
            node = _ranges(begin, end)
    return hashes


def _ranges(begin: NDArray[np.int32], end: NDArray[np.int32]) -> NDArray[np.intp]:
    """begin[0] to end[0] - 1, then begin[1] to end[1] - 1, and so on."""
    counts = (end - begin).astype(np.intp)
    within: NDArray[np.intp] = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return within + np.repeat(begin.astype(np.intp), counts)


def _distances(following: NDArray[np.int32], accepts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The fewest tokens from each state to one that accepts; -1 where there is no way."""
    source, letter = np.nonzero(following >= 0)
    target = following[source, letter]
    distance = np.where(accepts, 0, -1).astype(np.int64)
    reached = accepts.copy()
    for steps in range(1, len(following) + 1):
        near = np.zeros(len(following), bool)
        near[source[reached[target]]] = True
        near &= distance < 0
        if not near.any():
            break
        distance[near] = steps
        reached = near
    return distance
