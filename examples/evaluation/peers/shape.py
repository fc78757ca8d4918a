"""LLaDA2-mini's width, as in Sources/llada-bench/Shape.swift, and the command line that the programs for single peers
share."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

VOCABULARY = 157_184
HIDDEN = 2048
HEADS, KV_HEADS, HEAD_DIM = 16, 4, 128
ROTARY_DIM, ROPE_THETA = 64, 600_000.0
NORM_EPS = 1e-6
DENSE_LAYERS, DENSE_WIDTH = 1, 5120
EXPERTS, EXPERTS_PER_TOKEN, EXPERT_WIDTH = 256, 8, 512
GROUPS, GROUPS_PER_TOKEN = 8, 4
ROUTED_SCALING = 2.5

QKV_WIDTH = (HEADS + 2 * KV_HEADS) * HEAD_DIM


def tokens(count: int) -> list[int]:
    """Different ones, spread over the vocabulary: the same as llada-bench's, whose mask is not among the first
    thousands."""
    return [(index * 7919 + 13) % (VOCABULARY - 1) for index in range(count)]


def arguments(description: str) -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--layers", type=int, default=4)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--prefix", type=int, default=512)
    options.add_argument("--block", type=int, default=32)
    options.add_argument("--timings", type=int, default=5)
    return options


def report(
    step: list[float], prefill: list[float], experts_used: float | None = None, token: list[float] | None = None
) -> None:
    """Seconds of each timing, for compare.py to read."""
    timed = {"step_ms": [1e3 * t for t in step], "prefill_ms": [1e3 * t for t in prefill]}
    if token:
        timed["token_ms"] = [1e3 * t for t in token]
    print(json.dumps({**timed, "experts_used": experts_used}))


def gguf_path(folder: Path, layers: int, kind: str) -> Path:
    return folder / f"mini-{layers}-{kind}.gguf"
