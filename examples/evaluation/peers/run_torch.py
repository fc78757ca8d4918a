"""Times PyTorch in bf16 on random weights of LLaDA2-mini's shape, computed the way the reference modelling code does:
for each expert that any row chose, gather the rows, run gate, up and down, and index_add what comes out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import shape
import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention, silu

BF16 = torch.bfloat16


class Weights:
    """Drawn once, and copied to as many places as a model of that size reads."""

    def __init__(self) -> None:
        self.drawn: dict[tuple[str, int, int], Tensor] = {}

    def matrix(self, part: str, outputs: int, inputs: int) -> Tensor:
        key = part, outputs, inputs
        if key not in self.drawn:
            self.drawn[key] = (torch.randn(outputs, inputs) * 0.02).to(BF16)
        return self.drawn[key].clone()


@dataclass
class FeedForward:
    gate: Tensor
    up: Tensor
    down: Tensor

    @classmethod
    def drawn(cls, weights: Weights, width: int) -> FeedForward:
        gate, up = (weights.matrix(part, width, shape.HIDDEN) for part in ("gate", "up"))
        return cls(gate, up, weights.matrix("down", shape.HIDDEN, width))

    def __call__(self, x: Tensor) -> Tensor:
        return linear(silu(linear(x, self.gate)) * linear(x, self.up), self.down)


class Mixture:
    def __init__(self, weights: Weights) -> None:
        self.router = torch.randn(shape.EXPERTS, shape.HIDDEN) * 0.02
        self.experts = [FeedForward.drawn(weights, shape.EXPERT_WIDTH) for _ in range(shape.EXPERTS)]
        self.shared = FeedForward.drawn(weights, shape.EXPERT_WIDTH)
        self.used = 0

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The experts of each row and their weights: [rows, k] each."""
        scores = torch.sigmoid(linear(x.float(), self.router))
        grouped = scores.view(len(x), shape.GROUPS, -1)
        best = grouped.topk(2, dim=-1).values.sum(-1).topk(shape.GROUPS_PER_TOKEN, dim=-1).indices
        allowed = torch.zeros(len(x), shape.GROUPS, dtype=torch.bool).scatter_(1, best, True)
        within = grouped.masked_fill(~allowed.unsqueeze(-1), float("-inf")).flatten(1)
        chosen = within.topk(shape.EXPERTS_PER_TOKEN, dim=-1).indices
        weights = scores.gather(1, chosen)
        return chosen, weights / weights.sum(-1, keepdim=True) * shape.ROUTED_SCALING

    def __call__(self, x: Tensor) -> Tensor:
        chosen, weights = self.route(x)
        out = torch.zeros_like(x)
        active = chosen.unique().tolist()
        for expert in active:
            rows, slots = torch.where(chosen == expert)
            y = self.experts[expert](x[rows]) * weights[rows, slots, None]
            out.index_add_(0, rows, y.to(x.dtype))
        self.used = len(active)
        return out + self.shared(x)


def norm(x: Tensor) -> Tensor:
    """With weights of one."""
    full = x.float()
    return (full * torch.rsqrt(full.square().mean(-1, keepdim=True) + shape.NORM_EPS)).to(x.dtype)


def rotated(x: Tensor, positions: Tensor) -> Tensor:
    """x: [heads, rows, dim], the first ROTARY_DIM of which turn."""
    half = shape.ROTARY_DIM // 2
    angles = positions[:, None] * shape.ROPE_THETA ** (-torch.arange(half) / half)
    cosines, sines = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    a, b, rest = x.split((half, half, shape.HEAD_DIM - 2 * half), dim=-1)
    return torch.cat((a * cosines - b * sines, b * cosines + a * sines, rest), dim=-1)


class Layer:
    def __init__(self, weights: Weights, index: int) -> None:
        self.qkv = weights.matrix("qkv", shape.QKV_WIDTH, shape.HIDDEN)
        self.dense = weights.matrix("dense", shape.HIDDEN, shape.HEADS * shape.HEAD_DIM)
        is_dense = index < shape.DENSE_LAYERS
        self.feed_forward = FeedForward.drawn(weights, shape.DENSE_WIDTH) if is_dense else Mixture(weights)
        self.cache: tuple[Tensor, Tensor] | None = None  # keys and values of what stands before: [kv heads, rows, dim]

    def __call__(self, x: Tensor, positions: Tensor, visible: Tensor | None, keep: bool) -> Tensor:
        x = x + self.attention(norm(x), positions, visible, keep)
        return x + self.feed_forward(norm(x))

    def attention(self, x: Tensor, positions: Tensor, visible: Tensor | None, keep: bool) -> Tensor:
        heads = linear(x, self.qkv).view(len(x), -1, shape.HEAD_DIM).transpose(0, 1)
        queries, keys, values = heads.split((shape.HEADS, shape.KV_HEADS, shape.KV_HEADS))
        queries, keys = rotated(norm(queries), positions), rotated(norm(keys), positions)
        if self.cache:
            keys, values = (torch.cat((old, new), dim=1) for old, new in zip(self.cache, (keys, values)))
        if keep:
            self.cache = keys, values
        keys, values = (t.repeat_interleave(shape.HEADS // shape.KV_HEADS, dim=0) for t in (keys, values))
        mixed = scaled_dot_product_attention(queries[None], keys[None], values[None], attn_mask=visible)[0]
        return linear(mixed.transpose(0, 1).reshape(len(x), -1), self.dense)


class Model:
    def __init__(self, layers: int) -> None:
        weights = Weights()
        self.embedding = torch.randn(shape.VOCABULARY, shape.HIDDEN, dtype=BF16)
        self.layers = [Layer(weights, index) for index in range(layers)]
        self.head = weights.matrix("head", shape.VOCABULARY, shape.HIDDEN)

    def run(self, tokens: Tensor, first: int, visible: Tensor | None, keep: bool) -> Tensor:
        x = self.embedding[tokens]
        positions = torch.arange(first, first + len(tokens), dtype=torch.float32)
        for layer in self.layers:
            x = layer(x, positions, visible, keep)
        return x

    def prefill(self, tokens: Tensor, block: int) -> None:
        """Keys and values of a prompt, block-causally."""
        for layer in self.layers:
            layer.cache = None
        blocks = torch.arange(len(tokens)) // block
        self.run(tokens, 0, blocks[:, None] >= blocks, keep=True)

    def step(self, tokens: Tensor, first: int) -> Tensor:
        """The logits of all rows of a block."""
        return linear(norm(self.run(tokens, first, None, keep=False)), self.head).float()

    @property
    def experts_used(self) -> float | None:
        used = [layer.feed_forward.used for layer in self.layers if isinstance(layer.feed_forward, Mixture)]
        return sum(used) / len(used) if used else None


def main() -> None:
    choice = shape.arguments(__doc__.split("\n\n")[0]).parse_args()
    torch.set_num_threads(choice.threads)
    torch.manual_seed(1)
    drawn = torch.tensor(shape.tokens(choice.prefix + choice.block))
    prompt, block = drawn[: choice.prefix], drawn[choice.prefix :]
    prefill: list[float] = []
    step: list[float] = []
    with torch.inference_mode():
        model = Model(choice.layers)
        for timings, work in (
            (prefill, lambda: model.prefill(prompt, choice.block)),
            (step, lambda: model.step(block, choice.prefix)),
        ):
            for _ in range(1 + choice.timings):  # the first warms up
                start = time.perf_counter()
                work()
                timings.append(time.perf_counter() - start)
    shape.report(step[1:], prefill[1:], model.experts_used)


if __name__ == "__main__":
    main()
