"""What a host changes in a decoder, as the library takes it. `Decoder` documents each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from . import _abi, forwarded
from ._calls import Calls
from ._convert import choice, integer, number
from ._convert import position as as_position
from .errors import InvalidArgumentError
from .records import Edit


def propose(calls: Calls, edits: Any) -> None:
    """Puts edits in any form that `Decoder.propose` takes in place of the proposal."""
    array = _edits(calls, edits)
    calls.change(_abi.lib.llada_decoder_set_proposal, array, len(array))


def ban(calls: Calls, token: int, position: int | None, banned: bool) -> None:
    """At one position, or everywhere."""
    place = -1 if position is None else as_position(position)
    calls.biased = True
    calls.change(_abi.lib.llada_decoder_ban, integer(token, "token"), place, banned)


def set_logit_bias(calls: Calls, token: int, bias: float, position: int | None) -> None:
    """At one position, or everywhere."""
    place = -1 if position is None else as_position(position)
    bias = number(bias, "logit_bias")
    calls.biased = True
    calls.change(_abi.lib.llada_decoder_set_logit_bias, integer(token, "token"), place, bias)


def set_logit_biases(calls: Calls, biases: Mapping[int, float]) -> None:
    """At all positions, as an option of a decoder has them."""
    if not isinstance(biases, Mapping):
        raise TypeError(f"logit_bias must be a dict {{token: bias}}, not {biases!r}")
    for token, bias in biases.items():
        set_logit_bias(calls, token, bias, None)


def end_block(calls: Calls, done: bool | None) -> None:
    """Whether the active block is done after the next apply; None leaves it to the policy."""
    if done not in (None, True, False):
        raise TypeError(f"done must be True, False or None, not {done!r}")
    end = "auto" if done is None else "now" if done else "not_yet"
    calls.change(_abi.lib.llada_decoder_end_block, _abi.BLOCK_ENDS.index(end))


def _edits(calls: Calls, edits: Any) -> Any:
    """As a ctypes array of llada_edit."""
    rows = forwarded.rows(calls)
    predicted = dict(zip(rows.positions.tolist(), zip(rows.predictions.tolist(), rows.confidences.tolist())))
    if isinstance(edits, np.ndarray) and edits.dtype == np.bool_:
        positions = rows.positions
        if edits.shape != positions.shape:
            raise InvalidArgumentError(
                f"edits are bool of shape {edits.shape}; expected {positions.shape}, one for each active position"
            )
        edits = positions[edits]
    elif isinstance(edits, (str, bytes)) or not isinstance(edits, Iterable):
        raise TypeError(
            f"edits must be positions, (position, token) pairs, a dict, an array of bool [rows] or None, not {edits!r}"
        )
    found = []
    for edit in edits.items() if isinstance(edits, Mapping) else edits:
        kind = choice(edit.kind, "Edit.kind", _abi.EDIT_KINDS) if isinstance(edit, Edit) else 0
        own = edit.confidence if isinstance(edit, Edit) else 0.0
        if isinstance(edit, Iterable):
            pair = tuple(edit)[:2]
            if len(pair) < 2:
                raise TypeError(f"an edit must be a position or (position, token), not {edit!r}")
            place, token = as_position(pair[0]), integer(pair[1], "token")
        else:
            place = as_position(edit)
            if place not in predicted:
                raise InvalidArgumentError(f"position {place} was not in the last forward: nothing is predicted")
            token = predicted[place][0]
        prediction, confidence = predicted.get(place, (None, 0.0))
        if kind:  # the prediction was another: of what deletes, or splits
            confidence = number(own, "Edit.confidence")
        elif token != prediction:
            confidence = 0.0
        found.append(_abi.Edit(place, token, confidence, 0, kind))
    return (_abi.Edit * len(found))(*found)
