"""What the page is told of a state, as JSON has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import numpy as np

from ..policy import _FIELDS, Policy
from ..records import Edit, Event
from ..trace.jsonl import number
from .actions import quoted
from .look import Look
from .tree import Node, Source

CANDIDATES = 12


def rounded(value: Any) -> float | None:
    """To be looked at: four digits are enough."""
    sure = number(value)
    return None if sure is None else round(sure, 4)


def model(source: Source) -> dict[str, Any]:
    """A model, and the policies that it can be asked with."""
    info = source.model.info
    presets = {"S": Policy.speedy(), "Q": Policy.quality(), "2.0": Policy.low_confidence()}
    if info.delete_token_id is not None:
        presets = {"L": Policy.levenshtein(), **presets}
    return {
        "name": source.model.name,
        "mask": info.mask_token_id,
        "ends": list(info.eos_token_ids),
        "vocabulary": info.vocab_size,
        "layers": info.num_hidden_layers,
        "dense": info.first_k_dense_replace,
        "experts": info.num_experts,
        "chat": info.has_chat_template,
        "text": info.has_tokenizer,
        "presets": {name: asdict(policy) for name, policy in presets.items()},
        "fields": {kind: list(names) for kind, names in _FIELDS.items()},
    }


def edits(proposal: Iterable[Edit]) -> list[list[Any]]:
    """[position, token, confidence, kind, reason] of each."""
    return [[edit.position, edit.token, rounded(edit.confidence), edit.kind, edit.reason] for edit in proposal]


def events(found: Iterable[Event]) -> list[list[Any]]:
    """[position, kind, old, new, confidence, reason, last] of each."""
    return [[e.position, e.kind, e.old, e.new, rounded(e.confidence), e.reason, e.last] for e in found]


def state(node: Node, would: list[Edit] | None) -> dict[str, Any]:
    """All that is drawn of a state. The canvas is told as far as any forward went or anything stands.

    Args:
        node: Which.
        would: What the policy would propose now; None: it cannot.
    """
    seen, start = node.look, node.recorder.recording.start
    prompt, last = len(start.prompt), min(len(seen.canvas), len(start.prompt) + start.options["gen_length"])
    block = start.options["block_length"]
    written = np.flatnonzero(seen.canvas != node.source.model.mask)
    end = max(seen.active.stop, seen.rows.stop, int(written[-1]) + 1 if len(written) else 0)
    here = slice(0, min(end, len(seen.canvas)))
    told: dict[str, Any] = {
        "node": node.number,
        "model": node.source.model.name,
        "phase": seen.phase,
        "finish": seen.finish_reason,
        "policy": asdict(seen.policy),
        "prompt": prompt,
        "last": last,
        "blockLength": block,
        "blocks": -(-len(seen.canvas) // block),
        "active": [seen.active.start, seen.active.stop],
        "rows": [seen.rows.start, seen.rows.stop],
        "canvas": seen.canvas[here].tolist(),
        "states": "".join(map(str, seen.states[here].tolist())),
        "locked": np.flatnonzero(seen.locked).tolist(),
        "sure": [rounded(value) for value in seen.standing.sure[here]],
        "written": seen.standing.written[here].tolist(),
        "reasons": seen.standing.reasons[here],
        "thoughts": seen.thoughts[here].tolist(),
        "thoughtSure": [rounded(value) for value in seen.sure[here]],
        "events": events(seen.events),
        "proposal": None if seen.proposal is None else edits(seen.proposal),
        "would": None if would is None else edits(would),
        "counts": {**seen.counts, **_answer(node)},
    }
    used = {*told["canvas"], *told["thoughts"]}
    used.update(token for edit in (*(told["proposal"] or ()), *(told["would"] or ())) for token in [edit[1]])
    used.update(token for event in told["events"] for token in event[2:4])
    told["texts"] = {str(token): node.source.read(token) for token in sorted(used) if token >= 0}
    return told


def _answer(node: Node) -> dict[str, Any]:
    """Tokens of the answer, up to its end, and masks in it."""
    seen, start, model = node.look, node.recorder.recording.start, node.source.model
    answer = seen.canvas[len(start.prompt) : len(start.prompt) + start.options["gen_length"]]
    ends = np.flatnonzero(np.isin(answer, model.info.eos_token_ids))
    answer = answer[: ends[0] + 1 if len(ends) else None]
    masks = int(np.count_nonzero(answer == model.mask))
    tokens, forwards = len(answer) - masks, seen.counts["forwards"]
    return {"tokens": tokens, "masks": masks, "tpf": round(tokens / forwards, 2) if forwards else 0.0}


def branch(node: Node) -> list[Any]:
    """A state as a part of the tree: [number, parent, kind of action, what led here, forwards, finished]."""
    kind = node.action[0] if node.action else "begin"
    parent = 0 if node.parent is None else node.parent.number
    finished = node.look.phase == "finished"
    return [node.number, parent, kind, node.label, node.look.counts["forwards"], finished]


def experts(seen: Look, position: int) -> list[Any]:
    """[layer, [expert, weight] of each that the last forward sent the position to]."""
    if position not in seen.rows:
        return []
    row = position - seen.rows.start
    return [
        [layer, [[int(e), rounded(w)] for e, w in zip(routing.experts[row], routing.weights[row])]]
        for layer, routing in seen.routing.items()
        if row < len(routing.experts)
    ]


def history(node: Node, position: int) -> list[dict[str, Any]]:
    """What was done at a position, and what the forwards saw there, from the first state to this one. It is followed
    to where it stood before tokens moved."""
    told: list[dict[str, Any]] = []
    place: int | None = position
    path = node.path
    for before, here in zip(path[-2::-1], path[:0:-1]):
        if place is None:
            break
        read, forwards, there = node.source.read, here.look.counts["forwards"], place
        entries: list[dict[str, Any]] = []
        for event in reversed(here.look.events):
            told_of, place = _followed(event, place)
            if told_of:
                words = {"insert": "inserted", "delete": "mask moved in", "unmask": "wrote", "remask": "masked"}
                what = f"{words.get(event.kind, 'replaced ' + quoted(read(event.old)) + ' by')} "
                what += "" if event.kind in ("remask", "delete") else quoted(read(event.new))
                entries.append({"what": what.strip(), "why": event.reason, "sure": rounded(event.confidence)})
            if place is None:
                break
        if here.action[0] in ("set_token", "mask", "lock") and here.action[1] == there:
            entries.append({"what": here.label, "why": "host", "sure": None})
        # What the forward saw, it saw before anything was written.
        saw = place if place is not None else there
        if forwards > before.look.counts["forwards"] and saw in here.look.rows and place is not None:
            token = int(here.look.thoughts[there])
            if token >= 0:
                what = f"saw {quoted(read(token))}"
                entries.append({"what": what, "why": "forward", "sure": rounded(here.look.sure[there])})
        told.extend({**entry, "node": here.number, "forwards": forwards} for entry in entries)
    return told[::-1]


def _followed(event: Event, place: int) -> tuple[bool, int | None]:
    """Whether an event was about what stands at a place after it, and where that stood before; None: it came in."""
    if event.kind == "insert" and event.position <= place <= event.last:
        return (True, None) if place == event.position else (False, place - 1)
    if event.kind == "delete" and event.position <= place <= event.last:
        return (True, None) if place == event.last else (False, place + 1)
    return not event.moves and event.position == place, place
