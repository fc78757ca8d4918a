"""What a host may change in a decoder, between any two calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from . import _abi
from ._convert import integer, position as as_position
from .errors import InvalidArgumentError
from .looking import Looking
from .window import Windowed


class Interfering(Looking, Windowed):
    """The part of Decoder that interferes."""

    def set(self, position: int, token: int) -> None:
        """Writes a token anywhere on the canvas. In a finished block or the prompt, what the model remembers of it and
        of all blocks behind it is computed anew; their tokens stay. In a block to come it is a draft that waits.
        A proposal at hand stays as it is and may write over yours; lock the position to keep it."""
        self._call(_abi.lib.llada_decoder_set_token, as_position(position), integer(token, "token"))

    def mask(self, position: int) -> None:
        """Masks a position of the active block or of one to come; not of the prompt."""
        self._call(_abi.lib.llada_decoder_mask, as_position(position))

    def lock(self, position: int) -> None:
        """The policy leaves a locked position as it is; a mask that is locked stays one, and the block is done
        without it."""
        self._call(_abi.lib.llada_decoder_lock, as_position(position), True)
        self._locked.add(int(position))

    def unlock(self, position: int) -> None:
        """Takes back `lock`."""
        self._call(_abi.lib.llada_decoder_lock, as_position(position), False)
        self._locked.discard(int(position))

    def ban(self, token: int, position: int | None = None) -> None:
        """The token is never predicted at `position`, or, without one, anywhere. Predictions at hand are made anew."""
        self._ban(token, position, True)

    def unban(self, token: int, position: int | None = None) -> None:
        """Takes back the same `ban`."""
        self._ban(token, position, False)

    def _ban(self, token: int, position: int | None, banned: bool) -> None:
        place = -1 if position is None else as_position(position)
        self._call(_abi.lib.llada_decoder_ban, place, integer(token, "token"), banned)

    def end_block(self, done: bool | None = True) -> None:
        """Says whether the active block is done after the next apply, and that one alone: True (masks that are left
        stay; a policy with multiple block editing revisits it then), False, or None, which leaves it to the policy."""
        if done not in (None, True, False):
            raise TypeError(f"done must be True, False or None, not {done!r}")
        end = "auto" if done is None else "now" if done else "not_yet"
        self._call(_abi.lib.llada_decoder_end_block, _abi.BLOCK_ENDS.index(end))

    def _edits(self, edits: Any) -> Any:
        predictions, confidences = self._predictions()
        if isinstance(edits, np.ndarray) and edits.dtype == np.bool_:
            positions = self.window.positions
            if edits.shape != positions.shape:
                raise InvalidArgumentError(
                    f"edits are bool of shape {edits.shape}; expected {positions.shape}, one for each active position"
                )
            edits = positions[edits]
        elif isinstance(edits, (str, bytes)) or not isinstance(edits, Iterable):
            raise TypeError(
                "edits must be positions, (position, token) pairs, a dict, an array of bool [active] or None, "
                f"not {edits!r}"
            )
        rows = []
        for edit in edits.items() if isinstance(edits, Mapping) else edits:
            if isinstance(edit, Iterable):
                pair = tuple(edit)[:2]
                if len(pair) < 2:
                    raise TypeError(f"an edit must be a position or (position, token), not {edit!r}")
                place, token = as_position(pair[0]), integer(pair[1], "token")
            else:
                place = as_position(edit)
                token = int(predictions[place]) if place < len(predictions) else -1
                if token < 0:
                    raise InvalidArgumentError(f"position {place} was not in the last forward: nothing is predicted")
            sure = place < len(predictions) and token == predictions[place]
            rows.append(_abi.Edit(place, token, float(confidences[place]) if sure else 0.0))
        return (_abi.Edit * len(rows))(*rows)
