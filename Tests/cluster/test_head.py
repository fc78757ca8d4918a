"""The head over several ranks: each finds the peaks of its tiles of the vocabulary, and rank 0 joins them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ranks import WORKER, alone, bytes_of, equal_starts, run

import llada
from conftest import CONFORMANCE, safetensors, write_checkpoint

VOCABULARY = 4200  # 9 tiles of 512, the last one of 104


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> dict[str, Path]:
    """A conformance model with a larger vocabulary, as it is stored by different hands."""
    folder = tmp_path_factory.mktemp("large")
    config = json.loads((CONFORMANCE / "mini_like" / "config.json").read_text()) | {"vocab_size": VOCABULARY}
    tensors = safetensors(CONFORMANCE / "mini_like" / "model.safetensors")
    draw = np.random.default_rng(8)
    shape = (VOCABULARY, config["hidden_size"])
    tensors["model.word_embeddings.weight"] = draw.normal(0, 0.3, shape).astype(np.float32)
    tensors["lm_head.weight"] = draw.normal(0, 0.5, shape).astype(np.float32)
    stored = {name: ("F32", np.ascontiguousarray(array)) for name, array in tensors.items()}
    write_checkpoint(folder / "rows", config, stored)
    tied = {name: each for name, each in stored.items() if name != "lm_head.weight"}
    write_checkpoint(folder / "tied", config | {"tie_word_embeddings": True}, tied)
    for dtype in ("bf16", "int4"):
        with llada.Model.load(folder / "rows", dtype=dtype, mask_token_id=5, eos_token_id=6) as model:
            model.save(folder / dtype)
    return {name: folder / name for name in ("rows", "tied", "bf16", "int4")}


@pytest.mark.parametrize(
    "kind, dtype, ranks",
    [
        ("rows", "auto", 2),
        ("rows", "auto", 8),
        ("rows", "int8", 3),
        ("tied", "auto", 2),
        ("tied", "int4", 3),
        ("int4", "auto", 2),
        ("int4", "auto", 3),
        ("int4", "auto", 8),
    ],
)
def test_everything_that_asks_the_head(kind, dtype, ranks, large):
    expected = alone("mini_like", dtype, large[kind], "judged alone")
    found = run("judged", "mini_like", dtype, ranks, large[kind])
    assert found.get("judged") == expected, {k for k in expected if found.get("judged", found).get(k) != expected[k]}
    assert found["seconds"] > 0


def test_shares_of_the_head(large):
    """A rank may have none of it."""
    expected = alone("mini_like", "auto", large["bf16"], "judged alone")
    found = run("judged", "mini_like", "auto", 4, large["bf16"], CLUSTER_SHARES="[3, 0.1, 5, 1]")
    assert found.get("judged") == expected, found.get("message")


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_bytes_of_a_step_and_its_head(ranks, large):
    """docs/cluster.md has the formula. The mask is banned, so its tile is judged on rank 0."""
    found = run("formula", "mini_like", "auto", ranks, large["rows"])
    config = json.loads((large["rows"] / "config.json").read_text())
    hidden, tiles = config["hidden_size"], 9
    starts = [(2 * tiles * rank + ranks) // (2 * ranks) for rank in range(ranks)] + [tiles]
    sent, received = bytes_of(found, lambda layer: equal_starts(32, ranks), ranks)
    for rank in range(1, ranks):
        sent += 64 + 32 * 4 * hidden
        received += (starts[rank + 1] - starts[rank]) * 32 * 12
    assert (found["sent"], found["received"]) == (sent, received)


def test_a_worker_with_another_head(large, tmp_path):
    """Its share of the head is looked at when the model is opened."""
    other = tmp_path / "other"
    tensors = safetensors(large["rows"] / "model.safetensors")
    head = tensors["lm_head.weight"].copy()
    head[5 * 512, 0] += 1
    write_checkpoint(
        other,
        json.loads((large["rows"] / "config.json").read_text()),
        {name: ("F32", np.ascontiguousarray(array)) for name, array in (tensors | {"lm_head.weight": head}).items()},
    )
    found = run("judged", "mini_like", "auto", 2, large["rows"], [*WORKER, str(other)])
    assert found["error"] == "ClusterError" and "is another model than that of rank 0" in found["message"], found
