"""Random weights, written as safetensors."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .shapes import Tensor

INDEX = "model.safetensors.index.json"
"""Says which shard has which tensor."""

SHARD = 5_000_000_000
"""The most bytes of a shard, as transformers has it."""

POOL = 4_194_301
"""So many random numbers there are: a prime, so that rows begin at places of their own."""


class RandomNumbers:
    """One pool of normally distributed numbers, from which tensors are cut. Each begins at another place and goes
    around as often as it must."""

    def __init__(self, seed: int, count: int) -> None:
        """For `count` tensors."""
        generator = np.random.default_rng(seed)
        self._pool = generator.standard_normal(POOL, np.float32)
        self._starts = iter(generator.choice(POOL, count, replace=False))
        self._scaled: dict[tuple[float | None, str], NDArray[np.generic]] = {}

    def chunks(self, tensor: Tensor) -> Iterator[memoryview]:
        """The bytes of a tensor, in pieces of some megabytes."""
        pool = self._numbers(tensor.spread, tensor.dtype)
        place, left = int(next(self._starts)), tensor.size
        while left > 0:
            piece = pool[place : place + left]
            yield piece.view(np.uint8).data
            left -= len(piece)
            place = 0

    def _numbers(self, spread: float | None, dtype: str) -> NDArray[np.generic]:
        key = (spread, dtype)
        if key not in self._scaled:
            floats = np.ones_like(self._pool) if spread is None else self._pool * np.float32(spread)
            self._scaled[key] = floats if dtype == "F32" else to_bf16(floats)
        return self._scaled[key]


def to_bf16(floats: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper halves of finite floats, rounded to the nearest, of two equally near ones to the even."""
    bits = floats.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def shards(tensors: list[Tensor]) -> dict[str, list[Tensor]]:
    """The tensors of each shard, in order: as few shards as SHARD allows, but at least two."""
    total = sum(tensor.byte_count for tensor in tensors)
    limit = SHARD if total > SHARD else (total + 1) // 2
    parts: list[list[Tensor]] = [[]]
    size = 0
    for tensor in tensors:
        if parts[-1] and size + tensor.byte_count > limit:
            parts.append([])
            size = 0
        parts[-1].append(tensor)
        size += tensor.byte_count
    return {f"model-{number:05}-of-{len(parts):05}.safetensors": part for number, part in enumerate(parts, 1)}


def write_shard(path: Path, tensors: list[Tensor], numbers: RandomNumbers) -> Iterator[int]:
    """Writes a file; yields how many bytes it has written since."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        begin, end = end, end + tensor.byte_count
        entries[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [begin, end]}
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for tensor in tensors:
            for chunk in numbers.chunks(tensor):
                file.write(chunk)
                yield len(chunk)
