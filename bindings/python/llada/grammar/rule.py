"""A decoding rule that keeps an answer within a grammar, whatever the policy is."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._handle import Handle
from ..decoder import Decoder
from ..errors import InvalidArgumentError, StateError, TokenizerError
from ..records import Edit, Rows, State
from .automaton import Automaton, build_automaton
from .search import best_way, forced, reachable
from .vocabulary import Vocabulary, read_vocabulary

KEPT = 64
"""Automata that are kept of a model."""


class Grammar:
    """Answers that a regular expression matches as a whole: the `rule=` of a decoder, of many, or of `generate`. Made
    by `regex`, `choices` and `json_schema`. It keeps nothing of a decoder, so one may serve any number, in any threads.

    After each step some valid answer has what is written, and fits into the length that is left: each written token,
    each replaced, inserted and deleted one. The end of the sequence stands where an answer may end, and what is behind
    it is the end as well. If the policy's proposal leaves a valid answer, it stands. If not, of what it would replace,
    delete or insert, as much stands as is valid together; and if it would fill a mask with what must not stand there,
    the most likely way to fill all masks is found, and of that are written:

    - what the policy would write, where the way has it, up to the first mask that the policy was sure of otherwise;
    - at that mask, and where nothing else is possible, the token that the way has. What is to the right waits for what
      the model thinks of that, and so does what would move.

    What is deleted and filled again would go on for ever, so of the steps of a block only the first `block_length`
    delete and insert.

    `begin` raises InvalidArgumentError if no valid answer is short enough.

    Attributes:
        regex: The expression, in the syntax of Rust's regex crate, without look-around.
    """

    def __init__(self, regex: str) -> None:
        if not isinstance(regex, str):
            raise TypeError(f"a regular expression is a str, not {regex!r}")
        self.regex = regex

    def begin(self, decoder: Decoder) -> None:
        """Called before a decoder computes anything.

        Args:
            decoder: Its canvas may have tokens after the prompt already.

        Raises:
            InvalidArgumentError: No valid answer fits; or it is no regular expression.
            TokenizerError: The model has no tokenizer, or no end of sequence.
            ImportError: There is no outlines-core: the extra `grammar`.
        """
        automaton = _automaton(decoder, self.regex)
        if decoder.finished:
            return
        answer = _Answer(automaton, decoder, [])
        worth = answer.worth_of_canvas()
        if best_way(automaton, answer.start, worth, answer.allowed) is None:
            raise answer.refusal(worth)

    def __call__(self, decoder: Decoder) -> Sequence[Edit] | None:
        """What the decoder is to write, in place of the policy's proposal; None agrees."""
        automaton = _automaton(decoder, self.regex)
        proposal = decoder.proposal
        answer = _Answer(automaton, decoder, proposal)
        edits = answer.edits()
        if answer.left_open(edits) and decoder.policy.kind != "joint_threshold":
            # Other policies may leave a block for the number of its steps. This one leaves it only without masks.
            decoder.end_block(False)
        return None if edits == proposal else edits

    def __deepcopy__(self, _: Any) -> Grammar:
        return self

    def __repr__(self) -> str:
        shown = self.regex if len(self.regex) <= 60 else self.regex[:57] + "..."
        return f"<llada.grammar.Grammar {shown!r}>"


class _Answer:
    """What of an answer a step is about: the active positions behind the prompt, and those after them up to the last
    one that is written."""

    def __init__(self, automaton: Automaton, decoder: Decoder, proposal: Sequence[Edit]) -> None:
        self.automaton, self.decoder = automaton, decoder
        state = decoder._state()
        prompt, self.mask = state.prompt_length, decoder.mask_token_id
        canvas, states = decoder._canvas()
        locked = decoder._locked()
        self.first = max(state.active_first, prompt)
        self.active_end = state.active_first + state.active_count
        written = np.flatnonzero(states[self.active_end :] != State.MASKED)
        end = self.active_end + (int(written[-1]) + 1 if len(written) else 0)
        self.canvas, self.is_mask = canvas[self.first : end], states[self.first : end] == State.MASKED
        self.locked = locked[self.first : end]
        if (states[prompt:end] == State.MASKED)[locked[prompt:end]].any():
            place = prompt + int(np.flatnonzero((states[prompt:end] == State.MASKED) & locked[prompt:end])[0])
            raise StateError(f"position {place} is locked as a mask, which no answer of a grammar has")
        self.step = state.block_step
        length_end = prompt + state.gen_length
        self.padding = max(0, length_end - self.first)  # of these positions, from here on
        self.allowed = (automaton.distance >= 0) & (automaton.distance <= max(0, length_end - end))
        self.start = self._state_before(canvas[prompt : self.first], states[prompt : self.first])
        self.others = [edit for edit in proposal if edit.position < self.first]  # masks in the prompt
        self.moves = [edit for edit in proposal if edit.position >= self.first and edit.kind != "write"]
        self.writes = {
            edit.position - self.first: edit
            for edit in proposal
            if edit.position >= self.first and edit.kind == "write" and edit.token != self.mask
        }
        self.unmasked = [edit.position - self.first for edit in proposal if edit.position >= self.first]

    def _state_before(self, tokens: NDArray[np.int32], states: NDArray[np.uint8]) -> int:
        state, following = self.automaton.start, self.automaton.next
        if (states == State.MASKED).any():
            raise StateError("a finished block has masks, which no answer of a grammar has")
        for letter in self.automaton.class_of[tokens].tolist():
            state = int(following[state, letter]) if letter >= 0 else -1
            if state < 0:
                raise StateError("no answer of the grammar begins with the tokens of the finished blocks")
        return state

    def worth_of_canvas(self) -> NDArray[np.float64]:
        """Without any edit: 0 for what stands there, and for everything at a mask; [positions, classes]."""
        return self._worth([None if mask else token for token, mask in zip(self.canvas.tolist(), self.is_mask)])

    def _worth(self, tokens: Sequence[int | None]) -> NDArray[np.float64]:
        """None: a mask."""
        automaton = self.automaton
        worth = np.full((len(tokens), automaton.classes), -np.inf)
        for index, token in enumerate(tokens):
            if token is None:
                worth[index] = 0.0
            elif (letter := automaton.class_of[token]) >= 0:
                worth[index, letter] = 0.0
        self._end_padding(worth)
        return worth

    def _end_padding(self, worth: NDArray[np.float64]) -> None:
        """Behind the length of the answer there are but ends."""
        worth[self.padding :, : self.automaton.end_class] = -np.inf

    def refusal(self, worth: NDArray[np.float64]) -> InvalidArgumentError:
        """Why there is no answer."""
        automaton, live = self.automaton, reachable(self.automaton, self.start, worth > -np.inf)
        place = int(live.any(axis=1).argmin()) - 1  # -1: all positions are reached
        if place >= 0 and not self.is_mask[place]:
            return InvalidArgumentError(
                f"position {self.first + place} has token {self.canvas[place]}, with which no answer of the grammar "
                "can be completed"
            )
        least = int(automaton.distance[self.start])
        if least < 0:
            return InvalidArgumentError("no text that the tokens of the model can spell matches the grammar")
        room = self.padding
        return InvalidArgumentError(
            f"gen_length leaves {room} tokens; an answer of the grammar takes at least {least}"
            if least > room
            else f"no answer of the grammar fits into the {room} tokens that are left with the tokens that are written"
        )

    # -- A step

    def edits(self) -> list[Edit]:
        """The edits to be made."""
        automaton, class_of = self.automaton, self.automaton.class_of
        if self.start == automaton.ended:
            end, masks = int(automaton.members[-1][0]), np.flatnonzero(self.is_mask[: self.active_end - self.first])
            return sorted([*self.others, *(Edit(self.first + index, end) for index in masks.tolist())], key=_place)
        worth = self.worth_of_canvas()
        for index, edit in self.writes.items():
            letter = class_of[edit.token]
            if letter >= 0:
                worth[index, letter] = edit.confidence + 0.001
        self._end_padding(worth)
        way = best_way(automaton, self.start, worth, self.allowed)
        if way is None:
            raise self.refusal(self.worth_of_canvas())
        kept = {index: edit for index, edit in self.writes.items() if way[index] == class_of[edit.token]}
        refused = [index for index in self.unmasked if self.is_mask[index] and index not in kept]
        moved = {edit.position - self.first for edit in self.moves}
        if any(index not in moved for index in refused):
            kept = self._searched(worth)
        kept, moves = self._with_moves(kept)
        is_full = not self.is_mask[: self.active_end - self.first].any()
        if not (is_full or moves or any(self.is_mask[index] for index in kept)):  # a step fills a mask
            kept = self._searched(worth)
        return self._finished([*self.others, *kept.values(), *moves])

    def _searched(self, worth: NDArray[np.float64]) -> dict[int, Edit]:
        """By the logits of all masks: see Grammar. Nothing moves in such a step."""
        self.moves = []
        automaton, class_of, decoder = self.automaton, self.automaton.class_of, self.decoder
        rows = decoder.rows
        offset = self.first - int(rows.positions[0])
        logits: dict[int, NDArray[np.float32]] = {}
        for index in range(self.active_end - self.first):
            edit = self.writes.get(index)
            if self.is_mask[index]:  # it is to be filled
                logits[index] = row = _adjusted(decoder, self.first + index)
                worth[index] = np.maximum.reduceat(row[automaton.by_class], automaton.class_starts)
                if edit is not None and class_of[edit.token] >= 0:  # what was drawn is as good as the best
                    worth[index, class_of[edit.token]] = max(worth[index].max(), row[edit.token])
            elif edit is not None and class_of[edit.token] >= 0:
                row, standing = _adjusted(decoder, self.first + index), self.canvas[index]
                worth[index] = -np.inf
                for token in (standing, edit.token):
                    if (letter := class_of[token]) >= 0:
                        worth[index, letter] = max(worth[index, letter], row[token])
        self._end_padding(worth)
        way = best_way(automaton, self.start, worth, self.allowed)
        if way is None:  # what is biased to -inf is all that would be valid
            raise StateError("all tokens that an answer of the grammar can go on with are banned")
        found: dict[int, Edit] = {}
        sure = len(worth)
        for index, edit in sorted(self.writes.items()):
            if way[index] == class_of[edit.token]:
                found[index] = edit
            elif self.is_mask[index] and edit.reason == "threshold":
                sure = min(sure, index)
        kept = {index: edit for index, edit in found.items() if index < sure or not self.is_mask[index]}
        # Where nothing else can stand, there is nothing to wait for.
        only = forced(automaton, self.start, worth > -np.inf, self.allowed)
        also = [index for index in logits if only[index] >= 0 and len(automaton.members[only[index]]) == 1]
        also += [index for index in logits if only[index] == automaton.end_class]
        if sure < len(worth):
            also.append(sure)
        elif not any(index in logits for index in (*kept, *also)):
            # The mask that is least against the way.
            chances = {i: _chance(row, int(way[i]), automaton, rows, i + offset) for i, row in logits.items()}
            also.append(max(chances, key=lambda index: chances[index]))
        for index in also:
            if index not in kept:
                members = automaton.members[way[index]]
                kept[index] = Edit(self.first + index, int(members[logits[index][members].argmax()]))
        return kept

    def _with_moves(self, kept: dict[int, Edit]) -> tuple[dict[int, Edit], list[Edit]]:
        """Of the deletions and insertions those after which there is a valid answer."""
        is_late = self.step >= self.decoder.block_length  # what is deleted and filled again has to end
        if not self.moves or self.locked.any() or is_late:
            return kept, []
        taken = {edit.position - self.first for edit in self.moves if edit.kind == "delete"}
        without = {index: edit for index, edit in kept.items() if index not in taken}
        if self._is_valid(without, self.moves):
            return without, self.moves
        some: list[Edit] = []
        for edit in self.moves:
            index = edit.position - self.first
            fewer = {i: e for i, e in kept.items() if i != index} if edit.kind == "delete" else kept
            if self._is_valid(fewer, [*some, edit]):
                kept, some = fewer, [*some, edit]
        return kept, some

    def _is_valid(self, kept: dict[int, Edit], moves: Sequence[Edit]) -> bool:
        """Whether the canvas has a valid answer after writes and moves."""
        automaton, count = self.automaton, self.active_end - self.first
        tokens = [None if mask else int(token) for token, mask in zip(self.canvas, self.is_mask)]
        for index, edit in kept.items():
            tokens[index] = edit.token
        gone = {edit.position - self.first for edit in moves if edit.kind == "delete"}
        come = {edit.position - self.first for edit in moves if edit.kind == "insert"}
        block: list[int | None] = []
        for index in range(count):
            block += [None] * (index in come) + ([] if index in gone else [tokens[index]])
        block = (block + [None] * count)[:count] + tokens[count:]
        return best_way(automaton, self.start, self._worth(block), self.allowed) is not None

    def _finished(self, edits: list[Edit]) -> list[Edit]:
        """With ends behind an end that has no mask before it."""
        automaton, state = self.automaton, self.start
        written = {edit.position - self.first: edit for edit in edits if edit.kind == "write"}
        if any(edit.kind != "write" for edit in edits):
            return sorted(edits, key=_place)
        for index in range(self.active_end - self.first):
            if index in written:
                token = written[index].token
            elif self.is_mask[index]:
                if state != automaton.ended:
                    break
                token = int(automaton.members[-1][0])
                edits.append(Edit(self.first + index, token))
            else:
                token = int(self.canvas[index])
            letter = automaton.class_of[token]
            state = int(automaton.next[state, letter])
        return sorted(edits, key=_place)

    def left_open(self, edits: Sequence[Edit]) -> bool:
        """Whether there is a mask before the end after these edits."""
        if any(edit.kind != "write" for edit in edits):
            return True
        written = {edit.position - self.first: edit.token for edit in edits}
        for index in range(self.active_end - self.first):
            if self.is_mask[index] and index not in written:
                return True
            if self.automaton.class_of[written.get(index, self.canvas[index])] == self.automaton.end_class:
                return False
        return False


def _place(edit: Edit) -> tuple[int, bool]:
    return edit.position, edit.kind != "insert"


def _adjusted(decoder: Decoder, position: int) -> NDArray[np.float32]:
    """The logits at a position, with biases, bans and penalty."""
    if not decoder._calls.biased and decoder.policy.penalty_lambda == 0:
        return decoder.logits(position)
    row = np.full(decoder._model.info.vocab_size, -np.inf, np.float32)
    for candidate in decoder.candidates(position, len(row)):
        row[candidate.token] = candidate.logit
    return row


def _chance(row: NDArray[np.float32], letter: int, automaton: Automaton, rows: Rows, index: int) -> float:
    """The logarithm of the probability of the best token of a class."""
    best, predicted = row[automaton.members[letter]].max(), row[rows.predictions[index]]
    return float(best - predicted + np.log(max(float(rows.confidences[index]), 1e-30)))


# -- What is kept and shared


class _Kept:
    """The vocabulary of a model, and the automata that were used last."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.words: Vocabulary | None = None
        self.automata: OrderedDict[str, Automaton] = OrderedDict()


_kept: weakref.WeakKeyDictionary[Handle, _Kept] = weakref.WeakKeyDictionary()
_kept_lock = threading.Lock()


def _automaton(decoder: Decoder, regex: str) -> Automaton:
    model = decoder._model
    with _kept_lock:
        kept = _kept.get(model.handle)
        if kept is None:
            kept = _kept[model.handle] = _Kept()
    with kept.lock:
        found = kept.automata.get(regex)
        if found is None:
            if not model.info.has_tokenizer:
                raise TokenizerError("a grammar needs the tokenizer of the model, which has none")
            if not model.info.eos_token_ids:
                raise TokenizerError("a grammar needs the end of sequence of the model, which has none")
            if kept.words is None:
                kept.words = read_vocabulary(model.handle, model.info.vocab_size, model.info.eos_token_ids)
            found = kept.automata[regex] = build_automaton(regex, kept.words)
            if len(kept.automata) > KEPT:
                kept.automata.popitem(last=False)
        kept.automata.move_to_end(regex)
        return found
