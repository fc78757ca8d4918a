"""A trace as JSON Lines: the start, a line a forward, the result. What is read is checked, line by line."""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from .. import _abi
from .._convert import Tokens
from ..errors import Error
from ..policy import Policy, Refresh
from ..records import Edit, Event
from .steps import CALLS, Call, Start, TraceResult, TraceStep

FORMAT, VERSION = "llada trace", 3


class TraceError(Error, ValueError):
    """A trace file is damaged, ends early or is of another version; or a trace lacks what is asked of it."""

    status = _abi.ERROR_JSON


# -- Writing


class Writer:
    """A trace's file, which is written while the decoder works: each line at once, for what follows may crash."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 (closed when the recording ends)
        self._told: set[int] = set()  # the tokens whose texts are there
        self._before_result = (0, self._told)

    def add(self, line: Callable[[dict[int, str]], str], texts: dict[int, str]) -> None:
        """Adds the line that `line` makes of those texts that are not there yet."""
        news = {token: text for token, text in texts.items() if token not in self._told}
        self._told = self._told | news.keys()
        self._file.write(line(news).encode())
        self._file.flush()

    def add_result(self, line: Callable[[dict[int, str]], str], texts: dict[int, str]) -> None:
        """Adds a line that may be taken back, while it is the last."""
        self._before_result = (self._file.tell(), self._told)
        self.add(line, texts)

    def take_back_result(self) -> None:
        """Removes the line of `add_result`."""
        end, self._told = self._before_result
        self._file.seek(end)
        self._file.truncate()

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()


def number(value: Any) -> float | None:
    """A float32 by the fewest digits that tell it apart, read back bit for bit. JSON has no name for what is not a
    number."""
    value = np.float32(value)
    return float(str(value)) if np.isfinite(value) else None


def start_line(start: Start, texts: dict[int, str]) -> str:
    return _line(
        {
            "format": FORMAT,
            "version": VERSION,
            "library": start.library,
            "model": start.model,
            "prompt": start.prompt.tolist(),
            "options": start.options,
            "policy": asdict(start.policy),
            "snapshot": None if start.snapshot is None else base64.b64encode(start.snapshot).decode(),
            "forwards": start.forwards,
            "canvas": start.canvas.tolist(),
            "step_map": start.step_map.tolist(),
            "texts": texts,
        }
    )


def step_line(step: TraceStep, texts: dict[int, str]) -> str:
    return _line(
        {
            "step": step.number,
            "forwards": step.forwards,
            "block": step.block,
            "block_step": step.block_step,
            "active": [step.active.start, step.active.stop],
            "editing_blocks": step.editing_blocks,
            "again": step.again,
            "before": _calls(step.before),
            "canvas": step.canvas.tolist(),
            "predictions": step.predictions.tolist(),
            "confidences": [number(value) for value in step.confidences],
            **({} if step.computed is None else {"computed": np.flatnonzero(step.computed).tolist()}),
            "after": _calls(step.after),
            "proposal": None
            if step.proposal is None
            else [[e.position, e.token, number(e.confidence), e.reason, e.kind] for e in step.proposal],
            "events": None
            if step.events is None
            else [[e.position, e.kind, e.old, e.new, number(e.confidence), e.reason, e.last] for e in step.events],
            "texts": texts,
        }
    )


def result_line(result: TraceResult, texts: dict[int, str]) -> str:
    return _line(
        {
            "result": {
                "before": _calls(result.before),
                "tokens": result.tokens.tolist(),
                "text": result.text,
                "forwards": result.forwards,
                "edits": result.edits,
                "insertions": result.insertions,
                "deletions": result.deletions,
                "finish_reason": result.finish_reason,
                "canvas": result.canvas.tolist(),
                "step_map": result.step_map.tolist(),
                "expert_usage": None if result.expert_usage is None else result.expert_usage.tolist(),
            },
            "texts": texts,
        }
    )


def _calls(calls: list[Call]) -> list[Any]:
    return [_call(*call) for call in calls]


def _call(name: str, *arguments: Any) -> list[Any]:
    if name == "set_proposal":
        return [name, [[position, token, number(sure), kind] for position, token, sure, kind in arguments[0]]]
    if name == "set_logit_bias":
        return [name, *arguments[:2], None if arguments[2] == -math.inf else arguments[2]]
    if name == "fork":
        return [name, asdict(arguments[0])]
    return [name, *arguments]


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"


# -- Reading


AnyRow = TypeVar("AnyRow", Edit, Event)


class Reader:
    """The lines of one file. A refusal says which file and line, what was found, and what was expected."""

    def __init__(self, source: Path | IO[bytes], partial: bool) -> None:
        self.source, self.partial = source, partial
        self.number, self.version = 1, VERSION

    def refuse(self, found: str, expected: str) -> TraceError:
        name = self.source if isinstance(self.source, Path) else getattr(self.source, "name", "the file")
        return TraceError(f"{name}, line {self.number}: found {found}, expected {expected}")

    def lines(self) -> Iterator[dict[str, Any]]:
        with open(self.source, "rb") if isinstance(self.source, Path) else nullcontext(self.source) as file:
            for self.number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    if self.partial:
                        return
                    raise self.refuse(
                        "the end of the file in the midst of a line", "a whole line; partial=True reads what is there"
                    )
                try:
                    value = json.loads(raw, parse_constant=self._constant)
                    # Half of a pair of escapes is no text: it can be neither shown nor written.
                    if b"\\u" in raw:
                        json.dumps(value, ensure_ascii=False).encode()
                except (ValueError, RecursionError) as problem:
                    raise self.refuse(f"no JSON ({problem})", "a line of a trace") from None
                if not isinstance(value, dict):
                    raise self.refuse(_named(value), "an object")
                yield value

    def _constant(self, name: str) -> None:
        raise ValueError(f"{name} is no number")

    def get(self, value: dict[str, Any], key: str, kind: str, optional: bool = False) -> Any:
        if key not in value:
            raise self.refuse(f"no {key!r}", kind)
        if optional and value[key] is None:
            return None
        if not _KINDS[kind](value[key]):
            raise self.refuse(f"{key!r} to be {_named(value[key])}", kind)
        return value[key]

    def tokens(self, value: dict[str, Any], key: str, count: int | None = None) -> Tokens:
        items = self.get(value, key, "a list of integers")
        if count is not None and len(items) != count:
            raise self.refuse(f"{len(items)} {key}", f"{count}")
        return np.array(items, np.int32)

    def calls(self, value: dict[str, Any], key: str, canvas_length: int) -> list[Call]:
        calls = [self._call(call) for call in self.get(value, key, "a list")]
        for name, *arguments in calls:
            if name in ("set_token", "mask", "truncate") and not 0 <= arguments[0] <= canvas_length - (
                name != "truncate"
            ):
                raise self.refuse(f"{name} at position {arguments[0]}", f"one of a canvas of {canvas_length}")
        return calls

    def _call(self, call: Any) -> Call:
        if not (isinstance(call, list) and call and isinstance(call[0], str) and call[0] in CALLS):
            raise self.refuse(f"the call {_named(call)}", f"one of {', '.join(CALLS)}")
        if call[0] == "set_proposal" and len(call) == 2 and isinstance(call[1], list):
            rows = [self._row(row, (int, int, float, str), lambda row: ["write"]) for row in call[1]]
            for row in rows:
                self._known("kind", row[3], _abi.EDIT_KINDS)
            return ("set_proposal", tuple((row[0], row[1], _float(row[2]), row[3]) for row in rows))
        if call[0] == "fork" and len(call) == 2 and isinstance(call[1], dict):
            return ("fork", self._policy(call[1]))
        if call[0] == "set_logit_bias" and call[-1] is None:
            call = [*call[:-1], -math.inf]
        if call[0] == "set_proposal" or [type(value) for value in call[1:]] != list(CALLS[call[0]]):
            names = ", ".join(kind.__name__ for kind in CALLS[call[0]])
            raise self.refuse(f"the call {_named(call)}", f"{call[0]}({names})")
        return tuple(call)

    def rows(
        self, value: dict[str, Any], key: str, kinds: tuple[type, ...], make: Callable[..., AnyRow], older: Any
    ) -> list[AnyRow] | None:
        rows = self.get(value, key, "a list", optional=True)
        if rows is None:
            return None
        return [
            make(*(_float(item) if kind is float else item for kind, item in zip(kinds, self._row(row, kinds, older))))
            for row in rows
        ]

    def _row(self, row: Any, kinds: tuple[type, ...], older: Callable[[list[Any]], list[Any]]) -> list[Any]:
        """The row; one of version 1, which lacks the last element, with that of `older`."""
        if self.version == 1 and isinstance(row, list) and row:
            row = row + older(row)
        if not isinstance(row, list) or len(row) != len(kinds) or not all(map(_is, row, kinds)):
            raise self.refuse(_named(row), f"[{', '.join(kind.__name__ for kind in kinds)}]")
        return row

    def _known(self, what: str, name: str, names: tuple[str, ...]) -> None:
        if name not in names:
            raise self.refuse(f"the {what} {_named(name)}", f"one of {', '.join(names)}")

    def texts(self, value: dict[str, Any], texts: dict[int, str]) -> None:
        for token, text in self.get(value, "texts", "an object").items():
            if not token.lstrip("-").isdecimal() or not isinstance(text, str):
                raise self.refuse(f"the text {_named(text)} of the token {_named(token)}", "a number and a text")
            texts[int(token)] = text

    # -- The three kinds of line

    def start(self, value: dict[str, Any]) -> Start:
        if value.get("format") != FORMAT:
            raise self.refuse(f"the format {_named(value.get('format'))}", _named(FORMAT))
        if value.get("version") not in range(1, VERSION + 1):
            raise self.refuse(f"version {_named(value.get('version'))} of the format", f"version 1 to {VERSION}")
        self.version = value["version"]
        model = self.get(value, "model", "an object")
        self.get(model, "name", "a text")
        self.get(model, "mask_token_id", "an integer")
        if "eos_token_id" in model:
            self.get(model, "eos_token_id", "an integer", optional=True)
        canvas = self.tokens(value, "canvas")
        options = self.get(value, "options", "an object")
        for key in ("block_length", "gen_length"):
            self.get(options, key, "an integer")
        policy = self._policy(self.get(value, "policy", "an object"))
        return Start(
            self.get(value, "library", "a text"),
            model,
            self.tokens(value, "prompt"),
            options,
            policy,
            self._snapshot(value),
            self.get(value, "forwards", "an integer"),
            canvas,
            self.tokens(value, "step_map", len(canvas)),
        )

    def _policy(self, given: dict[str, Any]) -> Policy:
        known = [field.name for field in fields(Policy)]
        if self.version == 1:  # which had no other policies than those without these
            known = [name for name in known if name not in ("max_steps_per_block", "variant")]
        if self.version < 3:
            known.remove("refresh")
        if sorted(given) != sorted(known):
            raise self.refuse(f"a policy of {', '.join(sorted(given))}", ", ".join(sorted(known)))
        try:
            policy = Policy(**given)
            if given.get("refresh") is not None:
                policy = policy.replace(refresh=Refresh(**given["refresh"]))
            policy._as_struct()
        except (TypeError, ValueError, OverflowError) as problem:
            raise self.refuse(f"a policy that is none ({problem})", "numbers that a policy can have") from None
        return policy

    def _snapshot(self, value: dict[str, Any]) -> bytes | None:
        text = self.get(value, "snapshot", "a text", optional=True)
        try:
            return None if text is None else base64.b64decode(text, validate=True)
        except ValueError as problem:
            raise self.refuse(f"'snapshot' that is damaged ({problem})", "base64") from None

    def step(self, value: dict[str, Any], number: int, canvas_length: int) -> TraceStep:
        if self.get(value, "step", "an integer") != number:
            raise self.refuse(f"step {value['step']}", f"step {number}")
        bounds = self.tokens(value, "active", 2)
        active = range(int(bounds[0]), int(bounds[1]))
        if not 0 <= active.start < active.stop <= canvas_length:
            raise self.refuse(f"'active' to be {_named(value['active'])}", f"positions of a canvas of {canvas_length}")
        confidences = self.get(value, "confidences", "a list of numbers")
        if len(confidences) != len(active):
            raise self.refuse(f"{len(confidences)} confidences", f"{len(active)}")
        computed = None
        if "computed" in value:
            computed = np.zeros(len(active), np.bool_)
            ran = self.tokens(value, "computed")
            if not np.isin(ran, np.arange(len(active))).all():
                raise self.refuse(f"'computed' to be {_named(value['computed'])}", f"rows, 0 to {len(active) - 1}")
            computed[ran] = True
        proposal = self.rows(value, "proposal", (int, int, float, str, str), Edit, lambda row: ["write"])
        events = self.rows(value, "events", (int, str, int, int, float, str, int), Event, lambda row: [row[0]])
        for item in (*(proposal or ()), *(events or ())):
            self._known("reason", item.reason, _abi.REASONS)
            self._known("kind", item.kind, _abi.EDIT_KINDS if isinstance(item, Edit) else _abi.EVENT_KINDS)
        for event in events or ():
            if not event.position <= event.last < (canvas_length if event.moves else event.position + 1):
                raise self.refuse(f"an {event.kind} from {event.position} to {event.last}", "a position not before it")
        for place in (item.position for item in (*(proposal or ()), *(events or ()))):
            if not 0 <= place < canvas_length:
                raise self.refuse(f"position {place}", f"one of a canvas of {canvas_length}")
        return TraceStep(
            number,
            self.get(value, "forwards", "an integer"),
            self.get(value, "block", "an integer"),
            self.get(value, "block_step", "an integer"),
            active,
            self.get(value, "editing_blocks", "true or false"),
            self.get(value, "again", "true or false"),
            self.calls(value, "before", canvas_length),
            self.tokens(value, "canvas", len(active)),
            self.tokens(value, "predictions", len(active)),
            np.array([_float(item) for item in confidences], np.float32),
            self.calls(value, "after", canvas_length),
            proposal,
            events,
            computed,
        )

    def result(self, value: dict[str, Any], canvas_length: int) -> TraceResult:
        found = self.get(value, "result", "an object")
        usage = self.get(found, "expert_usage", "a list", optional=True)
        try:
            usage = None if usage is None else np.array(usage, np.uint64).reshape(len(usage), -1)
        except (TypeError, ValueError, OverflowError):
            raise self.refuse("'expert_usage' that is no table", "a list of counts for each layer") from None
        return TraceResult(
            self.calls(found, "before", canvas_length),
            self.tokens(found, "tokens"),
            self.get(found, "text", "a text", optional=True),
            self.get(found, "forwards", "an integer"),
            self.get(found, "edits", "an integer"),
            self.get(found, "finish_reason", "a text", optional=True),
            self.tokens(found, "canvas", canvas_length),
            self.tokens(found, "step_map", canvas_length),
            usage,
            *(0 if self.version == 1 else self.get(found, key, "an integer") for key in ("insertions", "deletions")),
        )


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return value is None or (type(value) in (int, float) and abs(value) <= _LARGEST)
    return type(value) is kind and (type(value) is not int or abs(value) < 2**31)


def _float(value: float | None) -> float:
    return float(np.float32(np.nan if value is None else value))


_LARGEST = float(np.finfo(np.float32).max)


def _named(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


_KINDS: dict[str, Callable[[Any], bool]] = {
    "an integer": lambda value: _is(value, int),
    "a text": lambda value: isinstance(value, str),
    "true or false": lambda value: isinstance(value, bool),
    "an object": lambda value: isinstance(value, dict),
    "a list": lambda value: isinstance(value, list),
    "a list of integers": lambda value: isinstance(value, list) and all(_is(item, int) for item in value),
    "a list of numbers": lambda value: isinstance(value, list) and all(_is(item, float) for item in value),
}
