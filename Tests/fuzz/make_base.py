"""Makes Tests/fuzz/base: the config, tokenizer and safetensors headers of the models that targets begin with.

They have no numbers: a target fills the tensors itself (fuzz.h, `filling`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "base"

CONFIG = {
    "model_type": "llada2_moe",
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "first_k_dense_replace": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "intermediate_size": 16,
    "moe_intermediate_size": 8,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "num_shared_experts": 1,
    "n_group": 2,
    "topk_group": 2,
    "routed_scaling_factor": 2.5,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000,
    "partial_rotary_factor": 0.5,
    "max_position_embeddings": 512,
    "eos_token_id": 38,
    "mask_token_id": 39,
}

LING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"


def shapes(config: dict[str, Any], stacked: bool = False) -> dict[str, list[int]]:
    """The tensors of a model; `stacked`: the experts of a layer in one tensor."""
    hidden, head, heads = config["hidden_size"], config["head_dim"], config["num_attention_heads"]
    everything = {"model.word_embeddings.weight": [config["vocab_size"], hidden]}

    def feed_forward(prefix: str, width: int, suffix: str = ".weight", *stack: int) -> None:
        for kind, shape in (("gate", [width, hidden]), ("up", [width, hidden]), ("down", [hidden, width])):
            everything[f"{prefix}.{kind}_proj{suffix}"] = [*stack, *shape]

    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        everything |= {
            f"{layer}.input_layernorm.weight": [hidden],
            f"{layer}.post_attention_layernorm.weight": [hidden],
            f"{layer}.attention.query_key_value.weight": [(heads + 2 * config["num_key_value_heads"]) * head, hidden],
            f"{layer}.attention.query_layernorm.weight": [head],
            f"{layer}.attention.key_layernorm.weight": [head],
            f"{layer}.attention.dense.weight": [hidden, heads * head],
        }
        if index < config["first_k_dense_replace"]:
            feed_forward(f"{layer}.mlp", config["intermediate_size"])
            continue
        width, experts = config["moe_intermediate_size"], config["num_experts"]
        everything |= {f"{layer}.mlp.gate.weight": [experts, hidden], f"{layer}.mlp.gate.expert_bias": [experts]}
        if stacked:
            feed_forward(f"{layer}.mlp.experts", width, "", experts)
        else:
            for expert in range(experts):
                feed_forward(f"{layer}.mlp.experts.{expert}", width)
        feed_forward(f"{layer}.mlp.shared_experts", width * config["num_shared_experts"])
    return everything | {"model.norm.weight": [hidden], "lm_head.weight": [config["vocab_size"], hidden]}


SIZES = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E8M0": 1, "U8": 1, "I64": 8}


def header(tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None = None) -> tuple[str, int]:
    """The header of a safetensors file, and the bytes of the data behind it."""
    described: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name, (kind, shape) in tensors.items():
        start, end = end, end + SIZES[kind]
        for factor in shape:
            end = start + (end - start) * factor
        described[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    return json.dumps(described, separators=(",", ":")), end


def tokenizer() -> dict[str, Any]:
    """A vocabulary of all bytes, some merges, and the tokens that a chat has."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = [chr(code) for code in printable + [*range(0x100, 0x100 + 256 - len(printable))]]
    merges = [["a", "b"], ["Ġ", "a"], ["ab", "c"], ["Ã", "¤"]]
    vocabulary = {token: index for index, token in enumerate(alphabet + ["".join(merge) for merge in merges])}
    control = ["<|endoftext|>", "<|mask|>", "<role>", "</role>", "<|role_end|>", "<think>"]
    return {
        "version": "1.0",
        "added_tokens": [
            {
                "id": len(vocabulary) + index,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": content != "<think>",
            }
            for index, content in enumerate(control)
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": LING}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    text_config = {**CONFIG, "vocab_size": 320, "hidden_size": 8, "eos_token_id": 260, "mask_token_id": 261}
    for prefix, config in (("", CONFIG), ("text_", text_config)):
        tensors = {name: ("F32", shape) for name, shape in shapes(config).items()}
        (FOLDER / f"{prefix}config.json").write_text(json.dumps(config, indent=1) + "\n", "utf-8")
        (FOLDER / f"{prefix}header.json").write_text(header(tensors)[0], "utf-8")
        if not prefix:
            names = list(tensors)
            for letter, part in (("a", names[::2]), ("b", names[1::2])):
                (FOLDER / f"header_{letter}.json").write_text(header({n: tensors[n] for n in part})[0], "utf-8")
    compact = json.dumps(tokenizer(), ensure_ascii=False, separators=(",", ":"))
    (FOLDER / "tokenizer.json").write_text(compact, "utf-8")


if __name__ == "__main__":
    main()
