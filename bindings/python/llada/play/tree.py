"""A tree of all that was tried: each state is kept as a fork, or as what makes one again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidArgumentError
from ..info import OpenedModel, read_memory_used
from ..policy import Policy
from ..text import detokenize
from ..trace.recorder import Recorder
from ..trace.trace import Trace
from .actions import APPLY, FORWARD, PROPOSE, STEP, Action, do, label
from .look import Look, look


@dataclass(frozen=True)
class Source:
    """A model, as the playground asks it.

    Attributes:
        model: What it is.
        decoder: Makes a Decoder: (ids, policy, **options).
        restore: Makes one of a snapshot.
        step_many: As llada.step_many; None: they are stepped one by one.
    """

    model: OpenedModel
    decoder: Callable[..., Any]
    restore: Callable[[bytes], Any]
    step_many: Callable[[Sequence[Any]], Any] | None = None

    def read(self, token: int) -> str:
        """The text of one token; its number where there is no tokenizer."""
        if not 0 <= token < self.model.info.vocab_size:
            return f"{token} "
        if not self.model.info.has_tokenizer:
            return f"{token} "
        return detokenize(self.model.handle, np.array([token], np.int32), False)


@dataclass(eq=False)
class Node:
    """One state.

    Attributes:
        number: From 1, of all that there ever were.
        source: Whose state it is.
        parent: The state before; None: it is the first.
        action: What led here from there.
        look: What there is to see.
        recorder: The trace of what led here.
        code: Python that makes the first decoder.
        children: What was tried from here, in that order.
        decoder: A fork; None: it sleeps.
        snapshot: Of one that sleeps; None: it is made again from the state before.
        used: When it was asked for last.
    """

    number: int
    source: Source
    parent: Node | None
    action: Action
    look: Look
    recorder: Recorder
    code: str
    children: list[Node] = field(default_factory=list)
    decoder: Any = None
    snapshot: bytes | None = None
    used: int = 0

    @property
    def path(self) -> list[Node]:
        """From the first state to this one."""
        nodes: list[Node] = []
        node: Node | None = self
        while node is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    @property
    def label(self) -> str:
        """What led here, in words."""
        return label(self.action, self.source.read) if self.parent is not None else "begin"

    def child(self, action: Action) -> Node | None:
        """What this action led to, if it was tried."""
        return next((child for child in self.children if child.action == action), None)


class Tree:
    """Several trees, in truth: each prompt begins one.

    Attributes:
        nodes: {number: state}.
        memory: The bytes that decoders, snapshots and looks may take together. Beyond that, what was not asked for the
            longest goes to sleep, then loses its snapshot; then branches that nobody stands on are forgotten.
        forgotten: How many states were.
        pinned: The states that somebody stands on.
        working: The decoders at work, which another thread may cancel.
    """

    def __init__(self, memory: int) -> None:
        self.nodes: dict[int, Node] = {}
        self.memory, self.forgotten = memory, 0
        self.pinned: list[Node] = []
        self.working: Sequence[Any] = ()
        self._count = self._clock = self._kept = 0
        self._before: dict[int, tuple[OpenedModel, int]] = {}

    # -- Growing

    def plant(self, source: Source, decoder: Any, code: str) -> Node:
        """The state that a new decoder is in, which belongs to the tree from now on."""
        handle = source.model.handle
        self._before.setdefault(id(handle), (source.model, read_memory_used(handle)))
        decoder.record()
        return self._add(source, None, (), None, decoder, code)

    def do(self, nodes: Sequence[Node], action: Action) -> list[Node]:
        """The states that an action leads to from some others. What was tried before is not done again.

        Raises:
            Error: It is refused. Those before it in the list were done.
        """
        done = [node.child(action) for node in nodes]
        self._step_together([node for node, child in zip(nodes, done) if child is None], action)
        return [self._do(node, action) if child is None else self._touch(child) for node, child in zip(nodes, done)]

    def _step_together(self, nodes: Iterable[Node], action: Action) -> None:
        """Where several need a forward for a step, they get it as one: each gets a state after it."""
        if action != STEP:
            return
        alike: dict[int, list[Node]] = {}
        for node in nodes:
            if node.look.phase == "ready" and node.child(FORWARD) is None:
                alike.setdefault(id(node.source), []).append(node)
        for group in alike.values():
            step_many = group[0].source.step_many
            if step_many is None or len(group) < 2:
                continue
            forks = [self._fork(node) for node in group]
            self._work(forks, partial(step_many, forks))
            for node, fork in zip(group, forks):
                self._add(node.source, node, STEP, node, fork, node.code)

    def _do(self, node: Node, action: Action) -> Node:
        made = node.child(action)  # it may be there since _step_together
        if made is not None:
            return self._touch(made)
        start = node
        if action == STEP:  # as much of it as was done before
            for half in (FORWARD, PROPOSE):
                start = start.child(half) or start
        policy = action[1] if action[0] == "fork" else None
        fork = self._fork(start, policy)
        if policy is None:
            self._work([fork], lambda: do(fork, action))
        return self._add(node.source, node, action, start, fork, node.code)

    def _fork(self, node: Node, policy: Policy | None = None) -> Any:
        fork = self.awake(node).fork(policy)
        node.recorder.branch(fork, Trace(node.recorder.recording.start), policy)
        fork.watch(routing=True)
        return fork

    def _work(self, decoders: list[Any], work: Callable[[], Any]) -> None:
        self.working = decoders
        try:
            work()
        except BaseException:
            for decoder in decoders:
                _close(decoder)
            raise
        finally:
            self.working = ()

    def _add(
        self, source: Source, parent: Node | None, action: Action, start: Node | None, decoder: Any, code: str
    ) -> Node:
        before, there = parent.look if parent else None, start.look if start else None
        seen = look(decoder, source.model.info, before, there, action in (STEP, APPLY))
        self._count += 1
        node = Node(
            self._count, source, parent, action, seen, decoder._calls.recorder, code, decoder=decoder, used=self._clock
        )
        self.nodes[node.number] = node
        if parent is not None:
            parent.children.append(node)
        self._kept += seen.bytes
        self._touch(node)
        self._shrink(node)
        return node

    # -- Standing somewhere

    def at(self, number: Any) -> Node:
        """A state by its number.

        Raises:
            InvalidArgumentError: There is none.
        """
        if not isinstance(number, int) or number not in self.nodes:
            raise InvalidArgumentError(f"there is no state {number!r}; it may have been forgotten")
        return self.nodes[number]

    def awake(self, node: Node) -> Any:
        """The decoder of a state, to look at and to fork. It is made again if it sleeps."""
        self._touch(node)
        if node.decoder is None and (node.snapshot is not None or node.parent is None):
            decoder = self._restore(node)
            node.recorder.branch(decoder, Trace(node.recorder.recording.start))
            self._wake(node, decoder)
        elif node.decoder is None and node.parent is not None:
            policy = node.action[1] if node.action[0] == "fork" else None
            fork = self._fork(node.parent, policy)
            if policy is None:
                self._work([fork], lambda: do(fork, node.action))
            self._wake(node, fork)
        return node.decoder

    def _restore(self, node: Node) -> Any:
        if node.snapshot is None:
            raise InvalidArgumentError("the beginning of this tree is gone")
        return node.source.restore(node.snapshot)

    def _wake(self, node: Node, decoder: Any) -> None:
        node.decoder, node.recorder = decoder, decoder._calls.recorder
        self._kept -= len(node.snapshot or b"")
        node.snapshot = None
        self._shrink(node)

    def _touch(self, node: Node) -> Node:
        self._clock += 1
        node.used = self._clock
        return node

    def trace(self, node: Node) -> Trace:
        """All that led to a state, as if one decoder had done it."""
        fork = self._fork(node)
        trace: Trace = fork._calls.recorder.recording
        fork.watch()  # what a fork counts of experts is not all
        fork._calls.stop_recording()
        fork.close()
        if trace.result is not None:
            trace.result = replace(trace.result, expert_usage=_expert_usage(node))
        return trace

    def close(self) -> None:
        """Gives all decoders back."""
        for node in self.nodes.values():
            if node.decoder is not None:
                _close(node.decoder)
                node.decoder = None

    # -- Keeping to the memory

    @property
    def bytes(self) -> int:
        """So many are taken."""
        decoders = sum(read_memory_used(model.handle) - before for model, before in self._before.values())
        return max(decoders, 0) + self._kept

    def _shrink(self, newest: Node) -> None:
        if self.bytes <= self.memory:
            return
        kept = {newest.number, *(node.number for node in self.pinned)}
        oldest = sorted((node for node in self.nodes.values() if node.number not in kept), key=lambda node: node.used)
        for ease in (self._sleep, self._drop, self._forget):
            for node in oldest:
                if self.bytes <= self.memory:
                    return
                ease(node)

    def _sleep(self, node: Node) -> None:
        if node.decoder is not None:
            node.snapshot = node.decoder.to_bytes()
            self._kept += len(node.snapshot or b"")
            _close(node.decoder)
            node.decoder = None

    def _drop(self, node: Node) -> None:
        if node.snapshot is not None and node.parent is not None:
            self._kept -= len(node.snapshot)
            node.snapshot = None

    def _forget(self, node: Node) -> None:
        """With what was tried from there, if nobody stands on it, or behind it."""
        stood = {each.number for pinned in self.pinned for each in pinned.path}
        if node.number not in self.nodes or node.number in stood:
            return
        if node.parent is not None:
            node.parent.children.remove(node)
        for each in list(_below(node)):
            if each.decoder is not None:
                _close(each.decoder)
                each.decoder = None
            self._kept -= each.look.bytes + len(each.snapshot or b"")
            del self.nodes[each.number]
            self.forgotten += 1


def _expert_usage(node: Node) -> NDArray[np.uint64] | None:
    """Positions that each expert had in the forwards that led here, [num_hidden_layers, num_experts]."""
    info, path = node.source.model.info, node.path
    usage = np.zeros((info.num_hidden_layers, info.num_experts), np.uint64)
    for before, here in zip(path, path[1:]):
        if here.look.counts["forwards"] > before.look.counts["forwards"]:
            if not here.look.routing:
                return None
            for layer, routing in here.look.routing.items():
                np.add.at(usage[layer], routing.experts.ravel(), 1)
    return usage


def _below(node: Node) -> Iterator[Node]:
    waiting = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.children)


def _close(decoder: Any) -> None:
    """Its recorder is kept: it goes on with another decoder."""
    decoder._calls.recorder = None
    decoder.close()
