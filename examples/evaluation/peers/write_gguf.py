"""Random weights of LLaDA2-mini's shape as a GGUF file, which llama.cpp runs as `bailingmoe2`. Needs the package gguf.

python3 write_gguf.py Q8_0 mini.gguf --layers 4
"""

from __future__ import annotations

import argparse
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import gguf
import numpy as np
import shape
from gguf import GGMLQuantizationType as Type
from gguf.quants import quant_shape_to_byte_shape, quantize

BANK = 1 << 24  # numbers that are drawn for a matrix; what it has more repeats them, which takes as long to multiply
TYPES = {kind.name: kind for kind in (Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_K)}


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    fill: float | None = None  # every number; None: drawn
    spread: float = 0.02  # of those drawn
    exact: bool = False  # f32 in any file


def tensors(layers: int) -> Iterator[Tensor]:
    yield Tensor("token_embd.weight", (shape.VOCABULARY, shape.HIDDEN), spread=1)
    yield Tensor("output.weight", (shape.VOCABULARY, shape.HIDDEN))
    yield Tensor("output_norm.weight", (shape.HIDDEN,), fill=1)
    for layer in range(layers):
        at = f"blk.{layer}."
        norms = {"attn": shape.HIDDEN, "ffn": shape.HIDDEN, "attn_q": shape.HEAD_DIM, "attn_k": shape.HEAD_DIM}
        for norm, width in norms.items():
            yield Tensor(f"{at}{norm}_norm.weight", (width,), fill=1)
        yield Tensor(f"{at}attn_qkv.weight", (shape.QKV_WIDTH, shape.HIDDEN))
        yield Tensor(f"{at}attn_output.weight", (shape.HIDDEN, shape.HEADS * shape.HEAD_DIM))
        if layer < shape.DENSE_LAYERS:
            yield from feed_forward(at, "", (), shape.DENSE_WIDTH)
        else:
            yield Tensor(f"{at}ffn_gate_inp.weight", (shape.EXPERTS, shape.HIDDEN), exact=True)
            yield Tensor(f"{at}exp_probs_b.bias", (shape.EXPERTS,), fill=0)
            yield from feed_forward(at, "_exps", (shape.EXPERTS,), shape.EXPERT_WIDTH)
            yield from feed_forward(at, "_shexp", (), shape.EXPERT_WIDTH)


def feed_forward(at: str, suffix: str, stack: tuple[int, ...], width: int) -> Iterator[Tensor]:
    yield Tensor(f"{at}ffn_gate{suffix}.weight", (*stack, width, shape.HIDDEN))
    yield Tensor(f"{at}ffn_up{suffix}.weight", (*stack, width, shape.HIDDEN))
    yield Tensor(f"{at}ffn_down{suffix}.weight", (*stack, shape.HIDDEN, width))


def stored_type(tensor: Tensor, kind: Type) -> Type:
    return Type.F32 if tensor.exact or tensor.fill is not None else kind


def data(tensor: Tensor, kind: Type) -> np.ndarray:
    """As it stands in the file: f32, or the bytes of blocks."""
    stored = stored_type(tensor, kind)
    if tensor.fill is not None:
        return np.full(tensor.shape, tensor.fill, np.float32)
    *_, columns = tensor.shape
    rows = int(np.prod(tensor.shape[:-1]))
    drawn = min(rows, BANK // columns)
    # Routers differ by layer; the other matrices, which cost more to draw, by their part in it.
    part = tensor.name if tensor.exact else tensor.name.split(".", 2)[-1]
    bank = matrix(drawn, columns, tensor.spread, stored, zlib.crc32(part.encode()))
    whole = np.resize(bank, (rows, bank.shape[1]))  # repeats
    return whole.reshape(*tensor.shape[:-1], bank.shape[1])


@cache
def matrix(rows: int, columns: int, spread: float, kind: Type, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if kind == Type.Q4_K:
        return q4_k(generator, rows, columns, spread)
    numbers = generator.standard_normal((rows, columns), dtype=np.float32) * np.float32(spread)
    return numbers if kind == Type.F32 else quantize(numbers, kind)


def q4_k(generator: np.random.Generator, rows: int, columns: int, spread: float) -> np.ndarray:
    """Blocks of 256 numbers d * 15 * (q - 7.5), q drawn from 0 to 15: the package cannot quantize to this type.

    A block: d and its minimum in f16, 8 scales and 8 minima of 6 bits, all 15, in 12 bytes, and 256 times 4 bits.
    """
    d = spread / (15 * np.sqrt((16**2 - 1) / 12))
    block = np.empty((rows, columns // 256, 144), np.uint8)
    block[..., 0:4] = np.frombuffer(np.array([d, 7.5 * d], np.float16).tobytes(), np.uint8)
    block[..., 4:16] = [15] * 8 + [15 | 15 << 4] * 4
    block[..., 16:] = generator.integers(0, 256, block[..., 16:].shape, np.uint8)
    return block.reshape(rows, -1)


def add_config(writer: gguf.GGUFWriter, layers: int) -> None:
    writer.add_block_count(layers)
    writer.add_context_length(65_536)
    writer.add_embedding_length(shape.HIDDEN)
    writer.add_feed_forward_length(shape.DENSE_WIDTH)
    writer.add_head_count(shape.HEADS)
    writer.add_head_count_kv(shape.KV_HEADS)
    writer.add_key_length(shape.HEAD_DIM)
    writer.add_value_length(shape.HEAD_DIM)
    writer.add_rope_dimension_count(shape.ROTARY_DIM)
    writer.add_rope_freq_base(shape.ROPE_THETA)
    writer.add_layer_norm_rms_eps(shape.NORM_EPS)
    writer.add_vocab_size(shape.VOCABULARY)
    writer.add_leading_dense_block_count(shape.DENSE_LAYERS)
    writer.add_expert_count(shape.EXPERTS)
    writer.add_expert_used_count(shape.EXPERTS_PER_TOKEN)
    writer.add_expert_feed_forward_length(shape.EXPERT_WIDTH)
    writer.add_expert_shared_feed_forward_length(shape.EXPERT_WIDTH)
    writer.add_expert_shared_count(1)
    writer.add_expert_group_count(shape.GROUPS)
    writer.add_expert_group_used_count(shape.GROUPS_PER_TOKEN)
    writer.add_expert_weights_scale(shape.ROUTED_SCALING)
    writer.add_expert_weights_norm(True)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_tokenizer_model("no_vocab")


def write(path: Path, kind: Type, layers: int) -> None:
    part = path.with_name(path.name + ".part")  # what was interrupted is not taken for whole
    writer = gguf.GGUFWriter(part, "bailingmoe2")
    add_config(writer, layers)
    for tensor in tensors(layers):
        stored = stored_type(tensor, kind)
        if stored == Type.F32:
            writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), 4 * int(np.prod(tensor.shape)))
        else:
            in_bytes = quant_shape_to_byte_shape(tensor.shape, stored)
            writer.add_tensor_info(tensor.name, in_bytes, np.dtype(np.uint8), int(np.prod(in_bytes)), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in tensors(layers):
        writer.write_tensor_data(data(tensor, kind))
    writer.close()
    os.replace(part, path)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("type", choices=TYPES)
    options.add_argument("file", type=Path)
    options.add_argument("--layers", type=int, default=4)
    choice = options.parse_args()
    write(choice.file, TYPES[choice.type], choice.layers)


if __name__ == "__main__":
    try:
        main()
    except OSError as problem:
        sys.exit(str(problem))
