"""Checkpoints of the published shapes with made-up weights: to try what a machine does with one before it is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .shapes import SHAPES, published_config, tensors
from .tokenizer import SPECIAL, tokenizer_config, tokenizer_json
from .weights import INDEX, RandomNumbers, shards, write_shard

__all__ = ["SHAPES", "Written", "published_config", "write"]


class Written(NamedTuple):
    """What `write` wrote.

    Attributes:
        tensors: Number of tensors.
        shards: Number of files with weights.
        byte_count: Size of all files, in bytes.
    """

    tensors: int
    shards: int
    byte_count: int


def write(
    folder: Path,
    config: dict[str, Any],
    seed: int = 0,
    progress: Callable[[float], object] = lambda fraction: None,
) -> Written:
    """Writes a checkpoint: random weights in bf16, in shards with an index; configs; a tokenizer of the full size.

    The same arguments give the same files with one version of numpy. It takes some 200 MB of memory. config.json comes
    last, so that a folder that was not finished is no checkpoint.

    Args:
        folder: A new folder, or an empty one.
        config: Of the model, as `published_config` gives it.
        seed: Of the random numbers. The tokenizer is the same for all.
        progress: Called with the fraction that is written, 0 to 1; stops the writing by raising.

    Raises:
        OSError: The folder is not empty, cannot be written, or the disk has too little room.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty")
    parts = shards(list(tensors(config)))
    total = sum(tensor.byte_count for part in parts.values() for tensor in part)
    free = shutil.disk_usage(folder).free
    if free < total + (64 << 20):
        raise OSError(f"{folder} has {free / 1e9:.1f} GB of room; {total / 1e9:.1f} GB are needed")

    numbers, done = RandomNumbers(seed, sum(map(len, parts.values()))), 0
    for name, part in parts.items():
        for count in write_shard(folder / name, part, numbers):
            done += count
            progress(done / total)
    places = {tensor.name: name for name, part in parts.items() for tensor in part}
    end = SPECIAL["<|endoftext|>"]
    generation = {"do_sample": False, "eos_token_id": end, "pad_token_id": end, "transformers_version": "4.57.1"}
    for name, content in {
        INDEX: {"metadata": {"total_size": total}, "weight_map": places},
        "generation_config.json": generation,
        "tokenizer_config.json": tokenizer_config(),
        "tokenizer.json": tokenizer_json(),
        "config.json": config,
    }.items():
        (folder / name).write_text(_text(content), encoding="utf-8")
    return Written(
        tensors=len(places),
        shards=len(parts),
        byte_count=sum(file.stat().st_size for file in folder.iterdir()),
    )


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, indent=2) + "\n"
