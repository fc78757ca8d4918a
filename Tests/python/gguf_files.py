"""GGUF files, written by the `gguf` package from a config and random weights, beside what it says they mean."""

from __future__ import annotations

import re
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

from conftest import write_checkpoint

# Every type that is read, in the order of their size.
TYPES = ("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_1", "Q5_K", "Q5_0", "Q4_1", "Q4_K", "Q4_0")

# A small model whose rows are whole blocks of every type.
CONFIG = {
    "architectures": ["LLaDA2MoeModelLM"],
    "model_type": "llada2_moe",
    "vocab_size": 320,
    "hidden_size": 256,
    "num_hidden_layers": 2,
    "first_k_dense_replace": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "intermediate_size": 512,
    "moe_intermediate_size": 256,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "num_shared_experts": 1,
    "n_group": 4,
    "topk_group": 2,
    "routed_scaling_factor": 2.5,
    "rms_norm_eps": 1e-6,
    "rope_theta": 600000,
    "partial_rotary_factor": 0.5,
    "max_position_embeddings": 4096,
    "eos_token_id": 300,
    "mask_token_id": 301,
    "pad_token_id": 300,
}

NAMES = {
    "model.word_embeddings.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER_NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "attention.query_key_value.weight": "attn_qkv.weight",
    "attention.query_layernorm.weight": "attn_q_norm.weight",
    "attention.key_layernorm.weight": "attn_k_norm.weight",
    "attention.dense.weight": "attn_output.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.gate.expert_bias": "exp_probs_b.bias",
    **{f"mlp.{kind}_proj.weight": f"ffn_{kind}.weight" for kind in ("gate", "up", "down")},
    **{f"mlp.experts.{kind}_proj": f"ffn_{kind}_exps.weight" for kind in ("gate", "up", "down")},
    **{f"mlp.shared_experts.{kind}_proj.weight": f"ffn_{kind}_shexp.weight" for kind in ("gate", "up", "down")},
}


def name_of(tensor: str) -> str:
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.*)", tensor)
    return f"blk.{layer[1]}.{LAYER_NAMES[layer[2]]}" if layer else NAMES[tensor]


def random_weights(config: dict, seed: int = 1) -> dict[str, np.ndarray]:
    """By the names of a folder, with experts in stacks."""
    g = np.random.default_rng(seed)
    hidden, heads, head = config["hidden_size"], config["num_attention_heads"], config["head_dim"]

    def matrix(*shape: int) -> np.ndarray:
        return (g.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)

    def norm(size: int) -> np.ndarray:
        return (1 + 0.1 * g.standard_normal(size)).astype(np.float32)

    def feed_forward(prefix: str, width: int, suffix: str, *stack: int) -> dict[str, np.ndarray]:
        return {
            f"{prefix}.gate_proj{suffix}": matrix(*stack, width, hidden),
            f"{prefix}.up_proj{suffix}": matrix(*stack, width, hidden),
            f"{prefix}.down_proj{suffix}": matrix(*stack, hidden, width),
        }

    tensors = {"model.word_embeddings.weight": g.standard_normal((config["vocab_size"], hidden)).astype(np.float32)}
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        tensors |= {
            f"{layer}.input_layernorm.weight": norm(hidden),
            f"{layer}.post_attention_layernorm.weight": norm(hidden),
            f"{layer}.attention.query_key_value.weight": matrix(
                (heads + 2 * config["num_key_value_heads"]) * head, hidden
            ),
            f"{layer}.attention.query_layernorm.weight": norm(head),
            f"{layer}.attention.key_layernorm.weight": norm(head),
            f"{layer}.attention.dense.weight": matrix(hidden, heads * head),
        }
        if index < config["first_k_dense_replace"]:
            tensors |= feed_forward(f"{layer}.mlp", config["intermediate_size"], ".weight")
        else:
            width, experts = config["moe_intermediate_size"], config["num_experts"]
            tensors |= {
                f"{layer}.mlp.gate.weight": matrix(experts, hidden),
                f"{layer}.mlp.gate.expert_bias": (0.1 * g.standard_normal(experts)).astype(np.float32),
                **feed_forward(f"{layer}.mlp.experts", width, "", experts),
                **feed_forward(f"{layer}.mlp.shared_experts", width * config["num_shared_experts"], ".weight"),
            }
    return tensors | {"model.norm.weight": norm(hidden), "lm_head.weight": matrix(config["vocab_size"], hidden)}


def quantized(array: np.ndarray, kind: Type, seed: int) -> np.ndarray:
    """Bytes of this type: the numbers, as the package rounds them, or, where it cannot, blocks of random bits with
    scales of the same size."""
    if kind.name[-2:] != "_K":
        return gguf.quants.quantize(array, kind)
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    g = np.random.default_rng(seed)
    blocks = g.integers(0, 256, (array.size // numbers, size), np.uint8)
    # Rows of n numbers with a spread of 1 / sqrt(n), about; random bits give the factors 0 to 63, or -128 to 127.
    spread = array.shape[-1] ** -0.5
    places = {208: spread / 1500} if kind == Type.Q6_K else {0: spread / 300, 2: spread / 50}
    for place, scale in places.items():
        blocks[:, place : place + 2] = np.float16([scale]).view(np.uint8)
    return blocks.reshape(*array.shape[:-1], -1)


def write_metadata(writer: gguf.GGUFWriter, config: dict) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_rope_dimension_count(int(config["head_dim"] * config["partial_rotary_factor"]))
    writer.add_vocab_size(config["vocab_size"])
    writer.add_leading_dense_block_count(config["first_k_dense_replace"])
    writer.add_expert_count(config["num_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    writer.add_expert_shared_count(config["num_shared_experts"])
    writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_expert_shared_feed_forward_length(config["moe_intermediate_size"] * config["num_shared_experts"])
    writer.add_expert_weights_scale(config["routed_scaling_factor"])
    writer.add_expert_weights_norm(True)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_expert_group_count(config["n_group"])
    writer.add_expert_group_used_count(config["topk_group"])
    writer.add_diffusion_shift_logits(False)
    if "eos_token_id" in config:
        writer.add_eos_token_id(config["eos_token_id"])
    if "mask_token_id" in config:
        writer.add_mask_token_id(config["mask_token_id"])
    if "pad_token_id" in config:
        writer.add_pad_token_id(config["pad_token_id"])


def write_tokenizer(writer: gguf.GGUFWriter, tokenizer: dict, vocab_size: int, template: str | None = None) -> None:
    """What llama.cpp's converter makes of a tokenizer.json."""
    kinds = gguf.TokenType
    tokens = [(f"[PAD{index}]", kinds.UNUSED) for index in range(vocab_size)]
    for content, index in tokenizer["model"]["vocab"].items():
        tokens[index] = (content, kinds.NORMAL)
    for token in tokenizer["added_tokens"]:
        tokens[token["id"]] = (token["content"], kinds.CONTROL if token["special"] else kinds.USER_DEFINED)
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("bailingmoe2")
    writer.add_token_list([content for content, _ in tokens])
    writer.add_token_types([kind for _, kind in tokens])
    writer.add_token_merges(merges)
    if template is not None:
        writer.add_chat_template(template)


def write_gguf(
    path: Path,
    config: dict = CONFIG,
    kinds=lambda name: Type.F32,
    *,
    weights: dict[str, np.ndarray] | None = None,
    apart: bool = False,
    tied: bool = False,
    architecture: str = "llada2",
    extra=lambda writer: None,
    metadata=write_metadata,
    **options,
) -> dict[str, np.ndarray]:
    """Writes a file whose matrices have the types `kinds(name)`; returns what it means, by the names of a folder.

    `apart`: queries, keys and values are three tensors. `tied`: there is no head. `extra` may add metadata.
    """
    writer = gguf.GGUFWriter(path, architecture, **options)
    metadata(writer, config)
    extra(writer)
    meaning = {}

    def add(name: str, array: np.ndarray) -> np.ndarray:
        is_matrix = array.ndim > 1 and "gate_inp" not in name
        kind = kinds(name) if is_matrix else Type.F32
        data = quantized(array, kind, len(name))
        if kind == Type.F16:
            writer.add_tensor(name, data)
        else:
            writer.add_tensor(name, data, raw_dtype=kind)
        return gguf.quants.dequantize(data, kind).astype(np.float32).reshape(array.shape)

    for name, array in (weights or random_weights(config)).items():
        if tied and name == "lm_head.weight":
            meaning[name] = meaning["model.word_embeddings.weight"]
        elif apart and name.endswith("query_key_value.weight"):
            prefix = name_of(name).removesuffix("attn_qkv.weight")
            rows = config["head_dim"] * config["num_attention_heads"]
            keys = config["head_dim"] * config["num_key_value_heads"]
            parts = np.split(array, [rows, rows + keys])
            meaning[name] = np.concatenate(
                [add(f"{prefix}attn_{letter}.weight", part) for letter, part in zip("qkv", parts)]
            )
        else:
            meaning[name] = add(name_of(name), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return meaning


def write_meaning(folder: Path, meaning: dict[str, np.ndarray], config: dict = CONFIG) -> Path:
    """The same numbers as a folder in F32."""
    write_checkpoint(folder, config, {name: ("F32", array) for name, array in meaning.items()})
    return folder
