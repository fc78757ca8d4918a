"""A trace as one HTML page that needs nothing else: the canvas over time, with a slider."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from typing import Any

import numpy as np

from .film import Frame, edit_texts, frames, reader, shown
from .jsonl import number
from .recording import Recording


def page(trace: Recording) -> str:
    title = f"{trace.start.model['name']}: {len(trace.steps)} forwards"
    # Not a file where the package is in an archive.
    template = (files(__package__) / "page.html").read_text(encoding="utf-8")
    before, after = template.split("@DATA@")
    return before.replace("@TITLE@", html.escape(title)) + embedded(data(trace)) + after


def framed(trace: Recording) -> str:
    """The page for a notebook: in a frame of its own, so that it meets no other page's names and colours."""
    document = html.escape(page(trace), quote=True)
    return f'<iframe srcdoc="{document}" style="width:100%;height:36rem;border:0" sandbox="allow-scripts"></iframe>'


def embedded(value: Any) -> str:
    """JSON inside a script element: nothing in it can end the element, or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def data(trace: Recording) -> dict[str, Any]:
    """What the page's script is given."""
    places, text, all_frames = shown(trace), reader(trace), list(frames(trace))
    before = all_frames[0]
    listed: list[dict[str, Any]] = []
    for frame in all_frames:
        listed.append(
            _frame(frame, before, places.stop, edit_texts(frame, text, range(len(frame.canvas))) + _host(frame))
        )
        before = frame
    used = {*trace.prompt.tolist(), *all_frames[0].canvas.tolist()}
    for each in listed:
        used.update(each["predictions"], (token for _, token in each["canvas"]), (event[2] for event in each["events"]))
    return {
        "model": trace.start.model["name"],
        "policy": repr(trace.policy),
        "mask": trace.start.mask_token_id,
        "end": trace.start.model.get("eos_token_id"),
        "prompt": trace.prompt.tolist(),
        "shown": [places.start, places.stop],
        "canvas": all_frames[0].canvas[: places.stop].tolist(),
        "texts": {str(token): trace.texts[token] for token in sorted(used) if token in trace.texts},
        "frames": listed,
    }


def _frame(frame: Frame, before: Frame, end: int, words: list[str]) -> dict[str, Any]:
    """`end`: what the host writes behind it is not shown."""
    step = frame.step
    changed = np.flatnonzero(frame.canvas[:end] != before.canvas[:end])
    kinds = [event.kind for event in frame.events]
    return {
        "forwards": frame.forwards,
        "block": None if step is None else step.block,
        "editing": step is not None and step.editing_blocks,
        "again": step is not None and step.again,
        "wrote": kinds.count("unmask"),
        "edited": kinds.count("replace"),
        "inserted": kinds.count("insert"),
        "deleted": kinds.count("delete"),
        "edits": frame.edits,
        "masks": frame.masks,
        "tpf": f"{frame.tpf:.2f}",
        "words": words,
        "first": 0 if step is None else step.active.start,
        "predictions": [] if step is None else step.predictions.tolist(),
        "confidences": [] if step is None else [_short(value) for value in step.confidences],
        "canvas": [[int(place), int(frame.canvas[place])] for place in changed],
        "events": [
            [event.position, event.kind, event.old, event.reason, event.last, event.new]
            for event in frame.events
            if event.last < end
        ],
    }


def _host(frame: Frame) -> list[str]:
    """What the host did, but for what the events tell."""
    if frame.step is None:
        return []
    told = ("propose", "set_proposal", "set_token")
    return [" ".join(map(str, call)) for call in (*frame.step.before, *frame.step.after) if call[0] not in told]


def _short(value: np.float32) -> float | None:
    """To be looked at: four digits are enough."""
    sure = number(value)
    return None if sure is None else round(sure, 4)
