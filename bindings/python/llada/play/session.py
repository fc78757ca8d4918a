"""A session: where one stands in the tree, with one decoder or two side by side, and all that a page may ask for."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .._convert import integer
from ..errors import Cancelled, InvalidArgumentError, StateError
from ..records import Edit
from ..text import encode_prompt, tokenize
from ..trace import page as trace_page
from ..trace import svg as trace_svg
from ..trace.recorder import MODEL_FACTS
from ..trace.replay import compare
from ..trace.trace import Trace
from . import scripts, telling
from .actions import APPLY, FORWARD, PROPOSE, STEP, Action, action_of, policy_of
from .tree import Node, Source, Tree

_OPTIONS = ("block_length", "gen_length", "eos_early_stop")


class Session:
    """What a page, or a widget, calls by name. One call at a time; `cancel` may come in between."""

    def __init__(self, sources: Sequence[Source], memory: int) -> None:
        self.sources, self.tree = list(sources), Tree(memory)
        self.lanes: list[Node] = []
        self.question: dict[str, Any] | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def begin(self, decoder: Any) -> None:
        """Stands where a decoder does, that is given away."""
        self._stand([self.tree.plant(self.sources[0], decoder, scripts.SNAPSHOT)])

    def call(self, name: Any, arguments: Any) -> Any:
        """What a page asked for, as JSON has it.

        Raises:
            Error, TypeError, ValueError: It is refused.
        """
        if not isinstance(name, str) or name not in _CALLS or not isinstance(arguments, dict):
            raise InvalidArgumentError(f"there is no call {name!r} of an object")
        if name == "cancel":
            return self.cancel()
        with self._lock:
            self._stopped = False
            try:
                return _CALLS[name](self, **arguments)
            except TypeError as problem:
                if problem.__traceback__ is not None and problem.__traceback__.tb_next is None:
                    raise InvalidArgumentError(f"{name}: {problem}") from None  # of no such arguments
                raise

    def close(self) -> None:
        """Gives everything back. What is at work is cancelled."""
        self.cancel()
        with self._lock:
            self.tree.close()

    # -- Being asked

    def hello(self) -> dict[str, Any]:
        """All that a page needs to begin, or to go on after it was loaded again."""
        models = [telling.model(source) for source in self.sources]
        return {"models": models, "question": self.question, **self._answer(0, -1)}

    def ask(
        self, prompt: Any, lanes: Any, chat: Any = None, options: Any = None, since: Any = 0, epoch: Any = -1
    ) -> dict[str, Any]:
        """Begins: {model, policy} of each lane, one or two."""
        if not isinstance(prompt, str) or not (chat is None or isinstance(chat, bool)):
            raise TypeError(f"a prompt must be text, not {prompt!r}")
        if not isinstance(lanes, list) or len(lanes) not in (1, 2) or not all(isinstance(lane, dict) for lane in lanes):
            raise TypeError(f"lanes must be one or two objects, not {lanes!r}")
        given = {} if options is None else options
        if not isinstance(given, dict) or given.keys() - set(_OPTIONS):
            raise TypeError(f"options must be of {', '.join(_OPTIONS)}, not {given!r}")
        begun: list[Node] = []
        for lane in lanes:
            source = self._source(lane.get("model", 0))
            policy = policy_of(lane.get("policy"))
            ids = encode_prompt(source.model, prompt, chat)
            decoder = source.decoder(ids, policy, **given)
            code = scripts.beginning(source.model.name, prompt, policy, given, chat)
            begun.append(self.tree.plant(source, decoder, code))
        self.question = {"prompt": prompt, "chat": chat, "options": given}
        self._stand(begun)
        return self._answer(since, epoch)

    def do(self, lanes: Any, action: Any, since: Any = 0, epoch: Any = -1) -> dict[str, Any]:
        """An action, of one lane or of both; of those that have finished, none."""
        chosen = self._chosen(lanes)
        done = action_of(action)
        moving = done in (STEP, FORWARD, PROPOSE, APPLY)
        able = [lane for lane in chosen if not (moving and self.lanes[lane].look.phase == "finished")]
        if not able:
            raise StateError("the answer has ended: go back, or forget its end")
        for lane, node in zip(able, self.tree.do([self.lanes[lane] for lane in able], done)):
            self.lanes[lane] = node
        self._stand(self.lanes)
        return self._answer(since, epoch)

    def half(self, lanes: Any, since: Any = 0, epoch: Any = -1) -> dict[str, Any]:
        """Half a step: what comes next of forward, propose, apply, of each lane."""
        nexts: Mapping[str, Action] = {"ready": FORWARD, "forwarded": PROPOSE, "proposed": APPLY}
        for lane in self._chosen(lanes):
            action = nexts.get(self.lanes[lane].look.phase)
            if action is not None:
                self.lanes[lane] = self.tree.do([self.lanes[lane]], action)[0]
        self._stand(self.lanes)
        return self._answer(since, epoch)

    def go(self, lane: Any, node: Any, since: Any = 0, epoch: Any = -1) -> dict[str, Any]:
        """Stands in another state, of whatever branch."""
        (index,) = self._chosen([lane])
        self.lanes[index] = self.tree.at(node)
        self._stand(self.lanes)
        return self._answer(since, epoch)

    def compare(self, on: Any, since: Any = 0, epoch: Any = -1) -> dict[str, Any]:
        """Opens a second lane where the first one stands, or closes it."""
        self._chosen([0])
        self._stand([self.lanes[0], self.lanes[0]] if on else self.lanes[:1])
        return self._answer(since, epoch)

    def would(self, lane: Any, policy: Any) -> dict[str, Any]:
        """What another policy would propose from here: nothing is done."""
        (index,) = self._chosen([lane])
        node, other = self.lanes[index], policy_of(policy)
        if node.look.phase not in ("forwarded", "proposed"):
            raise StateError("there are no predictions to judge: forward is next")
        proposal = self._would(node, other)
        texts = {str(edit.token): node.source.read(edit.token) for edit in proposal}
        return {"would": telling.edits(proposal), "texts": texts}

    def cell(self, lane: Any, position: Any) -> dict[str, Any]:
        """What is known of a position."""
        (index,) = self._chosen([lane])
        node, place = self.lanes[index], integer(position, "position", low=0)
        if place >= len(node.look.canvas):
            raise InvalidArgumentError(f"position {place} is not on the canvas")
        told: dict[str, Any] = {"position": place, "node": node.number, "history": telling.history(node, place)}
        told["experts"] = telling.experts(node.look, place)
        found = self.tree.awake(node).candidates(place, telling.CANDIDATES) if place in node.look.rows else []
        told["candidates"] = [[c.token, node.source.read(c.token), round(c.probability, 6)] for c in found]
        return told

    def tokens(self, lane: Any, text: Any) -> dict[str, Any]:
        """The tokens of a text: [id, text] of each. "#17" is the token 17."""
        (index,) = self._chosen([lane])
        source = self.lanes[index].source
        if not isinstance(text, str):
            raise TypeError(f"a text must be text, not {text!r}")
        if text.startswith("#") and text[1:].isdecimal():
            ids = [integer(int(text[1:]), "token", 0, source.model.info.vocab_size - 1)]
        else:
            ids = tokenize(source.model.handle, text, False).tolist()
        return {"tokens": [[token, source.read(token)] for token in ids]}

    def save(self, lane: Any, form: Any) -> dict[str, Any]:
        """What led to where a lane stands, as a file: "trace", "page", "svg" or "code"."""
        (index,) = self._chosen([lane])
        node = self.lanes[index]
        if form == "code":
            return {"name": "play.py", "type": "text/x-python", "text": scripts.script(node)}
        forms: Mapping[str, tuple[str, str, Callable[[Trace], str]]] = {
            "trace": ("trace.jsonl", "application/jsonl", _lines),
            "page": ("trace.html", "text/html", trace_page.page),
            "svg": ("trace.svg", "image/svg+xml", lambda trace: trace_svg.svg(trace, 0.9, 88)),
        }
        if form not in forms:
            raise InvalidArgumentError(f"a form is {form!r}; it must be one of {', '.join(('code', *forms))}")
        name, kind, write = forms[form]
        return {"name": name, "type": kind, "text": write(self.tree.trace(node))}

    def load(self, text: Any, since: Any = 0, epoch: Any = -1) -> dict[str, Any]:
        """Does a saved trace again, each state of it in the tree, and stands at its end."""
        if not isinstance(text, str):
            raise TypeError("a trace must be text")
        trace = Trace.load(io.BytesIO(text.encode("utf-8", "replace")), partial=True)
        node = self.tree.plant(*self._beginning(trace))
        for action in _actions(trace, node.look.phase != "ready"):
            if self._stopped:
                raise Cancelled("the trace was stopped")
            node = self.tree.do([node], action)[0]
        self.question = None
        self._stand([node])
        difference = compare(trace, self.tree.trace(node))
        return {"difference": None if difference is None else str(difference), **self._answer(since, epoch)}

    def cancel(self) -> dict[str, Any]:
        """Stops what is at work."""
        self._stopped = True
        for decoder in self.tree.working:
            decoder.cancel()
        return {}

    # -- Underneath

    def _source(self, index: Any) -> Source:
        return self.sources[integer(index, "model", 0, len(self.sources) - 1)]

    def _chosen(self, lanes: Any) -> list[int]:
        if not isinstance(lanes, list) or not lanes:
            raise TypeError(f"lanes must be a list of numbers, not {lanes!r}")
        if not self.lanes:
            raise StateError("nothing was asked yet")
        return [integer(lane, "lane", 0, len(self.lanes) - 1) for lane in dict.fromkeys(lanes)]

    def _stand(self, nodes: list[Node]) -> None:
        self.lanes = list(nodes)
        self.tree.pinned = self.lanes

    def _would(self, node: Node, policy: Any) -> list[Edit]:
        with self.tree.awake(node).fork(policy) as fork:
            fork.rule = None
            fork.propose()
            proposal: list[Edit] = fork.proposal
            return proposal

    def _answer(self, since: Any, epoch: Any) -> dict[str, Any]:
        """Where the lanes stand, and what is new in the tree since a state, or all of it if some was forgotten."""
        told = []
        for node in self.lanes:
            told.append(
                telling.state(node, self._would(node, node.look.policy) if node.look.phase == "forwarded" else None)
            )
        first = integer(since, "since", low=0) if epoch == self.tree.forgotten else 0
        nodes = [telling.branch(node) for number, node in self.tree.nodes.items() if number > first]
        return {"lanes": told, "tree": {"epoch": self.tree.forgotten, "since": first, "nodes": nodes}}

    def _beginning(self, trace: Trace) -> tuple[Source, Any, str]:
        """The model that a trace is of, and a decoder as its was."""
        start, wrong = trace.start, ""
        for source in self.sources:
            facts = {fact: getattr(source.model.info, fact) for fact in MODEL_FACTS}
            differ = [fact for fact in MODEL_FACTS if start.model.get(fact) != facts[fact]]
            if not differ:
                if start.snapshot is not None:
                    return source, source.restore(start.snapshot), scripts.SNAPSHOT
                decoder = source.decoder(start.prompt, start.policy, **start.options)
                return source, decoder, scripts.beginning(source.model.name, start.prompt, start.policy, start.options)
            fact = differ[0]
            wrong = f"{fact} is {start.model.get(fact)!r}, and {facts[fact]!r} in {source.model.name}"
        raise InvalidArgumentError(f"the trace is of another model: {wrong}")


def _lines(trace: Trace) -> str:
    file = io.BytesIO()
    trace.save(file)
    return file.getvalue().decode()


def _actions(trace: Trace, ahead: bool) -> list[Action]:
    """What was done, one after the other. Ahead: the first step's forward was done before."""
    actions: list[Action] = []
    for step in trace.steps:
        actions += step.before
        if not (ahead and step.number == 1):
            if step.after == [PROPOSE] and step.events is not None:
                actions.append(STEP)
                continue
            actions.append(FORWARD)
        actions += step.after
        if step.events is not None:
            actions.append(APPLY)
    return actions + (trace.result.before if trace.result is not None else [])


_CALLS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "hello": Session.hello,
    "ask": Session.ask,
    "do": Session.do,
    "half": Session.half,
    "go": Session.go,
    "compare": Session.compare,
    "would": Session.would,
    "cell": Session.cell,
    "tokens": Session.tokens,
    "save": Session.save,
    "load": Session.load,
    "cancel": Session.cancel,
}
