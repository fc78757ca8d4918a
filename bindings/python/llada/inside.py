"""Inside the model: what the experts' routers choose, what the layers give. `Decoder` documents each."""

from __future__ import annotations

from ctypes import byref, c_float, c_int32, c_size_t, c_uint64
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import _abi
from ._calls import Calls
from ._convert import integer, needed, pointer
from .errors import call
from .info import ModelInfo


class Routing(NamedTuple):
    """What a layer's router chose for each row of the last forward: `Decoder.routing`.

    Attributes:
        experts: np.int32 [rows, num_experts_per_tok], increasing for each row.
        weights: np.float32, likewise: normalised, times the model's routed_scaling_factor.
    """

    experts: NDArray[np.int32]
    weights: NDArray[np.float32]


def watch(calls: Calls, routing: bool, hidden: bool) -> None:
    """From the next forward on."""
    what = (_abi.WATCH_ROUTING if routing else 0) | (_abi.WATCH_HIDDEN if hidden else 0)
    calls.look(_abi.lib.llada_decoder_watch, what)


def routing(calls: Calls, layer: int, info: ModelInfo) -> Routing:
    """What a layer's router chose."""
    function, layer = _abi.lib.llada_decoder_routing, integer(layer, "layer")
    with calls.held() as handle:
        size, count = needed(function, handle, layer, None, None), c_size_t()
        experts, weights = np.empty(size, np.int32), np.empty(size, np.float32)
        call(function, handle, layer, pointer(experts, c_int32), pointer(weights, c_float), size, byref(count))
    k = info.num_experts_per_tok
    return Routing(experts.reshape(-1, k), weights.reshape(-1, k))


def hidden(calls: Calls, layer: int, info: ModelInfo) -> NDArray[np.float32]:
    """What a layer gave, [rows, hidden_size]."""
    values = _filled(calls, _abi.lib.llada_decoder_hidden, c_float, integer(layer, "layer"))
    return values.reshape(-1, info.hidden_size)


def expert_usage(calls: Calls, info: ModelInfo) -> NDArray[np.uint64]:
    """Positions that each expert has had, [num_hidden_layers, num_experts]."""
    counts = _filled(calls, _abi.lib.llada_decoder_expert_usage, c_uint64)
    return counts.reshape(info.num_hidden_layers, info.num_experts)


def _filled(calls: Calls, function: Any, kind: Any, *arguments: Any) -> NDArray[Any]:
    with calls.held() as handle:
        size, count = needed(function, handle, *arguments, None), c_size_t()
        values = np.empty(size, kind)
        call(function, handle, *arguments, pointer(values, kind), size, byref(count))
    return values


def disable_expert(calls: Calls, expert: int, layer: int, disabled: bool) -> None:
    """Disabled, or enabled again."""
    expert, layer = integer(expert, "expert"), integer(layer, "layer")
    calls.change(_abi.lib.llada_decoder_disable_expert, expert, layer, bool(disabled))
