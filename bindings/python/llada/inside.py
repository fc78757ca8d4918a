"""Inside the model: what the experts' routers choose, what the layers give, and experts switched off."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from ctypes import POINTER, byref, c_float, c_int32, c_size_t, c_uint64
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import _abi
from ._convert import integer, needed
from .errors import call

if TYPE_CHECKING:
    from ._convert import Handle
    from .model import ModelInfo


class Routing(NamedTuple):
    """What a layer's router chose for each position of the last forward.

    experts  np.int32 [positions, num_experts_per_tok], increasing for each position
    weights  float32, likewise: normalised, times the model's routed_scaling_factor
    """

    experts: np.ndarray
    weights: np.ndarray


class Inside:
    """The part of Decoder that looks inside the model. Layers and experts are counted from 0."""

    _info: ModelInfo
    _held: Callable[[], AbstractContextManager[Handle]]
    _call: Callable[..., None]

    def watch(self, routing: bool = False, hidden: bool = False) -> None:
        """From the next forward on, keeps what the routers choose, or what the layers give, for the active positions;
        `watch()` ends it. Counts of `expert_usage` begin at 0; forks begin unwatched."""
        what = (_abi.WATCH_ROUTING if routing else 0) | (_abi.WATCH_HIDDEN if hidden else 0)
        with self._held() as handle:
            call(_abi.lib.llada_decoder_watch, handle, what)

    def routing(self, layer: int) -> Routing:
        """Which experts a layer chose in the last forward, for each of its positions, and with what weights.

        Raises StateError if that forward was not watched, InvalidArgumentError for a layer without experts."""
        function, layer = _abi.lib.llada_decoder_routing, integer(layer, "layer")
        with self._held() as handle:
            size, count = needed(function, handle, layer, None, None), c_size_t()
            experts, weights = np.empty(size, np.int32), np.empty(size, np.float32)
            call(function, handle, layer, _pointer(experts, c_int32), _pointer(weights, c_float), size, byref(count))
        k = self._info.num_experts_per_tok
        return Routing(experts.reshape(-1, k), weights.reshape(-1, k))

    def hidden(self, layer: int) -> np.ndarray:
        """The hidden states after a layer in the last forward: float32 [positions, hidden_size].

        Raises StateError if that forward was not watched."""
        values = self._filled(_abi.lib.llada_decoder_hidden, c_float, integer(layer, "layer"))
        return values.reshape(-1, self._info.hidden_size)

    @property
    def expert_usage(self) -> np.ndarray:
        """How many positions each expert has had in all forwards since `watch(routing=True)`:
        np.uint64 [num_hidden_layers, num_experts]; a layer without experts has zeros. StateError if nothing is watched."""
        counts = self._filled(_abi.lib.llada_decoder_expert_usage, c_uint64)
        return counts.reshape(self._info.num_hidden_layers, self._info.num_experts)

    def disable_expert(self, layer: int, expert: int, disabled: bool = True) -> None:
        """Switches an expert off (or on again) for this decoder and its forks to come: no position chooses it. What was
        computed before is computed anew.

        Raises InvalidArgumentError if a position might then find fewer than num_experts_per_tok; StateError for a decoder
        with a prefix cache, whose keys and values others share."""
        self._call(
            _abi.lib.llada_decoder_disable_expert, integer(layer, "layer"), integer(expert, "expert"), bool(disabled)
        )

    def _filled(self, function: Any, kind: Any, *arguments: Any) -> np.ndarray:
        with self._held() as handle:
            size, count = needed(function, handle, *arguments, None), c_size_t()
            values = np.empty(size, kind)
            call(function, handle, *arguments, _pointer(values, kind), size, byref(count))
        return values


def _pointer(array: np.ndarray, kind: Any) -> Any:
    return array.ctypes.data_as(POINTER(kind))
