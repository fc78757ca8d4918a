"""What can be done to a decoder, as data: done, put into words, and written as Python.

An action is a tuple: "step", "forward" or "apply" alone, or a call as a trace has it, ("set_token", position, token).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from .. import _abi
from .._convert import integer, number
from ..errors import InvalidArgumentError
from ..policy import _FIELDS, PRESETS, Policy
from ..records import Edit
from ..trace.steps import CALLS

Action = tuple[Any, ...]
Reader = Callable[[int], str]
"""The text of a token."""

STEP: Action = ("step",)
FORWARD: Action = ("forward",)
PROPOSE: Action = ("propose",)
APPLY: Action = ("apply",)

_ENDS: dict[str, bool | None] = {"auto": None, "now": True, "not_yet": False}


def policy_of(given: Any) -> Policy:
    """A policy by its attributes, those that are left out as Policy has them.

    Raises:
        InvalidArgumentError: There is no such attribute, or a number is out of range.
        TypeError: An attribute is of another type.
    """
    if not isinstance(given, dict):
        raise TypeError(f"a policy must be an object, not {given!r}")
    unknown = given.keys() - {field.name for field in fields(Policy)}
    if unknown:
        raise InvalidArgumentError(f"a policy has no {min(unknown)!r}")
    policy = Policy(**given)
    policy._as_struct()
    return policy


def action_of(given: Any) -> Action:
    """An action that came as JSON: a list.

    Raises:
        InvalidArgumentError, TypeError: It is none.
    """
    if not isinstance(given, list) or not given or not isinstance(given[0], str):
        raise TypeError(f"an action must be a list that begins with a name, not {given!r}")
    name, *rest = given
    if name in ("step", "forward", "apply") and not rest:
        return (name,)
    if name not in CALLS:
        raise InvalidArgumentError(f"there is no action {name!r}")
    if len(rest) != len(CALLS[name]):
        raise InvalidArgumentError(f"{name} takes {len(CALLS[name])} arguments, not {len(rest)}")
    return (name, *(_argument(name, kind, value) for kind, value in zip(CALLS[name], rest)))


def _argument(name: str, kind: type, value: Any) -> Any:
    if kind is bool:
        if not isinstance(value, bool):
            raise TypeError(f"an argument of {name} must be true or false, not {value!r}")
        return value
    if kind is int:
        return integer(value, f"an argument of {name}")
    if kind is float:  # JSON has no infinity
        return -float("inf") if value is None else number(value, f"an argument of {name}")
    if kind is Policy:
        return policy_of(value)
    if not isinstance(value, list):
        raise TypeError(f"a proposal must be a list, not {value!r}")
    return tuple(_edit(each) for each in value)


def _edit(given: Any) -> tuple[int, int, float, str]:
    if not isinstance(given, list) or len(given) != 4:
        raise TypeError(f"an edit must be [position, token, confidence, kind], not {given!r}")
    place, token, sure, kind = given
    if kind not in _abi.EDIT_KINDS:
        raise InvalidArgumentError(f"the kind of an edit is {kind!r}; it must be one of {', '.join(_abi.EDIT_KINDS)}")
    return integer(place, "position"), integer(token, "token"), number(sure or 0.0, "confidence"), kind


# -- Done. A position of -1 is all of them; what a fork does is up to who forks.


def do(decoder: Any, action: Action) -> None:
    """Does it.

    Raises:
        Error: What the method of Decoder raises.
    """
    name, *arguments = action
    _DOING[name](decoder, *arguments)


_DOING: Mapping[str, Callable[..., Any]] = {
    "step": lambda dec: dec.step(),
    "forward": lambda dec: dec.forward(),
    "propose": lambda dec: dec.propose(),
    "apply": lambda dec: dec.apply(),
    "set_proposal": lambda dec, edits: dec.propose([Edit(p, t, sure, "host", kind) for p, t, sure, kind in edits]),
    "set_token": lambda dec, place, token: dec.set(place, token),
    "mask": lambda dec, place: dec.mask(place),
    "lock": lambda dec, place, locked: dec.lock(place) if locked else dec.unlock(place),
    "ban": lambda dec, place, token, banned: (dec.ban if banned else dec.unban)(token, _place(place)),
    "set_logit_bias": lambda dec, token, place, bias: dec.set_logit_bias(token, bias, _place(place)),
    "truncate": lambda dec, place: dec.truncate(place),
    "end_block": lambda dec, end: dec.end_block(_end(end)),
    "disable_expert": lambda dec, layer, expert, disabled: dec.disable_expert(expert, layer, disabled),
}


def _place(place: int) -> int | None:
    return None if place < 0 else place


def _end(end: int) -> bool | None:
    if not 0 <= end < len(_abi.BLOCK_ENDS):
        raise InvalidArgumentError(f"an end of a block is {end}; it must be from 0 to {len(_abi.BLOCK_ENDS) - 1}")
    return _ENDS[_abi.BLOCK_ENDS[end]]


# -- In words


def label(action: Action, read: Reader) -> str:
    """In a few words."""
    name, *arguments = action
    return _WORDS[name](read, *arguments)


def quoted(text: str) -> str:
    """A token's text, with its ends to be seen."""
    return "“" + text.replace("\n", "⏎") + "”"


_WORDS: Mapping[str, Callable[..., str]] = {
    "step": lambda read: "step",
    "forward": lambda read: "forward",
    "propose": lambda read: "propose",
    "apply": lambda read: "apply",
    "set_proposal": lambda read, edits: f"propose {len(edits)} edits of one's own",
    "set_token": lambda read, place, token: f"write {quoted(read(token))} at {place}",
    "mask": lambda read, place: f"mask {place}",
    "lock": lambda read, place, locked: f"{'lock' if locked else 'unlock'} {place}",
    "ban": lambda read, place, token, banned: (
        f"{'ban' if banned else 'unban'} {quoted(read(token))}{'' if place < 0 else f' at {place}'}"
    ),
    "set_logit_bias": lambda read, token, place, bias: (
        f"bias {bias:+g} for {quoted(read(token))}{'' if place < 0 else f' at {place}'}"
    ),
    "truncate": lambda read, place: f"forget from {place} on",
    "end_block": lambda read, end: "end the block: " + _abi.BLOCK_ENDS[end].replace("_", " "),
    "disable_expert": lambda read, layer, expert, disabled: (
        f"{'disable' if disabled else 'enable'} expert {expert} of layer {layer}"
    ),
    "fork": lambda read, policy: f"policy {policy_code(policy)}",
}


# -- As Python


def code(actions: Iterable[Action], read: Reader) -> str:
    """Lines that do it with a decoder `dec`."""
    lines: list[str] = []
    repeated = 0
    for action in (*actions, None):
        if action == STEP:
            repeated += 1
            continue
        if repeated > 1:
            lines.append(f"for _ in range({repeated}):\n    dec.step()")
        elif repeated:
            lines.append("dec.step()")
        repeated = 0
        if action is not None:
            name, *arguments = action
            lines.append(_CODE[name](*arguments))
            if name in ("set_token", "ban", "set_logit_bias"):
                token = arguments[0] if name == "set_logit_bias" else arguments[1]
                lines[-1] += f"  # {json.dumps(read(token), ensure_ascii=True)}"
    return "".join(f"{line}\n" for line in lines)


def policy_code(policy: Policy) -> str:
    """The shortest call of a preset that makes such a policy."""
    found = []
    for name, preset in PRESETS.items():
        usual = preset()
        if usual.kind == policy.kind:
            names = [field for field in _FIELDS[policy.kind] if getattr(policy, field) != getattr(usual, field)]
            changed = ", ".join(f"{field}={getattr(policy, field)!r}" for field in names)
            found.append((len(names), f"{name}({changed})"))
    return min(found, key=lambda each: each[0])[1]


def _at(place: int) -> str:
    return "" if place < 0 else f", {place}"


def _edit_code(place: int, token: int, sure: float, kind: str) -> str:
    if kind == "write":
        return f"({place}, {token})"
    return f"llada.Edit.delete({place})" if kind == "delete" else f"llada.Edit.insert({place}, {token})"


_CODE: Mapping[str, Callable[..., str]] = {
    "forward": lambda: "dec.forward()",
    "propose": lambda: "dec.propose()",
    "apply": lambda: "dec.apply()",
    "set_proposal": lambda edits: f"dec.propose([{', '.join(_edit_code(*each) for each in edits)}])",
    "set_token": lambda place, token: f"dec.set({place}, {token})",
    "mask": lambda place: f"dec.mask({place})",
    "lock": lambda place, locked: f"dec.{'lock' if locked else 'unlock'}({place})",
    "ban": lambda place, token, banned: f"dec.{'ban' if banned else 'unban'}({token}{_at(place)})",
    "set_logit_bias": lambda token, place, bias: (
        f"dec.set_logit_bias({token}, {'-math.inf' if bias == -float('inf') else repr(bias)}{_at(place)})"
    ),
    "truncate": lambda place: f"dec.truncate({place})",
    "end_block": lambda end: f"dec.end_block({_end(end)})",
    "disable_expert": lambda layer, expert, disabled: (
        f"dec.disable_expert({expert}, layer={layer}{'' if disabled else ', disabled=False'})"
    ),
    "fork": lambda policy: f"dec = dec.fork(llada.Policy.{policy_code(policy)})",
}
