"""The published shapes: their config.json, and the names and sizes of their tensors."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

from ..errors import InvalidArgumentError
from .tokenizer import SPECIAL

_SIZES: dict[str, dict[str, Any]] = {
    "mini": {
        "hidden_size": 2048,
        "intermediate_size": 5120,
        "max_position_embeddings": 32_768,
        "moe_intermediate_size": 512,
        "num_attention_heads": 16,
        "num_hidden_layers": 20,
    },
    "flash": {
        "hidden_size": 4096,
        "intermediate_size": 9216,
        "max_position_embeddings": 16_384,
        "moe_intermediate_size": 1024,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
    },
}

SHAPES = tuple(_SIZES)
"""Their names."""


def published_config(shape: str, layers: int | None = None) -> dict[str, Any]:
    """config.json of a shape, as a dict, with the keys of the published ones.

    Args:
        shape: "mini" (16B) or "flash" (100B).
        layers: The number of layers; None: as many as the shape has.

    Raises:
        InvalidArgumentError: An unknown shape, or less than one layer.
    """
    if shape not in SHAPES:
        raise InvalidArgumentError(f"shape is {shape!r}; it must be one of {', '.join(map(repr, SHAPES))}")
    if layers is not None and layers < 1:
        raise InvalidArgumentError(f"layers is {layers}; it must be at least 1")
    values = {
        "architectures": ["LLaDA2MoeModelLM"],
        "attention_dropout": 0.0,
        "auto_map": {
            "AutoConfig": "configuration_llada2_moe.LLaDA2MoeConfig",
            "AutoModel": "modeling_llada2_moe.LLaDA2MoeModel",
            "AutoModelForCausalLM": "modeling_llada2_moe.LLaDA2MoeModelLM",
        },
        "dtype": "bfloat16",
        "embedding_dropout": 0.0,
        "first_k_dense_replace": 1,
        "head_dim": 128,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_window_layers": 28,
        "model_type": "llada2_moe",
        "moe_router_enable_expert_bias": True,
        "n_group": 8,
        "norm_head": False,
        "norm_softmax": False,
        "norm_topk_prob": True,
        "num_experts": 256,
        "num_experts_per_tok": 8,
        "num_key_value_heads": 4,
        "num_shared_experts": 1,
        "output_dropout": 0.0,
        "output_router_logits": False,
        "pad_token_id": SPECIAL["<|endoftext|>"],
        "partial_rotary_factor": 0.5,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 600_000,
        "rotary_dim": 64,
        "routed_scaling_factor": 2.5,
        "router_dtype": "fp32",
        "score_function": "sigmoid",
        "sliding_window": 4096,
        "tie_word_embeddings": False,
        "topk_group": 4,
        "transformers_version": "4.57.1",
        "use_bias": False,
        "use_cache": False,
        "use_qk_norm": True,
        "use_qkv_bias": False,
        "use_rmsnorm": True,
        "use_sliding_window": False,
        "using_split_qkv_in_self_attention": False,
        "vocab_size": 157_184,
        **_SIZES[shape],
    }
    if layers is not None:
        values["num_hidden_layers"] = layers
    return dict(sorted(values.items()))


class Tensor(NamedTuple):
    """A tensor of a checkpoint. Its numbers have a mean of 0 and this spread; without one they are ones."""

    name: str
    shape: tuple[int, ...]
    spread: float | None
    dtype: str = "BF16"

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)

    @property
    def byte_count(self) -> int:
        """How many bytes they take."""
        return self.size * (4 if self.dtype == "F32" else 2)


def tensors(config: dict[str, Any]) -> Iterator[Tensor]:
    """All tensors of a config, in the order of the published files (docs/spec/model.md, section 2).

    A matrix gives numbers as large as it is given. What is added to the residual stream is smaller by the square root
    of the number of additions, so that the stream neither explodes nor vanishes, however many layers there are.
    """
    hidden, head = config["hidden_size"], config["head_dim"]
    heads = config["num_attention_heads"]
    added = (2 * config["num_hidden_layers"]) ** -0.5

    def matrix(name: str, outputs: int, inputs: int, gain: float = 1) -> Tensor:
        return Tensor(f"{name}.weight", (outputs, inputs), gain * inputs**-0.5)

    def norm(name: str, width: int) -> Tensor:
        return Tensor(f"{name}.weight", (width,), None)

    def feed_forward(name: str, width: int) -> Iterator[Tensor]:
        yield matrix(f"{name}.gate_proj", width, hidden)
        yield matrix(f"{name}.up_proj", width, hidden)
        yield matrix(f"{name}.down_proj", hidden, width, added)

    yield Tensor("model.word_embeddings.weight", (config["vocab_size"], hidden), 1.0)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        yield norm(f"{prefix}.input_layernorm", hidden)
        yield matrix(f"{prefix}.attention.query_key_value", (heads + 2 * config["num_key_value_heads"]) * head, hidden)
        yield norm(f"{prefix}.attention.query_layernorm", head)
        yield norm(f"{prefix}.attention.key_layernorm", head)
        yield matrix(f"{prefix}.attention.dense", hidden, heads * head, added)
        yield norm(f"{prefix}.post_attention_layernorm", hidden)
        if layer < config["first_k_dense_replace"]:
            yield from feed_forward(f"{prefix}.mlp", config["intermediate_size"])
            continue
        experts, width = config["num_experts"], config["moe_intermediate_size"]
        yield matrix(f"{prefix}.mlp.gate", experts, hidden)
        yield Tensor(f"{prefix}.mlp.gate.expert_bias", (experts,), 0.01, "F32")
        for expert in range(experts):
            yield from feed_forward(f"{prefix}.mlp.experts.{expert}", width)
        yield from feed_forward(f"{prefix}.mlp.shared_experts", width * config["num_shared_experts"])
    yield norm("model.norm", hidden)
    yield matrix("lm_head", config["vocab_size"], hidden)
